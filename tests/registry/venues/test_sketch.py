"""Sketches: within 1 %, merged exactly, and the same bytes for the same values."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.log import NotDecodable
from alphapulse.registry.venues.sketch import Sketch, decode_sketch

VALUES = st.lists(st.one_of(st.integers(0, 50), st.integers(0, 3_600 * 10**9)), max_size=60)


def of(values: list[int]) -> Sketch:
    found = Sketch()
    for value in values:
        found.add(value)
    return found


@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_order_and_merging_make_no_difference(values: list[int], rng: random.Random) -> None:
    whole, parts, other = of(values), Sketch(), list(values)
    rng.shuffle(other)
    cut = rng.randint(0, len(other))
    for part in (other[:cut], other[cut:]):
        parts.merge(decode_sketch(of(part).encode()))
    assert parts.encode() == whole.encode() and parts.count == whole.count == len(values)
    assert list(parts.bins()) == list(whole.bins())
    for q in (0, 0.5, 0.99, 1):
        assert parts.quantile(q) == whole.quantile(q)


@given(VALUES.filter(bool), st.sampled_from([0, 0.01, 0.5, 0.9, 0.99, 1]))
@settings(max_examples=60)
def test_a_quantile_is_within_one_percent(values: list[int], q: float) -> None:
    exact = sorted(values)[int(q * (len(values) - 1))]
    found = of(values).quantile(q)
    assert found is not None and abs(found - exact) <= exact * 0.01 + 0.5


def test_the_bytes_are_what_they_were() -> None:
    """Golden: by another rounding or another width of bins, old summaries would not merge."""
    values = [0, 1, 2, 3, 1_000, 250_000, 250_001, 999_999_999, 3_600 * 10**9]
    assert of(values).encode().hex() == (
        "0107000132011901a703018e0302d60401cc0401"
    )
    assert of(values).quantile(0.5) == 994
    assert Sketch().encode() == b"\0\0" and Sketch().quantile(0.5) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\1", b"\0\1\4", b"\0\2\4\1\0\1", b"\0\1\4\0", b"\x80", b"\x80\0\0", b"\0\0\0",
     b"\0\1" + b"\xff\xff\x7f\1", b"\xff" * 12, b"\0\xff\xff\xff\x7f"],
)  # fmt: skip
def test_what_nobody_writes_is_refused(data: bytes) -> None:
    with pytest.raises(NotDecodable, match="reading a sketch"):
        decode_sketch(data)
