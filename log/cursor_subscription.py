"""A subscription under a name, whose position outlives it.

Two numbers say all: the last event handed over, and `done`, up to which all that matches is
acknowledged. While everything handed over is acknowledged, `done` follows the position, over
events that do not match too; else it stays where acknowledging stopped. So what is saved never
passes a matching event that nobody acknowledged, whatever is buffered, and a crash repeats events
but loses none. Saving is a file and a sync, so it is done now and then: that only makes the
repeats more, up to SAVE_EVENTS_MAX events or what came in SAVE_INTERVAL_S. Only the thread that
takes events moves `done`, so closing from another thread saves no more than that one allowed.

Acknowledging by itself ("auto") means: whoever asks for the next event is done with the last one.
Closing says so too, but only if it is done where the event was taken, and not because of an error.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import msgspec

from .cursors import (
    ERROR_TEXT_MAX,
    LOG_RESTORED,
    Cursor,
    CursorError,
    CursorHold,
    Cursors,
    Policy,
    check_fits,
    position_at,
)
from .errors import (
    Closed,
    CursorDamaged,
    CursorMismatch,
    CursorMissing,
    CursorNotSaved,
    CursorPaused,
    HandlerFailed,
    InvalidInput,
    PatternError,
)
from .frame import Event
from .interrupts import HeldInterrupts
from .pattern import Pattern
from .subscription import Start, Subscription

if TYPE_CHECKING:
    from .eventlog import EventLog
    from .home import Home

SAVE_INTERVAL_S: Final = 0.1
SAVE_EVENTS_MAX: Final = 1_000
Ack = Literal["auto", "explicit"]
_LOGGER: Final = logging.getLogger("alphapulse")


class CursorStatistics(NamedTuple):
    name: str
    saved_offset: int
    """Where a restart would go on."""
    unsaved_events: int
    """Acknowledged, but not yet in the file: a crash now repeats them."""
    saves: int
    save_error: str
    """Why the last save failed; empty when it did not. It is tried again."""
    skipped: int


class CursorSubscription(Subscription):
    """Made by `EventLog.subscribe(..., cursor=NAME)`. Not for use by two threads at once.

    It holds its cursor until it is closed, so use it in a `with`. When the file cannot be saved
    (a full disk), events go on, a warning is logged, `cursor_statistics` says why, and `close`
    raises CursorNotSaved if it still cannot.
    """

    _every_ring = True  # its position moves on, and is saved, while nothing matches

    def __init__(
        self, log: EventLog, pattern: Pattern, stop: int | None, cursor: Cursor, hold: CursorHold,
        ack: Ack,
    ) -> None:  # fmt: skip
        super().__init__(log, pattern, cursor.offset, stop)
        self._cursors = Cursors(log.home)
        self._cursor = cursor
        """What the file says."""
        self._hold = hold
        self._auto = ack == "auto"
        self._last = -1
        """The last event handed over."""
        self._done = cursor.offset
        """What a save writes: all before it that matches is acknowledged."""
        self._taker: object = None
        """Where the event in hand was taken."""
        self._unsaved = 0
        self._saves = 0
        self._saved_at = time.monotonic()
        self._save_error = ""
        self._saving = threading.Lock()
        """Closing may come from another thread; from a signal's handler, only once it is free."""

    @property
    def cursor(self) -> str:
        """The cursor's name."""
        return self._cursor.name

    def ack(self, event: Event | int) -> None:
        """Says that this event, or the one at this offset, and all before it are done with.

        What was acknowledged before may be again. Raises InvalidInput for an event that was not
        handed over yet and for what is none, Closed. It is saved with the next save.
        """
        if isinstance(event, Event):
            offset = event.offset
        elif isinstance(event, int) and not isinstance(event, bool) and event >= 0:
            offset = event
        else:
            raise InvalidInput(
                "acknowledging", problem="it is no event and no offset", given=repr(event)[:80],
                cure="acknowledge events that this subscription gave",
            )  # fmt: skip
        if not self._hold.held:
            raise Closed(f"acknowledging offset {offset}")
        if offset > self._last:
            raise InvalidInput(
                f"acknowledging offset {offset}", problem="it was not handed over yet",
                last_handed_over=self._last if self._last >= 0 else None, cursor=self.cursor,
                cure="acknowledge events that this subscription gave",
            )  # fmt: skip
        self._acknowledge(offset)

    def _acknowledge(self, offset: int) -> None:
        if offset >= self._done:
            self._done = self.position if offset == self._last else offset + 1
            self._unsaved += 1
        self._save_if_due()

    @property
    def _in_hand(self) -> bool:
        """Whether something was handed over that is not acknowledged."""
        return self._last >= self._done

    def _take(self) -> Event | None:
        if self._auto and self._in_hand and self._hold.held:
            self._acknowledge(self._last)
        else:
            self._pass_over()
        event = super()._take()
        if event is not None:
            self._last = event.offset
            self._taker = _flow()
        return event

    def _pass_over(self) -> None:
        """What does not match needs nobody to acknowledge it."""
        if not self._in_hand:
            self._done = self.position
        self._save_if_due()

    def _save_if_due(self) -> None:
        now = time.monotonic()
        if self._unsaved >= SAVE_EVENTS_MAX or now - self._saved_at >= SAVE_INTERVAL_S:
            if self._done == self._cursor.offset:
                return
            try:
                self._save()
            except CursorNotSaved as error:
                if not self._save_error:
                    _LOGGER.warning("%s", error)
                self._save_error = error.why
                self._unsaved = 0  # so that the next try is an interval away
            self._saved_at = time.monotonic()

    def _save(self, *, publish: bool = False, **changes: object) -> None:
        """Raises CursorNotSaved."""
        with HeldInterrupts(), self._saving:
            if not self._hold.held:  # closed by another thread, or inherited by a forked child
                return
            cursor = msgspec.structs.replace(
                self._cursor, offset=self._done, saved=time.time_ns(), **changes
            )
            self._cursors.write(cursor, publish=publish)
            self._cursor, self._unsaved, self._save_error = cursor, 0, ""
            self._saves += 1

    def handle(
        self, handler: Callable[[Event], object], on_error: Policy = "pause", *,
        stop_when_caught_up: bool = False,
    ) -> int:  # fmt: skip
        """Calls `handler` with each event, and acknowledges it; how many were handled.

        on_error: what to do when it raises an Exception. "pause" keeps the error and the position
        in the cursor, closes this and raises HandlerFailed; subscribing then raises CursorPaused
        until `alphapulse cursors reset NAME`. "skip" keeps the last error and counts, and goes on.
        It ends when `stop` is reached or this is closed, with `stop_when_caught_up` at the head.
        When it is interrupted (Ctrl-C) with an event in hand, it closes this too, and the event
        comes again to who subscribes next. Raises InvalidInput for a coroutine function, which
        `ahandle` is for.
        """
        handled = 0
        self._begin_handling(on_error)
        following = self.next_by_now if stop_when_caught_up else self.next_event
        try:
            while (event := following()) is not None:
                try:
                    result = handler(event)
                except Exception as error:
                    self._failed(event, error)
                else:
                    if result is not None:
                        _refuse_awaitable(result, self.cursor)
                    handled += 1
                self._handled(event)
        except BaseException:
            self._interrupted()
            raise
        return handled

    async def ahandle(
        self, handler: Callable[[Event], Awaitable[object] | object], on_error: Policy = "pause",
        *, stop_when_caught_up: bool = False,
    ) -> int:  # fmt: skip
        """As `handle`, for a handler that may be a coroutine function, one event at a time.

        Cancelling it while a handler runs is such an interruption.
        """
        from inspect import isawaitable  # here, for a quicker start

        handled = 0
        self._begin_handling(on_error)
        wait = not stop_when_caught_up
        try:
            while (event := await self.next_async(wait=wait)) is not None:
                try:
                    result = handler(event)
                    if isawaitable(result):
                        await result
                    handled += 1
                except Exception as error:
                    self._failed(event, error)
                self._handled(event)
        except BaseException:
            self._interrupted()
            raise
        return handled

    def _begin_handling(self, on_error: Policy) -> None:
        if on_error not in get_args(Policy):
            raise InvalidInput(
                f"handling events for the cursor {self.cursor}", problem="there is no such policy",
                on_error=on_error, cure="give on_error as pause or skip",
            )  # fmt: skip
        if not self._hold.held:
            raise Closed(f"handling events for the cursor {self.cursor}")
        self._cursor = msgspec.structs.replace(self._cursor, policy=on_error)

    def _handled(self, event: Event) -> None:
        if self._hold.held:  # else it was closed while the handler ran: the event comes again
            self.ack(event)

    def _interrupted(self) -> None:
        """Closes this if an event is in hand: asking for the next one would acknowledge it.

        To be called while what interrupted is under way, which nothing raised here may hide.
        """
        if self._in_hand:
            try:
                self.close()
            except CursorNotSaved as error:
                _LOGGER.warning("%s", error)

    def _failed(self, event: Event, error: Exception) -> None:
        """Keeps the error. Raises HandlerFailed when the policy is to pause."""
        kept = CursorError(type(error).__name__, _text(error), event.offset, time.time_ns())
        if self._cursor.policy == "skip":
            self._cursor = msgspec.structs.replace(
                self._cursor, error=kept, skipped=self._cursor.skipped + 1
            )
            return
        problem = f"the handler raised {kept.type}: {kept.message}"
        cure = "mend the handler, then subscribe again, which tries that event again"
        try:
            self._save(publish=True, state="paused", error=kept)
        except CursorNotSaved as unsaved:
            problem += f"; it is not paused: {unsaved.why}"
        if self._cursor.state == "paused":  # else another thread closed it, or the disk is full
            cure = f"mend the handler, then {pause_cure(self._log.home, self.cursor, event.offset)}"
        try:
            self.close()
        except CursorNotSaved as unsaved:
            _LOGGER.warning("%s", unsaved)
        raise HandlerFailed(
            f"handling the event at offset {event.offset} for the cursor {self.cursor}",
            problem=problem, cure=cure,
        ) from error  # fmt: skip

    def cursor_statistics(self) -> CursorStatistics:
        return CursorStatistics(
            self.cursor, self._cursor.offset, self._unsaved, self._saves, self._save_error,
            self._cursor.skipped,
        )  # fmt: skip

    def close(self) -> None:
        """Saves the position and gives the cursor back; again is fine. Raises CursorNotSaved.

        The event in hand is acknowledged (unless `ack="explicit"`) when this is called where it
        was taken, by the same thread and task, and no exception is under way.
        """
        done = self._auto and sys.exception() is None and self._taker == _flow()
        if done and self._in_hand and self._hold.held:
            self._done = self.position
        super().close()
        try:
            if self._done != self._cursor.offset:
                self._save()
        finally:
            with HeldInterrupts(), self._saving:
                self._hold.release()


