"""`watch`: directories in which feeds leave files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import click

from .events import counts
from .importing import FIELDS, note_problems
from .output import note, print_error
from .verb import FINE, NO, Cli, settings

if TYPE_CHECKING:
    from alphapulse.registry import Found
    from alphapulse.registry.discovery import Taken

SETTLE_S_MAX: Final = 3_600.0


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--feeds", metavar="FILE.toml",
    help="Which names are of which format and source [detected, as import does].",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Import what is there now, and end.")
@click.option(
    "--settle", "settle_s", type=click.FloatRange(0, SETTLE_S_MAX), default=1.0, show_default=True,
    metavar="SECONDS", help="How long a file must have been the same before it is read.",
)  # fmt: skip
@settings
def watch(
    cli: Cli, directories: tuple[str, ...], feeds: str | None, once: bool, settle_s: float
) -> int:
    """Import each file that appears or changes in directories, once, until interrupted.

    What was imported is known by its content, in the log: restarts, copies and renames import
    nothing twice. Write a file under a name that ends in .tmp, .part or ~, or begins with a dot,
    and rename it when it is complete; such names are passed over. Links, files of other users
    and subdirectories are never read.

    \b
    FILE.toml, of which the first feed whose pattern fits a name is the file's:
      [[feed]]
      pattern = "*.tokenlist.json"
      format = "token-list"
      source = "uniswap"

    A feed with complete = true names all that its source knows: an instrument that missing_after
    [3] files in a row do not name is proposed to be delisted (see proposals), and nothing more. A
    file that names over drop_max_percent [10] fewer than the one before, or has over
    quarantined_max [0] bad rows, says of nobody that it is gone. precedence = [SOURCE, ...] and
    [seen] state what holds for sources (see rules).

    Ctrl-C or SIGTERM ends it with exit 0. With --once: exit 1 when a file was refused, a row or a
    relation was quarantined or in conflict, a file of a complete feed is not complete, or a file is
    still being written. 2 when a DIR or FILE.toml is unusable.

    \b
    JSON fields, one line a file that was imported: file, format, rows, new,
    unchanged, amended, quarantined, collisions, conflicts, quarantine_file,
    relations, relations_new, relations_waiting, relations_met,
    relations_quarantined, source, content_hash, offset;
    of a complete feed snapshot too: flaw, number, named, appeared, gone,
    proposed, withdrawn.
    """
    from alphapulse.registry.discovery import ANY, Discovery, read_feeds, usable_directories

    known_feeds = ANY if feeds is None else read_feeds(feeds)
    usable_directories(directories)  # before a home is made for nothing
    with cli.registry(write=True, create=True) as registry, _ended_by_sigterm():
        discovery = Discovery(registry, directories, known_feeds, settle_s=settle_s)
        if not once:
            cli.note(f"watching {', '.join(directories)}, Ctrl-C ends")
        clean = True
        try:
            clean = _show(cli, discovery.once() if once else discovery.run())
        except KeyboardInterrupt:
            if once:
                raise
        done = discovery.statistics()
    cli.note(
        f"{done.imported} imported, {done.known} known already, {done.refused} refused"
        + (f", {done.waiting} still waiting" if done.waiting else "")
    )
    return FINE if clean or not once else NO


def _show(cli: Cli, findings: Iterable[Found]) -> bool:
    """Tells each as it comes; whether nothing was wrong."""
    clean = True
    for found in findings:
        if found.report is not None:
            clean &= found.report.is_clean and not (found.snapshot and found.snapshot.flaw)
            _show_imported(cli, found)
        elif found.problem is not None:
            clean = False
            cli.out.flush()
            print_error(found.problem, as_json=cli.json)
        elif found.what == "back":
            cli.note(f"{found.path} is back, and watched")
        cli.out.flush()
    return clean


def _show_imported(cli: Cli, found: Found) -> None:
    report = found.report
    assert report is not None
    if cli.json:
        fields: dict[str, object] = {name: getattr(report, name) for name in FIELDS}
        fields["file"] = os.fsencode(report.file).decode("utf-8", "backslashreplace")
        if report.quarantine_file is not None:
            path = os.fsencode(report.quarantine_file)
            fields["quarantine_file"] = path.decode("utf-8", "backslashreplace")
        fields |= {
            "source": report.source, "content_hash": report.content_hash.hex(),
            "offset": found.offset,
        }  # fmt: skip
        if found.snapshot is not None:
            fields["snapshot"] = _snapshot_fields(found.snapshot)
        cli.out.records([fields])
        return
    said = f"{found.path.name} as {report.format} of {report.source}: {counts(report)}"
    cli.out.cells(("imported", 8), (said, 0), (f"offset {found.offset}", 0))
    if found.snapshot is not None:
        _note_snapshot(cli, found.path.name, found.snapshot)
    if report.unknown_columns:
        note(f"{report.file}: columns without meaning here: {', '.join(report.unknown_columns)}")
    note_problems(report)


def _snapshot_fields(taken: Taken) -> dict[str, object]:
    from alphapulse.registry.fields import id_text

    ids = {name: [id_text(id) for id in getattr(taken, name)] for name in ("proposed", "withdrawn")}
    return {**taken._asdict(), **ids, "flaw": taken.flaw or None}


def _note_snapshot(cli: Cli, name: str, taken: Taken) -> None:
    cli.out.flush()
    if taken.flaw:
        note(f"{name}: it is {taken.flaw}, so it says of nobody that it is gone")
    elif taken.gone or taken.appeared:
        cli.note(f"{name}: {taken.appeared} came and {taken.gone} went since the file before")
    if taken.proposed:
        note(f"{name}: {len(taken.proposed)} proposed to be delisted: see `alphapulse proposals`")
    if taken.withdrawn:
        note(f"{name}: {len(taken.withdrawn)} back, and no longer proposed to be delisted")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Within it SIGTERM is what Ctrl-C is."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
