"""`related`: how instruments hang together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from .lookup import KEY_HELP, as_of_option, valid_at_option
from .output import Column, short_time
from .verb import Cli, find, settings, time_asked

if TYPE_CHECKING:
    from alphapulse.registry import Registry, Related


@click.command(help=f"""Show the relations of an instrument, whichever side it is on, that hold at
    the time asked (--valid-at, else --as-of, else now); with --depth those of the instruments
    that these lead to, too, each relation once. Groups of tokens are not among them: `listings`
    shows siblings.
    {KEY_HELP}
    \b
    JSON fields: from, relation, to, ratio, valid_from, valid_to, source, depth,
    field. One of `from` stands for `ratio` of `to`; what is not known is null.
    Where an instrument says so itself and no relation, field is what says it:
    underlying; base, quote (of an fx_pair), tokens (of a dex_pool), formula.
    With --waiting: id, from, relation, to, missing (the key that is to be
    registered, which stands for the id of that end), refused, source, offset.
    """)  # fmt: skip
@click.argument("key", required=False)
@click.option(
    "--depth", type=click.IntRange(min=1), default=1, metavar="N", show_default=True,
    help="How many relations away at most.",
)  # fmt: skip
@click.option(
    "--relation", "relations", multiple=True, metavar="RELATION",
    help="Only by these; may be given again.",
)
@click.option("--ended", is_flag=True, help="At other times, too: ended ones and future ones.")
@click.option(
    "--waiting", is_flag=True,
    help="Those that wait until their other end is registered; without KEY of all instruments.",
)
@as_of_option
@valid_at_option
@settings
def related(
    cli: Cli, key: str | None, depth: int, relations: tuple[str, ...], ended: bool, waiting: bool,
    as_of: str | None, valid_at: str | None,
) -> None:  # fmt: skip
    from alphapulse.projections import event_named
    from alphapulse.registry.render import related_dict

    if waiting:
        if depth != 1 or relations or ended or as_of is not None or valid_at is not None:
            raise click.UsageError("--waiting shows what waits now: leave out the other options")
        _waiting(cli, key)
        return
    if key is None:
        raise click.UsageError("give a KEY (or --waiting)")
    if ended and valid_at is not None:
        raise click.UsageError("--ended shows those of all times: leave out --valid-at")
    with cli.registry() as registry:
        valid = time_asked(registry, valid_at, "--valid-at")
        find(registry, key, when=registry.when(as_of, valid), lasting=True)  # for its near misses
        found = registry.related(
            key, depth=depth, as_of=as_of, ended=ended, relations=relations or None, valid=valid
        )
        rows = [related_dict(each, event_named(registry.log, each.offset).source) for each in found]
        symbols = {} if cli.json else _symbols(registry, found)
    if cli.json:
        cli.out.records(rows)
        return
    if not rows:
        if ended:
            cli.note(f"no relation of {key} is known; `alphapulse relate` adds one")
        else:
            cli.note(f"no relation of {key} holds at that time; --ended shows those of any time")
        return
    cli.out.table(
        [Column("depth", right=True), Column("from", whole=True), Column("from_symbol", "symbol"),
         Column("relation"), Column("ratio"), Column("to", whole=True),
         Column("to_symbol", "symbol"), Column("valid_from", "since"), Column("valid_to", "until"),
         Column("field"), Column("source")],
        [
            row | {
                "from_symbol": symbols[each.instrument], "to_symbol": symbols[each.other],
                "valid_from": short_time(row["valid_from"]),
                "valid_to": short_time(row["valid_to"]),
            }
            for each, row in zip(found, rows, strict=True)
        ],
    )  # fmt: skip
    cli.note(f"{len(rows)} relation{'s' * (len(rows) > 1)} of {key}")


def _waiting(cli: Cli, key: str | None) -> None:
    from alphapulse.projections import event_named
    from alphapulse.registry.render import waiting_dict

    with cli.registry() as registry:
        ids = None if key is None else {match.id for match in find(registry, key)}
        rows = [
            waiting_dict(each, event_named(registry.log, each.offset).source)
            for each in registry.relations.waiting()
            if ids is None or each.instrument in ids or each.other in ids
        ]
    if cli.json:
        cli.out.records(rows)
        return
    if not rows:
        cli.note(f"no relation {f'of {key} ' if key else ''}waits for its other end")
        return
    cli.out.table(
        [Column("from", whole=True), Column("relation"), Column("to", whole=True),
         Column("source"), Column("refused")],
        [row | {"refused": "leads back to its start" if row["refused"] else ""} for row in rows],
    )  # fmt: skip
    cli.note(f"{len(rows)} waiting: each is known once its key is registered")


def _symbols(registry: Registry, found: Iterable[Related]) -> dict[int, str]:
    """The symbol, name or native id of every side, as it is known now."""
    from alphapulse.log import symbol_of
    from alphapulse.projections import native_id_of

    symbols = {}
    for id in {id for each in found for id in (each.instrument, each.other)}:
        match = registry.describe(id)
        if match is None:  # an underlying need not be registered
            symbols[id] = "(not registered)"
        else:
            names = symbol_of(match.body), match.body.extension.name, native_id_of(match.body)
            symbols[id] = next(filter(None, names), "")
    return symbols
