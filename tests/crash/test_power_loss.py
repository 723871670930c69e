"""The power goes while a writer appends, at any moment and with any part of what was not synced.

A writer is traced once for each way of writing; then its file system calls are replayed up to a
random moment, again and again (`traces.py` says what a disk may lose), and each result is opened
like a home after a power cut. Whoever was told of an append before that moment must find it.

The views are mapped, so strace sees nothing of what is written to them: here they are zeros, as
after a cut before their first page was written, and they must come back from the log.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from alphapulse.log import (
    AcknowledgedBody,
    AlphaPulseError,
    Draft,
    EventLog,
    Home,
    Kind,
    Space,
    verify_store,
)
from alphapulse.registry import Registry

from .children import Child, Hear, Say, complaints, report, seeds, verification_here
from .lists import tokens
from .traces import ROOT, Rename, Step, Sync, Trace, Write, trace, why_no_strace

WRITER = """
import os, sys
import lmdb
from alphapulse.log import EventLog
from alphapulse.registry import Registry
from tests.crash.lists import tokens
home, size, count, durability, preallocated = sys.argv[1:]
size, count = int(size), int(count)
marks = os.open("/dev/null", os.O_WRONLY)
if durability == "no metasync":
    durability, real = "fsync", lmdb.open
    lmdb.open = lambda *given, **named: real(*given, **named | {"metasync": False})
def mark(log):
    os.write(marks, f"{log.head} {log.chain_head.hex()}".encode())
