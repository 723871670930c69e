"""Is the log what was written? Three verdicts that need nothing but the log itself.

* bytes: every block and frame has possible sizes, a right CRC, a known kind and version, and the
  block's columns repeat what its frames say;
* continuity: offsets and blocks follow each other without gap, each block is found by its offset,
  times never decrease, and every frame names the previous event of its entity;
* chain: each block's hash follows from the one before, from the genesis record on, and every
  checkpoint saw the chain that is there now.

It runs in a child process (`verify_in_child`), because a damaged LMDB file can end the process
that reads it by SIGBUS or SIGABRT: that is then the verdict, and not the end of the auditor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from itertools import groupby, islice, repeat
from operator import gt, itemgetter, sub
from pathlib import Path
from time import monotonic, perf_counter_ns
from typing import Final, NamedTuple
from zlib import crc32

import lmdb
from blake3 import blake3

from .block import CHAIN_SIZE_BYTES, FIRST_PLACE, Block, chain_hash
from .checkpoints import Checkpoint, Checkpoints
from .columns import check_columns
from .errors import (
    AlphaPulseError,
    ChainBroken,
    Corrupt,
    FormatTooNew,
    HomeUnsupported,
    LogFull,
    NotDecodable,
    SystemRefused,
    TooManyReaders,
)
from .frame import NO_PREVIOUS
from .home import Home
from .kinds import MARKET_KINDS, SEVERITIES, SPACE_NAMES
from .lmdb_store import LmdbStore
from .refusals import SystemCalls
from .sheet import (
    Sheet,
    first_difference,
    is_single,
    mark_of,
    sheet_of,
    sheet_of_singles,
)
from .store import Head
from .upcast import VERSIONS
from .verify_halves import Checked, Helper, share
from .watch import Watch

PROGRESS_EVENTS: Final = 50_000
PROGRESS_S: Final = 5.0
"""Progress is told after so many events, or so long, whichever comes first."""
STALLED_S: Final = 120.0
"""A child that tells no progress for so long is ended."""
SINGLES_MAX: Final = 1_000
"""Blocks of one event that are checked together."""
_CHAIN: Final = slice(CHAIN_SIZE_BYTES)
CURE: Final = (
    "keep this home as it is; `alphapulse replay --to {last} --into DIR` makes a home with the "
    "good events before it, or restore a backup"
)
CURE_EMPTY: Final = "restore a backup: not even the first event is good"
CURE_CHECKPOINT: Final = (
    "the log's tail is gone or was rewritten: restore a backup, or accept what is left with "
    "`alphapulse replay --to {last} --into DIR`"
)
CURE_STRANGE: Final = (
    "put a backup's or an auditor's copy of that file in its place, or accept the log as it is "
    "with `alphapulse replay --to {last} --into DIR`"
)
NO_CHECKPOINT: Final = "there is no checkpoint to hold it to: a cut tail would not show"
_NO_VERDICT: Final[dict[str, type[AlphaPulseError]]] = {
    kind.__name__: kind
    for kind in (FormatTooNew, HomeUnsupported, SystemRefused, LogFull, TooManyReaders)
}
"""What the child raises that says nothing of the log."""
_CHILD: Final = "import sys; from alphapulse.log import verify; sys.exit(verify.main(sys.argv[1:]))"


Misplaced = Callable[[Sequence[int]], int | None]


class Verdict(NamedTuple):
    """One question, answered. `first_bad_offset` is None when it is fine or has no place.

    detail: what is wrong; of a verdict that is fine, what it could not look at.
    """

    name: str
    ok: bool
    checked: int
    rate_per_s: int
    first_bad_offset: int | None = None
    detail: str = ""
    cure: str = ""


class _Run:
    """Blocks that are checked together: one, or several of one event each. stop: as they say."""

    def __init__(self, blocks: list[bytes], first: int, stop: int, sheet: Callable[[], Sheet]):
        self.blocks = blocks
        self.first = first
        self.stop = stop
        self._sheet = sheet

    @cached_property
    def sheet(self) -> Sheet:
        """Raises NotDecodable, each time."""
        return self._sheet()


class _Check:
    """Makes one kind of check on run after run until its first failure, and times it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._checked = 0
        self._ns = 0
        self._failure: tuple[int | None, str, str] | None = None
        self.note = ""
        """What this check had nothing to go by for."""

    def run(self, step: Callable[[_Run], None], run: _Run, expected: int) -> None:
        """expected: the offset at which the run should start, since its own may be damaged."""
        if self._failure is not None:
            return
        began = perf_counter_ns()
        try:
            step(run)
            self._checked += run.stop - run.first
        except AlphaPulseError as error:
            offset = error.facts.get("offset")
            if run.first != expected or not isinstance(offset, int):
                offset = expected
            if len(run.blocks) > 1:
                self._checked += offset - expected
            known = isinstance(error, Corrupt | NotDecodable)
            self.fail(offset, str(error.why) if known else str(error))
        self._ns += perf_counter_ns() - began

    def fail(self, offset: int | None, detail: str, cure: str = "") -> None:
        if self._failure is None:
            self._failure = (offset, detail, cure or cure_at(offset))

    def verdict(self) -> Verdict:
        rate_per_s = self._checked * 1_000_000_000 // max(self._ns, 1)
        if self._failure is None:
            return Verdict(self.name, True, self._checked, rate_per_s, None, self.note)
        offset, detail, cure = self._failure
        return Verdict(self.name, False, self._checked, rate_per_s, offset, detail, cure)


