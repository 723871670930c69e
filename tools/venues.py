"""`venue` and `venues`: which places to trade there are, and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .lookup import as_of_option, moment
from .output import Column, note, short_time, shown
from .verb import FINE, NO, Cli, family, request_id_option, settings, time_asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from alphapulse.registry import Receipt, Registry
    from alphapulse.registry.venues import Endpoint
    from alphapulse.registry.venues.venue import Venue

KEY_HELP: Final = """\b
    KEY is a MIC of ISO 10383 (XNAS), or the slug of a venue without one
    (binance; binance:test is its test environment).
    """
at_option = click.option(
    "--at", metavar="OFFSET|TIME",
    help="At that time [that of --as-of, or now]. A bare integer is an offset: when that event "
    "was recorded.",
)  # fmt: skip
source_option = click.option("--source", help="Who says so.  [default: operator]")
valid_from_option = click.option(
    "--valid-from", metavar="TIME", help="Since when it holds [since it is recorded]."
)
_INSTANTS: Final = ("next_open", "next_close")
_DATES: Final = ("fees_from", "valid_from", "valid_to")
_FLAGS: Final[dict[str, str]] = {
    "operating": "MIC of who operates it, when it is a segment.",
    "name": "Its name.",
    "kind": "exchange, mtf, otf, systematic_internaliser, ats, sef, dark_pool, otc, "
    "quotation_system, reporting, broker, crypto_exchange, dex or other.",
    "country": "ISO 3166, two letters.",
    "currency": "The main one it trades in.",
    "lei": "LEI of who runs it.",
    "valid-from": "First instant at which it was one.",
    "valid-to": "First instant at which it is one no more.",
}


def canonical(venue: str) -> str:
    """As the registry spells it: `Binance` is `binance`. Raises InvalidInput."""
    from alphapulse.registry import validation

    return validation.venue(venue)


def instant_text(value: object) -> str:
    """`2025-11-24 16:00:00`, at midnight too: of hours, a date alone reads like the whole day."""
    return shown(value)[:19].replace("T", " ")


def _flags(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--link", "links", multiple=True, metavar="NAME=URL",
        help="web=https://…; may be given again.",
    )(source_option(request_id_option(function)))  # fmt: skip
    for name, text in reversed(_FLAGS.items()):
        function = click.option(f"--{name}", name.replace("-", "_"), help=text)(function)
    return function


def _links(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, address = word.partition("=")
        if not equals:
            raise click.UsageError("--link takes NAME=URL, such as web=https://example.com")
        found[name] = address
    return found


def print_receipt(cli: Cli, receipt: Receipt) -> int:
    """What became of a command about a venue; exit code 1 where it is in conflict."""
    from alphapulse.registry.render import receipt_dict

    shown_receipt = receipt_dict(receipt)
    if cli.json:
        cli.out.records([shown_receipt])
    else:
        cli.out.cells(
            (receipt.outcome, 9), (str(shown_receipt["id"]), 18), (f"offset {receipt.offset}", 0)
        )
    for offset in receipt.conflicts:
        note(f"warning: that contradicts what is known: see the conflict at offset {offset}")
    return NO if receipt.conflicts else FINE


@family(f"""Show a venue, register one, or correct what is known of it.

    {KEY_HELP}
    What a venue is like in time has verbs of its own: `hours`, `fees`, `status`.
    """)
def venue() -> None:
    pass


@venue.command("add", help=f"""Register a venue, or say more of a known one. A source may correct
    itself; where another source said otherwise, nothing is changed and it is a conflict (exit 1).

    {KEY_HELP}
    A segment needs its operating MIC registered before it.

    JSON fields: id, fingerprint, offset, outcome (new, unchanged, amended, collision).
    """)  # fmt: skip
@click.argument("key")
@_flags
@settings
def add(
    cli: Cli, key: str, links: tuple[str, ...], source: str | None, request_id: str | None,
    **fields: str | None,
) -> int:  # fmt: skip
    from alphapulse.registry.venues.venue import Venue

    said: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    with cli.registry(write=True, create=True) as registry:
        receipt = registry.venues.add(
            Venue(key=key, links=_links(links), **said), source=source or "operator",
            request_id=request_id or "",
        )  # fmt: skip
        return print_receipt(cli, receipt)


@venue.command("set", help=f"""Correct what is known of a venue; always applies. An empty value says
    that it is not known any more: `venue set XNAS --lei ""`. Links are given all together.

    {KEY_HELP}
    With --endpoints instead: all ways to reach it, since --valid-from [since it is recorded]. FILE
    has [[endpoints]] in TOML, or a list of such objects in JSON; what `venue show --json` prints is
    one too. Each has kind (rest, websocket, fix, rpc, unix), address, environment (live, test),
    region, authentication (which kind: none, api_key, hmac, …), limits (count, seconds, scope) and,
    for FIX, fix_version, sender and target. There is no place for a secret.

    JSON fields: id, fingerprint, offset, outcome (unchanged, amended; of endpoints also new,
    collision).
    """)  # fmt: skip
@click.argument("key")
@click.option("--endpoints", "file", metavar="FILE", help="All ways to reach it, from a file.")
@_flags
@settings
def set_(
    cli: Cli, key: str, file: str | None, links: tuple[str, ...], source: str | None,
    request_id: str | None, **fields: str | None,
) -> int:  # fmt: skip
    changes: dict[str, object] = {n: value for n, value in fields.items() if value is not None}
    if links:
        changes["links"] = _links(links) if links != ("",) else {}
    if file is not None:
        if changes.keys() - {"valid_from"}:
            raise click.UsageError("--endpoints goes with --valid-from and no other field")
        return _set_endpoints(cli, key, file, fields["valid_from"], source, request_id)
    if not changes:
        raise click.UsageError("nothing to set: give a field, such as --name")
    with cli.registry(write=True) as registry:
        receipt = registry.venues.amend(
            key, source=source or "operator", request_id=request_id or "", **changes
        )
        return print_receipt(cli, receipt)


def _set_endpoints(
    cli: Cli, key: str, file: str, valid_from: str | None, source: str | None,
    request_id: str | None,
) -> int:  # fmt: skip
    from alphapulse.registry.venues import read_endpoints

    from .hours import read_file

    given = read_endpoints(read_file(file))
    with cli.registry(write=True) as registry:
        receipt = registry.venues.set_endpoints(
            key, given, valid_from=valid_from or 0, source=source or "operator",
            request_id=request_id or "",
        )  # fmt: skip
        return print_receipt(cli, receipt)


@venue.command("show", help=f"""Show what is known of a venue, and whether it is open.

    {KEY_HELP}
    \b
    JSON fields: venue, mic, operating_mic, name, kind, country, currency, status,
    open, next_open, next_close, endpoints, fees_from, valid_from, valid_to, lei,
    links, segments; of endpoints kind, address, environment, region,
    authentication, fix_version, sender, target, limits (count, seconds, scope).
    What is not known is null: `open` too, where no hours are.
    status is what was said of it, open when nothing was, and closed before and after
    it is a venue; open is by its hours.
    """)  # fmt: skip
@click.argument("key")
@at_option
@as_of_option
@settings
def show(cli: Cli, key: str, at: str | None, as_of: str | None) -> None:
    with cli.registry() as registry:
        then = moment(registry, as_of, time_asked(registry, at, "--at"))
        found = registry.venues.get(key, known=as_of)
        if found is None:
            raise _unknown(registry, key, as_of)
        row = venue_dict(registry, found, then, as_of)
        row["endpoints"] = [
            endpoint_dict(each)
            for each in registry.venues.endpoints(found.key, then, known=as_of)
        ]
        row["segments"] = [
            segment.key for segment in registry.venues.segments(found.key, known=as_of)
        ]
    if cli.json:
        cli.out.records([row])
        return
    lines: list[tuple[str, str]] = []
    for name, value in row.items():
        if name in ("endpoints", "links"):
            pairs = row["links"].items() if name == "links" else [
                (each["kind"], f"{each['address']}  {_how(each)}") for each in row["endpoints"]
            ]  # fmt: skip
            lines += [(name[:-1], f"{first} {second}") for first, second in pairs]
        elif name == "segments":
            lines.append((name, " ".join(row["segments"])))
        else:
            text = instant_text if name in _INSTANTS else short_time if name in _DATES else shown
            lines.append((name, text(value)))
    cli.out.fields(lines)


def endpoint_dict(found: Endpoint) -> dict[str, Any]:
    """Every field; what is not known is null."""
    said: dict[str, Any] = {name: getattr(found, name) or None for name in found.__struct_fields__}
    said["limits"] = [
        {"count": each.count, "seconds": each.seconds, "scope": each.scope or None}
        for each in found.limits
    ]
    return said


def _how(endpoint: dict[str, Any]) -> str:
    """`live, eu-west, hmac, 1200 in 60 s of weight`."""
    comp_ids = [f"{name} {endpoint[name]}" for name in ("sender", "target") if endpoint[name]]
    limits = [
        f"{limit['count']} in {limit['seconds']} s"
        + (f" of {limit['scope']}" if limit["scope"] else "")
        for limit in endpoint["limits"]
    ]
    words = ("environment", "region", "authentication", "fix_version")
    return ", ".join([endpoint[name] for name in words if endpoint[name]] + comp_ids + limits)


def venue_dict(
    registry: Registry, venue: Venue, at: int, as_of: str | None
) -> dict[str, Any]:
    """As `venue show` prints it, without endpoints and segments."""
    from alphapulse.registry.fields import time_text

    venues = registry.venues
    has_hours = venues.has_hours(venue.key, at, known=as_of)
    next_open = venues.next_open(venue.key, at, known=as_of) if has_hours else None
    next_close = venues.next_close(venue.key, at, known=as_of) if has_hours else None
    fees = venues.fees_word(venue.key, at, known=as_of)
    return {
        "venue": venue.key,
        "mic": venue.mic or None,
        "operating_mic": venue.operating_mic or None,
        "name": venue.name or None,
        "kind": venue.kind or None,
        "country": venue.country or None,
        "currency": venue.currency or None,
        "status": venues.status(venue.key, at=at, known=as_of).status.name.lower(),
        "open": venues.is_open(venue.key, at, known=as_of) if has_hours else None,
        "next_open": time_text(next_open or 0),
        "next_close": time_text(next_close or 0),
        "endpoints": [],
        "fees_from": None if fees is None else time_text(fees.begins),
        "valid_from": time_text(int(venue.valid_from)),
        "valid_to": time_text(int(venue.valid_to)),
        "lei": venue.lei or None,
        "links": dict(venue.links),
        "segments": [],
    }


def _unknown(registry: Registry, key: str, as_of: str | None) -> Exception:
    """With what is spelt alike, of what was known by then."""
    from alphapulse.registry.errors import UnknownVenue

    from .verb import with_lines

    wanted = key.strip().lower().partition(":")[0]
    near = [
        f"near: {each.key} {each.name}".rstrip() for each in registry.venues.all(known=as_of)
        if wanted and (wanted in each.key.lower() or wanted in each.name.lower())
    ]  # fmt: skip
    if as_of is not None and (later := registry.venues.get(key)) is not None:
        return UnknownVenue(
            "looking up a venue", problem="it was not known by then", venue=later.key, as_of=as_of,
            cure="ask as of a later time",
        )  # fmt: skip
    return with_lines(UnknownVenue("looking up a venue", venue=key[:40]), near[:10])


@click.command()
@click.option("--kind", help="Only of this kind, such as exchange or crypto_exchange.")
@click.option("--country", help="Only in this country, ISO 3166, two letters.")
@click.option("--open-at", metavar="OFFSET|TIME", help="Only those whose hours say open then.")
@click.option("--expired", is_flag=True, help="Those that are no venue any more, too.")
@as_of_option
@settings
def venues(
    cli: Cli, kind: str | None, country: str | None, open_at: str | None, expired: bool,
    as_of: str | None,
) -> None:  # fmt: skip
    """Show which venues there are, and which of them are open now.

    \b
    JSON fields: as `venue show`, but for endpoints and segments.
    """
    from alphapulse.registry.venues.venue import field_from

    if kind is not None:
        field_from("kind", kind)
    country = str(field_from("country", (country or "").upper()))
    with cli.registry() as registry:
        at = time_asked(registry, open_at, "--open-at")
        then = moment(registry, as_of, at)
        found = registry.venues.all(
            kind=(kind or "").lower().replace("-", "_"), country=country, known=as_of
        )
        over = sum(not each.is_valid(then) for each in found)
        rows = []
        for each in found:
            if not expired and not each.is_valid(then):
                continue
            row = venue_dict(registry, each, then, as_of)
            del row["endpoints"], row["segments"]
            if at is None or row["open"]:
                rows.append(row)
    if cli.json:
        cli.out.records(rows)
        return
    if rows:
        cli.out.table(
            [Column("venue", whole=True), Column("operating_mic", "operated by"), Column("kind"),
             Column("country"), Column("status"), Column("open"), Column("next_open"),
             Column("name")],
            [row | _brief(row) for row in rows],
        )  # fmt: skip
    hidden = f", {over} expired (--expired)" if over and not expired else ""
    cli.note(f"{len(rows)} venue{'s' * (len(rows) != 1)}{hidden}")


def _brief(row: dict[str, Any]) -> dict[str, object]:
    operating = row["operating_mic"] if row["operating_mic"] != row["venue"] else None
    status = None if row["status"] == "open" else row["status"]
    return {
        "operating_mic": operating, "status": status, "next_open": instant_text(row["next_open"])
    }