def open_cursor(
    log: EventLog, pattern: Pattern | str, start: Start, stop: int | None, name: str, ack: Ack
) -> CursorSubscription:
    """Goes on from the cursor, or makes it, at `start`.

    Raises what `EventLog.subscribe` says, and gives the cursor back then.
    """
    if ack not in get_args(Ack):
        raise InvalidInput(
            "subscribing", problem="there is no such way to acknowledge", ack=ack,
            cure="give ack as auto or explicit",
        )  # fmt: skip
    cursors = Cursors(log.home)
    hold = cursors.hold(name)
    try:
        try:
            cursor = cursors.read(name)
        except CursorMissing:
            selected = Pattern.parse(pattern) if isinstance(pattern, str) else pattern
            cursor = Cursor(
                name=name, log_id=log.genesis.log_id.hex(), pattern=str(selected),
                offset=position_at(log, name, start), saved=time.time_ns(),
            )  # fmt: skip
            cursors.write(cursor)
        else:
            selected = _resumed(log, cursor, pattern)
            if cursor.pattern is None:
                cursor = msgspec.structs.replace(cursor, pattern=str(selected))
                cursors.write(cursor)
        return CursorSubscription(log, selected, stop, cursor, hold, ack)
    except BaseException:
        hold.release()
        raise


