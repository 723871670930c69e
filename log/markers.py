"""Events with markers between them: "you have seen all there is"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .frame import Event
    from .subscription import Subscription


class CaughtUp(NamedTuple):
    """Everything before `offset`, the head at that moment, was delivered or did not match."""

    offset: int


class Marked:
    """Made by `Subscription.with_markers`; `for` or `async for` over it.

    A marker comes when history is through, even if nothing of it matched, and after each run of
    events that came since. What does not match moves `position` without a marker.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._owed = True

    def __iter__(self) -> Iterator[Event | CaughtUp]:
        return self

    def __next__(self) -> Event | CaughtUp:
        following = self._subscription
        found = self._given(following.next_by_now() if self._owed else following.next_event())
        if found is None:
            raise StopIteration
        return found

    def __aiter__(self) -> AsyncIterator[Event | CaughtUp]:
        return self

    async def __anext__(self) -> Event | CaughtUp:
        found = self._given(await self._subscription.next_async(wait=not self._owed))
        if found is None:
            raise StopAsyncIteration
        return found

    def _given(self, event: Event | None) -> Event | CaughtUp | None:
        """What to yield for this event, or for none; None at the end."""
        following = self._subscription
        if event is not None:
            self._owed = True
            return event
        if not self._owed or following.closed or (following.finished and not following.caught_up):
            return None
        self._owed = False
        return CaughtUp(following.position)
