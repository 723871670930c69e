"""The engine: keeps every view's table in step with the log.

One idea: *a view is a fold of the log up to an offset that stands in its own header*. So there is
one operation, folding from the applied offset to the head, and everything else is a case of it:
after a commit it is one block; for an opener that finds views behind, some blocks; for a missing,
torn, foreign or older file, all of them into a new generation. Folding happens under the writer
lock; readers take no lock, follow `superseded` words to the next generation, and may serve an
older offset. What is never done is to change a file that readers have mapped into another.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Final, NamedTuple

from alphapulse.log import Block, EventLog, LogBusy, SystemCalls, marking
from alphapulse.log.interrupts import safe_point

from .compare import differing
from .errors import ViewUnusable
from .folding import checked_blocks, count_for, fold_block, has_room, views_of
from .generations import NO_CURRENT, Found, Generations, supersede_file
from .helpers import Work, helping, shares
from .layout import APPLIED, IN_PROGRESS, SUPERSEDED
from .table import Table, TableWriter
from .table_reader import TableReader
from .view import View
from .views import VIEWS, VIEWS_BY_NAME

ROWS_MIN: Final = 2_048
GROWTH_FACTOR: Final = 4
ROWS_PER_EVENT: Final = 4
"""Room in a table that grows: an event takes at most two rows of it, and three keys of an index."""
SMALL_ROWS_MAX: Final = 16_384
POSTINGS_PER_ROW_MAX: Final = 4
"""Reserved in a larger table. A smaller one has room for whatever a block may link, so that not
each block makes it grow; in a larger one most links are the first under their key."""
_LOGGER: Final = logging.getLogger("alphapulse")
_REMAP_TRIES: Final = 100
Progress = Callable[[str, int, int], None]
"""Called with view, events done, events in all."""


class ViewState(NamedTuple):
    """Where a view is. lag_events counts events it has not folded yet."""

    offset: int
    digest: bytes
    rows: int
    lag_events: int


class Rebuilt(NamedTuple):
    """Outcome of a rebuild: `equal` compares with the live view at the same offset.

    Without `check` that is the digests; with it every row and link of the live view too.
    """

    view: str
    events: int
    events_per_s: int
    digest: bytes
    live_digest: bytes | None
    differing: list[int]
    """Keys whose rows or links differ, at most 20; looked for with `check` only."""

    @property
    def equal(self) -> bool:
        return self.digest == self.live_digest and not self.differing


class _Fold:
    """A view on its way to an offset. Growing replaces its writer."""

    __slots__ = ("building", "inode", "size", "view", "writer")

    def __init__(self, view: View, writer: TableWriter | None) -> None:
        self.view = view
        self.writer = writer
        self.building = False
        """Its table is not in force, and is removed when something fails."""
        self.size = 0
        """Rows and links that building it writes."""
        self.inode = 0

    @property
    def table(self) -> TableWriter:
        assert self.writer is not None, "it was created or opened before"
        return self.writer


@SystemCalls("reading the boot id")
def this_boot() -> bytes:
    """16 bytes that differ between boots of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as text:
        return bytes.fromhex(text.read().strip().replace("-", ""))


