"""What the audit refuses of proposals, rules and snapshots: each broken in one place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import Event, Kind, ProposalBody, RulesBody, SnapshotBody, Space
from alphapulse.registry import Discovery, Feed, FeedsFile, Registry
from alphapulse.registry.audit import Remembered
from alphapulse.registry.check import check
from alphapulse.registry.errors import IllegalEvent
from tests.registry.discovery.drops import content, drop

from .homes import APPLE, open_home, token


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """A log with one of each: seen, auto, refused, missing, withdrawn, missing again, confirmed."""
    directory = tmp_path_factory.mktemp("past")
    (directory / "in").mkdir()
    with open_home(directory / "home") as registry:
        registry.state_rules(precedence=["a", "b"])
        registry.seen(token(1, symbol="X"), source="collector")
        registry.seen(token(2), policy="auto")
        registry.refuse_proposal(registry.proposals()[0].entity)
        for day, rows in enumerate((3, 2, 3, 2)):
            leave(registry, directory / "in", day, rows)
        registry.confirm_proposal(registry.proposals()[0].entity)
        return list(registry.read())


def leave(registry: Registry, directory: Path, day: int, rows: int) -> None:
    path = drop(directory, f"{day}.csv", content(1, rows=rows) + "\n" * day)
    os.utime(path, (day + 1, day + 1))
    feeds = FeedsFile((Feed("*.csv", "listings-csv", "exchange", True, 1, 100),))
    assert [found.what for found in Discovery(registry, [directory], feeds, settle_s=0).look()]
    path.unlink()


def broken(past: list[Event], kind: Kind, number: int, **change: Any) -> str:
    """What the check says of the nth event of a kind, changed like this; the events before it and
    the event itself are fine."""
    state, seen = Remembered(64), 0
    for event in past:
        if event.kind == kind:
            if seen == number:
                given = (state, event.kind, event.space, event.entity, event.previous)
                check(*given, event.body)
                with pytest.raises(IllegalEvent) as raised:
                    check(*given, replace(event.body, **change))
                return str(raised.value.why)
            seen += 1
        state.fold(event)
    raise AssertionError("there is no such event")


@pytest.mark.parametrize("kind, number, change, words", [
    (Kind.INSTRUMENT_SEEN, 0, {"proposed": 3}, "what it proposes is unknown"),
    (Kind.INSTRUMENT_SEEN, 0, {"key": b"\5\0tokena"}, "key and fingerprint do not"),
    (Kind.INSTRUMENT_SEEN, 0, {"asset_class": 12}, "not one of its key"),
    (Kind.INSTRUMENT_SEEN, 0, {"proposed": 2}, "fingerprint and key"),
    (Kind.INSTRUMENT_SEEN, 0, {"answered": 2}, "says another answer"),
    (Kind.INSTRUMENT_SEEN, 0, {"instrument": 7}, "not registered yet"),
    (Kind.INSTRUMENT_SEEN, 0, {"revision": 2}, "first revision"),
    (Kind.INSTRUMENT_SEEN, 0, {"asset_class": 99}, "class is unknown"),
    (Kind.INSTRUMENT_SEEN, 1, {"instrument": 7}, "was not registered"),
    (Kind.INSTRUMENT_SEEN, 1, {"policy": ""}, "says another answer"),
    (Kind.PROPOSAL_REFUSED, 0, {"answered": 1}, "says another answer"),
    (Kind.PROPOSAL_REFUSED, 0, {"revision": 3}, "does not follow"),
    (Kind.INSTRUMENT_MISSING, 0, {"since": 1}, "do not say that it is missing since"),
    (Kind.INSTRUMENT_MISSING, 0, {"since": 0}, "do not say that it is missing since"),
    (Kind.INSTRUMENT_MISSING, 0, {"missed": 2}, "long enough"),
    (Kind.INSTRUMENT_MISSING, 0, {"missing_after": 2}, "long enough"),
    (Kind.INSTRUMENT_MISSING, 0, {"missing_after": 0}, "long enough"),
    (Kind.INSTRUMENT_MISSING, 0, {"instrument": 7}, "is not registered"),
    (Kind.INSTRUMENT_MISSING, 1, {"since": 2}, "do not say that it is missing since"),
    (Kind.PROPOSAL_WITHDRAWN, 0, {"answered": 3}, "says another answer"),
    (Kind.PROPOSAL_CONFIRMED, 0, {"answered": 4}, "says another answer"),
    (Kind.FEED_RULES, 0, {"precedence": ("a", "a")}, "stands twice"),
    (Kind.FEED_RULES, 0, {"seen": {"a": "b"}}, "unknown policy"),
    (Kind.FEED_RULES, 0, {"fingerprint": bytes(16)}, "fingerprint and key"),
    (Kind.FEED_SNAPSHOT, 0, {"source": "b"}, "fingerprint and source"),
    (Kind.FEED_SNAPSHOT, 0, {"content_hash": b""}, "32 bytes"),
    (Kind.FEED_SNAPSHOT, 1, {"modified": 1}, "not later"),
    (Kind.FEED_SNAPSHOT, 1, {"revision": 1}, "does not follow"),
])  # fmt: skip
def test_what_is_refused(
    past: list[Event], kind: Kind, number: int, change: dict[str, Any], words: str
) -> None:
    assert words in broken(past, kind, number, **change)


def state_before(past: list[Event], kind: Kind, number: int = 0) -> tuple[Remembered, Event]:
    state = Remembered(64)
    for event in past:
        if event.kind == kind:
            if not number:
                return state, event
            number -= 1
        state.fold(event)
    raise AssertionError("there is no such event")


@pytest.mark.parametrize("kind, words", [
    (Kind.PROPOSAL_CONFIRMED, "is not delisted"), (Kind.PROPOSAL_WITHDRAWN, "has not named"),
    (Kind.INSTRUMENT_SEEN, "cannot follow"), (Kind.INSTRUMENT_MISSING, "cannot follow"),
])  # fmt: skip
def test_what_cannot_follow_an_open_delisting(past: list[Event], kind: Kind, words: str) -> None:
    state, event = state_before(past, Kind.INSTRUMENT_MISSING)
    state.fold(event)
    answers = {Kind.PROPOSAL_CONFIRMED: 2, Kind.PROPOSAL_WITHDRAWN: 4}
    assert isinstance(event.body, ProposalBody)
    body = replace(event.body, revision=2, answered=answers.get(kind, 1))
    with pytest.raises(IllegalEvent, match=words):
        check(state, kind, Space.PROPOSAL, event.entity, event.offset, body)


def test_a_proposal_in_another_space(past: list[Event]) -> None:
    state, event = state_before(past, Kind.INSTRUMENT_SEEN)
    with pytest.raises(IllegalEvent, match="another space"):
        check(state, event.kind, Space.FEED, event.entity, None, event.body)


def test_the_events_are_what_they_are_called(past: list[Event]) -> None:
    kinds = [event.kind_name for event in past if event.kind >= Kind.INSTRUMENT_SEEN]
    assert kinds == [
        "feed.rules", "instrument.seen", "instrument.seen", "proposal.refused", "feed.snapshot",
        "feed.snapshot", "instrument.missing", "feed.snapshot", "proposal.withdrawn",
        "feed.snapshot", "instrument.missing", "proposal.confirmed",
    ]  # fmt: skip
    types = {type(event.body) for event in past if event.kind >= Kind.INSTRUMENT_SEEN}
    assert types == {RulesBody, ProposalBody, SnapshotBody}


def test_what_left_otherwise_is_withdrawn(registry: Registry, tmp_path: Path) -> None:
    """Somebody says that the instrument expired while a proposal to delist it is open."""
    (tmp_path / "in").mkdir()
    registry.register(APPLE)
    leave(registry, tmp_path / "in", 0, 3)
    leave(registry, tmp_path / "in", 1, 2)
    (event,) = registry.proposals()
    assert isinstance(event.body, ProposalBody)
    registry.set_status(event.body.instrument, "expired")
    assert registry.proposals() == []
    state = Remembered(64)
    for each in registry.read():
        state.fold(each)
    assert each.kind == Kind.PROPOSAL_WITHDRAWN
