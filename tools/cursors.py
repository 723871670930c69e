"""`cursors`: how far each named subscriber has come, and letting one go on.

Those of the market log are shown with `m:` before their names, as its offsets are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from .output import Column
from .verb import Cli, settings

if TYPE_CHECKING:
    from alphapulse.log import CursorState, EventLog, Home

_ACTIONS: Final = ("list", "show", "reset", "delete")


@click.command()
@click.argument("action", type=click.Choice(_ACTIONS), default="list")
@click.argument("name", required=False)
@click.option(
    "--to", metavar="beginning|now|OFFSET|TIME",
    help="With reset: the event to go on with. A bare integer is an offset, m:123 one"
    " of the market log.",
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
    restored to before its position), unusable (its file is damaged, or of another log, or older
    than what a market log keeps). One that is active is neither reset nor deleted. Names and
    offsets of the market log begin with m:.

    \b
    JSON fields: name, pattern, offset, lag_events, lag_s, state, error; show
    and reset have policy, skipped, error_offset, error_time, saved and
    holder_pid too. With delete: name, deleted.
    """
    if (name is None) != (action == "list"):
        raise click.UsageError("write `cursors`, or `cursors show|reset|delete NAME`")
    if to is not None and action != "reset":
        raise click.UsageError("--to goes with reset")
    if name is None:
        _list(cli)
        return
    from alphapulse.log import Cursors

    if action == "delete":
        _delete(cli, name)
        return
    with _log_of(cli, name) as (log, own_name):
        known = Cursors(log.home)
        if action == "reset":
            known.reset(own_name, log, _start(log, to))
        _show(cli, log, known.state(log, own_name))


def _delete(cli: Cli, name: str) -> None:
    """Whatever became of the log that it is of."""
    from alphapulse.log import MARKET_PREFIX, Cursors, Home, MarketHome

    home = Home(cli.home)
    home.require()
    if name.startswith(MARKET_PREFIX):
        home = MarketHome(cli.home)
    Cursors(home).delete(name.removeprefix(MARKET_PREFIX))
    if cli.json:
        cli.out.records([{"name": name, "deleted": True}])
    else:
        cli.out.line(f"deleted the cursor {name}")


@contextmanager
def _log_of(cli: Cli, name: str) -> Iterator[tuple[EventLog, str]]:
    """The log that a cursor is of, and its name there."""
    from alphapulse.log import MARKET_PREFIX, MarketLog

    if name.startswith(MARKET_PREFIX):
        with MarketLog.of(cli.home, mode="r") as market:
            yield market, name.removeprefix(MARKET_PREFIX)
    else:
        with cli.log() as log:
            yield log, name


def _start(log: EventLog, to: str | None) -> int | str | None:
    """What `reset --to` says, as `start` of a subscription. Raises InvalidInput."""
    from alphapulse.log import MARKET_PREFIX, MarketLog, market_offset

    if to is None:
        return None
    words = to.strip()
    is_offset = words.isdecimal() or words.startswith(MARKET_PREFIX)
    return market_offset(words) if is_offset and isinstance(log, MarketLog) else words


def _list(cli: Cli) -> None:
    from alphapulse.log import Cursors

    with cli.log() as log:
        rows = [_fields(log.home, state) for state in Cursors(log.home).states(log)]
    rows += _of_market(cli)
    if cli.json:
        cli.out.records(rows)
    elif rows:
        cli.out.table(
            [Column("name", whole=True), Column("state"), Column("offset", right=True, whole=True),
             Column("lag_events", right=True), Column("lag_s", right=True), Column("pattern"),
             Column("error")],
            rows,
        )  # fmt: skip
    else:
        cli.note("no cursors: `alphapulse tail --cursor NAME`, or subscribe with cursor=NAME")


def _of_market(cli: Cli) -> list[dict[str, object]]:
    """A market log that cannot be read makes its cursors unusable, and nobody else's."""
    from alphapulse.log import AlphaPulseError, Cursors, CursorState, MarketHome, MarketLog

    home = MarketHome(cli.home)
    known = Cursors(home)
    names = known.names()
    if not names:
        return []
    try:
        with MarketLog.of(cli.home, mode="r") as market:
            return [_fields(home, state) for state in known.states(market)]
    except AlphaPulseError as error:
        return [
            _fields(home, CursorState(
                name, None, None, None, None, "unusable", error.why, known.holder_pid(name), None
            ))
            for name in names
        ]  # fmt: skip


def _show(cli: Cli, log: EventLog, state: CursorState) -> None:
    fields = _fields(log.home, state) | _more(log.home, state)
    if cli.json:
        cli.out.records([fields])
    else:
        cli.out.fields(
            (name.replace("_", " "), "" if value is None else str(value))
            for name, value in fields.items()
        )


def _fields(home: Home, state: CursorState) -> dict[str, object]:
    return {
        "name": home.cursor_shown(state.name), "pattern": state.pattern,
        "offset": None if state.offset is None else home.offset_shown(state.offset),
        "lag_events": state.lag_events,
        "lag_s": None if state.lag_s is None else round(state.lag_s, 3),
        "state": state.state, "error": state.error,
    }  # fmt: skip


def _more(home: Home, state: CursorState) -> dict[str, object]:
    from alphapulse.log import format_time

    cursor = state.cursor
    error = None if cursor is None else cursor.error
    return {
        "policy": None if cursor is None else cursor.policy,
        "skipped": None if cursor is None else cursor.skipped,
        "error_offset": None if error is None else home.offset_shown(error.offset),
        "error_time": None if error is None else format_time(error.time),
        "saved": None if cursor is None else format_time(cursor.saved),
        "holder_pid": state.holder_pid,
    }
