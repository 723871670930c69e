from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import facets
from alphapulse.log.frame import Event
from alphapulse.log.index import PatternIndex
from alphapulse.log.pattern import Pattern
from alphapulse.log.pattern_tree import Node

from .pattern_worlds import events, trees


def _some_numbers(event: Event) -> tuple[int, ...]:
    """No kind has market facets yet: some events get none, one or two."""
    return (event.offset, 5 - event.offset)[: event.offset % 3]


@contextmanager
def market_facets() -> Iterator[None]:
    with mock.patch.dict(facets._READERS, {"bps": _some_numbers, "move_bps": _some_numbers}):
        yield


def hold_against_each_pattern(
    index: PatternIndex[int], patterns: dict[int, Pattern], world: list[Event]
) -> None:
    for event in world:
        expected = [key for key, pattern in patterns.items() if pattern.matches(event)]
        assert sorted(index.keys(event)) == sorted(expected), event


@given(st.lists(st.tuples(st.integers(0, 8), st.none() | trees()), max_size=20), events())
def test_keys_are_those_whose_pattern_matches(
    changes: list[tuple[int, Node | None]], world: list[Event]
) -> None:
    index: PatternIndex[int] = PatternIndex()
    patterns: dict[int, Pattern] = {}
    with market_facets():
        for key, tree in changes:
            if tree is None:
                patterns.pop(key, None)
                index.discard(key)
            else:
                patterns[key] = Pattern(tree)
                index.add(key, patterns[key])
            assert len(index) == len(patterns)
        hold_against_each_pattern(index, patterns, world)
