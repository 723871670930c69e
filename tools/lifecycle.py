"""`backup`, `restore`, `fork`, `export`, `import-log`: homes kept elsewhere, and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .output import progress
from .verb import Cli, settings, stop_at

if TYPE_CHECKING:
    from alphapulse.log import Copied


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--no-verify", is_flag=True, help="Do not read the backup again to check it.")
@settings
def backup(cli: Cli, directory: str, no_verify: bool) -> None:
    """Make or update a backup in DIR, while others write.

    It holds every event up to the head as it is when this begins, the checkpoints and the
    cursors, and is audited in place; not the samples of venues in market/, which are kept for days
    only, nor the refused rows in quarantine/. DIR is missing, empty, or an earlier backup of this
    home, which then gets what is new. JSON fields: from, into, events, chain_head, size_bytes,
    verified.
    """
    from alphapulse.log import Copied, make_backup

    with cli.log() as log, progress("backing up") as report:
        made = make_backup(
            log, directory, verify=not no_verify, progress=lambda done, of: report(done, of)
        )
    copied = Copied(made.head, bytes.fromhex(made.chain_head), made.size_bytes)
    _show(cli, {"from": cli.home, "into": directory}, copied, verified=made.verified)
    note_samples(cli)
    cli.hint(f"next: `alphapulse --home NEW restore {directory}` brings it back")


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--to", "stop", metavar="OFFSET|TIME", help="The last event to bring back.")
@settings
def restore(cli: Cli, directory: str, stop: str | None) -> None:
    """Bring the backup in DIR back, into the home, which must be empty or missing.

    One whose log/ alone was lost is brought back in its place. The backup is audited first, and
    what its events mean before the home appears. With --to, only what was known by then: up to that
    event, or all that was recorded by that time. JSON fields:
    from, into, events, chain_head, size_bytes.
    """
    from alphapulse.registry import restore as run

    with progress("restoring") as report:
        copied = run(directory, cli.home, stop, progress=lambda done, of: report(done, of))
    _show(cli, {"from": directory, "into": cli.home}, copied)
    _note_empty(cli, copied, stop)


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--at", "stop", metavar="OFFSET|TIME", required=True, help="The last event that it gets."
)
@settings
def fork(cli: Cli, directory: str, stop: str) -> None:
    """Make a new home in DIR that goes on from an earlier event of this one.

    For questions of the kind "what if": it has the same events up to there, the same chain, and
    from then on its own. It begins without cursors and samples of venues. JSON fields: from, into,
    events, chain_head, size_bytes.
    """
    copied = copy_into(cli, directory, stop, "--at")
    _show(cli, {"from": cli.home, "into": directory}, copied)
    _note_empty(cli, copied, stop)
    note_samples(cli)
    cli.hint(f"next: `alphapulse --home {directory} stats`")


def _note_empty(cli: Cli, copied: Copied, stop: str | None) -> None:
    if not copied.events and stop is not None:
        cli.note(f"nothing was recorded by {stop}: the new home is empty")


def note_samples(cli: Cli) -> None:
    """Says what a copy of the log leaves behind, where there is any."""
    from alphapulse.log import MarketHome

    if MarketHome(cli.home).exists():
        cli.note(
            "not in it: the samples of venues in market/, kept for days only; what `alphapulse"
            " performance summarise` said of them before is"
        )


def copy_into(cli: Cli, directory: str, stop: str | None, option: str = "--to") -> Copied:
    """A new home in `directory` with this one's events up to and including `stop`."""
    from alphapulse.registry import replay_into

    with cli.log() as log:
        last = log.head if stop is None else stop_at(log, stop, option)
    with progress(f"copying into {directory}") as report:
        return replay_into(
            cli.home, directory, last, progress=lambda done, of: report(done, of)
        )


@click.command()
@click.argument("file")
@click.option("--to", "stop", metavar="OFFSET|TIME", help="The last event to write.")
@settings
def export(cli: Cli, file: str, stop: str | None) -> None:
    """Write the log into one new FILE that goes anywhere; `import-log` reads it.

    It is compressed and checksummed; log/FORMAT.md says how. Neither cursors nor samples of venues
    are in it. JSON fields: from, file, events, chain_head, size_bytes.
    """
    from alphapulse.log import export_log

    if file == "-":
        raise click.UsageError("it goes to a file, not to stdout: name one (`./-` if it must be)")
    with cli.log() as log, progress("exporting") as report:
        last = None if stop is None else stop_at(log, stop)
        copied = export_log(log, file, last, progress=lambda done, of: report(done, of))
    _show(cli, {"from": cli.home, "file": file}, copied)
    note_samples(cli)


@click.command()
@click.argument("file")
@settings
def import_log(cli: Cli, file: str) -> None:
    """Make the home, which must be empty or missing, from an exported FILE.

    Every byte of FILE, and what every event means, is checked first. The log is the original bit
    for bit: same chain, same digests. JSON fields: file, into, events, chain_head, size_bytes.
    """
    from alphapulse.registry import import_log as run

    with progress("importing") as report:
        copied = run(file, cli.home, progress=lambda done, of: report(done, of))
    _show(cli, {"file": file, "into": cli.home}, copied)


def _show(cli: Cli, places: dict[str, str], copied: Copied, **more: bool) -> None:
    shown = {
        **places, "events": copied.events, "chain_head": copied.chain_head.hex(),
        "size_bytes": copied.size_bytes, **more,
    }  # fmt: skip
    if cli.json:
        cli.out.records([shown])
        return
    for name, value in more.items():
        shown[name] = "yes" if value else "no"
    cli.out.fields((name.replace("_", " "), str(value)) for name, value in shown.items())
