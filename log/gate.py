"""What keeps a memory map from being resized, or opened again, under a transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """Many transactions at a time, or one resize alone. A transaction may `promote` itself.

    Whoever waits to be alone comes first: readers without a pause would starve it for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._inside = 0
        self._waiting = 0

    def enter(self) -> None:
        with self._lock:
            while self._waiting:
                self._condition.wait()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._waiting and self._inside == 0:
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: self._inside == 0)
                yield
            finally:
                self._waiting -= 1
                self._condition.notify_all()

    def promote(self, action: Callable[[], None]) -> None:
        """Runs `action` alone from inside, before that transaction has begun."""
        with self._condition:
            self._inside -= 1
            self._waiting += 1
            self._condition.notify_all()
            try:
                self._condition.wait_for(lambda: self._inside == 0)
                action()
            finally:
                self._waiting -= 1
                self._inside += 1
                self._condition.notify_all()
