from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import TradingBody
from alphapulse.registry.venues.words import Word, timeline

_instants = st.integers(1, 12)
_spans = st.tuples(_instants, st.integers(0, 6)).map(
    lambda span: (span[0], span[0] + span[1] if span[1] else 0)
)


def word(offset: int, begins: int, until: int) -> Word:
    body = TradingBody(
        fingerprint=b"", venue="v", status=1, valid_from=begins, until=until, side="both"
    )
    return Word(begins, until, offset, 0, "", body)


def naive(words: list[Word], at: int, stop: int | None) -> Word | None:
    """Of those that nobody corrected and that hold, the one that begins last."""
    known = [each for each in words if stop is None or each.offset < stop]
    holding = [
        each for each in known
        if each.begins <= at and not (each.until and each.until <= at)
        and not any(o.begins == each.begins and o.offset > each.offset for o in known)
    ]  # fmt: skip
    return max(holding, key=lambda each: each.begins, default=None)


@given(
    st.lists(_spans, max_size=8), st.lists(_instants, min_size=1),
    st.none() | st.integers(0, 8),
)  # fmt: skip
def test_the_word_that_begins_last_is_right(
    spans: list[tuple[int, int]], instants: list[int], stop: int | None
) -> None:
    words = [word(offset, *span) for offset, span in enumerate(spans)]
    line = timeline(words, stop)
    for at in (0, *instants, 20):
        assert line.at(at) is naive(words, at, stop)
    assert line.changes == sorted(set(line.changes))
    assert len(line.words) == len(line.changes) + 1


def test_what_ends_gives_way_to_what_held_before() -> None:
    always, halt, short = word(0, 1, 0), word(1, 5, 9), word(2, 6, 7)
    line = timeline([always, halt, short])
    assert [line.at(at) for at in (0, 1, 5, 6, 7, 8, 9)] == [
        None, always, halt, short, halt, halt, always,
    ]  # fmt: skip
    assert line.changes == [1, 5, 6, 7, 9]


def test_a_correction_that_ends_sooner_leaves_nothing_of_what_it_corrects() -> None:
    endless, ended, sooner = word(0, 5, 0), word(1, 5, 9), word(2, 5, 7)
    assert timeline([endless, ended]).at(9) is None
    line = timeline([endless, ended, sooner])
    assert [line.at(at) for at in (4, 5, 6, 7, 8)] == [None, sooner, sooner, None, None]
    assert timeline([endless, ended, sooner], stop=2).at(8) is ended
