from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.errors import InvalidInput
from alphapulse.log.times import I64_MAX, I64_MIN, NS, format_time, parse_time


@given(st.integers(I64_MIN + 1, I64_MAX))
def test_text_comes_back(time_ns: int) -> None:
    text = format_time(time_ns)
    assert len(text) == 30 and text.endswith("Z")
    assert parse_time(text) == time_ns


@given(st.lists(st.integers(I64_MIN + 1, I64_MAX), max_size=5))
def test_text_sorts_like_time(times: list[int]) -> None:
    assert sorted(map(format_time, times)) == [format_time(time) for time in sorted(times)]


@pytest.mark.parametrize(
    "text,expected",
    [
        ("1970", 0), ("1970-01", 0), ("1970-01-01", 0), ("1970-01-01T00:00", 0),
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:01", NS), ("1970-01-01 00:00:00.5Z", 5e8),
        ("1970-01-01T00:00:00.000000001Z", 1), ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:00-00:30", 1800 * NS),
        ("2025-11-24T16:00:00.000000001Z", 1_764_000_000_000_000_001),
        (" 2000-03-01\n", 951_868_800 * NS), ("1677-09-21T00:12:43.145224193Z", I64_MIN + 1),
        ("2262-04-11T23:47:16.854775807Z", I64_MAX),
    ],
)  # fmt: skip
def test_examples(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "now", "20", "2026-1-1", "2026-13", "2026-02-30", "2025-02-29", "2026-01-01T24:00:00Z",
     "2026-01-01T00:60Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.1234567890Z",
     "2026-01-01T00:00:00+1", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60",
     "2026-01-01Z", "0000-01-01", "٢٠٢٦-01-01", "2026-01-01T00:00:00Zx", "2" * 70],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_time(text)


@pytest.mark.parametrize("text", ["1600", "2300-01-01", "2262-04-11T23:47:16.854775808Z", "9999"])
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="1678 to 2261"):
        parse_time(text)


def test_recorded_times_past_the_signed_range_can_be_printed() -> None:
    assert format_time((1 << 64) - 1).startswith("2554-07-21T")