EventLog.create(home)
if int(preallocated):
    with open(f"{home}/log/data.mdb", "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, int(preallocated))
        os.fsync(file.fileno())
with Registry.open(home, durability=durability) as registry:
    mark(registry.log)
    instruments = tokens(size * count)
    for at in range(0, len(instruments), size):
        registry.register_many(instruments[at : at + size])
        mark(registry.log)
"""
EVENTS_MAX = 640
PREALLOCATED_SIZE_BYTES = 1 << 20
"""More than the log of these events takes, so that no append makes its file larger."""


class Recording(NamedTuple):
    """One life of a writer, from the making of its home to its orderly end."""

    trace: Trace
    chains: dict[int, str]
    """The chain at each head that was acknowledged; 0 is the empty log."""


def record(
    directory: Path, size_events: int, *, preallocated: bool, durability: str
) -> Recording:
    if reason := why_no_strace():
        pytest.skip(reason)
    root = directory / "traced"
    root.mkdir()
    appends = EVENTS_MAX // size_events if size_events > 1 else 80
    file_size_bytes = PREALLOCATED_SIZE_BYTES if preallocated else 0
    traced = trace(root, directory / "strace", [
        sys.executable, "-c", WRITER, str(root / "home"), str(size_events), str(appends),
        durability, str(file_size_bytes),
    ])  # fmt: skip
    found = (root / "home" / "log" / "data.mdb").stat().st_size
    assert (found == PREALLOCATED_SIZE_BYTES) == preallocated, found
    check_understood(traced, root, directory / "replayed")
    marks = [traced.marked(moment) for moment in range(len(traced.steps) + 1)]
    chains = {head_of(mark): mark.split()[1] for mark in marks if mark}
    assert list(chains) == list(range(0, appends * size_events + 1, size_events))
    shutil.rmtree(root)
    return Recording(traced, chains)


def check_understood(traced: Trace, root: Path, replayed: Path) -> None:
    """The calls that were understood make what the process made, but for mapped files."""
    traced.end().write(replayed)
    found = sorted(path.relative_to(root) for path in root.rglob("*"))
    assert found == sorted(path.relative_to(replayed) for path in replayed.rglob("*"))
    assert not [path for path in traced.mapped if path.endswith("data.mdb")]
    for path in found:
        if (root / path).is_file() and str(path) not in traced.mapped:
            assert (root / path).read_bytes() == (replayed / path).read_bytes(), path
    shutil.rmtree(replayed)


def head_of(mark: str) -> int:
    return int(mark.split()[0])


class Cut(NamedTuple):
    seed: int
    moment: int
    complaint: str
    """What is wrong; empty when nothing is."""


def check_cut(recording: Recording, seed: int, directory: Path, *, syncs_count: bool = True) -> Cut:
    """Makes the disk after a power cut and looks at the home on it as its next user would."""
    rng = random.Random(seed)
    moment = rng.randrange(len(recording.trace.steps) + 1)
    place = directory / f"{seed}"
    recording.trace.cut(moment, rng, syncs_count=syncs_count).write(place)
    mark = recording.trace.marked(moment)
    try:
        with verification_here():  # what runs here is a child already
            wrong = complaint_of(
                place / "home", recording.chains, None if mark is None else head_of(mark),
                whole=rng.random() < 0.1,
            )  # fmt: skip
    except AlphaPulseError as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place)
    return Cut(seed, moment, wrong)


def complaint_of(
    home: Path, chains: dict[int, str], acknowledged: int | None, *, whole: bool
) -> str:
    """acknowledged: the head that was, None before the home was said to be there. whole: goes on
    through the registry, the views made again; else with the log alone."""
    made = not Home(home).exists()
    if made:
        if acknowledged is not None:
            return f"the home is gone and {acknowledged} events with it"
        EventLog.create(home)
    elif bad := failed(home):
        return bad
    with EventLog.open(home, durability="relaxed") as log:
        wrong = "" if made else complaint_of_head(log, chains, acknowledged or 0)
        if not (wrong or whole):
            wrong = complaint_of_appending(log)
    return wrong or (complaint_of_registry(home) if whole else failed(home))


def complaint_of_head(log: EventLog, chains: dict[int, str], known: int) -> str:
    head, chain = log.head, log.chain_head.hex()
    following = min((head for head in chains if head > known), default=known)
    if head not in (known, following):
        return f"the head is {head}, acknowledged was {known}"
    return "" if chain == chains[head] else f"the chain at {head} is another"


def failed(home: Path) -> str:
    bad = [verdict for verdict in verify_store(Home(home)) if not verdict.ok]
    return f"{bad[0].name}: {bad[0].detail}" if bad else ""


def complaint_of_appending(log: EventLog) -> str:
    head = log.head
    with log.writing() as session:
        seen = AcknowledgedBody(alert=0, asset_class=0, reason="after the cut")
        session.append(Draft(Kind.ALERT_ACKNOWLEDGED, Space.INSTRUMENT, 1, None, seen))
    return "" if log.head == head + 1 else f"the head is {log.head} after an append at {head}"


def complaint_of_registry(home: Path) -> str:
    instruments = tokens(EVENTS_MAX + 1)
    with Registry.open(home, durability="relaxed") as registry:
        head = registry.log.head
        if None in [registry.resolve(each) for each in instruments[:head]]:
            return "an instrument of the log is not in the views"
        if registry.register(instruments[head]).outcome != "new":
            return "the next instrument is not new"
    return "; ".join(complaints(home))


def check_all(
    recording: Recording, wanted: list[int], directory: Path, *, syncs_count: bool = True
) -> Iterator[Cut]:
    """Each cut in a child, as many in one as it survives: a damaged log can end its reader."""
    left = list(wanted)
    while left:

        def work(say: Say, _: Hear) -> None:
            for seed in left:
                cut = check_cut(recording, seed, directory, syncs_count=syncs_count)
                say(f"{cut.seed} {cut.moment} {cut.complaint}".rstrip())

        with Child(work) as child:
            for line in child.rest():
                seed, moment, *rest = line.split(" ", 2)
                yield Cut(int(seed), int(moment), "".join(rest))
                left.remove(int(seed))
            status = child.wait()
        if left:
            assert status < 0, "the child failed by itself: see its traceback above"
            killed = f"ended by {signal.Signals(-status).name}"
            shutil.rmtree(directory / f"{left[0]}", ignore_errors=True)
            yield Cut(left.pop(0), -1, killed)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recording]:
    """`record` on a disk; the same again is not recorded again."""
    return cache(lambda *how, **more: record(tmp_path_factory.mktemp("on-disk"), *how, **more))


@pytest.mark.parametrize("preallocated", [False, True], ids=["growing", "preallocated"])
@pytest.mark.parametrize("size_events", [1, 64])
def test_power_loss(
    tmp_path: Path, recorded: Callable[..., Recording], size_events: int, preallocated: bool,
    scale: float,
) -> None:  # fmt: skip
    recording = recorded(size_events, preallocated=preallocated, durability="fsync")
    wanted = list(seeds(max(1, round(75 * scale))))
    cuts = list(check_all(recording, wanted, tmp_path))
    bad = [cut for cut in cuts if cut.complaint]
    report(
        "power loss", wanted, cuts=len(cuts), bad=len(bad), block_events=size_events,
        file="preallocated" if preallocated else "growing", calls=len(recording.trace.steps),
    )  # fmt: skip
    assert [cut.seed for cut in cuts] == wanted
    assert not bad


@pytest.mark.parametrize(
    ("broken", "size_events"),
    [("relaxed", 1), ("relaxed", 64), ("no metasync", 1), ("a disk that lies", 64)],
)
def test_power_loss_controls(
    tmp_path: Path, recorded: Callable[..., Recording], broken: str, size_events: int
) -> None:
    """The test above can fail: it finds writers that wait for too little, and a disk that lies."""
    lies = broken == "a disk that lies"
    recording = recorded(
        size_events, preallocated=False, durability="fsync" if lies else broken
    )
    wanted = list(range(30))
    cuts = list(check_all(recording, wanted, tmp_path, syncs_count=not lies))
    bad = [cut for cut in cuts if cut.complaint]
    report(
        f"power loss, control: {broken}", wanted, cuts=len(cuts), bad=len(bad),
        block_events=size_events,
    )  # fmt: skip
    assert len(bad) > 4
    assert not [cut for cut in bad if "home is gone" in cut.complaint]


def test_what_a_cut_may_leave() -> None:
    """Synced changes always, each of the others in some cut; a write by sectors; names in order."""
    directory, file, other = ROOT, 1, 2
    steps: list[Step] = [
        Rename(directory, {"file": file}),
        Sync(directory),
        Write(file, 0, b"a" * 1024, durable=False),
        Sync(file),
        Write(file, 1024, b"b" * 512, durable=True),
        Write(file, 256, b"c" * 512, durable=False),
        Rename(directory, {"file": None, "renamed": file}),
        Rename(directory, {"other": other}),
    ]  # fmt: skip
    seen = set()
    for seed in range(300):
        disk = Trace(steps, {ROOT}, set()).cut(len(steps), random.Random(seed))
        seen.add((bytes(disk.files[file].data), tuple(disk.names[ROOT].items())))
    kept = (b"c", b"a")
    contents = {b"a" * 256 + left * 256 + right * 256 + b"a" * 256 + b"b" * 512
                for left in kept for right in kept}  # fmt: skip
    names = [(("file", 1),), (("renamed", 1),), (("renamed", 1), ("other", 2))]
    assert seen == {(data, name) for data in contents for name in names}
    running = [Trace(steps, {ROOT}, set()).cut(3, random.Random(seed)) for seed in range(20)]
    assert not all(disk.files[file].data for disk in running), "a sync that runs promised nothing"
