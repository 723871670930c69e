"""`cursors`: how far each named subscriber has come, and letting one go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from .output import Column
from .verb import Cli, settings

if TYPE_CHECKING:
    from alphapulse.log import CursorState

_ACTIONS: Final = ("list", "show", "reset", "delete")


@click.command()
@click.argument("action", type=click.Choice(_ACTIONS), default="list")
@click.argument("name", required=False)
@click.option(
    "--to", metavar="beginning|now|OFFSET|TIME",
    help="With reset: the event to go on with. A bare integer is an offset.",
)  # fmt: skip
@settings
def cursors(cli: Cli, action: str, name: str | None, to: str | None) -> None:
    """Show how far named subscribers have come, or let one go on.

    \b
      cursors                  all of them, with how far they are behind
      cursors show NAME        all about one
      cursors reset NAME       let a paused one try its event again
      cursors reset NAME --to OFFSET   go on there instead
      cursors delete NAME      forget it

    States: active (somebody holds it now), idle, paused (its handler failed, or the log was
    restored to before its position), unusable (its file is damaged, or of another log). One that
    is active is neither reset nor deleted.

    \b
    JSON fields: name, pattern, offset, lag_events, lag_s, state, error; show
    and reset have policy, skipped, error_offset, error_time, saved and
    holder_pid too. With delete: name, deleted.
    """
    if (name is None) != (action == "list"):
        raise click.UsageError("write `cursors`, or `cursors show|reset|delete NAME`")
    if to is not None and action != "reset":
        raise click.UsageError("--to goes with reset")
    from alphapulse.log import Cursors

    with cli.log() as log:
        known = Cursors(log.home)
        if name is None:
            _list(cli, known.states(log))
        elif action == "delete":
            known.delete(name)
            if cli.json:
                cli.out.records([{"name": name, "deleted": True}])
            else:
                cli.out.line(f"deleted the cursor {name}")
        else:
            if action == "reset":
                known.reset(name, log, None if to is None else to.strip())
            _show(cli, known.state(log, name))


def _list(cli: Cli, states: list[CursorState]) -> None:
    if cli.json:
        cli.out.records(map(_fields, states))
    elif states:
        cli.out.table(
            [Column("name", whole=True), Column("state"), Column("offset", right=True, whole=True),
             Column("lag_events", right=True), Column("lag_s", right=True), Column("pattern"),
             Column("error")],
            [_fields(state) for state in states],
        )  # fmt: skip
    else:
        cli.note("no cursors: `alphapulse tail --cursor NAME`, or subscribe with cursor=NAME")


def _show(cli: Cli, state: CursorState) -> None:
    fields = _fields(state) | _more(state)
    if cli.json:
        cli.out.records([fields])
    else:
        cli.out.fields(
            (name.replace("_", " "), "" if value is None else str(value))
            for name, value in fields.items()
        )


def _fields(state: CursorState) -> dict[str, object]:
    return {
        "name": state.name, "pattern": state.pattern, "offset": state.offset,
        "lag_events": state.lag_events,
        "lag_s": None if state.lag_s is None else round(state.lag_s, 3),
        "state": state.state, "error": state.error,
    }  # fmt: skip


def _more(state: CursorState) -> dict[str, object]:
    from alphapulse.log import format_time

    cursor = state.cursor
    error = None if cursor is None else cursor.error
    return {
        "policy": None if cursor is None else cursor.policy,
        "skipped": None if cursor is None else cursor.skipped,
        "error_offset": None if error is None else error.offset,
        "error_time": None if error is None else format_time(error.time),
        "saved": None if cursor is None else format_time(cursor.saved),
        "holder_pid": state.holder_pid,
    }
