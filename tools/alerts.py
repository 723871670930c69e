"""`alerts`: what a person should look at, and saying that it was."""

from __future__ import annotations

import click

from .events import print_event
from .verb import FINE, NO, Cli, request_id_option, settings


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
        for offset in offsets:
            named = f"{request_id}/{offset}" if request_id and len(offsets) > 1 else request_id
            registry.acknowledge(offset, reason=reason, request_id=named or "")
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
