"""Relations whose other end is registered later: nobody has to say them again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import (
    InvalidInput,
    Kind,
    Pattern,
    RelationBody,
    RelationKind,
    RelationWords,
    Space,
)
from alphapulse.registry import (
    IllegalEvent,
    Origin,
    Register,
    Registry,
    Relate,
    Unit,
    UnknownInstrument,
    Unrelate,
    import_file,
)
from alphapulse.registry.audit import Remembered, audit_meaning
from alphapulse.registry.check import check_body
from alphapulse.registry.deciding import Receipt
from alphapulse.registry.discovery import ANY, Discovery
from tests.registry.test_importing import token, token_list
from tests.registry.test_importing_relations import bridged

from .homes import open_home
from .homes import token as token_of

FILE = bytes(range(32))


def keys(*numbers: int) -> list[bytes]:
    return [Register.of(token_of(number)).facts.key for number in numbers]


def say(
    registry: Registry, a: int, relation: str, b: int, *, source: str = "list",
    request_id: str = "", content_hash: bytes = FILE, **words: Any,
) -> Receipt:  # fmt: skip
    relate = Relate.between(keys(a)[0], relation, keys(b)[0])._replace(**words)
    (outcome,) = registry.execute([Unit((relate,), Origin(source, content_hash, request_id))])
    if not isinstance(outcome, list):
        raise outcome
    return outcome[0]


def digest(registry: Registry) -> tuple[int, bytes]:
    view = registry.statistics().views["relations"]
    return view.rows, view.digest


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("relation", ["wraps", "same_as"])
def test_it_is_known_once_the_end_is_there(
    registry: Registry, tmp_path: Path, a: int, b: int, relation: str
) -> None:
    """1 is there and 2 is not, whichever side of it."""
    there = registry.register(token_of(1)).id
    said = say(registry, a, relation, b)
    assert (said.outcome, registry.related(there), registry.related(there, ended=True)) == (
        "waiting", [], [])  # fmt: skip
    (waits,) = registry.relations.waiting()
    assert (waits.missing_key, waits.is_refused) == (keys(2)[0], False)
    assert sorted((waits.instrument, waits.other)) == [0, there]
    assert [event.offset for event in registry.history(there)] == [0, 1]
    assert say(registry, a, relation, b) == said._replace(outcome="waiting"), "once"
    came = registry.register(token_of(2), source="other")
    assert (came.outcome, came.met, came.offset) == ("new", 1, 2)
    (link,) = registry.related(came.id)
    assert {link.instrument, link.other} == {there, came.id}
    assert (list(registry.relations.waiting()), registry.relations.waiting_count()) == ([], 0)
    assert registry.related(there, as_of=came.offset) == [], "it was not complete then"
    assert [event.offset for event in registry.history(came.id)] == [1, 2, 3]
    event = registry.log.event(3)
    assert (event.kind, event.source, event.metadata.content_hash) == (
        Kind.RELATION_AMENDED, "list", FILE)  # fmt: skip
    assert say(registry, a, relation, b).outcome == "unchanged"
    assert audit_meaning(registry.log).ok
    assert [each.equal for each in registry.rebuild(["relations"], check=True)] == [True]
    with open_home(tmp_path / "straight") as straight:
        straight.register_many([token_of(1), token_of(2)])
        assert say(straight, a, relation, b).outcome == "new"
        assert digest(straight) == digest(registry)


def test_in_one_group_of_commands(registry: Registry) -> None:
    """The views know nothing of either yet."""
    one, two = (Register.of(token_of(number)) for number in (1, 2))
    relate = Relate.between(two.facts.key, "wraps", one.facts.key)
    units = [Unit((command,), Origin("x")) for command in (one, relate, relate, two, relate)]
    outcomes = [each[0] for each in registry.execute(units) if isinstance(each, list)]
    assert [(each.outcome, each.met) for each in outcomes] == [
        ("new", 0), ("waiting", 0), ("waiting", 0), ("new", 1), ("unchanged", 0)
    ]  # fmt: skip
    assert len(registry.related(outcomes[0].id)) == 1
    circle = Relate.between(one.facts.key, "wraps", two.facts.key)
    (refused,) = registry.execute([Unit((circle,), Origin("x"))])
    assert "lead back" in str(refused)


def test_one_end_at_least_is_there_and_who_knows_no_keys_waits_for_none(
    registry: Registry
) -> None:
    with pytest.raises(UnknownInstrument):
        say(registry, 1, "wraps", 2)
    id = registry.register(token_of(1)).id
    with pytest.raises(UnknownInstrument):
        say(registry, 1, "wraps", 2, keys=())
    with pytest.raises(InvalidInput, match="not related to itself"):
        Relate.between(keys(1)[0], "wraps", keys(1)[0])
    assert registry.log.head == 1 and registry.related(id) == []


def test_words_about_it_are_kept_while_it_waits(registry: Registry) -> None:
    registry.register(token_of(1))
    say(registry, 1, "receipt_of", 2, source="a", ratio=(1, 2))
    said = say(registry, 1, "receipt_of", 2, source="b", ratio=(1, 3), valid_from=5)
    assert (said.outcome, len(said.conflicts)) == ("amended", 1)
    sides = (Register.of(token_of(number)).fingerprint for number in (1, 2))
    list(registry.execute([Unit((Unrelate.make(next(sides), "receipt_of", next(sides), 9),),
                                Origin("a"))]))  # fmt: skip
    id = registry.register(token_of(2)).id
    assert registry.related(id) == []
    (link,) = registry.related(id, valid=7)
    assert (link.ratio, link.valid_from, link.valid_to) == ((1, 2), 5, 9)
    corrected = say(registry, 1, "receipt_of", 2, source="a", ratio=(1, 4), content_hash=b"")
    assert corrected.outcome == "amended", "a's own word, whoever completed it"


def test_a_circle_waits_for_ever_and_is_told(registry: Registry) -> None:
    registry.register(token_of(1))
    say(registry, 1, "wraps", 2)
    say(registry, 2, "wraps", 1)
    two = registry.register(token_of(2))
    assert (two.met, len(registry.related(two.id))) == (1, 1)
    (waits,) = registry.relations.waiting()
    assert waits.is_refused
    with pytest.raises(ValueError, match="lead back to where it starts"):
        say(registry, 2, "wraps", 1)
    head = registry.log.head
    assert registry.register(token_of(2)).met == 0 and registry.log.head == head
    assert audit_meaning(registry.log).ok
    (link,) = registry.related(two.id)
    registry.unrelate(link.instrument, "wraps", link.other, valid_to=1)
    assert say(registry, 2, "wraps", 1, valid_from=1).outcome == "amended"
    assert [each.valid_from for each in registry.related(two.id)] == [1]


def test_a_retry_is_told_the_same(registry: Registry) -> None:
    registry.register(token_of(1))
    said = say(registry, 2, "wraps", 1, request_id="r1")
    came = registry.register(token_of(2, symbol="TWO"), request_id="r2")
    assert (said.outcome, came.outcome, came.met) == ("waiting", "new", 1)
    head = registry.log.head
    assert say(registry, 2, "wraps", 1, request_id="r1") == said
    assert registry.register(token_of(2, symbol="TWO"), request_id="r2") == came
    assert registry.log.head == head


def test_more_than_one_commit_can_hold(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.registry.waiting.MET_MAX", 3)
    registry.register_many([token_of(number) for number in range(1, 8)])
    for number in range(1, 8):
        say(registry, number, "wraps", 9)
    assert [registry.register(token_of(9)).met for _ in range(4)] == [3, 3, 1, 0]
    assert registry.relations.waiting_count() == 0


def test_patterns_select_it_by_the_end_that_is_there(registry: Registry) -> None:
    there = registry.register(token_of(1)).id
    say(registry, 2, "wraps", 1)
    came = registry.register(token_of(2)).id
    for id, offsets in ((there, [0, 1, 3]), (came, [2, 3])):
        pattern = Pattern.parse(f"instrument=0x{id:016x}")
        assert [event.offset for event in registry.log.read(0, None, pattern)] == offsets
    body = registry.log.event(1).body
    assert isinstance(body, RelationBody) and body.instrument == 0 and body.other == there


def test_any_order_of_files_is_the_same_after_one_import_of_each(tmp_path: Path) -> None:
    rng = random.Random(7)
    files = [
        token_list(
            tmp_path / f"{chain}.json",
            *(token(number, chainId=chain, extensions={"bridgeInfo": {
                str(other): {"tokenAddress": f"0x{number:040x}"}
                for other in (1, 10, 137, 8453) if (other == 1) != (chain == 1)
            }}) for number in range(1, 5)), name=str(chain),
        )
        for chain in (1, 10, 137)
    ]  # fmt: skip
    told = set()
    for run in range(4):
        rng.shuffle(files)
        with open_home(tmp_path / f"home{run}") as registry:
            for path in files:
                assert import_file(registry, path).is_clean
            told.add((digest(registry), registry.relations.waiting_count()))
            assert audit_meaning(registry.log).ok
    assert len(told) == 1
    assert next(iter(told))[0][0] == 12 and next(iter(told))[1] == 4, "those to 8453 wait"


def test_a_watcher_need_not_come_back(tmp_path: Path) -> None:
    """Each content is imported once, by watchers that end in between."""
    feeds = tmp_path / "feeds"
    feeds.mkdir()
    make: list[Callable[[], object]] = [
        lambda: token_list(feeds / "near.json", bridged(1, 10)),
        lambda: token_list(feeds / "far.json", token(1, chainId=10), name="far"),
    ]
    for write in make:
        write()
        with open_home(tmp_path / "home") as registry:
            found = list(Discovery(registry, [feeds], ANY, settle_s=0).once())
    assert sorted(each.what for each in found) == ["imported", "known"]
    with open_home(tmp_path / "home") as registry:
        assert registry.relations.waiting_count() == 0
        (body,) = [e.body for e in registry.read() if e.kind == Kind.RELATION_AMENDED]
        assert isinstance(body, RelationBody)
        assert len(registry.related(body.instrument)) == 1


def test_another_home_waits_too(registry: Registry, tmp_path: Path) -> None:
    from alphapulse.registry.render import event_dict

    registry.register(token_of(1))
    say(registry, 2, "wraps", 1)
    path = tmp_path / "events.jsonl"
    path.write_text("".join(
        json.dumps(event_dict(event, raw=True)) + "\n" for event in registry.read()
    ))
    with open_home(tmp_path / "other") as other:
        report = import_file(other, path)
        assert (report.new, report.relations_waiting) == (1, 1)
        assert other.register(token_of(2)).met == 1
        registry.register(token_of(2))
        assert digest(other) == digest(registry)


@pytest.mark.parametrize(
    ("at", "changes", "why"),
    [
        (1, {"other": 5}, "only one end"),
        (1, {"instrument": 0}, "only one end"),
        (1, {"missing_key": b"\x01a"}, "key and fingerprint do not belong together"),
        (1, {"missing_key": b""}, "far end is not registered"),
        (1, {"relation": RelationKind.GROUPED, "group": "g"}, "only one end"),
        (3, {}, "the end that it waits for is registered"),
        (4, {}, "an end that was there is missing"),
        (2, {"earlier": ((5, 0, RelationWords()),), "valid_from": 9, "revision": 2},
         "periods overlap"),
    ],
)  # fmt: skip
def test_what_no_event_may_say(
    registry: Registry, at: int, changes: dict[str, Any], why: str
) -> None:
    """Before each offset, the event that waits (1) is said otherwise, again or anew."""
    registry.register(token_of(1))
    say(registry, 1, "wraps", 2)
    registry.register(token_of(2))
    state = Remembered(64)
    first = registry.log.event(1)
    assert isinstance(first.body, RelationBody)
    events = [event for event in registry.read() if at != 3 or event.offset != 1]
    for event in events:
        if event.offset < at:
            state.fold(event)
    held = state.entity(Space.RELATION, first.entity)
    kind = Kind.RELATION_AMENDED if held else Kind.RELATION_ADDED
    body = replace(first.body, **{"revision": 1 + (held.revision if held else 0), **changes})
    with pytest.raises(IllegalEvent, match=why):
        check_body(state, kind, Space.RELATION, first.entity, held, body)


def test_what_waits_is_no_way_to_anywhere(registry: Registry) -> None:
    """Both missing ends have the id 0, and are not one."""
    registry.register_many([token_of(1, name="Same Name"), token_of(2, name="Same Name")])
    say(registry, 1, "wraps", 8)
    say(registry, 9, "wraps", 2)
    assert len(registry.look_alikes().pairs) == 1
    assert say(registry, 2, "wraps", 1).outcome == "new"
    assert audit_meaning(registry.log).ok