class Views:
    """All views of one home in this process.

    `table(name)` is what lookups probe: cheap to call, always the generation in force. Methods
    whose names end in `_locked` need the writer lock, which the caller holds.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._boot_id = this_boot()
        self._generations = Generations(log.home.views)
        self._stamp = (0, 0)
        """Of CURRENT when the readers were mapped."""
        self._writers_stamp = (0, 0)
        """Of CURRENT when the writers were, which only the holder of the lock may compare."""
        self._readers: dict[str, TableReader] = {}
        self._writers: dict[str, TableWriter] = {}
        self._wrote = False
        self.rebuilt: list[str] = []
        """Views that had to be rebuilt from the log when opened, in order."""
        try:
            self._open()
        except BaseException:
            self._unmap()
            raise

    @SystemCalls("opening the views")
    def _open(self) -> None:
        """Advances the views if the lock is free; else serves what is there."""
        if (holding := self._log.lock.try_hold()) is not None:
            with holding:
                self.catch_up_locked()
            return
        try:
            self._remap()
        except ViewUnusable:
            with self._log.lock.hold():
                self.catch_up_locked()

    @SystemCalls("mapping the views again")
    def _remap_or_heal(self) -> None:
        """Somebody removed or damaged views in use: made again if the lock is free, else what is
        mapped goes on serving."""
        try:
            self._remap()
        except ViewUnusable:
            if (holding := self._log.lock.try_hold()) is not None:
                with holding:
                    self.catch_up_locked()

    # Reading

    def table(self, name: str) -> TableReader:
        """The table in force. Cost: 0.1 µs."""
        reader = self._readers[name]
        return self._remap_one(name) if reader.words[SUPERSEDED] else reader

    def head_seen(self) -> int:
        """The log's head as far as all views have it: they are folded in order.

        A hint, for who looks without pause. Cost: 0.3 µs.
        """
        return self.table(VIEWS[-1].schema.name).applied

    def recheck(self, name: str) -> TableReader | None:
        """After a miss: another table to ask, if CURRENT has changed since; else None."""
        if self._generations.stamp() == self._stamp:
            return None
        before = self._readers[name]
        self._remap_or_heal()
        after = self._readers[name]
        return None if after is before else after

    def _remap_one(self, name: str) -> TableReader:
        self._remap_or_heal()
        return self._readers[name]

    def _remap(self) -> None:
        """Maps what CURRENT names. Tries again while others switch; raises ViewUnusable."""
        for attempt in range(_REMAP_TRIES):
            stamp = self._generations.stamp()
            current = self._generations.current()
            try:
                for view in VIEWS:
                    name = view.schema.name
                    self._map_reader(name, current.get(name, 0))
            except ViewUnusable:
                if attempt == _REMAP_TRIES - 1 or self._generations.stamp() == stamp:
                    raise
                continue
            self._stamp = stamp
            return

    def _map_reader(self, name: str, generation: int) -> None:
        # Even of the same number it may be another file, after the views were deleted by hand.
        self._readers[name] = Table.open(
            self._generations.path(name, generation), VIEWS_BY_NAME[name].schema,
            self._log.genesis.log_id, boot_id=self._boot_id,
        )  # fmt: skip

    def states(self) -> dict[str, ViewState]:
        """Offset, digest and lag of each view as this process sees it."""
        head, states = self._log.head, {}
        for view in VIEWS:
            totals = self.table(view.schema.name).totals
            states[view.schema.name] = ViewState(
                totals.applied, totals.digest, totals.row_count, max(head - totals.applied, 0)
            )
        return states

    # Writing

    @SystemCalls("advancing the views")
    def catch_up_locked(self, head: int | None = None) -> None:
        """Opens or rebuilds what cannot be used, then folds up to the head, in one pass.

        head: of the log, by a caller who knows it. Cost: 5 µs when there is nothing to do.
        """
        head = self._log.head if head is None else head
        stamp = self._generations.stamp()
        if stamp != self._writers_stamp or stamp == NO_CURRENT:
            # Another process switched, or the views were removed by hand: what is mapped may be
            # in force nowhere. It is let go, not closed: other threads may be reading it.
            self._writers.clear()
            self._log.home.make_directories()
            self._writers_stamp = stamp
        elif self._are_at(head):
            return
        behind, ahead = [], dict[str, int]()
        found = None
        for view in VIEWS:
            writer = self._writers.get(view.schema.name)
            if writer is None or writer.words[SUPERSEDED]:
                found = found or self._generations.found()
                writer = self._open_locked(view, found)
            if writer is not None and writer.in_progress > head:
                ahead[view.schema.name], writer = writer.in_progress, None
            if writer is None:
                behind.append(_Fold(view, None))
            elif writer.applied < head:
                behind.append(_Fold(view, writer))
        if ahead:
            _LOGGER.warning(
                "the log has %d events, but %s saw %d: the log lost its tail, or they are damaged; "
                "they are made again", head, ", ".join(ahead), max(ahead.values()),
            )  # fmt: skip
        if behind:
            self._bring_locked(behind, head)

    def _are_at(self, head: int) -> bool:
        """Whether all writers are open, in force, and have folded just so much: nothing to do."""
        for writer in self._writers.values():
            words = writer.words
            if words[SUPERSEDED] or not words[APPLIED] == words[IN_PROGRESS] == head:
                return False
        return len(self._writers) == len(VIEWS)

    def _bring_locked(self, behind: list[_Fold], head: int) -> None:
        """Folds the views up to the head; those without a writer are built and put in force."""
        self._create_for([fold for fold in behind if fold.writer is None])
        self._fold_range(behind, head)
        built = [fold for fold in behind if fold.building]
        for fold in built:
            fold.building = False  # a switch that fails removes what it has not put in force
        if built:
            self._switch({fold.view.schema.name: fold.table for fold in built})
        if head:
            self.rebuilt += [fold.view.schema.name for fold in built]

    def tables_locked(self, head: int) -> dict[str, TableReader]:
        """The tables that the next events are folded into, brought to the head: what to decide on.

        Never those of `table`, which may be of another generation.
        """
        self.catch_up_locked(head)
        return dict(self._writers)

    def _open_locked(self, view: View, found: Found) -> TableWriter | None:
        """The writer in force, opened; None when there is none that can be used."""
        name = view.schema.name
        generation = found.current.get(name, 0)
        try:
            opened = TableWriter.open(
                self._generations.path(name, generation), view.schema, self._log.genesis.log_id,
                boot_id=self._boot_id,
            )  # fmt: skip
        except ViewUnusable:
            return None
        try:
            self._finish_switch(name, generation, found)
        except BaseException:
            opened.close()
            raise
        self._adopt(name, opened)  # only now: whoever has a writer does not look for old files
        return opened

    def _finish_switch(self, name: str, generation: int, found: Found) -> None:
        """A switch that was cut off between CURRENT and the old file's word is completed."""
        for number in found.files.get(name, ()):
            if number < generation:
                supersede_file(self._generations.path(name, number), generation)

    def _adopt(self, name: str, writer: TableWriter) -> None:
        self._writers[name] = writer
        self._readers[name] = writer
        self._wrote = True

    def _create_for(self, folds: Sequence[_Fold]) -> None:
        """Gives each fold a new generation to build, with room for a fold of the whole log."""
        if not folds:
            return
        kinds: Counter[int] = Counter()
        with marking(self._log.home):
            for block in self._log.blocks():
                kinds.update(block.kinds.tolist())
        try:
            found = self._generations.found()
            for fold in folds:
                view = fold.view
                rows = 0 if view.sees_all else sum(kinds[kind] for kind in view.kinds)
                links_each = _postings_per_row(view, rows)
                name = view.schema.name
                generation = self._next_number(name, found)
                path = self._generations.path(name, generation)
                fold.writer = Table.create(
                    path, view.schema, log_id=self._log.genesis.log_id, generation=generation,
                    rows=ROWS_MIN + rows * 5 // 4, boot_id=self._boot_id,
                    postings_per_row=links_each,
                )  # fmt: skip
                fold.building = True
                fold.size = rows * (1 + links_each)
                fold.inode = os.stat(path).st_ino
        except BaseException:
            self._drop_all(folds)
            raise

    def _next_number(self, name: str, found: Found | None = None) -> int:
        """Above every file's, and above the one in use here, which may have no file any more."""
        held = self._readers.get(name)
        found = found or self._generations.found()
        return max(found.next_number(name), held.generation + 1 if held else 0)

    def _switch(self, writers: Mapping[str, TableWriter]) -> None:
        """Puts new generations in force, of all these views at once; those that it could not are
        removed."""
        old = {name: self._writers.get(name) or self._readers.get(name) for name in writers}
        try:
            found = self._generations.switch({n: each.generation for n, each in writers.items()})
        except BaseException:
            current = self._generations.current()
            for name, writer in writers.items():
                if current.get(name) != writer.generation:
                    self._drop(writer)
            raise
        for name, writer in writers.items():
            before = old[name]
            if isinstance(before, TableWriter) and not before.superseded:
                before.supersede(writer.generation)
            self._finish_switch(name, writer.generation, found)
            self._adopt(name, writer)
        self._writers_stamp = self._generations.stamp()

    @SystemCalls("making room in the views")
    def reserve_locked(self, kinds: Iterable[int]) -> None:
        """Makes room for events of these kinds, before they are committed. Raises ViewFull."""
        kinds = list(kinds)
        for view in views_of(frozenset(kinds)):
            count = len(kinds) if view.sees_all else sum(map(view.kinds.__contains__, kinds))
            self._room(view, self._writers[view.schema.name], count)

    def _room(
        self, view: View, writer: TableWriter, count: int, *, building: bool = False,
        locked: bool = True,
    ) -> TableWriter:  # fmt: skip
        """The writer, or a bigger one if `count` more events might not fit. Raises ViewFull.

        building: it is not in force yet. locked: the caller holds the writer lock, under which
        alone a number of a generation may be taken.
        """
        writer.refresh()
        if has_room(view, writer, count):
            return writer
        with contextlib.nullcontext() if locked else self._log.lock.hold():
            name = view.schema.name
            generation = self._next_number(name)
            used = writer.arena_used
            rows = max(GROWTH_FACTOR * used, used + ROWS_PER_EVENT * count, ROWS_MIN)
            grown = writer.grow_into(
                self._generations.path(name, generation), generation, rows,
                postings_per_row=_postings_per_row(view, rows),
            )
            if building:
                self._drop(writer)
            else:
                self._switch({name: grown})
        return grown

    def apply_locked(self, block: Block) -> None:
        """Folds a block that was just committed."""
        kinds = frozenset(block.kinds.tolist())
        for view in VIEWS:
            writer = self._writers[view.schema.name]
            fold_block(view, writer, block, block.first, kinds, self._log.event)

    def _fold_range(
        self, folds: Sequence[_Fold], stop: int, *, locked: bool = True,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Each from its applied offset to `stop`, all in one pass: a block is read, and its hash
        checked, once. What is being built is removed when this fails."""
        try:
            self._fold_helped(folds, stop, locked, progress)
            self._fold_blocks(folds, stop, locked, progress)
        except BaseException:
            self._drop_all(folds)
            raise

    def _fold_helped(
        self, folds: Sequence[_Fold], stop: int, locked: bool, progress: Progress | None
    ) -> None:
        """What is built from nothing, as far as other processes can do some of it meanwhile."""
        new = [fold for fold in folds if fold.building and not fold.table.applied]
        _, *others = shares([Work(fold.table, fold.size, fold.inode) for fold in new])
        if not others:
            return

        def look() -> None:
            for table in helpers.tables:
                if progress is not None:
                    progress(table.schema.name, table.applied, stop)

        def tell(name: str, done: int, of: int) -> None:
            if progress is not None:
                progress(name, done, of)
            look()

        with helping(self._log, others, stop, self._boot_id) as helpers:
            rest = [fold for fold in folds if fold.table not in helpers.tables]
            self._fold_blocks(rest, stop, locked, tell)
            helpers.wait(look)

    def _fold_blocks(
        self, folds: Sequence[_Fold], stop: int, locked: bool, progress: Progress | None
    ) -> None:
        start = min(fold.table.applied for fold in folds)
        for block, kinds in checked_blocks(self._log, start, stop):
            safe_point()
            for fold in folds:
                applied = fold.table.applied
                if applied < block.stop:
                    self._fold_one(fold, block, applied, kinds, locked)
                    if progress is not None:
                        progress(fold.view.schema.name, block.stop, stop)

    def _fold_one(
        self, fold: _Fold, block: Block, start: int, kinds: Counter[int], locked: bool
    ) -> None:
        view, building = fold.view, fold.building
        if count := count_for(view, block, kinds):
            fold.writer = self._room(view, fold.table, count, building=building, locked=locked)
        fold_block(view, fold.table, block, start, kinds.keys(), self._log.event)

    # Rebuilding by hand

    @SystemCalls("rebuilding views")
    def rebuild(
        self, names: Iterable[str] = (), *, check: bool = False, progress: Progress | None = None
    ) -> list[Rebuilt]:
        """Builds views beside the live ones, compares, and puts the new ones in force.

        names: none means all. check: compare only, change nothing. The live views serve readers
        all the while; writers wait only for the last few events. Raises KeyError, ViewFull.
        """
        folds = [_Fold(VIEWS_BY_NAME[name], None) for name in names]
        return self._rebuild(folds or [_Fold(view, None) for view in VIEWS], check, progress)

    def _rebuild(
        self, folds: Sequence[_Fold], check: bool, progress: Progress | None
    ) -> list[Rebuilt]:
        with self._log.lock.hold():
            self.catch_up_locked()
            self._create_for(folds)
        began = perf_counter()
        self._fold_range(folds, self._log.head, locked=False, progress=progress)
        results, lives = [], []
        try:
            with self._log.lock.hold():
                self.catch_up_locked()
                self._fold_range(folds, self._log.head)
                elapsed_s = max(perf_counter() - began, 1e-9)
                for fold in folds:
                    name, built = fold.view.schema.name, fold.table
                    live = self._writers[name]
                    lives.append(live)
                    results.append(Rebuilt(
                        name, built.applied, int(built.applied / elapsed_s), built.digest,
                        live.digest, [],
                    ))  # fmt: skip
                    if not check:
                        fold.writer = self._renumbered(fold.view, built, live)
                        self._switch({name: fold.table})
                        fold.building = False
            if check:
                # No lock is held: whoever writes meanwhile changes only what is passed over.
                results = [
                    result._replace(
                        differing=differing(live, fold.table), live_digest=_summed(live, result)
                    )
                    for fold, live, result in zip(folds, lives, results, strict=True)
                ]
            return results
        finally:
            self._drop_all(folds)

    def _renumbered(self, view: View, writer: TableWriter, live: TableReader) -> TableWriter:
        """The same rows under a number above the live one's: who grew or rebuilt the view while
        we were building took a higher number than ours, and swept ours away."""
        if writer.generation > live.generation:
            return writer
        writer.refresh()
        generation = self._next_number(view.schema.name)
        path = self._generations.path(view.schema.name, generation)
        copied = writer.grow_into(path, generation, writer.arena_used)
        self._drop(writer)
        return copied

    @staticmethod
    def _drop(writer: TableWriter) -> None:
        """Removes a generation that was never in force."""
        path = writer.path
        writer.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def _drop_all(self, folds: Iterable[_Fold]) -> None:
        """Removes what is still being built."""
        for fold in folds:
            if fold.building and fold.writer is not None:
                fold.building = False
                self._drop(fold.writer)

    @SystemCalls("building a view")
    def build_as_of(self, name: str, stop: int) -> TableWriter:
        """A table of one view as it was when the head was `stop`, in a file of its own.

        The caller closes it and removes `path`. Cost: a rebuild up to there.
        """
        fold = _Fold(VIEWS_BY_NAME[name], None)
        with self._log.lock.hold():
            self._create_for([fold])
        self._fold_range([fold], stop, locked=False)
        return fold.table

    @SystemCalls("closing the views")
    def close(self) -> None:
        """Marks the views clean (a sync of what changed) if nobody is writing, and unmaps them."""
        wrote, self._wrote = self._wrote, False
        try:
            if wrote:
                with contextlib.suppress(LogBusy):  # a writer is at work: it will mark them itself
                    self._mark_clean()
        finally:
            self._unmap()

    def _mark_clean(self) -> None:
        with self._log.lock.hold(0):
            for writer in self._writers.values():
                whole = writer.applied == writer.in_progress
                if whole and not (writer.superseded or writer.clean):
                    writer.mark_clean()

    def _unmap(self) -> None:
        for table in (*self._readers.values(), *self._writers.values()):
            table.close()
        self._writers.clear()


def _postings_per_row(view: View, rows: int) -> int:
    links, _ = view.links_per_event
    return links if rows <= SMALL_ROWS_MAX else min(links, POSTINGS_PER_ROW_MAX)


def _summed(live: TableReader, compared: Rebuilt) -> bytes | None:
    """What the rows really sum to, whatever the header says; None when one is damaged. A view that
    went on meanwhile is taken at the word it gave under the lock."""
    try:
        totals = live.sum_rows()
    except ViewUnusable:
        return None
    still = live.applied == live.in_progress == compared.events
    return totals.digest if still else compared.live_digest
