"""`diff` and `blame`: what changed between two moments, and which event said so."""

from __future__ import annotations

import click

from .lookup import KEY_HELP, as_of_option, instrument_or_venue, moment, valid_at_option
from .output import Column, short_time, short_value
from .verb import Cli, settings, time_asked


@click.command(help=f"""Show what differs after B from after A: instruments, and as fields of
    them their listings and groups; venues, and as fields of them what was said of their endpoints,
    fees, hours and status. A and B are each an OFFSET or a TIME; a time before the first
    event stands for nothing at all. With KEYs, which mean whom they mean after B, only those.
    {KEY_HELP}
    A venue is meant by its MIC or slug, where that is no instrument.

    \b
    JSON fields: id, field, before, after, offset: of the event that set the value
    shown. before is null for what is new, after for what is gone.
    """)  # fmt: skip
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@settings
def diff(cli: Cli, first: str, second: str, keys: tuple[str, ...]) -> None:
    from alphapulse.registry.changes import between
    from alphapulse.registry.render import change_dict

    with cli.registry() as registry:
        between(registry.stop_of, first, second)  # before a key is looked for at the wrong moment
        when = registry.when(second)
        meant = [instrument_or_venue(registry, key, when) for key in keys]
        ids = [each for each in meant if isinstance(each, int)]
        found = registry.diff(first, second, ids, [x for x in meant if isinstance(x, str)])
        if cli.json:
            cli.out.records(change_dict(change) for change in found)
            return
        changed = list(found)
    rows = [change_dict(change) for change in changed]
    if not rows:
        cli.note("no difference")
        return
    cli.out.table(
        [Column("id", whole=True), Column("field"), Column("before"), Column("after"),
         Column("offset", right=True)],
        [
            row | {name: short_value(row["field"], row[name]) for name in ("before", "after")}
            for row in rows
        ],
    )  # fmt: skip
    whose = [
        _counted(len(names), what) for what, names in (
            ("instrument", {each.id for each in changed if not each.venue}),
            ("venue", {each.venue for each in changed if each.venue}),
        ) if names
    ]  # fmt: skip
    cli.note(f"{_counted(len(rows), 'field')} of {' and '.join(whose)}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


@click.command(help=f"""Show for each field of an instrument which event set the value it has;
    with FIELD only that one, or all that begin with these words. KEY must mean one instrument; or
    it is a venue (XNAS, binance) and no instrument: then what is said of its endpoints, fees,
    hours and status are fields too.
    {KEY_HELP}
    \b
      blame AAPL symbol
      blame AAPL listing XETR
      blame XNAS fees

    \b
    JSON fields: field, value, offset, recorded, source.
    """)  # fmt: skip
@click.argument("key")
@click.argument("field", nargs=-1)
@as_of_option
@valid_at_option
@settings
def blame(
    cli: Cli, key: str, field: tuple[str, ...], as_of: str | None, valid_at: str | None
) -> None:
    from alphapulse.registry import UnknownField
    from alphapulse.registry.render import blame_dict

    wanted = " ".join(field)
    with cli.registry() as registry:
        valid = time_asked(registry, valid_at, "--valid-at")
        meant = instrument_or_venue(registry, key, registry.when(as_of, valid))
        if isinstance(meant, int):
            found = registry.blame(meant, as_of=as_of, valid=valid)
        else:
            at = moment(registry, as_of, valid)
            found = registry.venues.blame(meant, at, known=as_of)
        rows = [
            blame_dict(each)
            for each in found
            if f"{each.field} ".startswith(f"{wanted} ") or not wanted
        ]
    if not rows:
        raise UnknownField(f"looking up {key[:80]}", field=wanted[:80])
    if cli.json:
        cli.out.records(rows)
        return
    cli.out.table(
        [Column("field"), Column("value"), Column("offset", right=True), Column("recorded"),
         Column("source")],
        [
            row | {
                "recorded": short_time(row["recorded"]),
                "value": short_value(row["field"], row["value"]),
            }
            for row in rows
        ],
    )  # fmt: skip

