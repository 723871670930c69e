"""`tail` and `replay`: events in the order they were recorded, now, again, or into a new home."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from .events import print_events
from .output import note
from .verb import Cli, settings, stop_at

if TYPE_CHECKING:
    from alphapulse.log import Event, EventLog, Pattern

PATTERN_HELP: Final = """
    \b
    PATTERN selects events by facets; without one, all of them:
      kind=instrument.registered class=token chain=eip155:137
      isin=US* and not status=delisted
      kind=collision or severity=warning
    A symbol is not what a venue calls an instrument (its native id): look that
    up, and ask for instrument=ID.
    """
JSON_HELP: Final = """
    \b
    JSON fields: offset, kind, version, recorded, valid_from, space, id, severity,
    source, body; before body, where there is one: content_hash (Blake3 of the
    file that it comes from, hex) and request_id.
    """


@click.command(help=f"""Show events by pattern: from the beginning, or with --follow from now on
    and as they come, until interrupted.
    {PATTERN_HELP}{JSON_HELP}
    """)  # fmt: skip
@click.argument("pattern", nargs=-1)
@click.option(
    "--from", "start", metavar="beginning|now|OFFSET|TIME",
    help="Where to begin. A bare integer is an offset. A cursor that is there goes on where it is.",
)  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on with new events as they are recorded.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many.")
@click.option("--raw", is_flag=True, help="Show the frame's bytes too, as frame_hex.")
@click.option(
    "--explain", is_flag=True,
    help="Say under each event why it matches, term by term; in JSON as the field explain, with"
    " text, matched, values and parts.",
)  # fmt: skip
@click.option(
    "--cursor", metavar="NAME",
    help="Go on where NAME came to, and keep its place: what was shown is not shown again.",
)  # fmt: skip
@settings
def tail(
    cli: Cli, pattern: tuple[str, ...], start: str | None, follow: bool, limit: int | None,
    raw: bool, explain: bool, cursor: str | None,
) -> None:  # fmt: skip
    from alphapulse.log import Pattern, start_offset

    selected = Pattern.parse(" ".join(pattern))
    why = selected if explain else None
    with cli.log() as log:
        first = start_offset(log, (start or ("now" if follow else "beginning")).strip())
        if cursor is not None:
            # Without a pattern it is the cursor's own, and --from is for a cursor that is new.
            with log.subscribe(selected if pattern else "", first, cursor=cursor) as named:
                if start is not None and named.position != first:
                    note(f"{cursor} goes on at offset {named.position}: --from is for a new one")
                if follow:
                    note(f"following {cursor} from offset {named.position}, Ctrl-C ends")
                shown = islice(named if follow else iter(named.poll, None), limit)
                # Each is flushed before the next one is asked for, which acknowledges it.
                why = named.pattern if explain else None
                if not print_events(cli, shown, raw=raw, explain=why, flush=True):
                    cli.note(f"nothing new for {cursor} up to offset {named.position}")
            return
        if follow:
            note(f"following from offset {first}, Ctrl-C ends")
            with log.subscribe(selected, first) as events:
                print_events(cli, islice(events, limit), raw=raw, explain=why, flush=True)
            return
        found = islice(log.read(first, None, selected), limit)
        _print_all(cli, log, found, raw=raw, explain=why)


def _print_all(
    cli: Cli, log: EventLog, events: Iterator[Event], *, raw: bool, explain: Pattern | None = None
) -> None:
    if print_events(cli, events, raw=raw, explain=explain):
        return
    if log.head:
        cli.note(f"no event matches, of the {log.head} in the log")
    else:
        cli.note("the log is empty: `alphapulse import FILE` or `register` fills it")


@click.command(help=f"""Show events again, from A to B inclusive; or, with --into, copy exactly the
    events up to B into a new home, whose chain head then equals the original's there.
    {PATTERN_HELP}{JSON_HELP}
    With --into: into, events, chain_head.
    """)  # fmt: skip
@click.argument("pattern", nargs=-1)
@click.option("--from", "start", metavar="A", help="OFFSET or TIME to begin with.")
@click.option("--to", "stop", metavar="B", help="OFFSET or TIME to end with; it is included.")
@click.option("--into", metavar="DIR", help="Make a new home there from the events up to B.")
@click.option("--raw", is_flag=True, help="Show the frame's bytes too, as frame_hex.")
@settings
def replay(
    cli: Cli, pattern: tuple[str, ...], start: str | None, stop: str | None, into: str | None,
    raw: bool,
) -> None:  # fmt: skip
    from alphapulse.log import Pattern, start_offset

    if into is not None:
        if start is not None or pattern or raw:
            raise click.UsageError("--into copies a whole prefix: leave out PATTERN, --from, --raw")
        _replay_into(cli, stop, into)
        return
    selected: Pattern = Pattern.parse(" ".join(pattern))
    with cli.log() as log:
        first = start_offset(log, (start or "beginning").strip())
        last = log.head if stop is None else stop_at(log, stop)
        _print_all(cli, log, log.read(first, last, selected), raw=raw)


def _replay_into(cli: Cli, stop: str | None, into: str) -> None:
    from .lifecycle import copy_into, note_samples

    copied = copy_into(cli, into, stop)
    shown = {"into": into, "events": copied.events, "chain_head": copied.chain_head.hex()}
    if cli.json:
        cli.out.records([shown])
        return
    cli.out.fields((name.replace("_", " "), str(value)) for name, value in shown.items())
    note_samples(cli)
    cli.hint(f"next: `alphapulse --home {into} stats`")
