"""Importing files: rows to units of commands, bad rows to the quarantine, numbers to a report.

A row is carried out whole or not at all. One that is refused, by its importer or by the registry,
is kept with its place and reason while the others go on. Everything is idempotent: after an
interruption of any kind the same file is imported again, and the same file twice adds no event.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from alphapulse.log import AlphaPulseError, AnyBody, ConflictBody, Home, InvalidInput

from . import validation
from .commands import Command, Datable, Register
from .commands_listings import AddListing
from .deciding import Receipt
from .errors import (
    GenerationOver,
    IdSpaceFull,
    IllegalEvent,
    IllegalTransition,
    UnknownInstrument,
    UnknownVenue,
    VenueOver,
)
from .held import Origin
from .importers import FORMATS, Importer, InputFile, Quarantine, Reading, Refused, Relation, Row
from .importers.json_document import DOCUMENT_SIZE_BYTES_MAX, parsed
from .importers.quarantine import default_path
from .listings_dated import ListingSince
from .planning import Planned, disagreement
from .registry import Registry
from .tickets import Outcome, Unit
from .writer import Rehearsal
from .writing import TEXT_SIZE_BYTES_MAX

AUTO: Final = "auto"
DRY_RUN_ROWS_MAX: Final = 200_000
"""A dry run keeps what it decided, 2.5 kB for each new listing, and holds the write session, up to
a minute: other writers wait, or give up with LogBusy."""
PROBLEMS_MAX: Final = 20
LIKENESS_MIN: Final = 2
"""Keys of a format that a document has which is said to be like it."""
ODD_SHOWN_MAX: Final = 3
"""Of one row, in its problem."""
CHUNK_ROWS_MAX: Final = 1_000
CHUNK_SIZE_MAX: Final = 4 << 20
_REASON_LENGTH_MAX: Final = 2_000
Progress = Callable[[int, int], None]
"""Called with done and total, in rows or bytes, whichever the format counts; done == total last."""
Plan = Callable[[Planned], object]

# Refusals of one row. All else (full, busy, read-only, broken, a clock that is off) would refuse
# every row, and rows are not bad because of it: it stops the import.
_OF_A_ROW: Final = (
    InvalidInput, IllegalTransition, IllegalEvent, IdSpaceFull, UnknownInstrument, GenerationOver,
    UnknownVenue, VenueOver,
)  # fmt: skip


class Problem(NamedTuple):
    """kind: quarantined, conflict or warning."""

    kind: str
    place: str
    reason: str


class ImportReport(NamedTuple):
    """rows = new + unchanged + amended + quarantined; a collision is new as well.

    What rows say of relations between instruments is counted apart, each as often as it is said.
    """

    file: str
    format: str
    rows: int
    new: int
    unchanged: int
    amended: int
    quarantined: int
    collisions: int
    conflicts: int
    """Open conflicts that its words are in, each once, however many rows are in it and whoever
    raised it: as long as nobody decides, the same file again tells of the same ones."""
    relations: int
    """Said by good rows, those that wait and the quarantined ones included."""
    relations_new: int
    relations_waiting: int
    """Kept until their other end is registered, whoever does that."""
    relations_met: int
    """Said before, and known now because this import registered the end they waited for."""
    relations_quarantined: int
    warnings: int
    """What is odd about good rows, and holds all the same."""
    quarantine_file: Path | None
    """Where all that is quarantined is; None when there is nothing, and after a dry run."""
    source: str
    content_hash: bytes
    unknown_columns: tuple[str, ...]
    problems: tuple[Problem, ...]
    """The first 20 of each kind, in the order of the file."""
    dry_run: bool

    @property
    def is_clean(self) -> bool:
        return not (self.quarantined or self.relations_quarantined or self.conflicts)


def import_file(
    registry: Registry, path: str | os.PathLike[str], *, format: str = AUTO, source: str = "",
    dry_run: bool | Rehearsal = False, plan: Plan | None = None,
    quarantine: str | os.PathLike[str] | Quarantine | None = None,
    progress: Progress | None = None, opened: BinaryIO | None = None,
    named: set[int] | None = None, valid_from: str | int = 0,
) -> ImportReport:  # fmt: skip
    """Registers what is in a file.

    format: a name in FORMATS; "auto" looks at the file. source: who says so; else the format knows
    one. quarantine: where refused rows go; else into the home, and a `Quarantine` is left open for
    the caller to keep. dry_run: decides everything and writes nothing; see `open_for_dry_run`. A
    rehearsal of this registry instead of True has seen the files before. plan: of a dry run, called
    with each thing that a row would do, as it is decided; the write session is held meanwhile.
    opened: a regular file that is read, and closed, instead of the one at `path`.
    named: gets the ids of the instruments that good rows register. valid_from: since when what rows
    say of instruments, of the symbols of listings, and of fees and endpoints of venues is true,
    where they name no date of their own [since it is recorded]; what was registered for later is
    dated back. It holds from then on until something was said later: so of files of several dates
    the oldest comes first.
    Raises InvalidInput for a file that is unusable as a whole. LogFull, LogBusy, ViewFull,
    ReadOnly, ChainBroken and the like stop the import; their facts say how far it came, the rows
    before are recorded, and importing again completes it. Cost: 100 µs a row, bounded memory.
    """
    if source:
        source = validation.text(source, "source", TEXT_SIZE_BYTES_MAX)
    since = validation.time_ns(valid_from, "valid_from")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(InputFile(path, opened))
        importer = importer_for(file, format)
        reading = importer.open(file)
        run = _Run(file, reading, source or reading.source, progress)
        run.named, run.since = named, since
        if dry_run:
            rehearsal = (
                stack.enter_context(registry.rehearsal()) if dry_run is True else dry_run
            )
            run.rehearse(rehearsal, plan)
        elif isinstance(quarantine, Quarantine):
            _refuse_own(file, quarantine.path)
            run.all(registry, quarantine)
        else:
            run.all(registry, stack.enter_context(_quarantine(registry, run, quarantine)))
    return run.report(importer.name, dry_run=bool(dry_run))


def importer_for(file: InputFile, format: str = AUTO) -> Importer:
    """Raises InvalidInput, listing the formats, when none is meant."""
    formats = ", ".join(FORMATS)
    if format != AUTO:
        if format not in FORMATS:
            file.refuse(f"there is no format {format!r}", cure=f"use auto or {formats}")
        return FORMATS[format]
    found = next((each for each in FORMATS.values() if each.sniff(file.path, file.head)), None)
    if found is None:
        cure = f"name one with --format: {formats}; see `import --help`"
        file.refuse(f"its format is not known{_likeness(file)}", cure=cure)
    return found


def _likeness(file: InputFile) -> str:
    """Which format a JSON document is most like, and what keeps it from being that; empty when it
    is like none. Raises InvalidInput, with the place, when it is damaged."""
    if not file.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return ""

    def has(key: str) -> bool:
        return f'"{key}"'.encode() in file.head

    like = max(FORMATS.values(), key=lambda each: sum(map(has, each.needs + each.marks)))
    if sum(map(has, like.needs + like.marks)) < LIKENESS_MIN:
        return ""
    if b"\n{" not in file.head:  # else its lines may be documents
        parsed(file, file.read(DOCUMENT_SIZE_BYTES_MAX))
    missing = [f'"{key}"' for key in like.needs if not has(key)]
    lacks = f"but it has no {' and no '.join(missing)}" if missing else "but it is built otherwise"
    return f"; it is most like {like.name}, {lacks}, and that looks like {like.summary}"


@contextlib.contextmanager
def open_for_dry_run(home: str | os.PathLike[str]) -> Iterator[Registry]:
    """The registry in `home` or, when it is missing, an empty one that is removed afterwards."""
    if Home(home).exists():
        with Registry.open(home) as registry:
            yield registry
    else:
        with tempfile.TemporaryDirectory(prefix="alphapulse-dry-run-") as directory:
            with Registry.open(os.path.join(directory, "home")) as registry:
                yield registry


def _quarantine(
    registry: Registry, run: _Run, path: str | os.PathLike[str] | None
) -> Quarantine:
    """The file at `path`, or the one in the home for this content."""
    if path is None:
        run.stale = default_path(
            registry.log.home.quarantine, run.file.path, run.reading.content_hash
        )
        return Quarantine(run.stale)
    _refuse_own(run.file, path)
    return Quarantine.named(path)


def _refuse_own(file: InputFile, quarantine: str | os.PathLike[str]) -> None:
    if os.path.exists(quarantine) and os.path.samefile(quarantine, file.path):
        file.refuse("it would be replaced by its own quarantine", cure="name another file")


_Read = Row | Relation | Refused


class _Executor(Protocol):
    """A registry, or the rehearsal of one."""

    def execute(self, units: Iterable[Unit]) -> Iterator[Outcome]: ...

    def body_at(self, offset: int) -> AnyBody: ...


class _Run:
    """One import: its counts, and how far it came."""

    def __init__(
        self, file: InputFile, reading: Reading, source: str, progress: Progress | None
    ) -> None:
        self.file = file
        self.reading = reading
        self.stale: Path | None = None
        """The quarantine of an earlier import, removed when this one refuses nothing."""
        self.named: set[int] | None = None
        """Gets the ids of the instruments that rows register."""
        self.since = 0
        """Valid-from (ns) of the registrations that name none."""
        self._source = source
        self._origin = Origin(source, reading.content_hash, "")
        self._progress = progress
        self._name = str(file.path)
        self._counts = dict.fromkeys(("new", "unchanged", "amended", "quarantined"), 0)
        self._relations = dict.fromkeys((*self._counts, "waiting"), 0)
        self._collisions = self._met = self._warnings = 0
        self._conflicts: set[int] = set()
        """Their offsets."""
        self._waiting: list[Row] = []
        """Were refused, and are tried again, once, when the others of the file are known."""
        self._may_wait = True
        self._problems: dict[str, list[Problem]] = {
            "quarantined": [], "conflict": [], "warning": []
        }  # fmt: skip
        self._rehearsal: Rehearsal | None = None
        self._plan: Plan | None = None
        self._kept: Path | None = None

    @property
    def rows(self) -> int:
        return sum(self._counts.values())

    @property
    def relations(self) -> int:
        return sum(self._relations.values())

    def rehearse(self, rehearsal: Rehearsal, plan: Plan | None) -> None:
        self._rehearsal, self._plan = rehearsal, plan
        self.all(rehearsal, None)

    def all(self, executor: _Executor, quarantine: Quarantine | None) -> None:
        chunk: list[_Read] = []
        size = 0
        try:
            for row in self.reading.rows(self._source):
                self._check_room(len(chunk))
                chunk.append(row)
                size += len(row.raw) if isinstance(row.raw, str) else 0
                if len(chunk) == CHUNK_ROWS_MAX or size >= CHUNK_SIZE_MAX:
                    self._chunk(executor, quarantine, chunk)
                    chunk, size = [], 0
            self._chunk(executor, quarantine, chunk)
            self._try_again(executor, quarantine)
        except AlphaPulseError as error:
            error.facts.setdefault("file", self._name)
            error.facts["rows_done"] = self.rows
            raise
        if quarantine is not None and (
            self._counts["quarantined"] or self._relations["quarantined"]
        ):
            self._kept = quarantine.path
        if self.stale is not None and self._kept is None:
            self.stale.unlink(missing_ok=True)

    def _check_room(self, waiting: int) -> None:
        """A dry run of several files keeps what it decided of all of them."""
        if self._rehearsal is not None and self._rehearsal.units + waiting >= DRY_RUN_ROWS_MAX:
            self.file.refuse(
                f"a dry run decides at most {DRY_RUN_ROWS_MAX} rows and relations",
                cure="import it into a home made for the purpose",
            )

    def _try_again(self, executor: _Executor, quarantine: Quarantine | None) -> None:
        """What waits; what is refused now is refused."""
        self._may_wait = False
        for start in range(0, len(self._waiting), CHUNK_ROWS_MAX):
            self._chunk(executor, quarantine, self._waiting[start : start + CHUNK_ROWS_MAX])

    def _chunk(
        self, executor: _Executor, quarantine: Quarantine | None, chunk: Sequence[_Read]
    ) -> None:
        """Executes the good rows in one session, and counts all of them in their order."""
        units = [
            Unit(self._commands(row), self._origin) for row in chunk if not isinstance(row, Refused)
        ]
        outcomes = executor.execute(units)
        for row in chunk:
            if not isinstance(row, Refused):
                outcome = next(outcomes)
                if not isinstance(outcome, AlphaPulseError):
                    self._count(executor, row, outcome)
                    continue
                if not isinstance(outcome, _OF_A_ROW):
                    raise outcome
                if self._may_wait and isinstance(row, Row) and row.waits:
                    self._waiting.append(row)
                    continue
                row = _refused(row, outcome)
            self._refuse(row, quarantine)
        if self._progress is not None:
            self._progress(self.reading.done, self.reading.total)

    def _commands(self, row: Row | Relation) -> Sequence[Command]:
        if isinstance(row, Relation):
            return (row.command,)
        if not self.since:
            return row.commands
        return [self._dated(each) for each in row.commands]

    def _dated(self, command: Command) -> Command:
        if isinstance(command, Register):
            return command._replace(valid_from=command.valid_from or self.since)
        if isinstance(command, AddListing):
            return ListingSince(command, self.since)
        return command.dated(self.since) if isinstance(command, Datable) else command

    def _count(
        self, executor: _Executor, row: Row | Relation, receipts: Sequence[Receipt]
    ) -> None:
        counts = self._counts if isinstance(row, Row) else self._relations
        commands = row.commands if isinstance(row, Row) else (row.command,)
        if isinstance(row, Row):
            self._warn(row.place, [*row.odd, *(odd for each in receipts for odd in each.odd)])
        # That a known token is in one more group does not make its row new, if the row says more.
        said = {
            receipt.outcome
            for command, receipt in zip(commands, receipts, strict=True)
            if isinstance(command, Register | AddListing)
        } or {receipt.outcome for receipt in receipts}
        is_news = said & {"new", "collision"}
        if is_news and isinstance(row, Row) and row.first_decides:
            is_news &= {receipts[0].outcome}
            said.add("amended")
        if "waiting" in said:
            counts["waiting"] += 1
        elif is_news:
            counts["new"] += 1
        else:
            counts["amended" if "amended" in said else "unchanged"] += 1
        if self._rehearsal is not None and self._plan is not None:
            for each in self._rehearsal.plan(row.place, self._source, receipts):
                self._plan(each)
        if self.named is not None:
            self.named.update(
                receipt.id for command, receipt in zip(commands, receipts, strict=True)
                if isinstance(command, Register)
            )  # fmt: skip
        for receipt in receipts:
            self._collisions += receipt.outcome == "collision"
            self._met += receipt.met
            for offset in receipt.conflicts:
                if offset in self._conflicts:
                    continue
                self._conflicts.add(offset)
                if len(self._problems["conflict"]) < PROBLEMS_MAX:
                    body = executor.body_at(offset)
                    assert isinstance(body, ConflictBody), "receipts name conflicts only"
                    self._note("conflict", row.place, disagreement(body, self._source))

    def _refuse(self, row: Refused, quarantine: Quarantine | None) -> None:
        reason = row.reason[:_REASON_LENGTH_MAX]
        (self._relations if row.is_relation else self._counts)["quarantined"] += 1
        self._note("quarantined", row.place, reason)
        if self._plan is not None:
            self._plan(Planned(row.place, "quarantined", "", 0, (), reason))
        if quarantine is not None:
            quarantine.add(self._name, row.place, reason, row.raw)

    def _warn(self, place: str, odd: Sequence[str]) -> None:
        self._warnings += len(odd)
        if odd:
            more = f" (and {len(odd) - ODD_SHOWN_MAX} more)"
            told = "; ".join(odd[:ODD_SHOWN_MAX])
            self._note("warning", place, told + more * (len(odd) > ODD_SHOWN_MAX))

    def _note(self, kind: str, place: str, reason: str) -> None:
        if len(self._problems[kind]) < PROBLEMS_MAX:
            self._problems[kind].append(Problem(kind, place, reason))

    def report(self, format: str, *, dry_run: bool) -> ImportReport:
        return ImportReport(
            file=self._name, format=format, rows=self.rows, **self._counts,
            relations=self.relations, relations_new=self._relations["new"],
            relations_waiting=self._relations["waiting"], relations_met=self._met,
            relations_quarantined=self._relations["quarantined"],
            collisions=self._collisions, conflicts=len(self._conflicts), warnings=self._warnings,
            quarantine_file=self._kept,
            source=self._source, content_hash=self.reading.content_hash,
            unknown_columns=self.reading.unknown_columns,
            problems=tuple(problem for found in self._problems.values() for problem in found),
            dry_run=dry_run,
        )  # fmt: skip


def _refused(row: Row | Relation, error: AlphaPulseError) -> Refused:
    """What the registry refused, by words that say which end of a relation it does not have."""
    if isinstance(row, Row):
        return Refused(row.place, str(error), row.raw)
    reason = str(error)
    if isinstance(error, UnknownInstrument):
        missing = row.names[bytes.fromhex(str(error.facts["fingerprint"]))]
        reason = f"{missing} is not registered (import or register it, then this file again)"
    return Refused(row.place, reason, row.raw, is_relation=True)