def cure_at(first_bad_offset: int | None) -> str:
    if not first_bad_offset:
        return CURE_EMPTY
    return CURE.format(last=first_bad_offset - 1)


def cure_of_tail(head: int) -> str:
    """When something saw more of the log than `head` events."""
    return CURE_CHECKPOINT.format(last=head - 1) if head else CURE_EMPTY


def verify_blocks(
    blocks: Iterable[bytes], chain: bytes, checkpoints: Iterable[Checkpoint], *,
    first: int = 0, progress: Callable[[int], None] | None = None, elsewhere: range = range(0),
    misplaced: Misplaced | None = None,
) -> list[Verdict]:  # fmt: skip
    """The three verdicts on blocks in order, the first of which must start at offset `first`.

    chain: of the block before. elsewhere: events whose bytes somebody else checks. misplaced: finds
    the first offset of some at which the store has another block than the one it lists, or none.
    Cost: 1.3 µs an event in blocks of 1,000, 2 µs in blocks of 1.
    """
    checkpoints = list(checkpoints)
    audit = _Audit(first, chain, {at for at, _ in checkpoints}, elsewhere, misplaced)
    reported, reported_at = 0, monotonic()
    for run in _runs(blocks):
        if not audit.take(run):
            break
        if progress is not None and (
            audit.next_offset - reported >= PROGRESS_EVENTS
            or monotonic() - reported_at >= PROGRESS_S
        ):
            reported, reported_at = audit.next_offset, monotonic()
            progress(reported)
    _check_checkpoints(audit.chain, checkpoints, audit.seen, first, audit.next_offset)
    return _with_one_cure([check.verdict() for check in audit.checks])


