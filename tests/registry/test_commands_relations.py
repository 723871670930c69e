"""Links between instruments: said, said again, amended, disputed, ended, and never in circles."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from alphapulse.log import (
    Event,
    InvalidInput,
    Kind,
    RelationBody,
    RelationKind,
    RelationWords,
    parse_time,
)
from alphapulse.projections import fields_in_conflict
from alphapulse.registry import (
    LINKS,
    Registry,
    Relate,
    RelationCycle,
    RequestReused,
    UnknownInstrument,
    UnknownRelation,
    Unrelate,
)
from alphapulse.registry import relation_rules as rules
from alphapulse.registry.audit import audit_meaning

from .homes import receipts, record, rows, tokens, unit

I64_MAX = (1 << 63) - 1
ACYCLIC = [name for name in LINKS if name != "same_as"]


class Three(NamedTuple):
    a: int
    b: int
    c: int


@pytest.fixture
def three(registry: Registry) -> Three:
    """Ids in the order of their fingerprints. Head: 3."""
    made = sorted(registry.register_many(tokens(3)), key=lambda receipt: receipt.fingerprint)
    return Three(*(receipt.id for receipt in made))


def body(registry: Registry, offset: int) -> RelationBody:
    found = registry.body_at(offset)
    assert isinstance(found, RelationBody)
    return found


def test_a_relation(registry: Registry, three: Three) -> None:
    receipt = registry.relate(
        three.a, "receipt_of", three.b, ratio="2/4", valid_from="2020-01-01", source="a"
    )
    assert (receipt.outcome, receipt.offset) == ("new", 3)
    event, said = registry.log.event(3), body(registry, 3)
    assert event.kind == Kind.RELATION_ADDED
    assert event.valid_from == said.valid_from == parse_time("2020-01-01")
    assert (said.instrument, said.relation, said.other) == (
        three.a, RelationKind.RECEIPT_OF, three.b
    )  # fmt: skip
    assert (said.ratio_numerator, said.ratio_denominator) == (1, 2)
    assert (said.valid_to, said.revision) == (0, 1)
    for words in ({}, {"ratio": "1/2"}, {"valid_from": "2020-01-01"}, {"ratio": "500/1000"}):
        again: Any = registry.relate(three.a, "receipt_of", three.b, **words, source="b")
        assert again == receipt._replace(outcome="unchanged")
    others = [registry.relate(three.b, "receipt_of", three.c),
              registry.relate(three.a, "component", three.b)]  # fmt: skip
    assert [each.outcome for each in others] == ["new", "new"]
    assert registry.log.head == 6


def test_same_as_has_no_direction(registry: Registry, three: Three) -> None:
    first = registry.relate(three.b, "same_as", three.a)
    assert registry.relate(three.a, "same_as", three.b) == first._replace(outcome="unchanged")
    assert registry.unrelate(three.a, "same_as", three.b, valid_to=9).outcome == "amended"
    assert registry.unrelate(three.b, "same_as", three.a, valid_to=9).outcome == "unchanged"


@pytest.mark.parametrize(
    "ratio, relation, expected",
    [
        ("2", "receipt_of", (2, 1)), (3, "component", (3, 1)), ("6/4", "succeeds", (3, 2)),
        ("1/1", "wraps", (1, 1)), ("7/7", "bridged_from", (1, 1)), (" 1/10 ", "succeeds", (1, 10)),
        (f"{10**30}/{2 * 10**30}", "component", (1, 2)),
        (f"{I64_MAX}/1", "component", (I64_MAX, 1)), (None, "wraps", None), ("", "succeeds", None),
    ],
)  # fmt: skip
def test_ratios_are_exact(
    registry: Registry, three: Three, ratio: Any, relation: str, expected: tuple[int, int] | None
) -> None:
    offset = registry.relate(three.a, relation, three.b, ratio=ratio).offset
    assert rules.ratio_in(body(registry, offset)) == expected
    (found,) = registry.related(three.a)
    assert found.ratio == expected
    assert registry.relate(three.a, relation, three.b, ratio=ratio).outcome == "unchanged"


@pytest.mark.parametrize(
    "ratio, relation",
    [
        ("0/1", "receipt_of"), ("1/0", "receipt_of"), ("0", "component"), (0, "component"),
        (-1, "component"), ("-1/2", "succeeds"), ("1/-2", "succeeds"), ("0.5", "component"),
        ("1/2/3", "component"), ("half", "component"), (0.5, "component"), (True, "component"),
        ("٣", "component"), (f"{I64_MAX + 1}", "component"), (f"1/{I64_MAX + 1}", "component"),
        ("2/1", "wraps"), ("1/2", "bridged_from"), ("1/1", "same_as"), ("1/1", "underlying"),
        ("9" * 5000, "component"),
    ],
)  # fmt: skip
def test_what_is_no_ratio(registry: Registry, three: Three, ratio: Any, relation: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.relate(three.a, relation, three.b, ratio=ratio)
    assert "ratio" in caught.value.doing
    assert registry.log.head == 3


def test_what_cannot_be_related(registry: Registry, three: Three) -> None:
    for name in ("grouped", "likes", "", None, 4, "wraps\x1b"):
        with pytest.raises(InvalidInput):
            registry.relate(three.a, name, three.b)  # type: ignore[arg-type]  # bad on purpose
    for name in LINKS:
        with pytest.raises(InvalidInput):
            registry.relate(three.a, name, three.a)
    with pytest.raises(UnknownInstrument):
        registry.relate(three.a, "wraps", 5)
    with pytest.raises(UnknownInstrument):
        registry.unrelate(5, "wraps", three.a, valid_to=1)
    with pytest.raises(UnknownRelation):
        registry.unrelate(three.a, "wraps", three.b, valid_to=1)
    (outcome,) = registry.execute([unit(Relate.make(bytes(16), "wraps", b"\1" * 16))])
    assert isinstance(outcome, UnknownInstrument)
    assert registry.log.head == 3


def test_the_same_source_amends_and_another_conflicts(registry: Registry, three: Three) -> None:
    words = (three.a, "receipt_of", three.b)
    first = registry.relate(*words, ratio="1/2", source="a")
    amended = registry.relate(*words, ratio="1/3", source="a")
    assert amended == first._replace(offset=4, outcome="amended")
    assert registry.log.event(4).kind == Kind.RELATION_AMENDED
    refused = registry.relate(*words, ratio="1/4", source="b")
    assert (refused.outcome, refused.conflicts) == ("unchanged", (5,))
    assert registry.relate(*words, ratio="1/4", source="b") == refused
    conflict: Any = registry.body_at(5)
    assert (conflict.field, conflict.held, conflict.offered) == ("ratio", "1/3", "1/4")
    assert conflict.instrument == three.a
    filled = registry.relate(*words, ratio="1/4", valid_from=5, source="b")
    assert (filled.outcome, filled.conflicts) == ("amended", (5,))
    assert registry.relate(*words, valid_from=6, source="a").conflicts == (7,)
    held = body(registry, 6)
    assert (rules.ratio_in(held), held.valid_from, held.revision) == ((1, 3), 5, 3)
    kinds = [event.kind for event in registry.history(three.b)][1:]
    assert kinds == [Kind.RELATION_ADDED, Kind.RELATION_AMENDED, Kind.CONFLICT_DETECTED,
                     Kind.RELATION_AMENDED, Kind.CONFLICT_DETECTED]  # fmt: skip
    table = registry.views.table("relations")
    assert fields_in_conflict(table.trailer(table.find(first.id)).aux) == {"ratio", "valid_from"}
    assert audit_meaning(registry.log).ok


def test_a_ratio_that_was_left_out_is_no_word_for_one_to_one(
    registry: Registry, three: Three
) -> None:
    words = (three.a, "succeeds", three.b)
    registry.relate(*words, source="a")
    assert registry.relate(*words, ratio="1/1", source="b").outcome == "amended"
    assert registry.relate(*words, ratio="2/1", source="a").conflicts == (5,)
    assert registry.relate(*words, source="a").outcome == "unchanged"


def test_a_relation_ends_and_begins_anew(registry: Registry, three: Three) -> None:
    words = (three.a, "wraps", three.b)
    first = registry.relate(*words, valid_from=10, source="list")
    for valid_to in (10, 9):
        with pytest.raises(InvalidInput):
            registry.unrelate(*words, valid_to=valid_to)
        with pytest.raises(InvalidInput):
            registry.relate(*words, valid_from=10, valid_to=valid_to)
    with pytest.raises(InvalidInput):
        registry.unrelate(*words, valid_to=0)
    ended = registry.unrelate(*words, valid_to=20, source="desk")
    assert ended == first._replace(offset=4, outcome="amended")
    assert registry.log.event(4).kind == Kind.RELATION_ENDED
    assert registry.unrelate(*words, valid_to=20).outcome == "unchanged"
    assert registry.unrelate(*words, valid_to=30, source="desk").outcome == "amended"
    assert registry.relate(*words, source="list").outcome == "unchanged"
    assert registry.relate(*words, valid_from=29, source="desk").conflicts == (6,)
    assert registry.relate(*words, valid_from=30, source="other").outcome == "amended"
    held = body(registry, 7)
    assert (held.valid_from, held.valid_to, held.revision) == (30, 0, 4)
    assert held.earlier == ((10, 30, RelationWords()),)


@pytest.mark.parametrize("relation", ACYCLIC)
def test_what_leads_back_is_refused(registry: Registry, three: Three, relation: str) -> None:
    registry.relate(three.a, relation, three.b)
    with pytest.raises(RelationCycle) as caught:
        registry.relate(three.b, relation, three.a)
    a, b, c = (f"0x{id:016x}" for id in three)
    assert caught.value.facts["path"] == f"{b} {relation} {a} {relation} {b}"
    registry.relate(three.b, relation, three.c)
    with pytest.raises(RelationCycle) as caught:
        registry.relate(three.c, relation, three.a)
    path = f" {relation} ".join((c, a, b, c))
    assert path in str(caught.value)
    other = next(name for name in ACYCLIC if name != relation)
    assert registry.relate(three.c, other, three.a).outcome == "new", "each relation by itself"
    assert registry.log.head == 6


def test_same_as_may_go_in_circles(registry: Registry, three: Three) -> None:
    for one, other in itertools.permutations(three, 2):
        registry.relate(one, "same_as", other)
    assert registry.log.head == 6
    assert audit_meaning(registry.log).ok


def test_a_circle_within_one_group_of_commands(registry: Registry, three: Three) -> None:
    """Nothing of it is in the views yet; and a unit that is refused leaves nothing behind."""
    a, b, c = (record(registry, id).fingerprint for id in three)
    ab, bc, ca, ba = (
        Relate.make(x, "wraps", y) for x, y in ((a, b), (b, c), (c, a), (b, a))
    )
    outcomes = list(registry.execute([unit(ab), unit(bc), unit(ca)]))
    assert receipts(outcomes[0]) and receipts(outcomes[1])
    assert isinstance(outcomes[2], RelationCycle)
    (whole,) = registry.execute([unit(Relate.make(c, "component", a), ca)])
    assert isinstance(whole, RelationCycle)
    assert registry.log.head == 5
    later = Unrelate.make(a, "wraps", b, 50)
    outcomes = list(registry.execute([unit(later), unit(ba),
                                      unit(ba._replace(valid_from=50))]))  # fmt: skip
    assert isinstance(outcomes[1], RelationCycle)
    assert receipts(outcomes[2])[0].outcome == "new"
    assert audit_meaning(registry.log).ok


def test_only_what_holds_at_the_same_time_makes_a_circle(registry: Registry, three: Three) -> None:
    registry.relate(three.a, "wraps", three.b, valid_from=10, valid_to=20)
    registry.relate(three.b, "wraps", three.a, valid_from=20, valid_to=30)
    for valid_from, valid_to in ((5, 30), (5, 31)):
        with pytest.raises(RelationCycle):
            registry.relate(three.b, "wraps", three.a, valid_from=valid_from, valid_to=valid_to)
    with pytest.raises(RelationCycle):
        registry.unrelate(three.a, "wraps", three.b, valid_to=21)
    assert registry.log.head == 5


def test_who_leads_to_too_many_is_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [receipt.id for receipt in registry.register_many(tokens(6))]
    for one, other in itertools.pairwise(ids[1:]):
        registry.relate(one, "wraps", other)
    monkeypatch.setattr(rules, "REACH_MAX", 4)
    with pytest.raises(Exception, match="leads to over"):
        registry.relate(ids[0], "wraps", ids[1])
    monkeypatch.setattr(rules, "REACH_MAX", 5)
    assert registry.relate(ids[0], "wraps", ids[1]).outcome == "new"


# --- requests --------------------------------------------------------------------------------


def test_retries_are_told_the_same(registry: Registry, three: Three) -> None:
    words = (three.a, "receipt_of", three.b)
    commands: list[Callable[[], Any]] = [
        lambda: registry.relate(*words, ratio="1/2", source="a", request_id="1"),
        lambda: registry.relate(*words, ratio="2/4", source="a", request_id="2"),
        lambda: registry.relate(*words, ratio="1/3", source="b", request_id="3"),
        lambda: registry.relate(*words, ratio="1/3", valid_from=5, source="b", request_id="4"),
        lambda: registry.unrelate(*words, valid_to=9, request_id="5"),
        lambda: registry.unrelate(*words, valid_to=9, request_id="6"),
        lambda: registry.relate(*words, valid_from=9, request_id="7"),
    ]
    first = [command() for command in commands]
    assert [receipt.outcome for receipt in first] == [
        "new", "unchanged", "unchanged", "amended", "amended", "unchanged", "amended",
    ]  # fmt: skip
    head = registry.log.head
    assert [command() for command in commands] == first
    assert registry.log.head == head
    others: list[Callable[[], Any]] = [
        lambda: registry.relate(*words, ratio="1/4", source="a", request_id="1"),
        lambda: registry.relate(*words[:2], three.c, ratio="1/2", source="a", request_id="1"),
        lambda: registry.relate(three.a, "succeeds", three.b, request_id="2"),
        lambda: registry.unrelate(*words, valid_to=8, request_id="5"),
        lambda: registry.unrelate(*words, valid_to=8, request_id="6"),
    ]
    for other in others:
        with pytest.raises(RequestReused):
            other()
    assert registry.log.head == head
    assert audit_meaning(registry.log).ok


# --- views -----------------------------------------------------------------------------------

def test_what_is_seen_of_a_relation(registry: Registry, three: Three) -> None:
    words = (three.a, "receipt_of", three.b)
    registry.relate(*words, ratio="1/2", source="a")
    registry.relate(*words, valid_from=5, source="a")
    disputed = registry.relate(*words, ratio="1/3", source="b").conflicts[0]
    before = rows(registry)["relations"]
    registry.acknowledge(disputed)
    assert rows(registry)["relations"] != before, "what is disputed does not count"
    registry.unrelate(*words, valid_to=7)
    assert all(each.equal for each in registry.rebuild(check=True))
    shown = [(c.field.partition(" ")[2][19:], c.before, c.after)
             for c in registry.diff(2, registry.log.head - 1)]  # fmt: skip
    assert shown == [
        ("", None, True), ("ratio", None, "1/2"),
        ("valid_from", None, "1970-01-01T00:00:00.000000005Z"),
        ("valid_to", None, "1970-01-01T00:00:00.000000007Z"),
    ]  # fmt: skip
    of_a = {blame.field.rpartition(" ")[2]: blame.offset for blame in registry.blame(three.a)
            if blame.field.startswith("receipt_of")}  # fmt: skip
    assert of_a == {f"0x{three.b:016x}": 3, "ratio": 3, "valid_from": 4, "valid_to": 7}
    assert not [b for b in registry.blame(three.b) if "receipt_of" in b.field]
    matched: list[Event] = list(registry.read(pattern=f"instrument=0x{three.b:016x} kind=relation"))
    assert [event.kind_name for event in matched] == [
        "relation.added", "relation.amended", "relation.ended"
    ]  # fmt: skip
