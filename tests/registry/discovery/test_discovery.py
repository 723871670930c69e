from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from blake3 import blake3

from alphapulse.log import FeedBody, InvalidInput, Kind, LogBusy
from alphapulse.registry import Discovery, Feed, FeedsFile, Found, Registry, import_file
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.discovery import discovery as module
from alphapulse.registry.discovery.folder import Folder
from tests.registry.discovery.drops import content, drop, problem, told
from tests.registry.homes import open_home, rows


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    (tmp_path / "feeds").mkdir()
    return tmp_path / "feeds"


def discovery(registry: Registry, *directories: Path, **options: Any) -> Discovery:
    return Discovery(registry, directories, **{"settle_s": 0, "rescan_s": 0.05, **options})


def imported(registry: Registry) -> list[FeedBody]:
    return [e.body for e in registry.read(pattern="kind=feed") if isinstance(e.body, FeedBody)]


def test_a_file_is_imported_once(registry: Registry, feeds: Path) -> None:
    """By its content: neither a restart nor a copy or a touch imports it again."""
    path = drop(feeds, "a.csv", content(1, rows=3))
    found = list(discovery(registry, feeds).look())
    (event,) = registry.read(pattern="kind=feed")
    assert [(each.what, each.offset) for each in found] == [("imported", event.offset)]
    data = path.read_bytes()
    assert isinstance(event.body, FeedBody)
    body = event.body
    assert (body.source, body.file, body.format, body.rows, body.new, body.revision) == (
        "a", "a.csv", "listings-csv", 3, 3, 1,
    )  # fmt: skip
    assert body.content_hash == event.metadata.content_hash == blake3(data).digest()
    assert event.source == "a" and event.previous is None
    assert registry.imported(body.content_hash) == event.offset
    assert registry.imported(bytes(32)) is None
    again, head = discovery(registry, feeds), registry.log.head
    assert told(again) == [("known", "a.csv")]
    drop(feeds, "copy.csv", content(1, rows=3))
    os.utime(path)
    assert sorted(told(again)) == [("known", "a.csv"), ("known", "copy.csv")]
    assert told(again) == [] and registry.log.head == head
    statistics = again.statistics()
    assert (statistics.known, statistics.imported, statistics.waiting) == (3, 0, 0)


def test_a_file_that_changes_is_imported_again(registry: Registry, feeds: Path) -> None:
    watcher = discovery(registry, feeds)
    drop(feeds, "a.csv", content(1))
    told(watcher)
    drop(feeds, "a.csv", content(1, rows=2))
    assert told(watcher) == [("imported", "a.csv")]
    first, second = registry.read(pattern="kind=feed")
    assert isinstance(second.body, FeedBody)
    assert (second.body.revision, second.body.new, second.body.unchanged) == (2, 1, 1)
    assert second.previous == first.offset and second.entity == first.entity
    assert audit_meaning(registry.log).ok
    assert all(each.equal for each in registry.rebuild(check=True))


def test_homes_that_hear_of_files_in_another_order_have_equal_views(
    tmp_path: Path, feeds: Path
) -> None:
    digests = []
    for order in ((1, 2, 3), (3, 1, 2)):
        with open_home(tmp_path / str(order)) as registry:
            for number in order:
                drop(feeds, f"{number % 2}.csv", content(number))
                told(discovery(registry, feeds))
            seen = rows(registry)
            digests.append([seen["feeds"], seen["imports"]])
    assert digests[0] == digests[1] and [count for _, count in digests[0]] == [2, 3]


def test_what_a_kill_left_half_done_is_completed(registry: Registry, feeds: Path) -> None:
    """The rows are there and the event is not: they are imported again, which adds nothing."""
    path = drop(feeds, "a.csv", content(1, rows=2))
    import_file(registry, path)
    head = registry.log.head
    assert told(discovery(registry, feeds)) == [("imported", "a.csv")]
    (body,) = imported(registry)
    assert (body.new, body.unchanged, registry.log.head) == (0, 2, head + 1)


def test_feeds_say_format_source_and_order(registry: Registry, feeds: Path) -> None:
    """An earlier feed's word is held, whatever the files are called."""
    drop(feeds, "a.rest", content(1).replace("S1R0", "LATE"))
    drop(feeds, "z.first", content(1))
    drop(feeds, "other", "no feed is for it")
    watcher = discovery(
        registry, feeds,
        feeds=FeedsFile(
            (Feed("*.first", "listings-csv", "good"), Feed("*.rest", "listings-csv", "bad"))
        ),
    )  # fmt: skip
    found = list(watcher.look())
    assert [(each.what, each.path.name) for each in found] == [
        ("imported", "z.first"), ("imported", "a.rest"), ("refused", "other"),
    ]  # fmt: skip
    assert "no feed's pattern fits" in problem(found[2])
    assert [(body.source, body.conflicts) for body in imported(registry)] == [
        ("good", 0), ("bad", 2),
    ]  # fmt: skip


