"""What every topic gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .data import Homes
from .harness import Row


class Context(NamedTuple):
    size: int
    """Instruments in the home."""
    homes: Homes


Run = Callable[[Context], Iterator[Row]]
