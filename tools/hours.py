"""`hours`: when a venue trades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from .lookup import as_of_option, moment
from .output import Column, short_time
from .venues import at_option, canonical, instant_text, print_receipt, source_option
from .verb import FINE, NO, Cli, family, request_id_option, settings, time_asked

if TYPE_CHECKING:
    from alphapulse.registry.venues import Hours, Venue

_DAY_NS: Final = 86_400 * 10**9
_WEEK_DAYS: Final = 7
FILE_SIZE_BYTES_MAX: Final = 4 << 20


@family("""Show or say when a venue trades. No hours are known of a venue until somebody says
    them: then `open` is unknown, and never guessed.
    """)
def hours() -> None:
    pass


@hours.command("show")
@click.argument("venue")
@click.option("--from", "start", metavar="OFFSET|TIME", help="First instant [--as-of, or now].")
@click.option("--to", "stop", metavar="OFFSET|TIME", help="Last instant [a week later].")
@click.option("--toml", is_flag=True, help="The rules themselves, as `hours set` takes them.")
@as_of_option
@settings
def show(
    cli: Cli, venue: str, start: str | None, stop: str | None, toml: bool, as_of: str | None
) -> None:
    """Show the sessions of a venue.

    JSON fields: venue, date, open, close, phases (phase, start, end), reason.
    """
    from alphapulse.log import format_time
    from alphapulse.registry.fields import time_text
    from alphapulse.registry.venues import to_toml

    venue = canonical(venue)
    with cli.registry() as registry:
        begin = moment(registry, as_of, time_asked(registry, start, "--from"))
        end = time_asked(registry, stop, "--to")
        end = begin + _WEEK_DAYS * _DAY_NS if end is None else end + 1
        known = registry.venues.hours(venue, begin, known=as_of)
        found = [] if toml else list(registry.venues.sessions(venue, begin, end, known=as_of))
    if toml:
        if cli.json:
            raise click.UsageError("--toml is no JSON")
        for line in to_toml(known, [venue]).splitlines():
            cli.out.line(line)
        return
    rows = [
        {
            "venue": venue, "date": each.date, "open": time_text(each.open or 0),
            "close": time_text(each.close or 0),
            "phases": [
                {"phase": part.phase.name.lower(), "start": format_time(part.start),
                 "end": format_time(part.end)} for part in each.phases
            ],
            "reason": each.reason or None,
        }
        for each in found
    ]  # fmt: skip
    if cli.json:
        cli.out.records(rows)
        return
    if rows:
        cli.out.table(
            [Column("date", whole=True), Column("open"), Column("close"), Column("phases"),
             Column("reason")],
            [
                row | {
                    "open": instant_text(row["open"]), "close": instant_text(row["close"]),
                    "phases": " ".join(part.phase.name.lower() for part in each.phases),
                }
                for row, each in zip(rows, found, strict=True)
            ],
        )  # fmt: skip
    if rows:
        _note_horizon(cli, venue, known.holidays_to, found[-1].date)
    count = f"{len(rows)} session{'s' * (len(rows) != 1)}, in UTC"
    what = "open at every instant" if known.always else count
    cli.note(f"{venue}: {what}; the clock there is of {known.zone}")


@hours.command("import")
@click.argument("venues", nargs=-1, required=True, metavar="VENUE...")
@click.option(
    "--from", "origin", type=click.Choice(("bundled", "exchange-calendars")), default="bundled",
    show_default=True, help="Those that come along, or the calendars of that package, by MIC.",
)  # fmt: skip
@click.option("--first", default="", metavar="DATE", help="First date that is exported [2010].")
@click.option("--last", default="", metavar="DATE", help="Last date that is exported [in a year].")
@click.option("--source", help="Who says so  [bundled, or the package and its version].")
@settings
def import_(
    cli: Cli, venues: tuple[str, ...], origin: str, first: str, last: str, source: str | None
) -> None:
    """Take over when venues trade: weekly rules and special days, for all of them or, if one is not
    known, for none. The same again adds nothing. For exchange-calendars install the extra
    `alphapulse[calendars]`.

    \b
      hours import XNAS XLON
      hours import XASX --from exchange-calendars --first 2020-01-01

    JSON fields: venue, id, fingerprint, offset, outcome (new, unchanged, amended, collision).
    """
    from alphapulse.log import AlphaPulseError
    from alphapulse.registry import Origin, Unit, validation
    from alphapulse.registry.render import receipt_dict
    from alphapulse.registry.venues import bundled_hours, calendar_source, from_calendar
    from alphapulse.registry.venues.commands import SetHours

    if (first or last) and origin == "bundled":
        raise click.UsageError("--first and --last choose dates of --from exchange-calendars")
    keys = tuple(dict.fromkeys(map(validation.venue, venues)))
    if origin == "bundled":
        given = {key: bundled_hours(key) for key in keys}
        said_by = "bundled"
    else:
        given = {key: from_calendar(key, first, last) for key in keys}
        said_by = calendar_source()
    commands = tuple(SetHours(key, each, only_news=True) for key, each in given.items())
    with cli.registry(write=True) as registry:
        (receipts,) = registry.execute((Unit(commands, Origin(source or said_by)),))
    if isinstance(receipts, AlphaPulseError):
        raise receipts
    for key, receipt in zip(given, receipts, strict=True):
        row = {"venue": key, **receipt_dict(receipt)}
        if cli.json:
            cli.out.records([row])
        else:
            cli.out.cells((key, 9), (receipt.outcome, 9), (str(row["id"]), 18),
                          (f"offset {receipt.offset}", 0))  # fmt: skip


@hours.command("set")
@click.argument("venue")
@click.argument("file", required=False, metavar="[FILE]")
@click.option(
    "--bundled", is_flag=False, flag_value="", metavar="[NAME]",
    help="Those that come along: of the venue itself, of another MIC, or always (24/7).",
)  # fmt: skip
@click.option("--valid-from", metavar="TIME", help="Since when these are the hours [always].")
@source_option
@request_id_option
@settings
def set_(
    cli: Cli, venue: str, file: str | None, bundled: str | None, valid_from: str | None,
    source: str | None, request_id: str | None,
) -> int:  # fmt: skip
    """Say when a venue trades: all its rules and special days, from a file or from those that come
    along. Of several venues in FILE, VENUE's are taken.

    \b
      hours set XTKS --bundled
      hours set XCME FILE.toml

    FILE.toml has venues, zone, holidays_to, always, [[rule]] (phase, weekdays, start, end, first,
    last) and [[day]] (date or dates, reason, phases); FILE.csv a row for each rule and each phase
    of a day, with the columns venue, zone, phase, weekdays, start, end, first, last, date, reason,
    holidays_to, always. `hours show VENUE --toml` shows what hours look like so.

    Rules and days name their own dates, so without --valid-from they are the hours of all times; by
    --as-of one still sees what was known before.

    JSON fields: id, fingerprint, offset, outcome (new, unchanged, amended, collision).
    """
    from alphapulse.registry.venues import bundled_hours

    if (file is None) == (bundled is None):
        raise click.UsageError("give a FILE, or --bundled")
    if file is not None:
        given, said_by = _read(file, venue), "operator"
    else:
        given, said_by = bundled_hours(bundled or venue), "bundled"
    with cli.registry(write=True) as registry:
        receipt = registry.venues.set_hours(
            venue, given, valid_from=valid_from or 0, source=source or said_by,
            request_id=request_id or "",
        )  # fmt: skip
        return print_receipt(cli, receipt)


def _read(file: str, venue: str) -> Hours:
    from alphapulse.log import InvalidInput
    from alphapulse.registry import validation
    from alphapulse.registry.venues import hours_of_toml, read_csv, read_toml

    data = read_file(file)
    if file.lower().endswith(".csv"):
        found = read_csv(data)
    elif b"venues" not in data:
        return hours_of_toml(data)
    else:
        found = read_toml(data)
    key = validation.venue(venue)
    for name, given in found:
        if name == key:
            return given
    raise InvalidInput(
        "reading hours", problem="the file is about other venues", venue=key,
        cure=f"name one of {', '.join(name for name, _ in found)[:200]}",
    )  # fmt: skip


def read_file(file: str) -> bytes:
    """A small file that somebody wrote. Raises InvalidInput, OSError."""
    from alphapulse.log import InvalidInput

    with open(file, "rb") as opened:
        data = opened.read(FILE_SIZE_BYTES_MAX + 1)
    if len(data) > FILE_SIZE_BYTES_MAX:
        raise InvalidInput(
            f"reading {file}", problem="it is too long", size_bytes_max=FILE_SIZE_BYTES_MAX
        )
    return data


@hours.command("is-open")
@click.argument("venue")
@click.option("--phase", help="Whether it is in this phase, such as opening_auction or break.")
@at_option
@as_of_option
@settings
def is_open(
    cli: Cli, venue: str, phase: str | None, at: str | None, as_of: str | None
) -> int:
    """Say whether a venue is open by its hours: continuous trading, or the --phase asked for. What
    was said of halts is no part of it: see `status`. Exit 0 when it is, 1 when it is not.

    JSON fields: venue, at, open, phase, until (when the phase ends), reason (why it is closed, when
    it is no venue then), holidays_to (the last date whose special days are known).
    """
    from alphapulse.log import format_time
    from alphapulse.registry.fields import time_text

    venue = canonical(venue)
    with cli.registry() as registry:
        then = moment(registry, as_of, time_asked(registry, at, "--at"))
        table = registry.venues.timetable(venue, then, known=as_of)
        is_so = registry.venues.is_open(venue, then, phase, known=as_of)
        until = registry.venues.until(venue, then, known=as_of)
        reason = _absence(registry.venues.get(venue, known=as_of), then)
        horizon = registry.venues.holidays_to(venue, then, known=as_of)
    row = {
        "venue": venue, "at": format_time(then), "open": is_so,
        "phase": table.phase_at(then).name.lower(), "until": time_text(until or 0),
        "reason": reason, "holidays_to": horizon or None,
    }  # fmt: skip
    if cli.json:
        cli.out.records([row])
    else:
        _note_horizon(cli, venue, horizon, str(row["at"]))
        what = ("open" if is_so else "not open") if phase is None else (
            f"in {phase}" if is_so else f"not in {phase}"
        )  # fmt: skip
        ends = f" until {instant_text(row['until'])} UTC" if row["until"] else ""
        why = f"; {reason}" if reason else ""
        cli.out.line(
            f"{venue} is {what} at {instant_text(row['at'])} UTC: {row['phase']}{ends}{why}"
        )
    return FINE if is_so else NO


def _note_horizon(cli: Cli, venue: str, holidays_to: str, asked: str) -> None:
    """asked: a date, or an instant that begins with one."""
    if holidays_to and asked[: len(holidays_to)] > holidays_to:
        cli.note(
            f"{venue}: special days are known to {holidays_to}; after it only weekly rules speak"
        )


def _absence(venue: Venue | None, at: int) -> str | None:
    """Why nobody trades at a venue that is none at `at` (ns)."""
    from alphapulse.log import format_time

    if venue is None or venue.is_valid(at):
        return None
    if venue.valid_from and at < int(venue.valid_from):
        return f"it is a venue from {short_time(format_time(int(venue.valid_from)))} on"
    return f"it is no venue since {short_time(format_time(int(venue.valid_to)))}"


@hours.command("next")
@click.argument("venue")
@at_option
@as_of_option
@settings
def next_(cli: Cli, venue: str, at: str | None, as_of: str | None) -> None:
    """Say when a venue opens and closes next. What is open always does neither.

    JSON fields: venue, at, next_open, next_close, holidays_to (the last date whose special days are
    known).
    """
    from alphapulse.log import format_time
    from alphapulse.registry.fields import time_text

    venue = canonical(venue)
    with cli.registry() as registry:
        then = moment(registry, as_of, time_asked(registry, at, "--at"))
        row = {
            "venue": venue, "at": format_time(then),
            "next_open": time_text(registry.venues.next_open(venue, then, known=as_of) or 0),
            "next_close": time_text(registry.venues.next_close(venue, then, known=as_of) or 0),
        }  # fmt: skip
        is_open = registry.venues.is_open(venue, then, known=as_of)
        horizon = registry.venues.holidays_to(venue, then, known=as_of)
    if cli.json:
        cli.out.records([row | {"holidays_to": horizon or None}])
    else:
        _note_horizon(cli, venue, horizon, row["next_close"] or str(row["at"]))
        cli.out.fields(
            (name, value if name == "venue" else f"{instant_text(value)} UTC")
            for name, value in row.items() if value
        )  # fmt: skip
        if row["next_open"] is row["next_close"] is None:
            state = "open" if is_open else "closed"
            cli.note(f"{venue} never opens or closes after that: it is {state}")
