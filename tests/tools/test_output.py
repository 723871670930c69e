from __future__ import annotations

import io
import json

import pytest
from hypothesis import given

from alphapulse.registry import UnknownInstrument
from alphapulse.tools.output import (
    Column,
    Output,
    error_dict,
    escape,
    json_line,
    print_error,
    short_time,
    width_of,
)
from tests.texts import texts


@pytest.mark.parametrize(
    "text, safe",
    [
        ("plain [Legacy] [red]", "plain [Legacy] [red]"),
        ("\x1b[2J\x9b31m", "\\x1b[2J\\x9b31m"),
        ("a\u202eb\u2066c\u200d", "a\\u202eb\\u2066c\\u200d"),
        ("line\nfeed\r\t\x00", "line\\nfeed\\r\\t\\x00"),
        ("\U000e0041 \ufeff\u2028", "\\U000e0041 \\ufeff\\u2028"),
        ("caf\xe9 \u65e5\u672c", "caf\xe9 \u65e5\u672c"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_could_move_a_cursor_is_shown(text: str, safe: str) -> None:
    assert escape(text) == safe


@given(texts())
def test_escaped_text_is_printable_and_escaping_is_stable(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)


@given(texts())
def test_json_keeps_the_value_and_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    line = json_line({"name": text})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"name": text}
    body = line.decode().rstrip("\n")
    assert not any("\x7f" <= c <= "\x9f" or c < " " or c in "\u202e\u2066\u200f" for c in body)


def plain() -> tuple[Output, io.BytesIO]:
    stream = io.BytesIO()
    return Output(json=False, stream=stream), stream


def test_a_plain_table_is_aligned_and_leaves_empty_columns_out() -> None:
    out, stream = plain()
    out.table(
        [Column("id"), Column("none"), Column("count_events", right=True), Column("name")],
        [
            {"id": "0x1", "none": None, "count_events": 7, "name": "[red]\n"},
            {"id": "0x22", "none": "", "count_events": 123, "name": "\u65e5\u672c"},
        ],
    )
    assert stream.getvalue().decode() == (
        "id    count events  name\n"
        "0x1              7  [red]\\n\n"
        "0x22           123  \u65e5\u672c\n"
    )  # fmt: skip


def test_fields_leave_out_what_is_not_known() -> None:
    out, stream = plain()
    out.fields([("id", "1"), ("isin", ""), ("symbol", "a\tb")])
    assert stream.getvalue() == b"id      1\nsymbol  a\\tb\n"


def test_wide_and_combining_characters_have_their_width() -> None:
    assert [width_of(text) for text in ("ab", "\u65e5", "e\u0301")] == [2, 2, 1]


def test_short_times() -> None:
    assert short_time(None) == ""
    assert short_time("1990-01-01T00:00:00.000000000Z") == "1990-01-01"
    assert short_time("1990-01-01T09:30:00.000000001Z") == "1990-01-01 09:30:00"


def test_an_error_is_two_lines_and_what_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    error = UnknownInstrument("looking up \x1bx", problem="nothing matches", cure="choose", n=1)
    error.lines = ("near: [b]\u202e",)  # type: ignore[attr-defined]  # as verb.with_lines does
    print_error(error, as_json=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "error: looking up \\x1bx: nothing matches [n=1]\n"
        "       near: [b]\\u202e\n"
        "cure: choose\n"
    )  # fmt: skip
    print_error(error, as_json=True)
    as_json = capsys.readouterr().err
    assert as_json.isascii()
    assert json.loads(as_json) == error_dict(error)
    assert json.loads(as_json)["cure"] == "choose: near: [b]\u202e"
