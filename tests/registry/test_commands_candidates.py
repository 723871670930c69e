"""Candidates: proposed, confirmed, refused; checked, remembered, and never merged by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from alphapulse.log import (
    CandidateBody,
    CandidateState,
    Event,
    InvalidInput,
    Kind,
    RelationBody,
    RelationKind,
    Space,
)
from alphapulse.registry import (
    Candidate,
    Confirm,
    NotAlike,
    Propose,
    Receipt,
    Refuse,
    Registry,
    RelationCycle,
    RequestReused,
    UnknownCandidate,
    UnknownInstrument,
    UnknownRelation,
)
from alphapulse.registry.audit import Remembered, audit_meaning
from alphapulse.registry.check import Entity, check, evidence_hash
from alphapulse.registry.errors import IllegalEvent
from alphapulse.registry.identity import (
    candidate_key,
    fingerprint_of,
    primary_id,
    relation_key,
)
from alphapulse.registry.render import event_dict

from .homes import open_home, receipts, record, rows, token, tokens, unit


class Pair(NamedTuple):
    a: int
    b: int
    id: int


@pytest.fixture
def pair(registry: Registry) -> Pair:
    """Two tokens called USDC, proposed. Head: 3."""
    registry.register_many([token(n, symbol="USDC", decimals=6) for n in (1, 2)])
    (receipt,) = registry.propose(registry.look_alikes().pairs, source="finder")
    (found,) = registry.candidates()
    return Pair(found.a, found.b, receipt.id)


def the_one(registry: Registry) -> Candidate:
    (found,) = registry.candidates(states=("proposed", "confirmed", "refused"))
    return found


def whole(registry: Registry) -> bool:
    """What every test leaves behind is believed by the audit and by a fresh fold."""
    return audit_meaning(registry.log).ok and all(r.equal for r in registry.rebuild(check=True))


def test_what_looks_alike_is_proposed_once(registry: Registry, pair: Pair) -> None:
    found = the_one(registry)
    assert (found.id, found.state, found.source, found.offset) == (
        pair.id, CandidateState.PROPOSED, "finder", 2,
    )  # fmt: skip
    assert found.evidence == ({"decimals": "6", "symbol": "usdc"}, {}, 3)
    assert (found.relation, found.start, found.reason) == (None, 0, "")
    assert record(registry, pair.a).fingerprint < record(registry, pair.b).fingerprint
    assert not registry.look_alikes().pairs and not registry.related(pair.a)
    sides = [record(registry, id).fingerprint for id in (pair.b, pair.a)]
    (again,) = receipts(*registry.execute([unit(Propose(*sides))]))
    assert again == Receipt(pair.id, again.fingerprint, 2, "unchanged")
    assert pair.id == primary_id(fingerprint_of(candidate_key(*sides)))
    assert registry.log.head == 3 and whole(registry)


def test_subscribers_get_it_from_either_side(registry: Registry, pair: Pair) -> None:
    registry.refuse(pair.id, reason="no")
    for pattern in ("kind=candidate", f"instrument={pair.a:#x} kind=candidate class=token",
                    f"instrument={pair.b:#x} kind=candidate", "kind=candidate source=finder"):
        assert len(list(registry.read(pattern=pattern))) == (1 if "source" in pattern else 2)
    for id in (pair.a, pair.b):
        assert [e.kind_name for e in registry.history(id)][1:] == [
            "candidate.proposed", "candidate.refused",
        ]  # fmt: skip
        assert [each.id for each in registry.candidates(states=["refused"], of=[id])] == [pair.id]
    assert not registry.candidates(of=[pair.a])
    shown = event_dict(registry.log.event(3))
    assert shown["space"] == "candidate" and isinstance(shown["body"], dict)
    assert (shown["body"]["state"], shown["body"]["relation"]) == ("refused", None)
    assert shown["body"]["differ"] == {}


def test_confirming_relates(registry: Registry, pair: Pair) -> None:
    receipt = registry.confirm(
        pair.id, "wraps", start=pair.b, ratio="1/1", valid_from="2024-01-01", reason="the docs"
    )
    assert (receipt.id, receipt.offset, receipt.outcome) == (pair.id, 4, "amended")
    (link,) = registry.related(pair.a)
    assert (link.instrument, link.relation, link.other, link.ratio, link.offset) == (
        pair.b, RelationKind.WRAPS, pair.a, (1, 1), 3,
    )  # fmt: skip
    found = the_one(registry)
    assert (found.state, found.relation, found.start, found.reason, found.source) == (
        CandidateState.CONFIRMED, RelationKind.WRAPS, pair.b, "the docs", "operator",
    )  # fmt: skip
    again = registry.confirm(pair.id, "wraps", start=pair.b)
    assert again == receipt._replace(outcome="unchanged") and registry.log.head == 5
    for relation, start in (("same_as", None), ("bridged_from", pair.a)):
        with pytest.raises(InvalidInput, match="confirmed already") as caught:
            registry.confirm(pair.id, relation, start=start)
        assert caught.value.facts["relation"] == "wraps"
    with pytest.raises(InvalidInput, match="is confirmed"):
        registry.refuse(pair.id, reason="no")
    registry.amend(pair.a, symbol="X")
    registry.amend(pair.b, symbol="X")
    assert not registry.look_alikes().pairs and registry.log.head == 7 and whole(registry)


def test_same_as_has_no_direction_and_lookups_follow_it(registry: Registry, pair: Pair) -> None:
    registry.confirm(pair.id, "same_as", start=pair.b)
    (joined,) = registry.joined([pair.a])
    assert joined.id == pair.b and the_one(registry).start == pair.a and whole(registry)


def test_refusing_holds_until_the_evidence_is_another(registry: Registry, pair: Pair) -> None:
    refused = registry.refuse(pair.id, reason="two companies")
    assert (refused.offset, refused.outcome) == (3, "amended")
    assert registry.refuse(pair.id, reason="again").outcome == "unchanged"
    assert the_one(registry).reason == "two companies" and not registry.candidates()
    assert not registry.look_alikes().pairs
    sides = [record(registry, id).fingerprint for id in (pair.a, pair.b)]
    (again,) = receipts(*registry.execute([unit(Propose(sides[0], sides[1]))]))
    assert again.outcome == "unchanged" and registry.log.head == 4
    registry.amend(pair.a, name="USD Coin")
    assert not registry.look_alikes().pairs  # the other one's name is not known
    registry.amend(pair.b, name="USD Coin")
    (found,) = registry.look_alikes().pairs
    (receipt,) = registry.propose([found])
    assert (receipt.id, receipt.outcome) == (pair.id, "amended")
    proposed = the_one(registry)
    assert (proposed.state, proposed.reason) == (CandidateState.PROPOSED, "")
    assert proposed.evidence == found.evidence and proposed.evidence.score == 6
    registry.refuse(pair.id, reason="still")
    registry.confirm(pair.id, "bridged_from", start=pair.a)  # a person may think again
    assert the_one(registry).state == CandidateState.CONFIRMED and whole(registry)


def test_open_evidence_is_brought_up_to_date(registry: Registry, pair: Pair) -> None:
    registry.amend(pair.a, decimals=8)
    (found,) = registry.look_alikes().pairs
    assert found.evidence.score == 1  # too weak for a new one, but this one is open
    registry.propose([found])
    assert the_one(registry).evidence == found.evidence and not registry.look_alikes().pairs
    registry.amend(pair.a, symbol="USDC.e")
    assert not registry.look_alikes().pairs  # nothing in common: it waits for a person
    with pytest.raises(NotAlike) as caught:
        registry.propose([found])
    assert caught.value.facts["a"] == f"0x{pair.a:016x}"
    assert len(registry.candidates()) == 1 and whole(registry)


def test_the_next_best_pair_follows_a_refused_one(registry: Registry) -> None:
    registry.register_many([token(n, symbol="USDC", decimals=6) for n in range(3)])
    seen = set()
    for number in range(3):
        found = registry.look_alikes().pairs
        assert len(found) == (2 if number == 0 else 1 if number == 1 else 0)
        for receipt in registry.propose(found):
            seen.add(receipt.id)
        if number == 0:
            registry.refuse(registry.candidates()[0].id, reason="no")
    assert len(seen) == 3 and whole(registry)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"relation": "twin_of"}, "no such relation"),
        ({"relation": "wraps"}, "has a direction"),
        ({"relation": "wraps", "start": 1}, "neither of the two"),
        ({"relation": "wraps", "start": -1, "ratio": "2/1"}, "one for one"),
        ({"relation": "same_as", "ratio": "1/1"}, "has none"),
        ({"relation": "same_as", "reason": "x" * 513}, "bytes"),
    ],
)
def test_what_cannot_be_confirmed(
    registry: Registry, pair: Pair, arguments: dict[str, Any], words: str
) -> None:
    if arguments.get("start") == -1:
        arguments = {**arguments, "start": pair.a}
    with pytest.raises(InvalidInput, match=words):
        registry.confirm(pair.id, **arguments)
    with pytest.raises(InvalidInput, match="reason"):
        registry.refuse(pair.id, reason="")
    assert registry.log.head == 3


def test_unknown_ones(registry: Registry, pair: Pair) -> None:
    for call in (
        lambda: registry.confirm(7, "same_as"), lambda: registry.refuse(7, reason="x"),
        lambda: registry.alike.one(7),
    ):  # fmt: skip
        with pytest.raises(UnknownCandidate) as caught:
            call()
        assert caught.value.facts["id"] == "0x0000000000000007"
    unknown = registry.execute([
        unit(Propose(bytes(16), b"\1" * 16)), unit(Confirm(pair.id, RelationKind.WRAPS)),
        unit(Confirm(7, RelationKind.WRAPS)), unit(Refuse(7, "x")),
    ])  # fmt: skip
    assert [type(outcome) for outcome in unknown] == [
        UnknownInstrument, UnknownRelation, UnknownCandidate, UnknownCandidate,
    ]  # fmt: skip


def test_both_or_neither(registry: Registry, pair: Pair) -> None:
    registry.relate(pair.a, "wraps", pair.b)
    with pytest.raises(RelationCycle):
        registry.confirm(pair.id, "wraps", start=pair.b)
    assert the_one(registry).state == CandidateState.PROPOSED and registry.log.head == 4
    registry.unrelate(pair.a, "wraps", pair.b, valid_to="2025-01-01")
    with pytest.raises(InvalidInput, match="with an end"):
        registry.confirm(pair.id, "wraps", start=pair.a)
    assert registry.log.head == 5 and len(registry.alerts()) == 0
    registry.confirm(pair.id, "wraps", start=pair.a, valid_from="2025-06-01")
    (link,) = registry.related(pair.a)
    assert link.valid_to == 0 and whole(registry)


def test_retries_by_request_id(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as registry:
        registry.register_many([token(n, symbol="S", name=name) for n, name in enumerate("xyx")])
        first, second = registry.propose(registry.look_alikes(score_min=1).pairs)
        start = registry.alike.one(first.id).a
        confirm = {"start": start, "request_id": "r1"}
        done = registry.confirm(first.id, "wraps", **confirm)  # type: ignore[arg-type]
        refused = registry.refuse(second.id, reason="no", request_id="r2")
        head = registry.log.head
    with open_home(tmp_path / "home") as registry:
        assert registry.confirm(first.id, "wraps", **confirm) == done  # type: ignore[arg-type]
        assert registry.refuse(second.id, reason="no", request_id="r2") == refused
        with pytest.raises(RequestReused):
            registry.refuse(second.id, reason="another", request_id="r2")
        with pytest.raises(RequestReused):
            registry.confirm(first.id, "same_as", request_id="r1")
        assert registry.log.head == head
        unchanged = registry.refuse(second.id, reason="no", request_id="r3")
        assert (unchanged.outcome, unchanged.offset) == ("unchanged", refused.offset)
        assert registry.log.head == head + 1  # the answer is kept
        assert registry.refuse(second.id, reason="no", request_id="r3") == unchanged
        assert registry.log.head == head + 1 and whole(registry)


def test_coroutines_decide_too(registry: Registry, pair: Pair) -> None:
    async def work() -> Receipt:
        assert [r.outcome for r in await registry.aio.propose(registry.look_alikes().pairs)] == []
        return await registry.aio.confirm(pair.id, "same_as")

    receipt = asyncio.run(work())
    assert receipt.id == pair.id and the_one(registry).state == CandidateState.CONFIRMED


def test_candidates_collide_as_all_else_does(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        registry.register_many([
            each for n in range(30) for each in (*tokens(1, n), token(1000 + n, symbol=f"T{n}"))
        ])  # fmt: skip
        made = registry.propose(registry.look_alikes().pairs)
        assert len(made) == 30 and "collision" in {receipt.outcome for receipt in made}
        for receipt in made:
            registry.confirm(receipt.id, "same_as")
        assert len(registry.candidates(states=["confirmed"])) == 30 and whole(registry)


def test_digests_hold_what_was_decided_and_not_on_what(tmp_path: Path) -> None:
    seen = []
    for order in (1, -1):
        with open_home(tmp_path / str(order)) as registry:
            registry.register_many([token(n, symbol="USDC") for n in (1, 2)][::order])
            if order == 1:  # here it is decided on less
                (receipt,) = registry.propose(registry.look_alikes().pairs)
            for event in list(registry.read(pattern="kind=instrument")):
                registry.amend(event.entity, decimals=6)
            if order == -1:
                (receipt,) = registry.propose(registry.look_alikes().pairs)
            before = rows(registry)["candidates"]
            registry.refuse(receipt.id, reason="no")
            assert rows(registry)["candidates"] != before
            seen.append(rows(registry)["candidates"])
    assert seen[0] == seen[1] and seen[0][1] == 1


# The check that writers and the audit share


@pytest.fixture
def world() -> tuple[Remembered, dict[str, Any]]:
    """Instruments 1 and 2, a `wraps` from 2 to 1, and a candidate of both at offset 3."""
    first, second = bytes(16), b"\1" * 16
    state = Remembered(64)
    for id, fingerprint in ((1, first), (2, second)):
        state.remember(Space.INSTRUMENT, id, Entity(fingerprint, id - 1, 1, 2, 0))
    wraps = fingerprint_of(relation_key(RelationKind.WRAPS, second, first))
    state.remember(Space.RELATION, primary_id(wraps), Entity(wraps, 2, 1, 2, 0))
    fingerprint = fingerprint_of(candidate_key(first, second))
    said = {
        "fingerprint": fingerprint, "asset_class": 1, "instrument": 1,
        "instrument_fingerprint": first, "other": 2, "other_fingerprint": second,
        "agree": {"symbol": "usdc"},
    }  # fmt: skip
    return state, said


def remember(state: Remembered, body: CandidateBody, kind: Kind) -> int:
    id = primary_id(body.fingerprint)
    after = check(state, kind, Space.CANDIDATE, id, None, body)
    state.remember(Space.CANDIDATE, id, after._replace(last_offset=3))
    state._evidence[id] = evidence_hash(body)
    return id


@pytest.mark.parametrize(
    "kind, changes, words",
    [
        (Kind.CANDIDATE_CONFIRMED, {"relation": 0}, "relation is unknown"),
        (Kind.CANDIDATE_CONFIRMED, {"relation": 1}, "relation is unknown"),
        (Kind.CANDIDATE_CONFIRMED, {"relation": 7}, "not related as it says"),
        (Kind.CANDIDATE_CONFIRMED, {"backwards": False}, "not related as it says"),
        (Kind.CANDIDATE_CONFIRMED, {"state": 3}, "state is not that of its kind"),
        (Kind.CANDIDATE_CONFIRMED, {"agree": {"symbol": "usdt"}}, "leaves as it is"),
        (Kind.CANDIDATE_CONFIRMED, {"revision": 3}, "revision 3 does not follow 1"),
        (Kind.CANDIDATE_CONFIRMED, {"counter": 1}, "not registered"),
        (Kind.CANDIDATE_CONFIRMED, {"other": 1}, "not registered"),
        (Kind.CANDIDATE_CONFIRMED, {"fingerprint": bytes(16)}, "do not belong together"),
        (Kind.CANDIDATE_REFUSED, {"reason": ""}, "no reason"),
        (Kind.CANDIDATE_REFUSED, {"relation": 4}, "not confirmed"),
        (Kind.CANDIDATE_REFUSED, {"backwards": True}, "not confirmed"),
        (Kind.CANDIDATE_REFUSED, {"differ": {"name": ("a", "b")}}, "leaves as it is"),
        (Kind.CANDIDATE_PROPOSED, {"agree": {"symbol": "usdc"}}, "a proposal changes"),
        (Kind.CANDIDATE_PROPOSED, {"agree": {}}, "no evidence"),
        (Kind.CANDIDATE_PROPOSED, {"asset_class": 0}, "class is unknown"),
    ],
)
def test_illegal_events(
    world: tuple[Remembered, dict[str, Any]], kind: Kind, changes: dict[str, Any], words: str
) -> None:
    state, said = world
    id = remember(state, CandidateBody(**said), Kind.CANDIDATE_PROPOSED)
    legal: dict[Kind, dict[str, Any]] = {
        Kind.CANDIDATE_CONFIRMED: {"state": 2, "relation": 4, "backwards": True},
        Kind.CANDIDATE_REFUSED: {"state": 3, "reason": "no"},
        Kind.CANDIDATE_PROPOSED: {"agree": {"name": "usd coin"}},
    }
    body = CandidateBody(**{**said, "revision": 2, **legal[kind]})
    check(state, kind, Space.CANDIDATE, id, 3, body)  # the control
    with pytest.raises(IllegalEvent, match=words):
        check(state, kind, Space.CANDIDATE, id, 3, replace(body, **changes))


def test_illegal_lives(world: tuple[Remembered, dict[str, Any]]) -> None:
    state, said = world
    confirmed = {**said, "state": 2, "relation": 4, "backwards": True}
    with pytest.raises(IllegalEvent, match="was not registered"):  # never proposed
        remember(state, CandidateBody(**confirmed), Kind.CANDIDATE_CONFIRMED)
    swapped = {
        "instrument": 2, "instrument_fingerprint": said["other_fingerprint"], "other": 1,
        "other_fingerprint": said["instrument_fingerprint"],
    }  # fmt: skip
    with pytest.raises(IllegalEvent, match="order of their fingerprints"):
        remember(state, CandidateBody(**{**said, **swapped}), Kind.CANDIDATE_PROPOSED)
    with pytest.raises(IllegalEvent, match="first revision"):
        remember(state, CandidateBody(**said, revision=2), Kind.CANDIDATE_PROPOSED)
    id = remember(state, CandidateBody(**said), Kind.CANDIDATE_PROPOSED)
    body = CandidateBody(**confirmed, revision=2)
    after = check(state, Kind.CANDIDATE_CONFIRMED, Space.CANDIDATE, id, 3, body)
    state.remember(Space.CANDIDATE, id, after._replace(last_offset=4))
    more: tuple[tuple[Kind, dict[str, Any]], ...] = (
        (Kind.CANDIDATE_REFUSED, {"state": 3, "relation": 0, "backwards": False, "reason": "x"}),
        (Kind.CANDIDATE_PROPOSED, {"state": 1, "relation": 0, "backwards": False,
                                   "agree": {"name": "x"}}),
        (Kind.CANDIDATE_CONFIRMED, {}),
    )  # fmt: skip
    for kind, changes in more:
        with pytest.raises(IllegalEvent, match="what is confirmed is not"):
            check(state, kind, Space.CANDIDATE, id, 4, replace(body, revision=3, **changes))


def test_the_audit_names_a_confirmation_without_its_relation(
    registry: Registry, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log that says less than it did: the relation's event is not folded."""
    registry.confirm(pair.id, "same_as")
    assert audit_meaning(registry.log).ok
    fold = Remembered.fold

    def without_relations(self: Remembered, event: Event) -> None:
        if not isinstance(event.body, RelationBody):
            fold(self, event)

    monkeypatch.setattr(Remembered, "fold", without_relations)
    verdict = audit_meaning(registry.log)
    assert not verdict.ok and verdict.first_bad_offset == 4
    assert "not related as it says" in verdict.detail
