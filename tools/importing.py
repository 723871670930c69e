"""`import`: files into the registry, bad rows into the quarantine."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Final

import click

from .output import Column, note, print_error, progress
from .verb import FINE, NO, Cli, exit_code, settings

if TYPE_CHECKING:
    from alphapulse.log import AlphaPulseError
    from alphapulse.registry import Registry
    from alphapulse.registry.importers import Quarantine
    from alphapulse.registry.importing import ImportReport

FIELDS: Final = (
    "file", "format", "rows", "new", "unchanged", "amended", "quarantined", "collisions",
    "conflicts", "quarantine_file", "relations", "relations_new", "relations_quarantined",
)  # fmt: skip
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
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format", cls=_FormatOption, default="auto", show_default=True, metavar="FORMAT",
)  # fmt: skip
@click.option("--source", default="", metavar="NAME", help="Who says so [what the file says].")
@click.option("--dry-run", is_flag=True, help="Decide everything and write nothing.")
@click.option(
    "--quarantine", metavar="FILE", help="Where refused rows go [a file in the home's quarantine]."
)
@settings
def import_(
    cli: Cli, files: tuple[str, ...], format: str, source: str, dry_run: bool,
    quarantine: str | None,
) -> int:  # fmt: skip
    """Register what is in token lists, CSV files and the like. The same file again adds no event.

    A row that is wrong is quarantined with its place and reason, and the others go on. So is a
    relation whose other end is not registered; import the file again when it is. Exit 1 when
    anything was quarantined or in conflict, 2 when a file is unusable as a whole.

    \b
    JSON fields, one line a file: file, format, rows, new, unchanged, amended,
    quarantined, collisions, conflicts, quarantine_file, relations,
    relations_new, relations_quarantined.
    """
    from alphapulse.log import AlphaPulseError, Home, InvalidInput
    from alphapulse.registry.importers import Quarantine
    from alphapulse.registry.importing import import_file

    if not dry_run and not Home(cli.home).exists():
        refused = _unusable(files, format)
        if len(refused) == len(files):  # then no home is made for nothing
            for error in refused:
                print_error(error, as_json=cli.json)
            return exit_code(refused[-1])
    worst = FINE
    reports: list[ImportReport] = []
    with ExitStack() as stack:
        registry = stack.enter_context(_opened(cli, dry_run))
        kept: Quarantine | None = None
        if quarantine is not None and not dry_run:
            kept = stack.enter_context(Quarantine(quarantine))
        for path in files:
            try:
                with progress(f"importing {os.path.basename(path)}") as show:
                    done = import_file(
                        registry, path, format=format, source=source, dry_run=dry_run,
                        quarantine=kept, progress=show,
                    )  # fmt: skip
            except InvalidInput as error:
                cli.out.flush()
                print_error(error, as_json=cli.json)
                worst = exit_code(error)
                continue
            except AlphaPulseError:
                _summary(cli, reports)
                raise
            reports.append(done)
            _report(cli, done)
            if not done.is_clean:
                worst = max(worst, NO)
    _summary(cli, reports)
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


def _opened(cli: Cli, dry_run: bool) -> AbstractContextManager[Registry]:
    from alphapulse.registry.importing import open_for_dry_run

    return open_for_dry_run(cli.home) if dry_run else cli.registry(write=True, create=True)


def _report(cli: Cli, report: ImportReport) -> None:
    """What became of one file; its problems go to stderr."""
    if cli.json:
        fields: dict[str, object] = {name: getattr(report, name) for name in FIELDS}
        if report.quarantine_file is not None:
            fields["quarantine_file"] = str(report.quarantine_file)
        cli.out.records([fields])
    if report.unknown_columns:
        note(f"{report.file}: columns without meaning here: {', '.join(report.unknown_columns)}")
    if not cli.json:
        note_problems(report)


def note_problems(report: ImportReport) -> None:
    """What was wrong with rows of a file, and where to look for more."""
    for problem in report.problems[:PROBLEMS_SHOWN_MAX]:
        note(f"{report.file}: {problem.place}: {problem.kind}: {problem.reason}")
    problems = report.quarantined + report.relations_quarantined + report.conflicts
    more = problems - len(report.problems[:PROBLEMS_SHOWN_MAX])
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
    if reports[0].dry_run:
        cli.note("dry run: nothing was written")