def test_what_is_refused_is_told_once(registry: Registry, feeds: Path) -> None:
    (feeds / "link.csv").symlink_to(drop(feeds, ".hidden", content(1)))
    drop(feeds, "broken.json", '{"tokens": [')
    drop(feeds, "empty.csv", "")
    drop(feeds, "unknown.bin", "\0\1\2")
    watcher = discovery(registry, feeds)
    found = {each.path.name: problem(each) for each in watcher.look() if each.what == "refused"}
    assert found.keys() == {"link.csv", "broken.json", "empty.csv", "unknown.bin"}
    assert "symbolic link" in found["link.csv"] and "not JSON" in found["broken.json"]
    assert "empty" in found["empty.csv"] and "format is not known" in found["unknown.bin"]
    assert told(watcher) == [] and registry.log.head == 0
    assert watcher.statistics().refused == 4
    drop(feeds, "empty.csv", content(1))
    assert told(watcher) == [("imported", "empty.csv")]


def test_quarantined_rows_are_kept_and_counted(registry: Registry, feeds: Path) -> None:
    drop(feeds, "a.csv", content(1) + "US0000000000,XNAS,BAD,USD\n")
    (found,) = discovery(registry, feeds).look()
    assert found.report is not None and found.report.quarantine_file is not None
    assert b"US0000000000" in found.report.quarantine_file.read_bytes()
    (body,) = imported(registry)
    assert (body.rows, body.new, body.quarantined) == (2, 1, 1)


Change = Callable[[Path], object]


def grow(path: Path) -> None:
    with open(path, "a") as file:
        file.write(content(2).partition("\n")[2])


def same_size(path: Path) -> None:
    with open(path, "r+") as file:
        file.write("ISIN")


@pytest.mark.parametrize("reading", [1, 2])
@pytest.mark.parametrize(
    "change", [grow, same_size, lambda path: os.truncate(path, 40), Path.unlink, os.utime]
)
def test_a_file_that_changes_while_it_is_read_is_left_for_later(
    registry: Registry, feeds: Path, change: Change, reading: int
) -> None:
    """After its first bytes and before its last ones, in either of the two readings."""
    path, readings, real = drop(feeds, "a.csv", content(1, rows=3)), 0, module._read

    def reading_while_it_changes(file: Any, looked_at: Any, *copy: Any) -> bytes | None:
        nonlocal readings
        readings += 1
        if readings == reading:
            file = Changing(file, lambda: change(path))
        return real(file, looked_at, *copy)

    watcher = discovery(registry, feeds)
    with (
        mock.patch.object(module, "_PIECE_SIZE_BYTES", 16),
        mock.patch.object(module, "_read", reading_while_it_changes),
    ):
        assert told(watcher) == []
    assert readings == reading and registry.log.head == 0, "not one row is imported"
    if path.exists():
        assert told(watcher) == [("imported", "a.csv")]
        (body,) = imported(registry)
        assert body.content_hash == blake3(path.read_bytes()).digest()


class Changing:
    """A file that `change` is called on after the first piece of it was read."""

    def __init__(self, file: Any, change: Callable[[], object]) -> None:
        self._file = file
        self._changes = iter([change])

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(size)
        for change in self._changes:
            change()
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_the_copy_is_what_is_imported(registry: Registry, feeds: Path) -> None:
    """What happens to the file once it is copied does not reach the importer."""
    path = drop(feeds, "a.csv", content(1, rows=3))
    data, real = path.read_bytes(), import_file

    def import_after_a_change(*given: Any, **named: Any) -> Any:
        same_size(path)
        return real(*given, **named)

    watcher = discovery(registry, feeds)
    with mock.patch.object(module, "import_file", import_after_a_change):
        assert told(watcher) == [("imported", "a.csv")]
    (body,) = imported(registry)
    assert (body.content_hash, body.new) == (blake3(data).digest(), 3)
    assert told(watcher) == [("imported", "a.csv")], "and the change is seen at the next look"
    assert not [each for each in os.listdir(registry.log.home.path) if each.startswith("tmp")]


