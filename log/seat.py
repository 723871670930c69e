"""The seat of a subscription: what it shares with the pump that fills it and with its waits."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

from .frame import Event
from .pattern import Pattern


class Seat:
    """Belongs to one subscription, which alone takes from `ready`. The pump changes it only while
    it is attached; while it is not, only its owner does."""

    __slots__ = (
        "__weakref__", "attached", "closed", "every_ring", "pattern", "ready", "reference",
        "scanned", "wake",
    )  # fmt: skip

    def __init__(
        self, pattern: Pattern, scanned: int, *, every_ring: bool,
        dropped: Callable[[weakref.ref[Seat]], object],
    ) -> None:  # fmt: skip
        self.pattern = pattern
        self.every_ring = every_ring
        """Its coroutine is woken by each commit, not only by events for it."""
        self.ready: deque[Event] = deque()
        self.scanned = scanned
        """While not attached: all before it is in `ready`, was taken, or does not match."""
        self.attached = False
        self.closed = False
        self.wake: Callable[[], None] | None = None
        """Ends the wait that goes on just now."""
        self.reference = weakref.ref(self, dropped)
        """What the pump knows it by; `dropped` is told when its owner let it go."""
        hash(self.reference)  # remembered now, since a dead one has none
