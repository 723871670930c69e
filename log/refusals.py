"""What the operating system refuses, as an error of ours.

Any call into the system can be told no: no descriptor left, no page, no lock, an I/O error. Who
holds something puts it down, wherever the refusal comes from; but it is told in one place only, at
the doors of a room, because thirty `except OSError` would say no more than one. Where a refusal
means something by itself (a full disk, a directory that may not be written), the place that knows
raises its own error before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .errors import SystemRefused

Given = ParamSpec("Given")
Result = TypeVar("Result")

_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})


def refused(doing: str, error: OSError) -> SystemRefused:
    """To be raised from the OSError."""
    cure = "close what is not needed, or raise `ulimit -n`" if error.errno in _TOO_MANY else None
    facts = {} if error.filename is None else {"path": error.filename}
    return SystemRefused(doing, problem=error.strerror or str(error), cure=cure, **facts)


class SystemCalls:
    """Around a block or a function: an OSError leaves it as SystemRefused. Cost: 0.2 µs."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise refused(self._doing, error) from error

    def __call__(self, work: Callable[Given, Result]) -> Callable[Given, Result]:
        doing = self._doing

        @wraps(work)
        def told(*given: Given.args, **named: Given.kwargs) -> Result:
            try:
                return work(*given, **named)
            except OSError as error:
                raise refused(doing, error) from error

        return told