def test_a_directory_that_vanishes_is_watched_again(registry: Registry, feeds: Path) -> None:
    watcher = discovery(registry, feeds)
    drop(feeds, "a.csv", content(1))
    assert told(watcher) == [("imported", "a.csv")]
    gone = feeds.rename(feeds.with_name("gone"))
    assert told(watcher) == [("vanished", "feeds")]
    assert told(watcher) == [], "told once"
    feeds.symlink_to(gone)
    assert told(watcher) == [], "a link in its place is not followed"
    feeds.unlink()
    feeds.mkdir()
    drop(feeds, "b.csv", content(2))
    assert told(watcher) == [("back", "feeds"), ("imported", "b.csv")]


def test_what_may_pass_is_tried_again_and_told_once(registry: Registry, feeds: Path) -> None:
    drop(feeds, "a.csv", content(1))
    watcher = discovery(registry, feeds, rescan_s=1e-9)
    with mock.patch.object(module, "import_file", side_effect=LogBusy("importing")):
        assert told(watcher) == [("postponed", "a.csv")]
        assert told(watcher) == []
    space = os.statvfs(feeds)
    small = mock.Mock(f_bavail=0, f_frsize=space.f_frsize)
    with mock.patch("os.statvfs", return_value=small):
        assert told(watcher) == []
    assert watcher.statistics().waiting == 1
    assert told(watcher) == [("imported", "a.csv")]


def test_once_waits_for_what_settles_and_not_for_ever(registry: Registry, feeds: Path) -> None:
    drop(feeds, "a.csv", content(1))
    found = list(discovery(registry, feeds, settle_s=0.05).once())
    assert [each.what for each in found] == ["imported"]
    grows = feeds / "grows.csv"
    real = Discovery.look

    def look_while_it_grows(self: Discovery, stop: threading.Event) -> Iterator[Found]:
        with open(grows, "a") as file:
            file.write("x")
        return real(self, stop)

    with mock.patch.object(Discovery, "look", look_while_it_grows):
        found = list(discovery(registry, feeds, settle_s=0.02).once())
    assert [each.what for each in found if each.path == grows] == ["postponed"]
    assert "still being written" in problem(found[-1])


def test_run_hears_of_files_and_ends_when_told(registry: Registry, feeds: Path) -> None:
    """The look by the clock is an hour away, so only notifications can tell it."""
    stop, seen = threading.Event(), list[str]()
    watcher = discovery(registry, feeds, rescan_s=3_600)
    drop_soon(feeds, "0.csv")
    for found in watcher.run(stop):
        seen.append(found.path.name)
        if len(seen) == 3:
            stop.set()
        else:
            drop_soon(feeds, f"{len(seen)}.csv")
    assert seen == ["0.csv", "1.csv", "2.csv"]
    assert watcher.statistics().looks >= 3


def drop_soon(feeds: Path, name: str) -> None:
    """Once the watcher waits; if it does not yet, it sees the file at its look all the same."""
    threading.Timer(0.1, drop, (feeds, name, content(int(name[0])))).start()


def no_watches(*_: object, **__: object) -> Iterator[object]:
    yield from _refused()


def _refused() -> list[object]:
    raise OSError(28, "no watches left")


def test_without_notifications_the_clock_is_left(registry: Registry, feeds: Path) -> None:
    stop = threading.Event()
    with mock.patch("watchfiles.watch", no_watches):
        watcher = discovery(registry, feeds)
        what = []
        for found in watcher.run(stop):
            what.append(found.what)
            if found.what == "deaf":
                assert "no watches left" in problem(found)
                assert not watcher.statistics().listening
                drop(feeds, "a.csv", content(1))
            else:
                stop.set()
    assert what == ["deaf", "imported"]


def test_bad_times(registry: Registry, feeds: Path) -> None:
    for bad in ({"settle_s": -1}, {"settle_s": float("nan")}, {"rescan_s": 0}):
        with pytest.raises(InvalidInput, match="settle_s must be"):
            discovery(registry, feeds, **bad)


def test_the_facade(
    registry: Registry, feeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file settles in a twentieth of the second that this door gives it."""
    monkeypatch.setattr(module, "Folder", lambda path, settle_s: Folder(path, settle_s / 20))
    drop(feeds, "a.csv", content(1))
    (tmp_path / "feeds.toml").write_text('[[feed]]\npattern = "*.csv"\nsource = "desk"\n')
    os.utime(feeds / "a.csv", (0, 0))
    found = list(registry.discover([feeds], feeds=tmp_path / "feeds.toml", once=True))
    assert [each.what for each in found] == ["imported"]
    assert [event.source for event in registry.read(pattern="kind=feed source=desk")] == ["desk"]
    stop = threading.Event()
    stop.set()
    assert list(registry.discover([feeds], stop=stop)) == []
    assert next(iter(registry.subscribe("kind=feed.imported", "beginning"))).kind == (
        Kind.FEED_IMPORTED
    )
