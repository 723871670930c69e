"""`status`: whether a venue or a listing trades; and, as `status KEY STATUS`, an instrument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .lookup import as_of_option, moment
from .venues import at_option, canonical, instant_text, print_receipt, source_option
from .verb import Cli, family, find_one, request_id_option, settings, time_asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from alphapulse.registry import Registry


class _Context(click.Context):
    """Of a command without a name of its own."""

    @property
    def command_path(self) -> str:
        return super().command_path.rstrip().replace("  ", " ")


class _Status(click.Group):
    """What is no word of ours is the KEY of an instrument: `status AAPL halted`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        from .write import status as of_instrument

        of_instrument.context_class = _Context
        return "", of_instrument, args


@family("""Show or say whether a venue trades, or one listing there, on one side or on both:
    open, auction, cancel_only, halted, closed or down.

    `status KEY STATUS` moves an instrument through its life, at all venues: `status AAPL
    --help` says how.
    """, cls=_Status)
def status() -> None:
    pass


def _listing_flags(function: Callable[..., object]) -> Callable[..., object]:
    for flag, text in (
        ("--line", "Of its listings there, that of this line."),
        ("--currency", "Of its listings there, that in this currency."),
        ("--listing", "Of this instrument there, by its KEY, instead of the whole venue."),
    ):
        function = click.option(flag, help=text)(function)
    side = click.option(
        "--side", type=click.Choice(("both", "buy", "sell")), default="both", show_default=True,
        help="Which side of the market.",
    )  # fmt: skip
    return side(function)


def _what(
    registry: Registry, venue: str, key: str | None, currency: str | None, line: str | None
) -> str | int:
    """The venue, or the id of a listing there."""
    if key is None:
        if currency or line:
            raise click.UsageError("--currency and --line go with --listing")
        return venue
    if line is not None and not line.isdigit():
        raise click.UsageError(f"--line takes an integer, not {line!r}")
    return registry.find_listing(
        find_one(registry, key).id, venue, currency=currency or "",
        line=None if line is None else int(line),
    )  # fmt: skip


@status.command("set")
@click.argument("venue")
@click.argument("state", metavar="STATUS")
@_listing_flags
@click.option("--valid-from", metavar="TIME", help="Since when [now].")
@click.option("--until", metavar="TIME", help="The first instant at which it holds no more.")
@click.option("--reason", help="Why; it is kept.")
@source_option
@request_id_option
@settings
def set_(
    cli: Cli, venue: str, state: str, side: str, listing: str | None, currency: str | None,
    line: str | None, valid_from: str | None, until: str | None, reason: str | None,
    source: str | None, request_id: str | None,
) -> int:  # fmt: skip
    """Say whether a venue trades, or a listing there.

    \b
      status set XNAS halted --until 2026-11-23T16:00:00Z --reason "circuit breaker"
      status set XNAS halted --listing AAPL --side sell
      status set XNAS open

    A status that ends gives way to what held before it. What happened earlier may be said later
    with --valid-from: then --as-of still shows what was known. Exit 1 where the venue could not
    become so from what it was just before.

    JSON fields: id, fingerprint, offset, outcome (new, unchanged, amended, collision).
    """
    with cli.registry(write=True) as registry:
        receipt = registry.venues.set_status(
            _what(registry, venue, listing, currency, line), state, valid_from=valid_from,
            until=until or 0, side=side, reason=reason or "", source=source or "operator",
            request_id=request_id or "",
        )  # fmt: skip
        return print_receipt(cli, receipt)


@status.command("show")
@click.argument("venue")
@_listing_flags
@at_option
@as_of_option
@settings
def show(
    cli: Cli, venue: str, side: str, listing: str | None, currency: str | None,
    line: str | None, at: str | None, as_of: str | None,
) -> None:  # fmt: skip
    """Show whether a venue trades, or a listing there: the strictest of all that applies, a halt or
    an end of the instrument too, and the end of the venue. It is open when nobody says otherwise.
    Its hours are no part of it: see `hours is-open`.

    \b
    JSON fields: venue, listing, at, side, status, scope (of the word that decided:
    venue, listing or instrument), scope_side, since, until, reason, source, offset.
    """
    from alphapulse.log import format_time
    from alphapulse.registry.fields import id_text, time_text

    venue = canonical(venue)
    with cli.registry() as registry:
        then = moment(registry, as_of, time_asked(registry, at, "--at"))
        what = _what(registry, venue, listing, currency, line)
        found = registry.venues.status(what, side, then, known=as_of)
    row: dict[str, object] = {
        "venue": venue, "listing": id_text(what) if isinstance(what, int) else None,
        "at": format_time(then), "side": side, "status": found.status.name.lower(),
        "scope": found.scope or None, "scope_side": found.side if found.scope else None,
        "since": time_text(found.since), "until": time_text(found.until),
        "reason": found.reason or None, "source": found.source or None,
        "offset": found.offset if found.scope else None,
    }  # fmt: skip
    if cli.json:
        cli.out.records([row])
        return
    times = ("at", "since", "until")
    cli.out.fields(
        (name, instant_text(value) if name in times else str(value))
        for name, value in row.items() if value is not None
    )  # fmt: skip
    if not found.scope:
        cli.note("nobody says otherwise")
