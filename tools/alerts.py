"""`alerts`: what a person should look at, and saying that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .events import print_event
from .verb import FINE, NO, Cli, request_id_option, settings

if TYPE_CHECKING:
    from alphapulse.registry import Registry


@click.command()
@click.argument("offsets", nargs=-1, type=click.IntRange(min=0), metavar="[OFFSET]...")
@click.option("--ack", is_flag=True, help="Acknowledge the alerts at these OFFSETs.")
@click.option("--reason", default="", help="Why, kept with --ack.")
@request_id_option
@click.option("--all", "everything", is_flag=True, help="Show acknowledged ones too.")
@settings
def alerts(
    cli: Cli, offsets: tuple[int, ...], ack: bool, reason: str, request_id: str | None,
    everything: bool,
) -> int:  # fmt: skip
    """Show open collisions and conflicts, or acknowledge some: `alerts --ack 12 17`.

    A collision got an instrument a fallback id; a conflict is a source that disagrees, and
    changed nothing. Exit 1 while any alert is open. JSON fields: those of `tail`, and acked, the
    offset of the acknowledgement or null.
    """
    if bool(offsets) != ack:
        raise click.UsageError("write `alerts --ack OFFSET...`, or `alerts` alone")
    with cli.registry(write=ack) as registry:
        if ack:
            _acknowledge(registry, offsets, reason, request_id or "")
        shown = registry.alerts(acknowledged=everything or ack)
        if ack:
            shown = [(event, acked) for event, acked in shown if event.offset in offsets]
        still_open = registry.statistics().alerts_open
    if cli.json:
        from alphapulse.registry.render import event_dict

        cli.out.records(event_dict(event) | {"acked": acked} for event, acked in shown)
    else:
        for event, acked in shown:
            print_event(cli, event, "" if acked is None else f" [acknowledged at {acked}]")
        cli.note(f"{still_open} open" if still_open else "no open alerts")
        if still_open and not ack:
            cli.note("acknowledge with `alphapulse alerts --ack OFFSET...`")
    return NO if still_open else FINE


def _acknowledge(
    registry: Registry, offsets: tuple[int, ...], reason: str, request_id: str
) -> None:
    """All of them, or none when one is no alert."""
    from alphapulse.log import AlphaPulseError
    from alphapulse.registry import Acknowledge, Unit

    commands = tuple(Acknowledge.make(offset, reason) for offset in offsets)
    unit = Unit(commands, registry.origin("operator", request_id))
    (outcome,) = registry.execute([unit])
    if isinstance(outcome, AlphaPulseError):
        raise outcome
