"""`import`: files into the registry, bad rows into the quarantine."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypedDict

import click

from .fields import check_times
from .output import Column, Report, json_line, note, print_error, progress, short_value, shown
from .verb import FINE, NO, Cli, exit_code, settings

if TYPE_CHECKING:
    from alphapulse.log import AlphaPulseError
    from alphapulse.registry.importing import ImportReport

FIELDS: Final = (
    "file", "format", "rows", "new", "unchanged", "amended", "quarantined", "collisions",
    "conflicts", "quarantine_file", "relations", "relations_new", "relations_waiting",
    "relations_met", "relations_quarantined", "warnings",
)  # fmt: skip
class Said(TypedDict):
    """What the options say of all files, as `import_file` takes it."""

    format: str
    source: str
    valid_from: str | int


COUNTS: Final = (*FIELDS[2:9], *FIELDS[10:])
QUIET_WHEN_ZERO: Final = COUNTS[4:]
"""Columns that people see only when a file has any."""
PROBLEMS_SHOWN_MAX: Final = 10


class _FormatOption(click.Option):
    """Its help says what the formats are; they are imported only when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from alphapulse.registry.importers import FORMATS

        formats = "; ".join(f"{name}: {importer.summary}" for name, importer in FORMATS.items())
        self.help = f"What the files are; auto looks into them. {formats}"
        return super().get_help_record(ctx)


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option(
    "--bundled", multiple=True, metavar="NAME",
    help="A file that comes along: mic-list (ISO 10383) or crypto-venues (as ccxt describes them). "
    "May be given again.",
)  # fmt: skip
@click.option(
    "--format", cls=_FormatOption, default="auto", show_default=True, metavar="FORMAT",
)  # fmt: skip
@click.option("--source", default="", metavar="NAME", help="Who says so [what the file says].")
@click.option(
    "--dry-run", is_flag=True,
    help="Decide everything and write nothing; print what each row would do, field by field.",
)
@click.option(
    "--quarantine", metavar="FILE", help="Where refused rows go [a file in the home's quarantine]."
)
@click.option(
    "--valid-from", metavar="TIME",
    help="Since when what the files say of instruments, symbols of listings, fees and endpoints is "
    "true, where a row names no date of its own [since it is recorded]. What was registered for "
    "later is dated back. It holds from then on, over what the same source said before: import "
    "older files first.",
)  # fmt: skip
@settings
def import_(
    cli: Cli, files: tuple[str, ...], bundled: tuple[str, ...], format: str, source: str,
    dry_run: bool, quarantine: str | None, valid_from: str | None,
) -> int:  # fmt: skip
    """Register what is in token lists, lists of venues, CSV files and the like. The same file
    again adds no event.

    A row that is wrong is quarantined with its place and reason, and the others go on. A relation
    whose other end is not registered waits for that, and is known as soon as anybody registers it
    (see related --waiting). What is odd about a good row, such as a fee that rises with volume, is
    a warning: it is told, and holds. Exit 1 when anything was quarantined or in conflict, 2 when a
    file is unusable as a whole.

    A dry run prints what would become of each row that is not unchanged, and then the counts that
    the import of the same files would report: what is new, each field that would be amended, with
    its value before, what is in conflict and what is refused, with the reason. Others cannot write
    while it decides.

    \b
    JSON fields, one line a file: file, format, rows, new, unchanged, amended,
    quarantined, collisions, conflicts, quarantine_file, relations,
    relations_new, relations_waiting, relations_met (they had waited for what
    this file registers), relations_quarantined, warnings. Of a dry run before
    that, one line for each thing that a row would do: file, place, what (new,
    amended, collision, conflict, warning, quarantined), kind (of the event,
    null when there would be none), id (of the instrument or venue), changes (a
    list of field, before, after; of a conflict `after` is what the row says,
    taken only where its source has precedence), reason.
    """
    from alphapulse.log import AlphaPulseError, Home
    from alphapulse.registry.importers import Quarantine
    from alphapulse.registry.importing import import_file

    if not files and not bundled:
        raise click.UsageError("name a FILE, or one that comes along with --bundled")
    if bundled:
        from alphapulse.registry.venues import bundled_file

        files = (*map(str, map(bundled_file, bundled)), *files)
    check_times({"valid_from": valid_from})
    said: Said = {"format": format, "source": source, "valid_from": valid_from or 0}
    if dry_run:
        return _dry_run(cli, files, said)
    if not Home(cli.home).exists():
        refused = _unusable(files, format)
        if len(refused) == len(files):  # then no home is made for nothing
            for error in refused:
                print_error(error, as_json=cli.json)
            return exit_code(refused[-1])
    reports: list[ImportReport] = []
    try:
        with ExitStack() as stack:
            registry = stack.enter_context(cli.registry(write=True, create=True))
            kept = None if quarantine is None else stack.enter_context(Quarantine.named(quarantine))

            def run(path: str, show: Report) -> None:
                done = import_file(registry, path, **said, quarantine=kept, progress=show)
                reports.append(done)
                _report(cli, done)

            worst = _each(cli, files, run)
    except AlphaPulseError:
        _summary(cli, reports)
        raise
    _summary(cli, reports)
    return worst if all(report.is_clean for report in reports) else max(worst, NO)


