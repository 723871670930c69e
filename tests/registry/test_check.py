"""Events that nobody could have decided, written past the door: the audit names each one.

Every case is one draft, or a few, made from the log and appended by hand. `check` must refuse the
last of them with its reason, and the audit's verdict must name its offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import (
    AcknowledgedBody,
    AnswerBody,
    AssetClass,
    CollisionBody,
    ConflictBody,
    Corrupt,
    Draft,
    Event,
    EventLog,
    InstrumentBody,
    Kind,
    ListingBody,
    RelationBody,
    RelationKind,
    Space,
    Status,
    copy_prefix,
)
from alphapulse.registry import (
    Equity,
    IllegalEvent,
    Listing,
    Origin,
    Register,
    Registry,
    facts_from,
    facts_of,
)
from alphapulse.registry.audit import Remembered, audit_meaning
from alphapulse.registry.check import check
from alphapulse.registry.commands import decide
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import (
    fallback_id,
    fingerprint_of,
    group_relation_key,
    listing_key,
    primary_id,
    relation_key,
    venue_fingerprint,
)
from alphapulse.registry.state import State

from .homes import APPLE, open_home, token, tokens

APPLE_AT, TOKEN_AT, LISTING_AT, GROUP_AT, OPEN_AT, CLOSED_AT, _, LINK_AT = range(8)
"""Offsets in the home that `fill` makes; the alert at CLOSED_AT is acknowledged at 6."""
HEAD = 8


def fill(registry: Registry) -> None:
    apple = registry.register(APPLE, source="a").id
    other = registry.register(token(1, symbol="T"), source="a").id
    registry.add_listing(
        Listing(instrument=apple, venue="XETR", currency="EUR", valid_from=10), source="a"
    )
    registry.add_to_group(other, "a", "g")
    registry.register(Equity(isin=APPLE.isin, symbol="X"), source="b")
    registry.register(Equity(isin=APPLE.isin, symbol="Y"), source="b")
    registry.acknowledge(CLOSED_AT)
    registry.relate(other, "receipt_of", apple, ratio="1/2", valid_from=10, source="a")
    assert registry.log.head == HEAD


def remembered(log: EventLog) -> Remembered:
    state = Remembered(log.genesis.id_bits)
    for event in log.read():
        state.fold(event)
    return state


def draft(log: EventLog, kind: Kind, space: Space, entity: int, body: Any, **other: Any) -> Draft:
    """With the right previous offset, unless that is given."""
    held = remembered(log).entity(space, entity)
    fields = {"previous": held.last_offset if held else None, **other}
    return Draft(kind, space, entity, body=body, **fields)


def instrument(log: EventLog, at: int, **wire: Any) -> InstrumentBody:
    """The state at an offset, revision 2 unless it is given."""
    event = log.event(at)
    assert isinstance(event.body, InstrumentBody)
    facts = facts_from(event.body)
    fields = {"id": event.entity, "fingerprint": fingerprint_of(facts.key), "revision": 2, **wire}
    return body_of(facts, **fields)


def newcomer(number: int = 2, **wire: Any) -> InstrumentBody:
    facts = facts_of(token(number))
    fingerprint = fingerprint_of(facts.key)
    return body_of(facts, **{"id": primary_id(fingerprint), "fingerprint": fingerprint, **wire})


NEW = primary_id(Register.of(token(2)).fingerprint)
FALLBACK = fallback_id(Register.of(token(2)).fingerprint, 1)


def listing(log: EventLog, **changes: Any) -> ListingBody:
    body = log.event(LISTING_AT).body
    assert isinstance(body, ListingBody)
    return replace(body, **{"revision": 2, **changes})


def line(log: EventLog, number: int, **changes: Any) -> tuple[int, ListingBody]:
    """(id, body) of a new listing, right but for the changes made after its key was hashed."""
    body = listing(log, line=number, revision=1)
    fingerprint = fingerprint_of(
        listing_key(
            body.instrument_fingerprint, venue_fingerprint(body.venue), body.currency, number
        )
    )
    return primary_id(fingerprint), replace(body, fingerprint=fingerprint, **changes)


def group(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    body = log.event(GROUP_AT).body
    assert isinstance(body, RelationBody)
    fingerprint = fingerprint_of(group_relation_key(body.instrument_fingerprint, "a", "h"))
    return primary_id(fingerprint), replace(body, fingerprint=fingerprint, group="h", **changes)


def bridge(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    """From the token to Apple, absurd and legal."""
    return link(log, RelationKind.BRIDGED_FROM, **changes)


def receipt(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    return link(log, RelationKind.RECEIPT_OF, **changes)


def back(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    """From Apple to the token, which is a receipt of Apple (LINK_AT)."""
    return link(log, RelationKind.RECEIPT_OF, APPLE_AT, TOKEN_AT, **changes)


def same(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    in_order = Register.of(APPLE).fingerprint < Register.of(token(1)).fingerprint
    sides = (APPLE_AT, TOKEN_AT) if in_order else (TOKEN_AT, APPLE_AT)
    return link(log, RelationKind.SAME_AS, *sides, **changes)


def same_turned_round(log: EventLog, **changes: Any) -> tuple[int, RelationBody]:
    _, body = same(log)
    at = {log.event(at).entity: at for at in (APPLE_AT, TOKEN_AT)}
    return link(log, RelationKind.SAME_AS, at[body.other], at[body.instrument], **changes)


def link(
    log: EventLog, kind: RelationKind, near_at: int = TOKEN_AT, far_at: int = APPLE_AT,
    **changes: Any,
) -> tuple[int, RelationBody]:  # fmt: skip
    near, far = log.event(near_at), log.event(far_at)
    sides = [event.instrument_body.message[16:32] for event in (near, far)]
    fingerprint = fingerprint_of(relation_key(kind, *sides))
    body = RelationBody(
        fingerprint=fingerprint, relation=kind, asset_class=near.instrument_body.message[2],
        instrument=near.entity, instrument_fingerprint=sides[0], other=far.entity,
        other_fingerprint=sides[1],
    )  # fmt: skip
    return primary_id(fingerprint), replace(body, **changes)


def conflict(held: str = "AAPL") -> ConflictBody:
    return ConflictBody(
        asset_class=AssetClass.EQUITY, field="symbol", held=held, held_source="a", offered="Z",
        offered_source="c",
    )  # fmt: skip


def answer(offset: int, *conflicts: int) -> AnswerBody:
    return AnswerBody(answer=offset, conflicts=conflicts, asset_class=AssetClass.EQUITY)


Make = Callable[[EventLog], Draft]
INST, LIST, REL = Space.INSTRUMENT, Space.LISTING, Space.RELATION


def an_instrument(kind: Kind, at: int = TOKEN_AT, *, space: Space = INST, **wire: Any) -> Make:
    return lambda log: draft(log, kind, space, log.event(at).entity, instrument(log, at, **wire))


def a_newcomer(entity: int = NEW, **wire: Any) -> Make:
    return lambda log: draft(log, Kind.INSTRUMENT_REGISTERED, INST, entity, newcomer(**wire))


def a_listing(kind: Kind, **changes: Any) -> Make:
    return lambda log: draft(log, kind, LIST, log.event(LISTING_AT).entity, listing(log, **changes))


def a_line(space: Space = LIST, **changes: Any) -> Make:
    def make(log: EventLog) -> Draft:
        id, body = line(log, 1, **changes)
        return draft(log, Kind.LISTING_ADDED, space, id, body)

    return make


def a_relation(
    of: Callable[..., tuple[int, RelationBody]], space: Space = REL, **changes: Any
) -> Make:
    def make(log: EventLog) -> Draft:
        id, body = of(log, **changes)
        return draft(log, Kind.RELATION_ADDED, space, id, body)

    return make


def the_link(kind: Kind, **changes: Any) -> Make:
    """The relation at LINK_AT, revision 2 unless it is given."""

    def make(log: EventLog) -> Draft:
        event = log.event(LINK_AT)
        assert isinstance(event.body, RelationBody)
        body = replace(event.body, **{"revision": 2, **changes})
        return draft(log, kind, REL, event.entity, body)

    return make


def about(at: int, kind: Kind, body: Any, **other: Any) -> Make:
    return lambda log: draft(log, kind, INST, log.event(at).entity, body, **other)


REGISTERED, AMENDED, STATUS = (
    Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED, Kind.INSTRUMENT_STATUS
)  # fmt: skip
LEGAL: dict[str, Make] = {
    "newcomer": a_newcomer(),
    "amended": an_instrument(AMENDED),
    "status": an_instrument(STATUS, status=Status.HALTED),
    "listing": a_line(),
    "listing amended": a_listing(Kind.LISTING_AMENDED, symbol="X"),
    "listing ended": a_listing(Kind.LISTING_ENDED, valid_to=11),
    "group": a_relation(group),
    "bridge": a_relation(bridge),
    "same as": a_relation(same),
    "relation amended": the_link(Kind.RELATION_AMENDED, ratio_denominator=3),
    "relation ended": the_link(Kind.RELATION_ENDED, valid_to=11),
    "a link back when the first has ended": a_relation(back, valid_to=10, valid_from=9),
    "conflict": about(APPLE_AT, Kind.CONFLICT_DETECTED, conflict()),
    "acknowledged": about(APPLE_AT, Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=OPEN_AT)),
    "answered": about(APPLE_AT, Kind.REQUEST_ANSWERED, answer(APPLE_AT, OPEN_AT)),
}
ELSE = bytes(range(16))
ILLEGAL: dict[str, tuple[Make, str]] = {
    "answer about nobody": (
        lambda log: draft(log, Kind.REQUEST_ANSWERED, INST, NEW, answer(APPLE_AT)), "not registered"
    ),
    "answer of the future": (
        about(APPLE_AT, Kind.REQUEST_ANSWERED, answer(HEAD)), "not before it"
    ),
    "answer in a conflict of the future": (
        about(APPLE_AT, Kind.REQUEST_ANSWERED, answer(APPLE_AT, HEAD)), "not before it"
    ),
    "answer of an unknown class": (
        about(APPLE_AT, Kind.REQUEST_ANSWERED, replace(answer(APPLE_AT), asset_class=99)),
        "class is unknown",
    ),
    "wrong fingerprint": (a_newcomer(fingerprint=ELSE), "do not belong together"),
    "wrong id in the message": (a_newcomer(id=FALLBACK), "do not belong together"),
    "wrong space": (an_instrument(REGISTERED, space=LIST, revision=1), "do not belong together"),
    "wrong counter": (a_newcomer(counter=1), "its counter is not"),
    "a fallback id for nothing": (a_newcomer(FALLBACK, id=FALLBACK, counter=1), "is free"),
    "an id of nothing": (a_newcomer(5, id=5), "is free"),
    "born at revision 2": (a_newcomer(revision=2), "first revision"),
    "registered twice": (an_instrument(REGISTERED, revision=1), "its id is taken"),
    "registered twice, under a fallback id": (
        lambda log: (lambda id: draft(
            log, REGISTERED, INST, id, instrument(log, TOKEN_AT, id=id, counter=1, revision=1)
        ))(fallback_id(Register.of(token(1)).fingerprint, 1)),
        "registered already",
    ),
    "revision jumps": (an_instrument(AMENDED, revision=3), "revision 3 does not follow 1"),
    "revision stays": (an_instrument(AMENDED, revision=1), "revision 1 does not follow 1"),
    "amended and never registered": (
        lambda log: draft(log, AMENDED, INST, NEW, newcomer(revision=2)), "not registered"
    ),
    "another counter": (an_instrument(AMENDED, counter=1), "not registered"),
    "an amendment of status": (an_instrument(AMENDED, status=Status.HALTED), "status"),
    "illegal status": (an_instrument(STATUS, status=Status.PENDING), "cannot become PENDING"),
    "status stays": (an_instrument(STATUS), "ACTIVE cannot become ACTIVE"),
    "no previous": (
        lambda log: an_instrument(AMENDED)(log)._replace(previous=None), "previous event"
    ),
    "another previous": (
        lambda log: an_instrument(AMENDED)(log)._replace(previous=APPLE_AT), "previous event"
    ),
    "a previous of the first": (lambda log: a_newcomer()(log)._replace(previous=0), "previous"),
    "listing of nobody": (a_line(instrument=NEW), "instrument is not registered"),
    "listing of another": (a_line(instrument_fingerprint=ELSE), "instrument is not registered"),
    "listing of another key": (a_line(currency="USD"), "do not belong together"),
    "listing in another space": (a_line(REL), "do not belong together"),
    "listing ends before it begins": (a_line(valid_to=9), "ends before it begins"),
    "listing ends as it begins": (a_line(valid_to=10), "ends before it begins"),
    "listing born at revision 2": (a_line(revision=2), "first revision"),
    "listing added twice": (a_listing(Kind.LISTING_ADDED, revision=1), "its id is taken"),
    "listing counter": (a_line(counter=1), "its counter is not"),
    "listing jumps": (a_listing(Kind.LISTING_AMENDED, revision=3), "does not follow"),
    "listing ended early": (a_listing(Kind.LISTING_ENDED, valid_to=10), "ends before it begins"),
    "listing ended without an end": (a_listing(Kind.LISTING_ENDED), "it says no end"),
    "group of nobody": (a_relation(group, instrument=NEW), "instrument is not registered"),
    "group of another": (a_relation(group, group_source="b"), "do not belong together"),
    "relation in another space": (a_relation(group, LIST), "do not belong together"),
    "relation to nobody": (a_relation(bridge, other=NEW), "far end"),
    "relation to another": (a_relation(bridge, other_fingerprint=ELSE), "far end"),
    "relation of another kind": (
        a_relation(bridge, relation=RelationKind.WRAPS), "do not belong together"
    ),
    "relation to itself": (
        a_relation(lambda log: link(log, RelationKind.WRAPS, TOKEN_AT, TOKEN_AT)), "to itself"
    ),
    "relation back": (a_relation(back), "lead back to where it starts"),
    "relation back for a moment": (
        a_relation(back, valid_to=11), "lead back to where it starts"
    ),
    "same as, turned round": (a_relation(same_turned_round), "order of their fingerprints"),
    "ratio of 0": (the_link(Kind.RELATION_AMENDED, ratio_numerator=0), "not above zero"),
    "ratio over 0": (the_link(Kind.RELATION_AMENDED, ratio_denominator=0), "not above zero"),
    "ratio below 0": (the_link(Kind.RELATION_AMENDED, ratio_numerator=-1), "not above zero"),
    "ratio too large": (the_link(Kind.RELATION_AMENDED, ratio_numerator=1 << 63), "not above zero"),
    "ratio that can be reduced": (
        the_link(Kind.RELATION_AMENDED, ratio_numerator=2, ratio_denominator=4), "lowest terms"
    ),
    "ratio of two minds": (the_link(Kind.RELATION_AMENDED, one_to_one=True), "not one for one"),
    "ratio of a bridge": (a_relation(bridge, ratio_denominator=2), "no such ratio"),
    "ratio of the same thing": (a_relation(same, one_to_one=True), "no such ratio"),
    "ratio of a group": (a_relation(group, ratio_denominator=2), "no such ratio"),
    "relation ends before it begins": (
        the_link(Kind.RELATION_ENDED, valid_to=9), "ends before it begins"
    ),
    "relation ended without an end": (the_link(Kind.RELATION_ENDED), "it says no end"),
    "relation jumps": (the_link(Kind.RELATION_AMENDED, revision=3), "does not follow"),
    "relation added twice": (the_link(Kind.RELATION_ADDED, revision=1), "its id is taken"),
    "relation amended and never added": (
        lambda log: draft(
            log, Kind.RELATION_AMENDED, REL, bridge(log)[0], bridge(log, revision=2)[1]
        ), "not registered",
    ),
    "relation born at revision 2": (a_relation(bridge, revision=2), "first revision"),
    "relation unknown": (a_relation(bridge, relation=99), "relation is unknown"),
    "relation counter": (a_relation(group, counter=2), "its counter is not"),
    "conflict of nobody": (
        lambda log: draft(log, Kind.CONFLICT_DETECTED, INST, NEW, conflict()), "not registered"
    ),
    "conflict without one": (
        about(APPLE_AT, Kind.CONFLICT_DETECTED, conflict("Z")), "both sides say the same"
    ),
    "acknowledged twice": (
        about(APPLE_AT, Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=CLOSED_AT)), "already"
    ),
    "acknowledged by another": (
        about(TOKEN_AT, Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=OPEN_AT)), "no such alert"
    ),
    "no alert acknowledged": (
        about(APPLE_AT, Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=APPLE_AT)), "no such alert"
    ),
    "a later alert acknowledged": (
        about(APPLE_AT, Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=HEAD)), "no such alert"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """Filled once; each test cuts off again what it appended, by not committing it."""
    home = tmp_path_factory.mktemp("base") / "home"
    with open_home(home) as registry:
        fill(registry)
    with EventLog.open(home, durability="relaxed") as log:
        yield log


def refused_by_check(log: EventLog, made: Draft) -> str:
    with pytest.raises(IllegalEvent) as caught:
        check(remembered(log), made.kind, made.space, made.entity, made.previous, made.body)
    return str(caught.value)


@pytest.mark.parametrize("name", LEGAL)
def test_what_the_cases_start_from_is_legal(base: EventLog, name: str) -> None:
    """The control: each maker, unchanged, makes an event that is fine."""
    made = LEGAL[name](base)
    check(remembered(base), made.kind, made.space, made.entity, made.previous, made.body)


@pytest.mark.parametrize("name", ILLEGAL)
def test_check_refuses(base: EventLog, name: str) -> None:
    make, why = ILLEGAL[name]
    assert why in refused_by_check(base, make(base))


@contextmanager
def copied(base: EventLog, home: Path) -> Iterator[EventLog]:
    copy_prefix(base, home, base.head)
    with EventLog.open(home, durability="relaxed") as log:
        yield log


def test_the_audit_names_each_of_them(base: EventLog, tmp_path: Path) -> None:
    for number, (name, (make, why)) in enumerate(ILLEGAL.items()):
        with copied(base, tmp_path / str(number)) as log:
            after = [LEGAL["newcomer"](log)] if "newcomer" not in name else []
            bad = make(log)
            with log.writing() as session:
                session.append(bad)
                for each in after:
                    session.append(each)
            verdict = audit_meaning(log)
            assert not verdict.ok, name
            assert (verdict.first_bad_offset, verdict.checked) == (HEAD, HEAD), name
            assert why in verdict.detail, name
            assert str(HEAD - 1) in verdict.cure


def test_legal_events_pass_the_audit(base: EventLog, tmp_path: Path) -> None:
    with copied(base, tmp_path / "home") as log:
        ended = [LEGAL[name] for name in ("status", "listing ended", "relation ended")]
        for make in LEGAL.values():
            if make not in ended:
                with log.writing() as session:
                    session.append(make(log))
        verdict = audit_meaning(log)
        assert (verdict.ok, verdict.checked) == (True, HEAD + len(LEGAL) - 3)


def test_a_message_whose_crc_is_wrong(base: EventLog) -> None:
    made = LEGAL["newcomer"](base)
    assert isinstance(made.body, InstrumentBody)
    message = bytearray(made.body.message)
    message[108] ^= 1
    body = InstrumentBody(bytes(message), made.body.extension)
    with pytest.raises(Corrupt):
        check(remembered(base), made.kind, made.space, made.entity, made.previous, body)


# --- collisions ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EventLog, Draft, Draft]]:
    """A log of 8-bit ids, and the two events of one more registration, which collides."""
    home = tmp_path_factory.mktemp("crowded") / "home"
    with open_home(home, id_bits=8) as registry:
        registry.register_many(tokens(60))
    with open_home(home) as registry, registry.rehearsal():
        state = State(registry.log, registry.views, registry.log.head)
        for number in range(100, 200):
            state.begin_unit()
            receipt = decide(Register.of(token(number)), state, Origin())
            if receipt.outcome == "collision":
                break
            state.abandon_unit()
        registered, collided = state.drafts
    with EventLog.open(home, durability="relaxed") as log:
        yield log, registered, collided


HOLDER = Register.of(token(900)).facts.key
COLLISIONS: dict[str, tuple[dict[str, Any], str]] = {
    "another id assigned": ({"assigned": 0}, "newcomer is not registered"),
    "another newcomer": ({"fingerprint": ELSE}, "newcomer is not registered"),
    "another key": ({"key": HOLDER}, "do not belong together"),
    "another counter": ({"counter": 77}, "do not belong together"),
    "another holder": ({"holder": 0}, "nobody else holds"),
    "another wanted id": ({"wanted": 0}, "nobody else holds"),
    "another holder's print": ({"holder_fingerprint": ELSE}, "the holder is another"),
    "another holder's key": ({"holder_key": HOLDER}, "holder's key"),
}


def folded(log: EventLog, *drafts: Draft) -> Remembered:
    state = remembered(log)
    for made in drafts:
        after = check(state, made.kind, made.space, made.entity, made.previous, made.body)
        state.remember(made.space, made.entity, after._replace(last_offset=log.head))
        state._unannounced[made.space, made.entity] = log.head
    return state


@pytest.mark.parametrize("name", COLLISIONS)
def test_a_collision_must_be_one(crowded: tuple[EventLog, Draft, Draft], name: str) -> None:
    log, registered, collided = crowded
    changes, why = COLLISIONS[name]
    body = collided.body
    assert isinstance(body, CollisionBody)
    state = folded(log, registered)
    check(state, collided.kind, collided.space, collided.entity, collided.previous, body)
    with pytest.raises(IllegalEvent, match=why):
        check(
            state, collided.kind, collided.space, collided.entity, collided.previous,
            replace(body, **changes),
        )  # fmt: skip


def test_a_holder_that_is_not_in_the_way(crowded: tuple[EventLog, Draft, Draft]) -> None:
    """The wanted id must be the one that the key derives to, not just any that is taken."""
    log, registered, collided = crowded
    body = collided.body
    assert isinstance(body, CollisionBody)
    state = folded(log, registered)
    other = next(e for e in log.read() if e.entity not in (body.wanted, body.assigned))
    assert isinstance(other.body, InstrumentBody)
    key = other.body.extension.key
    wrong = replace(
        body, wanted=other.entity, holder=other.entity, holder_key=key,
        holder_fingerprint=fingerprint_of(key),
    )  # fmt: skip
    with pytest.raises(IllegalEvent, match="does not derive"):
        check(state, collided.kind, collided.space, collided.entity, collided.previous, wrong)


def test_a_collision_in_nobodys_way(crowded: tuple[EventLog, Draft, Draft]) -> None:
    log, _, collided = crowded
    made = collided._replace(previous=None)
    with pytest.raises(IllegalEvent, match="not registered before it"):
        check(remembered(log), made.kind, made.space, made.entity, made.previous, made.body)


@pytest.mark.parametrize("where", ["in the same commit", "later", "acknowledged between"])
def test_a_collision_is_told_once(
    crowded: tuple[EventLog, Draft, Draft], tmp_path: Path, where: str
) -> None:
    base, registered, collided = crowded
    assert isinstance(collided.body, CollisionBody)
    with copied(base, tmp_path / "home") as log:
        with log.writing() as session:
            session.append(registered)
            newest = session.append(collided)
            if where == "acknowledged between":
                closed = AcknowledgedBody(alert=newest, asset_class=collided.body.asset_class)
                newest = session.append(
                    Draft(Kind.ALERT_ACKNOWLEDGED, collided.space, collided.entity, newest, closed)
                )
            if where == "later":
                session.commit()
            again = session.append(collided._replace(previous=newest))
        verdict = audit_meaning(log)
        assert (verdict.ok, verdict.first_bad_offset) == (False, again)
        assert "told already" in verdict.detail


def test_a_writer_tells_a_collision_once(crowded: tuple[EventLog, Draft, Draft]) -> None:
    """Inside the group that registers the newcomer, and against the views."""
    with open_home(crowded[0].home.path) as registry, registry.rehearsal():
        state = State(registry.log, registry.views, registry.log.head)
        known = next(e for e in registry.read() if isinstance(e.body, CollisionBody))
        events: list[Event | Draft] = [known]
        for number in range(300, 400):
            receipt = decide(Register.of(token(number)), state, Origin())
            if receipt.outcome == "collision":
                events.append(state.drafts[-1])
                break
        assert len(events) == 2
        for event in events:
            with pytest.raises(IllegalEvent, match="told already"):
                state.emit(event.kind, event.space, event.entity, event.body, metadata=b"")


@pytest.mark.parametrize("ending", ["alone", "followed", "announced", "announced later"])
def test_a_fallback_id_needs_its_collision_in_the_same_commit(
    crowded: tuple[EventLog, Draft, Draft], tmp_path: Path, ending: str
) -> None:
    """Only where a replayed prefix was cut right behind it may it be missing."""
    base, registered, collided = crowded
    with copied(base, tmp_path / "home") as log:
        known = next(iter(log.read()))
        filler = draft(log, AMENDED, INST, known.entity, instrument(log, known.offset))
        with log.writing() as session:
            at = session.append(registered)
            if ending == "announced":
                session.append(collided)
            if ending in ("followed", "announced later"):
                session.append(filler)
            if ending == "announced later":
                session.commit()
                session.append(collided)
        verdict = audit_meaning(log)
        assert verdict.ok == (ending in ("alone", "announced"))
        if not verdict.ok:
            assert "without its collision" in verdict.detail
            assert verdict.first_bad_offset == at