def _resumed(log: EventLog, cursor: Cursor, pattern: Pattern | str) -> Pattern:
    """The pattern to go on with: the cursor's own, which text that is empty stands for."""
    shown = log.home.cursor_shown(cursor.name)
    doing = f"subscribing with the cursor {shown}"
    check_fits(cursor, log)
    if cursor.state == "paused":
        assert cursor.error is not None
        if cursor.error.type == LOG_RESTORED:
            raise CursorPaused(
                doing, problem=f"it is paused: {cursor.error}",
                cure=f"`alphapulse cursors reset {shown}` goes on at offset {cursor.offset},"
                " the head that was restored",
            )  # fmt: skip
        raise CursorPaused(
            doing, problem=f"it is paused, its handler raised {cursor.error}",
            cure=pause_cure(log.home, cursor.name, cursor.error.offset),
        )  # fmt: skip
    given = Pattern.parse(pattern) if isinstance(pattern, str) else pattern
    if cursor.pattern is None:
        return given
    try:
        kept = Pattern.parse(cursor.pattern)
    except PatternError as error:
        raise CursorDamaged(
            doing, problem=f"its pattern cannot be read: {error.why}",
            cure=f"`alphapulse cursors delete {shown}`, then begin at offset {cursor.offset}",
        ) from error  # fmt: skip
    if given != kept and not (isinstance(pattern, str) and not pattern.strip()):
        raise CursorMismatch(
            doing, cursor_pattern=repr(str(kept)), pattern=repr(str(given)),
            cure=f"subscribe with its pattern or none, take another name, or `alphapulse cursors"
            f" delete {shown}` and begin at offset {cursor.offset}",
        )  # fmt: skip
    return kept


def _refuse_awaitable(result: object, cursor: str) -> None:
    from inspect import isawaitable, iscoroutine  # here, for a quicker start

    if not isawaitable(result):
        return
    if iscoroutine(result):
        result.close()  # else Python warns of it too, at some other place
    raise InvalidInput(
        f"handling events for the cursor {cursor}", problem="the handler is a coroutine function",
        cure="await ahandle(…) instead: nobody awaits it here, so it would do nothing",
    )  # fmt: skip


def pause_cure(home: Home, name: str, offset: int) -> str:
    reset, after = f"`alphapulse cursors reset {home.cursor_shown(name)}", offset + 1
    on = f"{reset} --to {home.offset_shown(after)}` goes on after it"
    return f"{reset}` tries that event again, {on}"


def _text(error: Exception) -> str:
    """What it says, as text that JSON can hold."""
    return str(error)[:ERROR_TEXT_MAX].encode("utf-8", "backslashreplace").decode()


def _flow() -> tuple[int, object]:
    """Who is running: the thread, and its task inside of an event loop."""
    asyncio = sys.modules.get("asyncio")  # where nobody loaded it there is no task
    if asyncio is None or asyncio._get_running_loop() is None:
        return threading.get_ident(), None
    return threading.get_ident(), asyncio.current_task()
