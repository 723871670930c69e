"""Precedence: whose word stands when two sources disagree, whoever came first.

The order is stated in the log (`feed.rules`), so every decision can be made again. It says nothing
of two sources unless it names both: then the word that is held stands, as without any.
"""

from __future__ import annotations

from collections.abc import Sequence


def outranks(precedence: Sequence[str], source: str, other: str) -> bool:
    """Whether the word of `source` stands against that of `other`."""
    if source not in precedence or other not in precedence:
        return False
    return precedence.index(source) < precedence.index(other)