def _dry_run(cli: Cli, files: tuple[str, ...], said: Said) -> int:
    """Decides all files in one rehearsal, as if those before had been imported.

    What it says waits in a temporary file until others may write again: whoever reads it in a pager
    takes his time.
    """
    from alphapulse.registry.importing import import_file, open_for_dry_run
    from alphapulse.registry.render import planned_dict

    reports: list[ImportReport] = []
    with tempfile.TemporaryFile() as kept:
        with open_for_dry_run(cli.home) as registry, registry.rehearsal() as rehearsal:

            def run(path: str, show: Report) -> None:
                done = import_file(
                    registry, path, **said, dry_run=rehearsal,
                    plan=lambda planned: kept.write(json_line(planned_dict(planned, path))),
                    progress=show,
                )  # fmt: skip
                reports.append(done)
                kept.write(json_line(_fields(done)))
                _note_columns(done)

            worst = _each(cli, files, run)
        kept.seek(0)
        _print_plan(cli, kept)
    _summary(cli, reports)
    cli.note("dry run: nothing was written")
    return worst if all(report.is_clean for report in reports) else max(worst, NO)


def _each(cli: Cli, files: tuple[str, ...], run: Callable[[str, Report], None]) -> int:
    """2 when a file was unusable as a whole, else 0; the others are run all the same."""
    from alphapulse.log import InvalidInput

    worst = FINE
    for path in files:
        try:
            with progress(f"importing {os.path.basename(path)}") as show:
                run(path, show)
        except InvalidInput as error:
            cli.out.flush()
            print_error(error, as_json=cli.json)
            worst = exit_code(error)
    return worst


def _unusable(files: tuple[str, ...], format: str) -> list[AlphaPulseError]:
    """Why files cannot be imported at all, for those where a look at their beginning tells."""
    from alphapulse.log import InvalidInput
    from alphapulse.registry.importers import InputFile
    from alphapulse.registry.importing import importer_for

    refused: list[AlphaPulseError] = []
    for path in files:
        try:
            with InputFile(path) as file:
                importer_for(file, format).open(file)
        except InvalidInput as error:
            refused.append(error)
    return refused


def _report(cli: Cli, report: ImportReport) -> None:
    """What became of one file; its problems go to stderr."""
    if cli.json:
        cli.out.records([_fields(report)])
    _note_columns(report)
    note_problems(report)


def _fields(report: ImportReport) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(report, name) for name in FIELDS}
    if report.quarantine_file is not None:
        fields["quarantine_file"] = str(report.quarantine_file)
    return fields


def _note_columns(report: ImportReport) -> None:
    if report.unknown_columns:
        note(f"{report.file}: columns without meaning here: {', '.join(report.unknown_columns)}")


def note_problems(report: ImportReport) -> None:
    """What was wrong with rows of a file, and where to look for more."""
    odd = [problem for problem in report.problems if problem.kind == "warning"]
    bad = [problem for problem in report.problems if problem.kind != "warning"][:PROBLEMS_SHOWN_MAX]
    for problem in [*odd, *bad]:
        note(f"{report.file}: {problem.place}: {problem.kind}: {problem.reason}")
    problems = report.quarantined + report.relations_quarantined + report.conflicts
    more = problems - len(bad)
    if more:
        note(f"{report.file}: … and {more} more")
    if report.quarantine_file is not None:
        note(f"{report.file}: what was refused is kept in {report.quarantine_file}")
    if report.conflicts:
        note(f"{report.file}: see `alphapulse alerts` for the conflicts")


def _summary(cli: Cli, reports: list[ImportReport]) -> None:
    if cli.json or not reports:
        return
    names = [os.path.basename(report.file) for report in reports]
    distinct = len(set(names)) == len(names)
    rows = []
    for name, report in zip(names, reports, strict=True):
        counts = {field: getattr(report, field) for field in COUNTS}
        rows.append(
            {field: count or ("" if field in QUIET_WHEN_ZERO else "0")
             for field, count in counts.items()}
            | {"file": name if distinct else report.file}
        )  # fmt: skip
    cli.out.table(
        [Column("file"), *(Column(field, right=True) for field in COUNTS)], rows
    )


# --- what a dry run says ---------------------------------------------------------------------

_PLACE_WIDTH: Final = 12
_WHAT_WIDTH: Final = 11
_PLAIN: Final = re.compile(r"[\w.:/@+-]+")


def _print_plan(cli: Cli, lines: Iterable[bytes]) -> None:
    """lines: JSON of things that rows would do, and after those of a file its report."""
    import msgspec

    file = ""
    for line in lines:
        record = msgspec.json.decode(line)
        if cli.json:
            cli.out.records([record])
        elif "place" in record:
            if record["file"] != file:
                file = record["file"]
                cli.out.line(file)
            for text in _texts(record):
                cli.out.cells(
                    (f"  {record['place']}", _PLACE_WIDTH), (record["what"], _WHAT_WIDTH), (text, 0)
                )


def _texts(record: Mapping[str, Any]) -> Iterator[str]:
    """What a row would do to one thing: what is new in one line, an amended field in one each."""
    what, id, changes = record["what"], record["id"], record["changes"]
    if what == "quarantined":
        yield record["reason"]
    elif what in ("conflict", "collision", "warning"):
        known = "" if record["kind"] else " (raised before)"
        yield f"{id} {record['reason']}{known}"
    elif what == "amended":
        for change in changes:
            yield f"{id} {change['field']}: {_value(change, 'before')} -> {_value(change, 'after')}"
    else:
        head = changes[0]["field"] if changes[0]["after"] is True else ""
        rest = [
            f"{change['field'].removeprefix(f'{head} ')} {_value(change, 'after')}"
            for change in changes[bool(head) :]
        ]
        yield f"{id} {f'{head}: ' * bool(head)}{', '.join(rest)}".rstrip(": ")


def _value(change: Mapping[str, Any], side: str) -> str:
    """A word as it is, other text in quotes; a dash for what is not known."""
    if change[side] is None:
        return "-"
    text = shown(short_value(change["field"], change[side]))
    return text if _PLAIN.fullmatch(text) else repr(text)
