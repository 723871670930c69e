"""Hints that something happened in a directory, from `watchfiles` (inotify).

A hint may come early, late or never: one that is missed costs the wait until the next look, nothing
more. So nothing is read out of them but that it is time to look.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

# While nothing happens the library wakes up once a step to look for signals and `stop`.
_STEP_MS: Final = 100
_TICK_MS: Final = 200
_GROUP_MS: Final = 400

Watched = tuple[Path, int, int]
"""A directory, its device and its inode: one that was replaced is heard of no more."""


class Hints:
    """A context manager; leaving it ends the listening."""

    def __init__(self) -> None:
        self._watched: Sequence[Watched] = ()
        self._changes: Generator[object, None, None] | None = None
        self._failed: Sequence[Watched] = ()
        self._heard = False

    @property
    def listening(self) -> bool:
        return self._changes is not None

    def listen(self, watched: Sequence[Watched], stop: threading.Event) -> str:
        """Listens to these from now on; why it cannot, told once for each set of them."""
        if watched in (self._watched, self._failed):
            return ""
        self.close()
        if not watched:
            return ""
        from watchfiles import watch  # takes 30 ms to load, which no other verb needs

        self._changes = watch(
            *(path for path, _, _ in watched), watch_filter=None, debounce=_GROUP_MS,
            step=_STEP_MS, stop_event=stop, rust_timeout=_TICK_MS, yield_on_timeout=True,
            recursive=False, ignore_permission_denied=True,
        )  # fmt: skip
        self._watched = watched
        why = self._next()  # only now does it listen
        if why:
            self._failed = watched
        return why

    def wait(self, stop: threading.Event, timeout_s: float) -> None:
        """Until something may have happened, at most so long. Returns soon after `stop` is set."""
        deadline_s = time.monotonic() + timeout_s
        self._heard = False
        while not (stop.is_set() or self._heard):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            if self._changes is None or left_s < _TICK_MS / 1000:
                stop.wait(left_s)
            else:
                self._next()

    def _next(self) -> str:
        """One tick; why there are no more, if that is so."""
        assert self._changes is not None
        try:
            self._heard = bool(next(self._changes))
        except StopIteration:  # stop is set
            self.close()
        except (OSError, RuntimeError, ValueError) as error:  # a watch was lost, or none is left
            self.close()
            return str(error)
        return ""

    def close(self) -> None:
        if self._changes is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._changes.close()
        self._changes, self._watched, self._failed, self._heard = None, (), (), False

    def __enter__(self) -> Hints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
