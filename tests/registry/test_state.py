"""The overlay that a group is decided against: what it adds, and what it takes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from alphapulse.log import AlphaPulseError, Kind, Space, Status
from alphapulse.registry import (
    Acknowledge,
    AddListing,
    AddToGroup,
    Amend,
    Equity,
    IllegalEvent,
    Listing,
    Origin,
    Register,
    Registry,
    UnknownAlert,
)
from alphapulse.registry.commands import Command, _fact, decide
from alphapulse.registry.commands_feeds import RecordSnapshot
from alphapulse.registry.deciding import Receipt
from alphapulse.registry.state import State

from .homes import APPLE, token

A, B = Origin("a"), Origin("b")


@contextmanager
def deciding(registry: Registry) -> Iterator[State]:
    with registry.log.writing() as session:
        registry.views.catch_up_locked()
        yield State(registry.log, registry.views, session.head)


def decided(state: State, *commands: Command, origin: Origin = A) -> list[Receipt]:
    state.begin_unit()
    return [decide(command, state, origin) for command in commands]


def refused(state: State, *commands: Command, origin: Origin = A) -> None:
    with pytest.raises(AlphaPulseError):
        decided(state, *commands, origin=origin)
    state.abandon_unit()


def seen(state: State, receipt: Receipt, *requests: str) -> tuple[object, ...]:
    """Everything that a state says of one instrument, and how far it counts."""
    held = state.held(Space.INSTRUMENT, receipt.id)
    return (
        state.head, held, state.entity(Space.INSTRUMENT, receipt.id),
        state.find(Space.INSTRUMENT, receipt.fingerprint), *map(state.request, requests),
        *(state.alert(offset) for offset in range(20)), state.drafts,
    )  # fmt: skip


def test_it_reads_the_view_and_then_its_own_events(registry: Registry) -> None:
    known = registry.register(APPLE, source="a")
    with deciding(registry) as state:
        held = state.held(Space.INSTRUMENT, known.id)
        assert held is not None
        assert (held.data_offset, held.entity.revision, held.entity.last_offset) == (0, 1, 0)
        assert state.find(Space.INSTRUMENT, known.fingerprint) == held
        assert state.held(Space.LISTING, known.id) is None
        assert state.entity(Space.INSTRUMENT, known.id + 1) is None
        (amended,) = decided(state, Amend(known.id, {"symbol": "X"}))
        after = state.held(Space.INSTRUMENT, known.id)
        assert after is not None
        assert (after.data_offset, after.entity.revision, after.entity.last_offset) == (1, 2, 1)
        assert state.entity(Space.INSTRUMENT, known.id) == after.entity
        assert (amended.offset, state.head, len(state.drafts)) == (1, 2, 1)
        assert state.drafts[0].previous == 0
        (status,) = decided(state, *[Register.of(Equity(isin=APPLE.isin, status="halted"))])
        assert state.drafts[0].previous == 1
        assert (status.offset, state.head) == (2, 3)
    assert registry.log.head == 1  # nothing was handed to the session


@pytest.mark.parametrize("first", [True, False])
def test_an_abandoned_unit_leaves_no_trace(registry: Registry, first: bool) -> None:
    """Whether what it changed stood in the view, or was decided in this group before it."""
    registry.register(token(9))
    known = registry.register(APPLE, source="a") if first else None
    with deciding(registry) as state:
        if known is None:
            (known,) = decided(state, Register.of(APPLE))
        decided(state)
        before = seen(state, known, "r1", "r2")
        listing = AddListing.make(Listing(instrument=known.id, venue="XETR"))
        group = AddToGroup(known.fingerprint, "a", "g")
        other = Register.of(Equity(isin=APPLE.isin, symbol="X", name="N"))
        refused(
            state, Amend(known.id, {"symbol": "X"}), listing, group, other, other,
            Register.of(token(1)), Amend(1, {"symbol": "no"}), origin=Origin("b"),
        )  # fmt: skip
        assert seen(state, known, "r1", "r2") == before
        asked = Origin("b", b"", "r1")
        refused(state, Amend(known.id, {"symbol": "X"}), Amend(1, {}), origin=asked)
        assert seen(state, known, "r1", "r2") == before
        (listed,) = decided(state, listing)
        assert state.held(Space.LISTING, listed.id) is not None
        assert state.drafts[0].previous is None
        (again,) = decided(state, Amend(known.id, {"symbol": "Y"}))
        assert again.offset == listed.offset + 1


def test_the_time_of_a_group_is_none_of_an_abandoned_unit(registry: Registry) -> None:
    registry.register(token(9))
    with deciding(registry) as state:
        refused(state, Register.of(token(1)), Register.of(token(2)), Amend(1, {"symbol": "no"}))
        assert state.now >= registry.log.event(0).recorded
        decided(state, Register.of(token(1)))
        assert state.head == 2


def test_an_alert_and_its_end_within_a_group(registry: Registry) -> None:
    known = registry.register(APPLE, source="a")
    other = Register.of(Equity(isin=APPLE.isin, symbol="X"))
    with deciding(registry) as state:
        (raised,) = decided(state, other, origin=B)
        assert state.alert(1) == (Space.INSTRUMENT, known.id, True)
        assert decided(state, other, origin=B) == [raised]
        refused(state, Acknowledge(raised.offset), Acknowledge(77))
        assert state.alert(1) == (Space.INSTRUMENT, known.id, True)
        decided(state, Acknowledge(raised.offset))
        assert state.alert(1) == (Space.INSTRUMENT, known.id, False)
        assert decided(state, Acknowledge(raised.offset))[0].outcome == "unchanged"
        assert decided(state, other, origin=B)[0].conflicts == ()


def test_an_alert_of_the_log_ends_within_a_group(registry: Registry) -> None:
    known = registry.register(APPLE, source="a")
    raised = registry.register(Equity(isin=APPLE.isin, symbol="X"), source="b").offset
    with deciding(registry) as state:
        assert state.alert(raised) == (Space.INSTRUMENT, known.id, True)
        decided(state, Acknowledge(raised))
        assert state.alert(raised) == (Space.INSTRUMENT, known.id, False)
        for offset in (0, 2, 99):
            assert state.alert(offset) is None
            with pytest.raises(UnknownAlert):
                decided(state, Acknowledge(offset))


def test_who_said_it_across_the_log_and_the_group(registry: Registry) -> None:
    known = registry.register(token(1, symbol="T"), source="a")
    with deciding(registry) as state:
        decided(state, Amend(known.id, {"name": "N"}), origin=B)
        decided(state, Amend(known.id, {"decimals": 6}), origin=Origin("c", b"hash", "r1"))
        held = state.held(Space.INSTRUMENT, known.id)
        assert held is not None

        assert state.said_by(held, "symbol", partial(_fact, field="symbol")) == Origin("a")
        decimals = state.said_by(held, "decimals", partial(_fact, field="decimals"))
        assert decimals == Origin("c", b"hash")
        assert state.said_by(held, "name", partial(_fact, field="name")) == Origin("b")


def test_an_illegal_event_is_not_emitted(registry: Registry) -> None:
    known = registry.register(APPLE, source="a")
    with deciding(registry) as state:
        held = state.held(Space.INSTRUMENT, known.id)
        assert held is not None
        state.begin_unit()
        for kind in (Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED):
            with pytest.raises(IllegalEvent):
                state.emit(kind, Space.INSTRUMENT, known.id, held.body, metadata=b"")
        assert (state.head, state.drafts) == (1, [])
        assert state.held(Space.INSTRUMENT, known.id) == held
        assert Status(held.entity.status) is Status.ACTIVE


def test_an_origin_without_anything_costs_no_byte() -> None:
    assert Origin().metadata() == b""
    assert Origin("a").metadata()


def test_a_snapshot_that_is_abandoned_names_nobody(registry: Registry) -> None:
    """The next one stands at the same offset."""
    one, two = (registry.register(token(number)).id for number in (1, 2))
    with deciding(registry) as state:
        for id, keep in ((one, False), (two, True)):
            state.begin_unit()
            command = RecordSnapshot("a", bytes(32), 1, frozenset({id}), False, 10)
            command.decide(state, Origin("a"))
            assert state.members("a").named() == {id}
            if not keep:
                state.abandon_unit()
                assert state.members("a").named() == set()
