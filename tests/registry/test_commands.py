"""What becomes of each command, one at a time, through the facade."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from alphapulse.log import STATUS_NAMES, ConflictBody, InvalidInput, Kind, Status, parse_time
from alphapulse.registry import (
    Equity,
    Etf,
    IllegalTransition,
    Origin,
    Receipt,
    Register,
    Registry,
    Unit,
    UnknownAlert,
    UnknownInstrument,
)
from alphapulse.registry.check import NEXT

from .homes import APPLE, isin, receipts, record, token


def conflict(registry: Registry, offset: int) -> tuple[str, str, str, str, str]:
    body = registry.body_at(offset)
    assert isinstance(body, ConflictBody)
    return body.field, body.held, body.held_source, body.offered, body.offered_source


def kinds(registry: Registry) -> list[Kind]:
    return [Kind(event.kind) for event in registry.read()]


# --- registering -----------------------------------------------------------------------------


def test_a_new_instrument(registry: Registry) -> None:
    receipt = registry.register(APPLE, source="a")
    assert (receipt.outcome, receipt.offset, receipt.conflicts) == ("new", 0, ())
    found = record(registry, receipt.id)
    assert (found.isin, found.symbol, found.revision) == ("US0378331005", "AAPL", 1)
    assert found.fingerprint == receipt.fingerprint
    assert found.status is Status.ACTIVE


@pytest.mark.parametrize("source", ["a", "b", ""])
@pytest.mark.parametrize("again", [APPLE, Equity(isin="US0378331005"), Equity(isin=APPLE.isin,
                                   symbol="AAPL", status="active")])  # fmt: skip
def test_saying_it_again_adds_nothing(registry: Registry, source: str, again: Equity) -> None:
    first = registry.register(APPLE, source="a")
    assert registry.register(again, source=source) == first._replace(outcome="unchanged")
    assert registry.log.head == 1


def test_the_same_source_amends(registry: Registry) -> None:
    first = registry.register(APPLE, source="a")
    second = registry.register(Equity(isin=APPLE.isin, symbol="AAPX", name="Apple"), source="a")
    assert second == first._replace(offset=1, outcome="amended")
    found = record(registry, first.id)
    assert (found.symbol, found.revision, found.fingerprint) == ("AAPX", 2, first.fingerprint)
    unchanged = registry.register(Equity(isin=APPLE.isin, symbol="AAPX"), source="a")
    assert unchanged == second._replace(outcome="unchanged")


def test_a_file_that_contradicts_itself_does_not_amend(registry: Registry) -> None:
    """Else the same file imported again would amend to and fro for ever."""

    def say(symbol: str, file: bytes) -> Receipt:
        command = Register.of(token(1, symbol=symbol))
        (outcome,) = registry.execute([Unit((command,), Origin("a", file))])
        return receipts(outcome)[0]

    assert say("T", b"1").outcome == "new"
    assert say("U", b"1").conflicts == (1,)
    assert (say("U", b"1").conflicts, say("T", b"1").conflicts) == ((1,), ())
    assert registry.log.head == 2
    assert say("U", b"2").outcome == "amended"  # the next file of this source
    assert registry.register(token(1, symbol="V"), source="a").outcome == "amended"
    assert registry.log.head == 4


def test_another_source_conflicts_once_for_each_field_value_and_source(registry: Registry) -> None:
    id = registry.register(APPLE, source="a").id

    def say(source: str, **fields: Any) -> Receipt:
        return registry.register(Equity(isin=APPLE.isin, **fields), source=source)

    receipt = say("b", symbol="X")
    assert (receipt.outcome, receipt.offset, receipt.conflicts) == ("unchanged", 1, (1,))
    assert conflict(registry, 1) == ("symbol", "AAPL", "a", "X", "b")
    assert say("b", symbol="X") == receipt, "still in conflict, and nothing is written"
    assert say("b", symbol="Y").conflicts == (2,)
    assert say("c", symbol="X").conflicts == (3,)
    assert set(say("b", symbol="X", name="N").conflicts) == {1, 4}
    assert say("c", symbol="Z", name="N").conflicts == (5, 6)
    assert {conflict(registry, n)[0] for n in (5, 6)} == {"symbol", "name"}
    assert len(registry.alerts()) == 6
    assert (record(registry, id).symbol, record(registry, id).revision) == ("AAPL", 1)


def test_an_acknowledged_conflict_is_not_raised_again(registry: Registry) -> None:
    registry.register(APPLE, source="a")
    other = Equity(isin=APPLE.isin, symbol="X")
    raised = registry.register(other, source="b").conflicts[0]
    registry.acknowledge(raised)
    again = registry.register(other, source="b")
    assert (again.conflicts, registry.log.head, registry.alerts()) == ((), 3, [])


@pytest.mark.parametrize("source", ["a", "b"])
def test_decimals_conflict_whoever_says_them(registry: Registry, source: str) -> None:
    id = registry.register(token(1, decimals=6), source="a").id
    receipt = registry.register(token(1, decimals=18), source=source)
    assert (receipt.outcome, receipt.conflicts) == ("unchanged", (1,))
    assert conflict(registry, 1) == ("decimals", "6", "a", "18", source)
    assert record(registry, id).decimals == 6


def test_anybody_fills_in_what_is_not_known_and_it_is_then_their_word(registry: Registry) -> None:
    id = registry.register(token(1, symbol="T"), source="a").id
    assert record(registry, id).decimals is None
    filled = registry.register(token(1, symbol="T", decimals=6, name="N"), source="b")
    assert (filled.outcome, filled.offset, filled.conflicts) == ("amended", 1, ())
    assert (record(registry, id).decimals, record(registry, id).revision) == (6, 2)
    assert registry.register(token(1, name="M"), source="a").conflicts == (2,)
    assert conflict(registry, 2) == ("name", "N", "b", "M", "a")
    assert registry.register(token(1, name="M"), source="b").outcome == "amended"
    assert registry.register(token(1, symbol="U"), source="a").outcome == "amended"


def test_one_registration_fills_in_and_conflicts(registry: Registry) -> None:
    id = registry.register(token(1, symbol="T"), source="a").id
    receipt = registry.register(token(1, symbol="U", name="N"), source="b")
    assert (receipt.outcome, receipt.offset, receipt.conflicts) == ("amended", 1, (2,))
    facts = registry.facts(id)
    assert facts is not None
    assert (facts.values["symbol"], facts.values["name"]) == ("T", "N")


def test_whoever_said_the_value_first_holds_it(registry: Registry) -> None:
    """A value that came back is the word of whoever brought it back."""
    id = registry.register(token(1, symbol="T"), source="a").id
    registry.amend(id, symbol="U", source="operator")
    assert registry.register(token(1, symbol="T"), source="a").outcome == "unchanged"
    registry.amend(id, symbol="T", source="operator")
    registry.register(token(1, symbol="V"), source="a")
    assert conflict(registry, registry.log.head - 1)[2] == "operator"


def test_sources_disagree_on_the_class(registry: Registry) -> None:
    id = registry.register(APPLE, source="a").id
    assert registry.register(Etf(isin=APPLE.isin), source="b").conflicts == (1,)
    assert conflict(registry, 1) == ("class", "equity", "a", "etf", "b")
    assert registry.register(Etf(isin=APPLE.isin), source="a").outcome == "amended"
    assert record(registry, id).asset_class.name == "ETF"


def test_bad_input_is_refused_before_anything_is_written(registry: Registry) -> None:
    with pytest.raises(InvalidInput):
        registry.register(Equity(isin="US0378331006"))
    with pytest.raises(InvalidInput):
        registry.register(APPLE, source="a\x00b")
    with pytest.raises(InvalidInput):
        registry.register(APPLE, request_id="x" * 201)
    assert registry.log.head == 0


# --- amending --------------------------------------------------------------------------------


def test_an_amendment_always_applies(registry: Registry) -> None:
    id = registry.register(token(1, symbol="T", decimals=6), source="a").id
    receipt = registry.amend(id, symbol="U", decimals=18, source="b", valid_from="2020-01-01")
    assert (receipt.outcome, receipt.offset) == ("amended", 1)
    found, event = record(registry, id), registry.log.event(1)
    assert (found.symbol, found.decimals, found.revision) == ("U", 18, 2)
    assert found.valid_from == event.valid_from == parse_time("2020-01-01")
    assert event.previous == 0
    assert (event.source, event.kind) == ("b", Kind.INSTRUMENT_AMENDED)


def test_an_amendment_that_changes_nothing(registry: Registry) -> None:
    first = registry.register(token(1, symbol="T"))
    several: list[dict[str, Any]] = [{"symbol": "T"}, {"name": None}, {"symbol": " T "}, {}]
    for changes in several:
        assert registry.amend(first.id, **changes) == first._replace(outcome="unchanged")
    assert registry.log.head == 1


@pytest.mark.parametrize("nothing", [None, ""])
def test_none_means_no_longer_known(registry: Registry, nothing: object) -> None:
    id = registry.register(token(1, symbol="T", name="N", decimals=6)).id
    registry.amend(id, symbol=nothing, name=nothing, decimals=None)
    facts, found = registry.facts(id), record(registry, id)
    assert facts is not None
    assert not facts.values.keys() & {"symbol", "name", "decimals"}
    assert (found.symbol, found.decimals) == ("", None)
    assert registry.by_symbol("T") == []


@pytest.mark.parametrize(
    "changes",
    [{"address": "0x" + "1" * 40}, {"chain": "eip155:10"}, {"namespace": "erc721"},
     {"isin": "US0378331005"}, {"colour": "red"}, {"decimals": 78}, {"symbol": "a\x00"},
     {"symbol": "U", "chain": None}],
)  # fmt: skip
def test_who_it_is_and_what_it_has_not_cannot_be_amended(
    registry: Registry, changes: dict[str, Any]
) -> None:
    id = registry.register(token(1, symbol="T")).id
    with pytest.raises(InvalidInput):
        registry.amend(id, **changes)
    assert (registry.log.head, record(registry, id).symbol) == (1, "T")


def test_a_security_may_get_another_isin_and_stays_who_it_is(registry: Registry) -> None:
    first = registry.register(APPLE)
    registry.amend(first.id, isin=isin(7))
    assert registry.register(APPLE).id == first.id
    for each in (isin(7), "US0378331005"):  # its own now, and the one it was born with
        found = registry.by_isin(each)
        assert found is not None
        assert found.id == first.id


def test_nobody_can_be_amended(registry: Registry) -> None:
    with pytest.raises(UnknownInstrument):
        registry.amend(5, symbol="T")
    with pytest.raises(UnknownInstrument):
        registry.delist(5)
    with pytest.raises(UnknownInstrument):
        registry.add_to_group(5, "a", "g")
    assert registry.log.head == 0


# --- status ----------------------------------------------------------------------------------


def test_the_table_of_statuses_names_only_statuses() -> None:
    assert set(NEXT) == set(Status)
    assert all(after <= set(Status) and before not in after for before, after in NEXT.items())


@pytest.mark.parametrize("before", Status)
def test_each_move_of_status(registry: Registry, before: Status) -> None:
    for number, after in enumerate(Status):
        first = registry.register(token(number, status=STATUS_NAMES[before]))
        head = registry.log.head
        assert record(registry, first.id).status is before
        if after is before:
            assert registry.set_status(first.id, after) == first._replace(outcome="unchanged")
        elif after in NEXT[before]:
            moved = registry.set_status(first.id, STATUS_NAMES[after])
            assert moved == first._replace(offset=head, outcome="amended")
        else:
            with pytest.raises(IllegalTransition):
                registry.set_status(first.id, after)
        legal = after in NEXT[before]
        found = record(registry, first.id)
        assert found.status is (after if legal else before)
        assert (found.revision, registry.log.head) == (1 + legal, head + legal)


def test_the_life_of_an_instrument() -> None:
    """Not the table again: these are the moves that matter to people."""
    legal = {(b.name, a.name) for b, a in product(Status, Status) if a in NEXT[b]}
    assert {("PENDING", "ACTIVE"), ("ACTIVE", "HALTED"), ("HALTED", "ACTIVE"),
            ("ACTIVE", "DELISTED"), ("DELISTED", "ACTIVE")} <= legal  # fmt: skip
    assert not {move for move in legal if move[0] in ("EXPIRED", "MIGRATED")}
    assert ("ACTIVE", "PENDING") not in legal


def test_delisting_says_from_when(registry: Registry) -> None:
    id = registry.register(APPLE, source="a").id
    receipt = registry.delist(id, valid_from="2024-06-01")
    event = registry.log.event(receipt.offset)
    assert (event.kind, event.valid_from) == (Kind.INSTRUMENT_STATUS, parse_time("2024-06-01"))
    assert registry.delist(id).outcome == "unchanged"


def test_a_registration_moves_the_status_by_the_same_rules(registry: Registry) -> None:
    id = registry.register(APPLE, source="a").id

    def say(status: str, source: str) -> Receipt:
        return registry.register(Equity(isin=APPLE.isin, status=status), source=source)

    assert say("halted", "b").conflicts == (1,)
    assert conflict(registry, 1) == ("status", "active", "a", "halted", "b")
    assert (say("halted", "b").conflicts, registry.log.head) == ((1,), 2)
    assert (say("halted", "a").outcome, record(registry, id).status) == ("amended", Status.HALTED)
    assert say("pending", "a").conflicts  # a move that is not legal
    assert record(registry, id).status is Status.HALTED


def test_one_registration_amends_moves_and_conflicts(registry: Registry) -> None:
    registry.register(token(1, symbol="T", decimals=6), source="a")
    receipt = registry.register(
        token(1, symbol="U", decimals=7, status="halted"), source="a", request_id="r"
    )
    assert kinds(registry)[1:] == [
        Kind.INSTRUMENT_AMENDED, Kind.INSTRUMENT_STATUS, Kind.CONFLICT_DETECTED
    ]  # fmt: skip
    assert (receipt.outcome, receipt.offset, receipt.conflicts) == ("amended", 2, (3,))


# --- groups and alerts -----------------------------------------------------------------------


def test_groups_and_siblings(registry: Registry) -> None:
    one, two, three = (registry.register(token(n, symbol="USDC")).id for n in range(3))
    first = registry.add_to_group(one, "list", "usdc")
    assert (first.outcome, first.offset) == ("new", 3)
    assert registry.add_to_group(one, "list", "usdc") == first._replace(outcome="unchanged")
    assert registry.siblings(one) == []
    registry.add_to_group(three, "list", "usdc")
    registry.add_to_group(two, "other list", "usdc")
    registry.add_to_group(one, "list", "stable")
    registry.add_to_group(two, "list", "stable")
    assert registry.groups(one) == [("list", "usdc"), ("list", "stable")]
    assert registry.siblings(one) == [three, two]
    assert registry.siblings(three) == [one]
    assert registry.siblings(one, as_of=4) == [three]
    assert registry.siblings(one, as_of=2) == []
    assert registry.groups(one, as_of=2) == []
    assert registry.siblings(99) == []


def test_alerts_are_closed_once(registry: Registry) -> None:
    registry.register(APPLE, source="a")
    raised = registry.register(Equity(isin=APPLE.isin, symbol="X"), source="b").conflicts[0]
    assert [(event.offset, closed) for event, closed in registry.alerts()] == [(1, None)]
    receipt = registry.acknowledge(raised, reason="seen")
    assert (receipt.outcome, receipt.offset) == ("amended", 2)
    assert receipt.id == registry.log.event(1).entity
    assert registry.alerts() == []
    assert [(e.offset, closed) for e, closed in registry.alerts(acknowledged=True)] == [(1, 2)]
    assert registry.acknowledge(raised)._replace(outcome="", offset=0) == receipt._replace(
        outcome="", offset=0
    )
    assert (registry.acknowledge(raised).outcome, registry.log.head) == ("unchanged", 3)


@pytest.mark.parametrize("offset", [0, 1, 2, 1 << 40])
def test_only_alerts_are_acknowledged(registry: Registry, offset: int) -> None:
    registry.register(APPLE)
    with pytest.raises(UnknownAlert):
        registry.acknowledge(offset)
