"""`lookup`, `listings` and `history`: questions about what is known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import click

from .events import print_events
from .output import Column, duration, short_time, shown
from .verb import Cli, brief, find, find_one, place_of, settings, time_asked

if TYPE_CHECKING:
    from alphapulse.registry import Match, Registry, When

    from .trading import Order

FORMS: Final = (
    "id", "fingerprint", "isin", "address", "symbol", "figi", "cusip", "sedol", "lei", "native-id",
)  # fmt: skip
ON_CHAIN: Final = ("token", "coin")
KEY_HELP: Final = """
    \b
    KEY is tried as, in this order, and the first form with matches wins:
      0x9f3c…           id, up to 16 hex digits
      32 hex digits     fingerprint
      US0378331005      ISIN
      eip155:1:0xa0b8…  address: CHAIN:ADDRESS (ethereum:0x… too) or CAIP-19
      AAPL, APC@XETR    exact symbol or native id, or SYMBOL@VENUE
      037833100 …       FIGI (any level), CUSIP, SEDOL, LEI of the issuer
    """
as_of_option = click.option(
    "--as-of", metavar="OFFSET|TIME",
    help="As after that event, or as recorded by that time. A bare integer is an offset.",
)  # fmt: skip
valid_at_option = click.option(
    "--valid-at", metavar="OFFSET|TIME",
    help="As true at that time, by what is known (with --as-of: was known). What names no date is "
    "true since it was recorded. A bare integer is an offset: when that event was recorded.",
)  # fmt: skip


def moment(registry: Registry, as_of: str | None, valid: int | None) -> int:
    """The time (ns) at which statuses that follow from dates are shown."""
    at = time_asked(registry, as_of, "--as-of") if valid is None else valid
    return time.time_ns() if at is None else at


@click.command(help=f"""Find instruments.
    {KEY_HELP}
    Exit 1 with near misses when nothing matches. Instruments that are same_as a match, those
    that succeed it and those it succeeds are shown too: `joined` says by which relation.

    \b
    JSON fields: id, fingerprint, class, status, symbol, name, decimals, isin,
    chain, address, revision, offset, key, joined, null when not known; and after
    address every other fact that is known, by the name that register uses;
    of a synthetic also formula_hash (Blake3) and components (ids). valid_from is
    the date that was named for it, where all that is shown holds since then;
    before it, it is pending.

    A future, an option or an outcome is shown as expired once its expiry is
    past at the time asked (--valid-at, else --as-of, else now). Of several that
    a symbol or native id means, those that are traded then come first.
    """)  # fmt: skip
@click.argument("key")
@click.option("--by", type=click.Choice(FORMS), help="Try KEY in this form only.")
@as_of_option
@valid_at_option
@settings
def lookup(
    cli: Cli, key: str, by: str | None, as_of: str | None, valid_at: str | None
) -> None:
    from alphapulse.registry.render import joined_text, match_dict

    with cli.registry() as registry:
        valid = time_asked(registry, valid_at, "--valid-at")
        form = (by or "").replace("-", "_")
        when = registry.when(as_of, valid)
        found = registry.find(key, by=form, as_of=as_of, valid=valid)
        if not found:
            find(registry, key, by=form, when=when)  # says what is near
        at = moment(registry, as_of, valid)
        rows = [
            match_dict(match, at, joined, registry.lookup.since(match, when))
            for match, joined in found
        ]
        direct = [match.id for match, joined in found if joined is None]
        uses = _components(registry, direct[0], as_of, valid) if len(direct) == 1 else []
    count = sum(joined is None for _, joined in found)
    if cli.json:
        cli.out.records(rows)
    elif len(rows) == 1 or count == 1:
        rows[0].pop("components", None)
        fields = [(name, shown(value)) for name, value in rows[0].items()]
        others = [
            (joined_text(joined).replace("_", " ").split(" 0x")[0], brief(match))
            for match, joined in found[1:] if joined is not None
        ]
        cli.out.fields((*fields, *uses, *others))
    else:
        also = f", {len(rows) - count} more by relations" if count < len(rows) else ""
        cli.note(f"{count} instrument{' matches' if count == 1 else 's match'} {key}{also}")
        cli.out.table(
            [Column("id", whole=True), Column("class"), Column("symbol"), Column("status"),
             Column("where"), Column("generation"), Column("name"), Column("joined")],
            [
                row | {
                    "where": place_of(match),
                    "generation": row.get("generation") or "",
                    "status": "" if row["status"] == "active" else row["status"],
                }
                for row, (match, _) in zip(rows, found, strict=True)
            ],
        )  # fmt: skip


def _components(
    registry: Registry, id: int, as_of: str | None, valid: int | None
) -> list[tuple[str, str]]:
    """What a synthetic is made of, as lines for people."""
    lines = []
    for component in registry.components(id, as_of=as_of, valid=valid):
        match = registry.describe(component, as_of=as_of, valid=valid)
        lines.append(("component", f"0x{component:016x}" if match is None else brief(match)))
    return lines


@click.command(help=f"""Show every listing of an instrument across venues, past ones too; of a
    token also its siblings on other chains, where the chain is the venue, what is bridged from it
    or to it, and the pools it is in; of a share also its receipts, and of a receipt its share; and
    those of instruments that are same_as it or succeed it.
    When KEY means several instruments, those of all of them.
    {KEY_HELP}
    \b
    JSON fields: instrument, venue, symbol, currency, primary, valid_from,
    valid_to, figi, tick, lot, ticks, min_size, max_size, min_notional, status,
    current, via, ratio, trading, open, next_open, fee, fee_currency, fee_rate,
    latency_p50_ns.

    via says how another instrument came here (same_as, succeeds, sibling, bridged_from, receipt_of,
    pool), null for what KEY means. A receipt and its share are related, never the same: one of the
    row's instrument stands for ratio (N/D) of what KEY means, null where nobody said that. trading
    is what was said of the venue and the listing (halted, …); open and next_open follow from the
    hours of the venue; the fee is exact, for a purchase as a taker in the first tier;
    latency_p50_ns, shown as ack p50, is how soon the venue acknowledges half of the orders, in the
    newest window that was closed by then (`performance summarise`). They are null where the venue
    is not registered, nobody said it, or the listing is not current.

    A listing that ended and was there again later has a row for each period. A
    status of pending, active or delisted follows from the dates at the time asked (--valid-at,
    else --as-of, else now), and where it would be active it is that of the instrument; a date that
    is not known is null.
    """)  # fmt: skip
@click.argument("key")
@as_of_option
@valid_at_option
@click.option(
    "--fee-for", metavar="QUANTITY@PRICE",
    help="Show what each venue charges for that; the price counts in the listing's currency.",
)
@settings
def listings(
    cli: Cli, key: str, as_of: str | None, valid_at: str | None, fee_for: str | None
) -> None:
    from .trading import order_of

    order = order_of(fee_for)
    with cli.registry() as registry:
        valid = time_asked(registry, valid_at, "--valid-at")
        matches = find(registry, key, when=registry.when(as_of, valid), lasting=True)
        rows = _listing_rows(cli, registry, matches, as_of, valid, order)
    if cli.json:
        cli.out.records(rows)
        return
    if not rows:
        if as_of is None:
            cli.note(f"no listing of {key} is known; `alphapulse add-listing` adds one")
        else:
            cli.note(f"no listing of {key} was known then; without --as-of: those known now")
        return
    from alphapulse.registry import CHAINS
    from alphapulse.registry.instruments import ORDER_FIELDS

    several = len({row["instrument"] for row in rows}) > 1
    columns = [
        Column("venue"), Column("chain"), Column("symbol"), Column("currency"), Column("primary"),
        Column("status"), Column("via"), Column("ratio"), Column("valid_from", "from"),
        Column("valid_to", "to"), *(Column(field) for field in ORDER_FIELDS),
        Column("trading"), Column("open"), Column("next_open", "opens"), Column("fee", right=True),
        Column("fee_rate", "at"), Column("latency_p50_ns", "ack p50", right=True),
    ]  # fmt: skip
    if several:
        columns.insert(0, Column("instrument", whole=True))
    cli.out.table(
        columns,
        [
            row | {
                "valid_from": short_time(row["valid_from"]),
                "valid_to": short_time(row["valid_to"]),
                "primary": "yes" if row["primary"] else "",
                "trading": "" if row["trading"] == "open" else row["trading"],
                "next_open": short_time(row["next_open"]),
                "latency_p50_ns": duration(row["latency_p50_ns"]),
                "fee": " ".join(filter(None, (shown(row["fee"]), shown(row["fee_currency"])))),
                "chain": chain.name if (chain := CHAINS.get(str(row["venue"]))) else "",
            }
            for row in rows
        ],
    )  # fmt: skip
    if not several:
        cli.note(f"{len(rows)} listing{'s' * (len(rows) > 1)} of {rows[0]['instrument']}")


def _listing_rows(
    cli: Cli, registry: Registry, matches: Sequence[Match], as_of: str | None, valid: int | None,
    order: Order | None,
) -> list[dict[str, object]]:  # fmt: skip
    """Rows of the matches and of who comes with them, each instrument once."""
    from alphapulse.log import Status
    from alphapulse.registry.render import listing_dict, on_chain_dict

    from .trading import UNSAID, Trading

    at = moment(registry, as_of, valid)
    trading = Trading(cli, registry, at, as_of)
    rows = []
    ratios = _ratios_of_receipts(registry, matches, as_of, at)
    for match, via in _with_others(registry, matches, ratios, as_of, valid, at):
        came = {"via": via, "ratio": ratios.get(match.id) if via == "receipt_of" else None}
        if match.record.asset_class.name.lower() in ON_CHAIN or via == "pool":
            then = registry.describe(match.id, as_of=as_of, valid=valid)
            begins, is_named = registry.lookup.begins(match.id, registry.when(as_of).known)
            row = on_chain_dict(match, begins if is_named else 0, then)
            rows.append(row | came | UNSAID)
        bodies = registry.listing_periods(match.id, as_of=as_of, valid=valid)
        if bodies:
            owner = registry.describe(match.id, as_of=as_of, valid=valid)
            # Of a time before its registration holds, only the listing speaks.
            status = Status.ACTIVE if owner is None else owner.record.status_at(at)
            for id, period in bodies:
                row = listing_dict(period, at, status)
                lives = row["current"] or row["status"] == "halted"
                said = trading.said(id, period, order) if lives else UNSAID
                rows.append(row | came | said)
    return rows


def _ratios_of_receipts(
    registry: Registry, matches: Sequence[Match], as_of: str | None, at: int
) -> dict[int, str | None]:
    """The receipts and shares that are related to matches, however far, each with how much of its
    match one of it stands for."""
    found: dict[int, str | None] = {}
    for match in matches:
        known: dict[int, Fraction | None] = {match.id: Fraction(1)}
        for link in registry.related(
            match.id, depth=None, as_of=as_of, valid=at, relations=("receipt_of",)
        ):
            step = None if link.ratio is None else Fraction(*link.ratio)
            if link.other in known:
                far, from_there = link.instrument, known[link.other]
            else:
                far, from_there, step = link.other, known[link.instrument], step and 1 / step
            known.setdefault(far, from_there and step and from_there * step)
        del known[match.id]
        for id, ratio in known.items():
            found[id] = None if ratio is None else f"{ratio.numerator}/{ratio.denominator}"
    return found


def _with_others(
    registry: Registry, matches: Sequence[Match], receipts: Iterable[int], as_of: str | None,
    valid: int | None, at: int,
) -> list[tuple[Match, str | None]]:  # fmt: skip
    """Each instrument once, with how it came here: None for the matches themselves."""
    found: dict[int, tuple[Match, str | None]] = {match.id: (match, None) for match in matches}

    def take(id: int, via: str) -> None:
        other = None if id in found else registry.describe(id, as_of=as_of)
        if other is not None:
            found[id] = other, via

    for joined in registry.joined(list(found), as_of=as_of, valid=at):
        take(joined.id, joined.relation.name.lower())
    for match in matches:
        for id in registry.siblings(match.id, as_of=as_of):
            take(id, "sibling")
        for link in registry.related(
            match.id, depth=None, as_of=as_of, valid=at, relations=("bridged_from",)
        ):
            take(link.instrument, "bridged_from")
            take(link.other, "bridged_from")
    for id in receipts:
        take(id, "receipt_of")
    for match in matches:
        for link in registry.related(match.id, as_of=as_of, valid=at, relations=("component",)):
            if link.field == "tokens":
                take(link.instrument, "pool")
    return list(found.values())


@click.command(help=f"""Show every event about an instrument, its listings, groups and
    relations, oldest first. KEY must mean one instrument; or it is a venue (XNAS, binance)
    and no instrument, and then every event about that.
    {KEY_HELP}
    JSON fields: as `tail`.
    """)  # fmt: skip
@click.argument("key")
@settings
def history(cli: Cli, key: str) -> None:
    with cli.registry() as registry:
        meant = instrument_or_venue(registry, key)
        if isinstance(meant, str):
            print_events(cli, registry.venues.history(meant))
        else:
            print_events(cli, registry.history(meant))


def instrument_or_venue(registry: Registry, key: str, when: When | None = None) -> int | str:
    """The id of the one instrument that KEY means; where it means none, the venue of that name.
    Raises UnknownInstrument, Ambiguous."""
    from alphapulse.log import InvalidInput
    from alphapulse.registry import UnknownInstrument
    from alphapulse.registry.validation import venue

    try:
        return find_one(registry, key, when=when).id
    except UnknownInstrument:
        try:
            name = venue(key)
        except InvalidInput:
            name = ""  # it is no venue's name
        if not name or registry.venues.get(name) is None:
            raise
        return name