def _runs(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Blocks in order: as many of one event as follow each other, at most 1,000, or one other."""
    for single, group in groupby(blocks, is_single):
        if single:
            while run := list(islice(group, SINGLES_MAX)):
                yield run
        else:
            for data in group:
                yield [data]


def _runs_of(blocks: list[bytes], first: int) -> Iterator[_Run]:
    """One of them all, or one of each block. Raises NotDecodable at one that cannot be read."""
    if len(blocks) > 1 and (sheet := sheet_of_singles(blocks, first)) is not None:
        yield _Run(blocks, first, sheet.stop, lambda: sheet)
        return
    for data in blocks:
        block = Block(data)
        yield _Run([data], block.first, block.stop, partial(sheet_of, block))


def _with_one_cure(verdicts: list[Verdict]) -> list[Verdict]:
    """A changed byte breaks the hash of its whole block; where the frame is known, the events of
    the block before it are good all the same, and every verdict says so."""
    bytes_, _, chained = verdicts
    at, block = bytes_.first_bad_offset, chained.first_bad_offset
    if at is None or block is None or not block <= at:
        return verdicts
    return [v if v.ok else v._replace(cure=bytes_.cure) for v in verdicts]


def _check_checkpoints(
    check: _Check, checkpoints: Sequence[Checkpoint], seen: dict[int, bytes], first: int, head: int
) -> None:
    for at, chain in checkpoints:
        if at > head:
            check.fail(
                head, f"the log ends at {head}, but a checkpoint saw it at {at}: its tail was cut",
                cure_of_tail(head),
            )  # fmt: skip
        elif at > first and seen.get(at) != chain:
            check.fail(
                at - 1, f"the chain at {at} is not the one a checkpoint saw: it was rewritten",
                "restore a backup: the log was rewritten at or before this offset",
            )  # fmt: skip
    if head and not checkpoints:
        check.note = NO_CHECKPOINT


class _Audit:
    """The three checks, and what they remember from run to run."""

    def __init__(
        self, first: int, chain: bytes, checkpoints: set[int], elsewhere: range,
        misplaced: Misplaced | None,
    ) -> None:  # fmt: skip
        self.bytes, self.continuity, self.chain = map(_Check, ("bytes", "continuity", "chain"))
        self.checks = (self.bytes, self.continuity, self.chain)
        self.next_offset = first
        self.seen: dict[int, bytes] = {}
        """The chain at each head that has a checkpoint, if a block ends there."""
        self._checkpoints = checkpoints
        self._last_chain = chain
        self._hasher = blake3()
        self._time = 0
        self._newest: dict[int, int] = {}
        self._from_start = first == 0
        self._elsewhere = elsewhere
        self._misplaced = misplaced

    def take(self, blocks: list[bytes]) -> bool:
        """Checks the next blocks; False when one cannot be read, so that nothing after it can."""
        try:
            for run in _runs_of(blocks, self.next_offset):
                self._check(run)
        except NotDecodable as error:
            for check in self.checks:
                check.fail(self.next_offset, error.why)
            return False
        return True

    def _check(self, run: _Run) -> None:
        if run.first not in self._elsewhere or run.stop > self._elsewhere.stop:
            self.bytes.run(_check_bytes, run, self.next_offset)
        self.continuity.run(self._check_continuity, run, self.next_offset)
        self.chain.run(self._check_chain, run, self.next_offset)
        heads = range(run.stop - len(run.blocks) + 1, run.stop + 1)
        for at in self._checkpoints.intersection(heads):
            self.seen[at] = run.blocks[at - heads.start][_CHAIN]
        self.next_offset = run.stop

    def _check_continuity(self, run: _Run) -> None:
        """Offsets and times, and that each frame names the previous one of its entity."""
        if (at := self.next_offset) != run.first:
            after = f"follows offset {at - 1}" if at else "is the first that is there"
            raise Corrupt("auditing", problem=f"block {run.first} {after}", offset=at)
        if self._misplaced is not None:
            firsts = range(run.first, run.stop) if len(run.blocks) > 1 else (run.first,)
            if (lost := self._misplaced(firsts)) is not None:
                raise Corrupt("auditing", problem="its offset does not lead to it", offset=lost)
        sheet, newest = run.sheet, self._newest
        entities, spaces = sheet.entities.tolist(), sheet.spaces.tolist()
        previous, offsets = sheet.previous.tolist(), list(range(run.first, run.stop))
        places = [entity << 3 | space for entity, space in zip(entities, spaces, strict=True)]
        times, since, self._time = sheet.times, self._time, sheet.times[-1]
        if (
            sheet.offsets.tolist() == offsets
            and sheet.recorded.tolist() == times
            and since <= times[0]
            and times == sorted(times)
            and len(set(places)) == len(places)
            and list(map(newest.get, places, repeat(NO_PREVIOUS))) == previous
        ):
            newest.update(zip(places, offsets, strict=True))
        else:
            self._check_each(sheet, offsets, places, previous, since)

    def _check_each(
        self, sheet: Sheet, offsets: list[int], places: list[int], previous: list[int], since: int
    ) -> None:
        """The same event by event: an entity may come twice, or something is wrong."""
        newest, from_start = self._newest, self._from_start
        went_back = list(map(gt, (since, *sheet.times), sheet.times))
        back = went_back.index(True) if True in went_back else sheet.event_count
        moved = min(
            first_difference(offsets, sheet.offsets.tolist()),
            first_difference(sheet.times, sheet.recorded.tolist()),
        )
        for at, place, says, kind in zip(
            offsets[: min(back, moved)], places, previous, sheet.kinds, strict=False
        ):  # fmt: skip
            held = NO_PREVIOUS if kind in MARKET_KINDS else newest.get(place, NO_PREVIOUS)
            if held != says and (from_start or held != NO_PREVIOUS):
                raise Corrupt(
                    "auditing", problem="a frame does not name the previous event of its entity",
                    offset=at,
                )  # fmt: skip
            newest[place] = at
        if back < sheet.event_count and back <= moved:
            raise Corrupt("auditing", problem="recorded time goes back", offset=offsets[back])
        if moved < sheet.event_count:
            raise Corrupt(
                "auditing", problem="a frame has another offset or time than its place",
                offset=offsets[moved],
            )  # fmt: skip

    def _check_chain(self, run: _Run) -> None:
        chain = self._last_chain
        for at, data in enumerate(run.blocks, run.first):
            before, chain = chain, data[_CHAIN]
            if chain_hash(before, data[CHAIN_SIZE_BYTES:], self._hasher) != chain:
                raise ChainBroken("checking the chain", offset=at)
        self._last_chain = chain


def _check_bytes(run: _Run) -> None:
    """Every frame's size, CRC, kind, version, severity; and the columns against the frames."""
    sheet = run.sheet
    crcs = [
        crc32(buffer[start + 4 : end])
        for buffer, start, end in zip(sheet.buffers, sheet.starts, sheet.ends, strict=True)
    ]
    sizes = list(map(sub, sheet.ends, sheet.starts))
    marks = sheet.marks.tolist()
    kinds = set(marks)
    problems = zip(kinds, map(_strange, kinds), strict=True)
    strange = {mark: problem for mark, problem in problems if problem}
    unknown = min((marks.index(mark) for mark in strange), default=sheet.event_count)
    index, error, problem = min(
        (first_difference(crcs, sheet.crcs.tolist()), Corrupt, "a frame's CRC32 is wrong"),
        (first_difference(sizes, sheet.sizes.tolist()), NotDecodable, "a frame's size is wrong"),
        (unknown, NotDecodable, ""), key=itemgetter(0),
    )  # fmt: skip
    if index < sheet.event_count:
        check_columns(sheet, index)
        problem = problem or strange[marks[index]]
        raise error("auditing", problem=problem, offset=sheet.first + index)
    if sheet.ends[-1] != len(sheet.buffers[-1]):
        raise NotDecodable("auditing", problem="bytes after the last frame", offset=sheet.stop - 1)
    check_columns(sheet, sheet.event_count)


@lru_cache(maxsize=4096)
def _strange(mark: int) -> str:
    """What no writer of this version writes; empty when it is all known. mark: see `mark_of`."""
    kind, version, _, flags, space, _ = mark_of(mark)
    if not 0 < version <= VERSIONS.get(kind, 0) or space not in SPACE_NAMES:
        return f"unknown kind {kind} version {version} space {space}"
    return "a frame's flags are wrong" if flags & 3 != SEVERITIES[kind] or flags >> 5 else ""


def verify_store(
    home: Home, *, last_blocks: int | None = None, progress: Callable[[int], None] | None = None
) -> list[Verdict]:
    """Opens the log of a home in this process and checks it, or only its newest blocks.

    Of a long log, most bytes are checked in one more process while that one is at it.
    """
    beside = Checkpoints(home.checkpoints)
    checkpoints = list(beside)
    store = LmdbStore.open(home.log, exacting=False)
    try:
        base, head = store.base(), store.head().offset
        first, chain = base.offset, base.chain
        if last_blocks is not None and head > first:
            first, chain = _start_of_last(store, head, last_blocks, base)
        verify = partial(
            verify_blocks, chain=chain, checkpoints=checkpoints, first=first, progress=progress,
            misplaced=store.misplaced,
        )  # fmt: skip
        if first == 0 and (theirs := share(head)):
            with Helper(home.path, theirs) as helper:
                verdicts = verify(all_blocks(store), elsewhere=helper.offsets)
                left = verdicts[1].checked - verdicts[0].checked
                if all(verdict.ok for verdict in verdicts):
                    checked = helper.result(lambda: progress and progress(head))
                    if checked is not None and checked.events >= left:
                        verdicts[0] = _with_theirs(verdicts[0], checked, left)
                        return _held_to_lines(verdicts, beside, head)
        verdicts = verify(all_blocks(store, first))
        return verdicts if last_blocks is not None else _held_to_lines(verdicts, beside, head)
    finally:
        store.close()


def _held_to_lines(verdicts: list[Verdict], beside: Checkpoints, head: int) -> list[Verdict]:
    """The chain fails where a checkpoint that it should be held to cannot be read."""
    *others, chain = verdicts
    if not chain.ok or not head or not (detail := beside.strange()):
        return verdicts
    cure = CURE_STRANGE.format(last=head - 1)
    return [*others, chain._replace(ok=False, detail=detail, cure=cure)]


def _with_theirs(ours: Verdict, theirs: Checked, left: int) -> Verdict:
    took_s = ours.checked / max(ours.rate_per_s, 1) + theirs.events / max(theirs.rate_per_s, 1)
    rate_per_s = int((ours.checked + theirs.events) / took_s)
    return ours._replace(checked=ours.checked + left, rate_per_s=rate_per_s)


def verify_bytes(home: Home, offsets: range, tell: Callable[[], None]) -> Verdict:
    """The first verdict only, on the blocks that begin within `offsets`."""
    check, at = _Check("bytes"), offsets.start
    store = LmdbStore.open(home.log, exacting=False)
    try:
        for blocks in _runs(_between(all_blocks(store, at), offsets)):
            try:
                for run in _runs_of(blocks, at):
                    check.run(_check_bytes, run, at)
                    at = run.stop
            except NotDecodable as error:
                check.fail(at, error.why)
            tell()
    finally:
        store.close()
    return check.verdict()


def _between(blocks: Iterable[bytes], offsets: range) -> Iterator[bytes]:
    for data in blocks:
        first = int.from_bytes(data[FIRST_PLACE], "little")
        if first >= offsets.stop:
            return
        if first >= offsets.start:
            yield data


def _start_of_last(store: LmdbStore, head: int, count: int, base: Head) -> tuple[int, bytes]:
    first, start = head, (base.offset, base.chain)
    for _ in range(count):
        data = store.block_at(first - 1)
        if data is None:
            break
        first = Block(data).first
        if first == base.offset:
            return start
    before = store.block_at(first - 1)
    return (first, Block(before).chain) if before is not None else start


def all_blocks(store: LmdbStore, first: int = 0) -> Iterator[bytes]:
    """Those from the one that starts at `first`, up to one that cannot be read."""
    at = first
    while batch := store.blocks(at, 1_000):
        yield from batch
        try:
            at = max(Block(batch[-1]).stop, at + 1)
        except NotDecodable:  # the verdicts are on it, and nothing after it can be
            return


def verify_in_child(
    home: Path, *, last_blocks: int | None = None,
    progress: Callable[[int], None] | None = None, stalled_s: float = STALLED_S,
) -> list[Verdict]:  # fmt: skip
    """`verify_store` in a new process. A child that dies by a signal gives a failed verdict.

    So does one that tells no progress for `stalled_s`: it is killed.
    Raises FormatTooNew, HomeUnsupported, SystemRefused, LogFull, TooManyReaders: such a home is not
    damaged, only not for us to judge, or not here.
    """
    command = [sys.executable, "-P", "-c", _CHILD, os.fspath(home)]
    if last_blocks is not None:
        command.append(str(last_blocks))
    reached, verdicts = 0, []
    with (
        # A file in memory: a pipe that nobody reads yet would stop a child that complains much.
        open(os.memfd_create("complaints"), "w+", errors="replace") as complaints,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as child,
        Watch(child, stalled_s) as watch,
    ):  # fmt: skip
        for line in watch.lines():
            message = json.loads(line)
            if "progress" in message:
                reached = message["progress"]
                if progress is not None:
                    progress(reached)
            elif "raised" in message:
                kind = _NO_VERDICT[message["raised"]]
                raise kind(
                    f"verifying {home}", problem=message["why"], cure=message["advice"],
                    **message["facts"],
                )  # fmt: skip
            else:
                verdicts.append(Verdict(**message))
        child.wait()
        complaints.seek(0)
        complaint = complaints.read()
    if child.returncode == 0 and len(verdicts) == 3:
        return verdicts
    if watch.stalled:
        detail = f"the process that read the log told nothing for {stalled_s:g} s and was ended"
    else:
        code, lines = child.returncode, complaint.strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        detail = f"the process that read the log ended by {how}"
        detail += f": {lines[-1]}" if lines else ""
    return [
        Verdict(name, False, reached, 0, reached, detail, cure_at(reached))
        for name in ("bytes", "continuity", "chain")
    ]


def main(arguments: list[str]) -> int:
    def say(**message: object) -> None:
        print(json.dumps(message, default=str), flush=True)

    last_blocks = int(arguments[1]) if len(arguments) > 1 else None
    try:
        with SystemCalls("reading the log"):
            verdicts = verify_store(
                Home(arguments[0]), last_blocks=last_blocks, progress=lambda at: say(progress=at)
            )
    except tuple(_NO_VERDICT.values()) as error:
        cause = error.__cause__
        damaged = isinstance(error, HomeUnsupported) and not isinstance(cause, lmdb.Error)
        if damaged or isinstance(cause, FileNotFoundError):
            raise  # the genesis record or a whole file is gone, and that is a verdict
        say(
            raised=type(error).__name__, why=error.why, advice=error.advice, facts=error.facts
        )  # fmt: skip
        return 1
    for verdict in verdicts:
        say(**verdict._asdict())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
