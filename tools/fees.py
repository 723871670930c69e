"""`fees`: what a venue charges, and what a trade costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from .hours import read_file
from .lookup import as_of_option
from .output import Column, short_time
from .venues import at_option, canonical, print_receipt, source_option, valid_from_option
from .verb import Cli, family, find_one, request_id_option, settings, time_asked

if TYPE_CHECKING:
    from alphapulse.registry.venues import FeeSchedule

_LINE_FIELDS: Final = (
    "side", "basis", "value", "charged", "minimum", "maximum", "maximum_percent", "volume_from",
    "component", "confidence",
)  # fmt: skip


@family("""Show or say what a venue charges, and compute exactly what a trade costs there.""")
def fees() -> None:
    pass


@fees.command("show")
@click.argument("venue")
@at_option
@as_of_option
@settings
def show(cli: Cli, venue: str, at: str | None, as_of: str | None) -> None:
    """Show the lines of a venue's fee schedules.

    \b
    JSON fields: venue, products, line, side, basis, value, charged, minimum,
    maximum, maximum_percent, volume_from, component, confidence, volume_unit,
    volume_days, valid_from, source. A value of basis percent is percent.
    """
    from alphapulse.log import format_time

    venue = canonical(venue)
    with cli.registry() as registry:
        moment = time_asked(registry, at, "--at")
        schedules = registry.venues.schedules(venue, moment, known=as_of)
        word = registry.venues.fees_word(venue, moment, known=as_of)
    assert word is not None  # else there are no schedules
    rows: list[dict[str, object]] = [
        {
            "venue": venue, "products": list(schedule.products), "line": number,
            **{field: getattr(line, field) or None for field in _LINE_FIELDS},
            "volume_unit": schedule.volume_unit or None,
            "volume_days": schedule.volume_days or None,
            "valid_from": format_time(word.begins), "source": word.source or None,
        }
        for schedule in schedules for number, line in enumerate(schedule.lines)
    ]  # fmt: skip
    if cli.json:
        cli.out.records(rows)
        return
    cli.out.table(
        [Column("products"), Column("line", right=True), Column("side"), Column("component"),
         Column("basis"), Column("volume_from", "from volume", right=True),
         Column("value", right=True), Column("charged"), Column("minimum", right=True),
         Column("maximum", right=True), Column("maximum_percent", "max %", right=True),
         Column("confidence")],
        [row | {"products": " ".join(map(str, schedule.products))} for row, schedule in zip(
            rows, (each for each in schedules for _ in each.lines), strict=True)],
    )  # fmt: skip
    by = f", said by {word.source}" if word.source else ""
    cli.note(f"{venue} since {short_time(format_time(word.begins))} UTC{by}")


@fees.command("set")
@click.argument("venue")
@click.argument("file", required=False, metavar="[FILE.toml]")
@click.option("--maker", help="Percent of the value, decimal text; instead of a file.")
@click.option("--taker", help="Percent of the value, decimal text; instead of a file.")
@valid_from_option
@source_option
@request_id_option
@settings
def set_(
    cli: Cli, venue: str, file: str | None, maker: str | None, taker: str | None,
    valid_from: str | None, source: str | None, request_id: str | None,
) -> int:  # fmt: skip
    """Say what a venue charges, all of it, from a time on. What is announced for a later time does
    not change what holds before it.

    \b
      fees set binance --maker 0.1 --taker 0.1
      fees set XNAS FILE.toml --valid-from 2026-04-01

    FILE has [[schedule]] (products, volume_unit, volume_days) and in each [[schedule.line]] (side,
    basis, value, charged, minimum, maximum, maximum_percent, volume_from, component, confidence).
    What is odd about it, such as volumes that fall, a rate of a tenth of the one before or less, an
    unknown product or currency, is told, kept as a warning, and holds.

    JSON fields: id, fingerprint, offset, outcome (new, unchanged, amended, collision).
    """
    if (file is None) == (maker is None and taker is None):
        raise click.UsageError("give a FILE, or --maker and --taker")
    given = _plain(maker, taker) if file is None else _read(file)
    with cli.registry(write=True) as registry:
        receipt = registry.venues.set_fees(
            venue, *given, valid_from=valid_from or 0, source=source or "operator",
            request_id=request_id or "",
        )  # fmt: skip
        if receipt.outcome != "unchanged":
            for warning in registry.venues.warnings(receipt.offset):
                place = f"schedule {warning.schedule}, line {warning.line}"
                cli.note(f"warning: {place}: {warning.problem}")
        return print_receipt(cli, receipt)


def _read(file: str) -> tuple[FeeSchedule, ...]:
    from alphapulse.registry.venues.fees_text import read_fees

    return read_fees(read_file(file))


def _plain(maker: str | None, taker: str | None) -> tuple[FeeSchedule, ...]:
    from alphapulse.registry.venues import fee_line, fee_schedule

    lines = [
        fee_line({"side": side, "value": value})
        for side, value in (("maker", maker), ("taker", taker)) if value is not None
    ]  # fmt: skip
    return (fee_schedule(lines),)


@fees.command("quote")
@click.argument("venue")
@click.argument("key")
@click.option("--side", type=click.Choice(("maker", "taker")), default="taker", show_default=True)
@click.option("--quantity", required=True, help="Units, or contracts; decimal text.")
@click.option("--price", required=True, help="Of one unit; decimal text.")
@click.option("--volume", help="The trader's volume, in the schedule's unit [the first tier].")
@click.option(
    "--rate", "rates", multiple=True, metavar="CODE=VALUE",
    help="What one CODE is worth, where it is charged in another currency than it is traded in.",
)  # fmt: skip
@click.option("--gas-price", help="Of a unit of gas, in the coin it is paid in.")
@click.option("--buy/--sell", "buying", default=None, help="Where it is charged in what one gets.")
@click.option("--currency", help="Of the listing that is traded, where there are several.")
@at_option
@as_of_option
@settings
def quote(
    cli: Cli, venue: str, key: str, side: str, quantity: str, price: str, volume: str | None,
    rates: tuple[str, ...], gas_price: str | None, buying: bool | None,
    currency: str | None, at: str | None, as_of: str | None,
) -> None:  # fmt: skip
    """Compute exactly what a trade costs: a line for each component. Nothing is rounded; a rebate
    is below zero. The instrument and its listings are what they were then; of a pool, base and
    quote are its first and its second token.

    \b
      fees quote binance BTCUSDT --side maker --quantity 0.5 --price 91000

    JSON fields: venue, instrument, side, amount, currency, rate, line, products
    (those that the schedule of the line names), traded (whether it is known to be
    traded there; null = nobody says).
    """
    from alphapulse.registry.fields import id_text
    from alphapulse.registry.venues import exact_text

    venue = canonical(venue)
    with cli.registry() as registry:
        match = find_one(registry, key)
        moment = time_asked(registry, at, "--at")
        found = registry.venues.charges(
            venue, match.id, side, quantity, price, volume, moment, known=as_of, buying=buying,
            rates=dict(map(_rate, rates)), gas_price=gas_price, currency=currency or "",
        )
        traded = registry.venues.is_traded(venue, match.id, moment, known=as_of)
    rows = [
        {
            "venue": venue, "instrument": id_text(match.id), "side": side,
            "amount": exact_text(charge.amount), "currency": charge.currency or None,
            "rate": charge.rate, "line": charge.line, "products": list(charge.products),
            "traded": traded,
        }
        for charge in found
    ]  # fmt: skip
    if cli.json:
        cli.out.records(rows)
        return
    for row, charge in zip(rows, found, strict=True):
        bound = f", its {charge.bound}" if charge.bound else ""
        of = f" of {', '.join(charge.products)}" if charge.products else ""
        how = f"({charge.rate}, line {charge.line}{of}{bound})"
        cli.out.line(f"{row['amount']} {charge.currency} {how}")
    if traded is False:
        cli.note(f"note: {key} is not known to be traded at {venue} then")


def _rate(word: str) -> tuple[str, str]:
    code, equals, value = word.partition("=")
    if not equals:
        raise click.UsageError(f"--rate takes CODE=VALUE, not {word!r}")
    return code, value
