"""`init` and `stats`: making a home, and what is in it."""

from __future__ import annotations

import os

import click

from .output import Column, short_hash
from .verb import Cli, settings


@click.command()
@click.option(
    "--id-bits", type=click.IntRange(8, 64), default=64, show_default=True,
    help="Bits that ids keep. Fewer only make sense for trying out collisions.",
)  # fmt: skip
@settings
def init(cli: Cli, id_bits: int) -> None:
    """Make a home: the directory that holds a registry.

    Verbs that write (`import`, `register`, `amend`, …) make one by themselves where it is missing.
    JSON fields: home, id_bits.
    """
    from alphapulse.log import EventLog

    EventLog.create(cli.home, id_bits=id_bits)
    home = os.path.abspath(cli.home)
    if cli.json:
        cli.out.records([{"home": home, "id_bits": id_bits}])
    else:
        cli.out.line(f"made the home {home}")
        cli.hint("next: `alphapulse import FILE`, or `alphapulse register --help`")


@click.command()
@settings
def stats(cli: Cli) -> None:
    """Show counts, the chain head and the state of the views.

    \b
    JSON fields: head, chain_head, id_bits, events, instruments, listings,
    alerts_open, bytes, views: {NAME: {offset, digest, lag_events}},
    relations_waiting (for an end that is not registered).
    """
    from alphapulse.registry.render import statistics_dict

    with cli.registry() as registry:
        shown = statistics_dict(registry.statistics())
        shown["relations_waiting"] = registry.relations.waiting_count()
    if cli.json:
        cli.out.records([shown])
        return
    views, waiting = shown.pop("views"), shown.pop("relations_waiting")
    assert isinstance(views, dict)
    fields = {"home": os.path.abspath(cli.home), **shown}
    cli.out.fields((name.replace("_", " "), str(value)) for name, value in fields.items())
    cli.out.line()
    cli.out.table(
        [Column("view"), Column("offset", right=True), Column("lag_events", right=True),
         Column("digest")],
        [{"view": name, **state, "digest": short_hash(state["digest"])}
         for name, state in views.items()],
    )  # fmt: skip
    if waiting:
        cli.note(f"relations that wait for an end: {waiting}; see `alphapulse related --waiting`")
    if shown["alerts_open"]:
        cli.note(f"open alerts: {shown['alerts_open']}; see `alphapulse alerts`")
