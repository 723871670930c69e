"""Listening to a child process that may die, or tell nothing any more."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from threading import Timer


class Watch:
    """Reads what a child says, and kills it when it says nothing for too long.

    Leaving kills it too if it still runs, so that nobody waits for a child they gave up on.
    """

    def __init__(self, child: subprocess.Popen[str], stalled_s: float) -> None:
        self._child = child
        self._stalled_s = stalled_s
        self.stalled = False

    def lines(self) -> Iterator[str]:
        assert self._child.stdout is not None
        while True:
            timer = Timer(self._stalled_s, self._stall)
            timer.daemon = True
            timer.start()
            try:
                line = self._child.stdout.readline()
            finally:
                timer.cancel()
            if not line:
                return
            yield line

    def _stall(self) -> None:
        self.stalled = True
        self._child.kill()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._child.kill()
