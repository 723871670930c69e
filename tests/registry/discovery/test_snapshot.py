"""Complete files: who is gone is proposed to be delisted, and never by a file that may be wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from alphapulse.log import Answered, Event, FeedBody, Kind, ProposalBody, SnapshotBody, Status
from alphapulse.registry import Discovery, Feed, FeedsFile, Found, Registry
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.discovery import snapshot as module
from alphapulse.registry.discovery.snapshot import Taken
from alphapulse.registry.snapshots import Members
from tests.registry.discovery.drops import drop, told
from tests.registry.homes import isin

DAY_NS = 86_400 * 10**9
START_NS = 1_700_000_000 * 10**9


class Source:
    """A source that leaves a file each day."""

    def __init__(self, registry: Registry, directory: Path, **feed: Any) -> None:
        feed = {"complete": True, "missing_after": 2, **feed}
        self.registry = registry
        self.directory = directory
        self.day = 0
        self.feeds = FeedsFile((Feed("*.csv", "listings-csv", "exchange", **feed),))

    def leaves(self, *numbers: int, more: str = "", day: int | None = None) -> Taken | None:
        """What becomes of a file with these instruments, named anew each day."""
        self.day = self.day + 1 if day is None else day
        (found,) = self.look(numbers, more)
        assert found.what == "imported"
        return found.snapshot

    def look(self, numbers: tuple[int, ...], more: str = "") -> list[Found]:
        lines = [f"{isin(number)},XNAS,S{number},USD" for number in numbers]
        text = "\n".join(["isin,mic,symbol,currency", *lines, more])
        path = drop(self.directory, f"day{self.day}.csv", text)
        os.utime(path, ns=(START_NS, START_NS + self.day * DAY_NS))
        found = list(self.watcher().look())
        path.unlink()
        return found

    def watcher(self) -> Discovery:
        return Discovery(self.registry, [self.directory], self.feeds, settle_s=0)


@pytest.fixture
def exchange(registry: Registry, tmp_path: Path) -> Source:
    (tmp_path / "feeds").mkdir()
    return Source(registry, tmp_path / "feeds")


def taken(found: Taken | None) -> tuple[str, int, int, int, int]:
    assert found is not None
    return found.flaw, found.number, found.gone, len(found.proposed), len(found.withdrawn)


def proposals(registry: Registry, answered: bool = False) -> list[ProposalBody]:
    events = registry.proposals(answered=answered)
    assert all(isinstance(event.body, ProposalBody) for event in events)
    return [event.body for event in events if isinstance(event.body, ProposalBody)]


def id_of(registry: Registry, number: int) -> int:
    record = registry.by_isin(isin(number))
    assert record is not None
    return record.id


def test_it_is_proposed_after_so_many_complete_ones(exchange: Source) -> None:
    registry = exchange.registry
    assert taken(exchange.leaves(1, 2, 3)) == ("", 1, 0, 0, 0)
    assert taken(exchange.leaves(1, 2)) == ("", 2, 1, 0, 0)
    assert taken(exchange.leaves(2, 1)) == ("", 3, 0, 1, 0)
    (body,) = proposals(registry)
    assert (body.instrument, body.source, body.since, body.missed, body.missing_after) == (
        id_of(registry, 3), "exchange", 2, 2, 2,
    )  # fmt: skip
    (event,) = registry.read(pattern=f"kind=instrument.missing instrument=0x{body.instrument:016x}")
    assert event.source == "exchange"
    record = registry.get(body.instrument)
    assert record is not None and record.status == Status.ACTIVE, "nothing is delisted by itself"
    assert taken(exchange.leaves(1, 2, more=" ")) == ("", 4, 0, 0, 0), "and it is proposed once"
    assert audit_meaning(registry.log).ok
    assert all(each.equal for each in registry.rebuild(check=True))


def test_whoever_comes_back_is_withdrawn_and_begins_anew(exchange: Source) -> None:
    registry = exchange.registry
    exchange.leaves(1, 2)
    exchange.leaves(1)
    assert taken(exchange.leaves(1, more=" "))[3] == 1
    assert taken(exchange.leaves(2, 1)) == ("", 4, 0, 0, 1)
    assert proposals(registry) == []
    assert [body.answered for body in proposals(registry, answered=True)] == [Answered.WITHDRAWN]
    assert taken(exchange.leaves(1, more="  ")) == ("", 5, 1, 0, 0)
    assert taken(exchange.leaves(1, more="   ")) == ("", 6, 0, 1, 0)
    (body,) = proposals(registry)
    assert (body.since, body.missed, body.revision) == (5, 2, 3)
    assert audit_meaning(registry.log).ok


@pytest.mark.parametrize("numbers, more, flaw", [
    (range(1, 8), "", "short"),
    (range(1, 10), "US0000000000,XNAS,BAD,USD", "broken"),
    ((), "", "short"),
])  # fmt: skip
def test_a_short_or_broken_file_says_of_nobody_that_it_is_gone(
    exchange: Source, numbers: Any, more: str, flaw: str
) -> None:
    everybody, most = range(1, 11), range(1, 10)
    exchange.leaves(*everybody)
    exchange.leaves(*most)
    assert taken(exchange.leaves(*numbers, more=more))[:3] == (flaw, 2, 0)
    assert proposals(exchange.registry) == []
    assert taken(exchange.leaves(*most, more=" ")) == ("", 3, 0, 1, 0)


def test_a_short_file_shows_who_is_there_all_the_same(exchange: Source) -> None:
    exchange.leaves(*range(1, 11))
    exchange.leaves(*range(1, 10))
    assert taken(exchange.leaves(10)) == ("short", 2, 0, 0, 0)
    assert taken(exchange.leaves(*range(1, 10), more=" ")) == ("", 3, 1, 0, 0), "the row is broken"


def test_the_feed_says_how_short_and_broken_is_too_much(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    source = Source(registry, tmp_path / "feeds", drop_max_percent=50, quarantined_max=1)
    source.leaves(*range(1, 11))
    bad = "US0000000000,XNAS,BAD,USD"
    assert taken(source.leaves(*range(1, 6), more=bad))[:3] == ("", 2, 5)
    assert taken(source.leaves(*range(1, 6), more=f"{bad}\n{bad}X"))[0] == "broken"
    assert taken(source.leaves(1, 2))[0] == "short"


def test_a_file_counts_once_and_one_that_is_delivered_again_counts_again(exchange: Source) -> None:
    registry = exchange.registry
    exchange.leaves(1, 2)
    exchange.leaves(1)
    head = registry.log.head
    (again,) = exchange.look((1,))
    assert (again.what, registry.log.head) == ("known", head), "the same file"
    (old,) = [found for found in (exchange.leaves(1, more="  ", day=1),) if found]
    assert old.flaw == "no later than the file before" and old.proposed == ()
    assert taken(exchange.leaves(1, day=3)) == ("", 3, 0, 1, 0), "the same content, a day later"
    bodies = [event.body for event in registry.read(pattern="kind=feed.imported")]
    files = [body.file for body in bodies if isinstance(body, FeedBody)]
    assert files == ["day1.csv", "day2.csv", "day1.csv"]
    assert audit_meaning(registry.log).ok


def test_a_file_of_the_future_spoils_nothing(exchange: Source) -> None:
    exchange.leaves(1, 2)
    exchange.day = (time.time_ns() - START_NS) // DAY_NS + 2
    late = exchange.leaves(1, day=exchange.day)
    assert late is not None and late.flaw == "dated in the future"
    assert exchange.registry.sources.members("exchange").number == 1


def test_what_a_kill_cut_off_is_proposed_later(exchange: Source) -> None:
    """The snapshot is recorded and the proposals are not."""
    registry = exchange.registry
    exchange.leaves(1, 2)
    exchange.leaves(1)
    with mock.patch.object(module, "judge", return_value=((), ())):
        exchange.leaves(1, more=" ")
    assert proposals(registry) == []
    (again,) = exchange.look((1,), " ")
    assert again.what == "known" and len(proposals(registry)) == 1


def test_a_kill_before_a_withdrawal_leaves_no_false_proposal(exchange: Source) -> None:
    registry = exchange.registry
    exchange.leaves(1, 2)
    exchange.leaves(1)
    exchange.leaves(1, more=" ")
    with mock.patch.object(module, "judge", return_value=((), ())):
        exchange.leaves(1, 2, more=" ")
    assert len(proposals(registry)) == 1
    assert taken(exchange.leaves(1, more="  ")) == ("", 5, 1, 0, 1), "it is missing anew"
    assert taken(exchange.leaves(1, more="   ")) == ("", 6, 0, 1, 0)
    assert audit_meaning(registry.log).ok


def test_delisting_confirms_and_a_refusal_lasts(exchange: Source) -> None:
    registry = exchange.registry
    exchange.leaves(*range(1, 31))
    exchange.leaves(*range(1, 28))
    assert taken(exchange.leaves(*range(1, 28), more=" "))[3] == 3
    by_hand, confirmed, refused = registry.proposals()
    assert isinstance(by_hand.body, ProposalBody) and isinstance(confirmed.body, ProposalBody)
    instrument = by_hand.body.instrument
    registry.delist(instrument, source="desk")
    receipt = registry.confirm_proposal(confirmed.entity, request_id="r1")
    assert (receipt.id, receipt.outcome) == (confirmed.body.instrument, "amended")
    assert registry.confirm_proposal(confirmed.entity, request_id="r1") == receipt
    assert registry.confirm_proposal(confirmed.entity).outcome == "unchanged"
    for _ in range(2):
        receipt2 = registry.refuse_proposal(refused.entity, reason="a holiday", request_id="r2")
        assert (receipt2.id, receipt2.outcome) == (refused.entity, "amended")
    assert registry.proposals() == []
    said = [(e.kind, e.source) for e in registry.read(pattern="kind=proposal")]
    assert said == [
        (Kind.PROPOSAL_CONFIRMED, "desk"), (Kind.PROPOSAL_CONFIRMED, "operator"),
        (Kind.PROPOSAL_REFUSED, "operator"),
    ]  # fmt: skip
    statuses = [record.status for id in (instrument, receipt.id) if (record := registry.get(id))]
    assert statuses == [Status.DELISTED] * 2
    assert taken(exchange.leaves(*range(1, 28), more="  "))[3] == 0
    assert audit_meaning(registry.log).ok
    assert all(each.equal for each in registry.rebuild(check=True))


def test_what_has_expired_by_then_is_gone_rightly(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    source = Source(registry, tmp_path / "feeds", missing_after=1)
    source.leaves(1, 2, 3)
    members = registry.sources.members("exchange")
    record = registry.get(id_of(registry, 3))
    assert record is not None and members.names(record.id)
    with mock.patch.object(type(record), "status_at", return_value=Status.EXPIRED):
        assert taken(source.leaves(1, 2))[2:4] == (1, 0)


def snapshots(registry: Registry) -> list[Event]:
    return list(registry.read(pattern="kind=feed.snapshot source=exchange"))


def test_the_log_says_who_came_and_went(exchange: Source) -> None:
    registry = exchange.registry
    exchange.leaves(1, 2)
    exchange.leaves(2, 3)
    first, second = snapshots(registry)
    assert isinstance(first.body, SnapshotBody) and isinstance(second.body, SnapshotBody)
    assert second.previous == first.offset and second.body.revision == 2
    assert int.from_bytes(second.body.gone, "little") == id_of(registry, 1)
    assert int.from_bytes(second.body.appeared, "little") == id_of(registry, 3)
    imports = list(registry.read(pattern="kind=feed.imported"))
    assert [event.offset + 1 for event in imports] == [first.offset, second.offset]


def test_one_source_says_nothing_about_another(registry: Registry, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = Source(registry, tmp_path / "a"), Source(registry, tmp_path / "b")
    two.feeds = FeedsFile((two.feeds.feeds[0]._replace(source="other"),))
    one.leaves(1, 2)
    assert taken(two.leaves(1)) == ("", 1, 0, 0, 0)
    assert taken(two.leaves(1, more=" ")) == ("", 2, 0, 0, 0)
    assert told(one.watcher()) == [] and proposals(registry) == []


def test_a_restart_among_many_files_reads_the_snapshots_once(exchange: Source) -> None:
    exchange.leaves(1, 2)
    exchange.leaves(1)
    for number in range(5):
        path = drop(exchange.directory, f"{number}.csv", "isin,mic" + "\n" * (number + 1))
        os.utime(path, (1, 1))
    assert [what for what, _ in told(exchange.watcher())] == ["imported"] * 5
    with mock.patch.object(Members, "fold", side_effect=AssertionError("folded again")):
        assert [what for what, _ in told(exchange.watcher())] == ["known"] * 5
