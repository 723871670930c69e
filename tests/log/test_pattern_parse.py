from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alphapulse.log.errors import PatternError
from alphapulse.log.pattern import Pattern
from alphapulse.log.pattern_parse import parse_text
from alphapulse.log.pattern_tree import DEPTH_MAX, TEXT_SIZE_BYTES_MAX, Term, Value
from tests.texts import texts


@pytest.mark.parametrize(
    "text, column, said",
    [
        ("chian=eip155:1", 1, "there is no facet 'chian' [column=1] (did you mean chain?)"),
        ("kind=collision  Venu=X", 17, "did you mean venue?"),
        ("zzz=1", 1, "write one of: kind, class, chain, venue"),
        ("and=1", 1, "there is no facet 'and'"),
        ("symbol=A or=1", 10, "there is no facet 'or'"),
        ("symbol=A and=1", 10, "there is no facet 'and'"),
        ("kind=colision", 1, "there is no kind 'colision' [column=1] (did you mean collision?)"),
        ("kind=coll", 1, "did you mean collision?"),
        ("kind=instrument.registred", 1, "did you mean instrument.registered?"),
        ("kind=collision.", 1, "did you mean collision?"),
        ("class=tokn", 1, "did you mean token?"),
        ("status=activ", 1, "did you mean active?"),
        ("severity=warn", 1, "there is no severity 'warn'"),
        ("severity>critical", 1, "no severity is >critical"),
        ("kind=collision or", 18, "found the end, expected a term"),
        ("or kind=collision", 1, "found 'or', expected a term"),
        ("kind=collision and or symbol=A", 20, "found 'or', expected a term"),
        ("not", 4, "found the end, expected a term"),
        ("=5", 1, "found '=', expected a term"),
        ("symbol", 7, "expected an operator after symbol"),
        ("symbol = A", 7, "without spaces"),
        ("symbol= A", 8, "expected a value"),
        ("symbol=", 8, "expected a value"),
        ('symbol=""', 1, "symbol needs a value"),
        ("symbol==A", 8, "expected a value, found '='"),
        ("bps=>5", 5, "expected a value, found '>'"),
        ("symbol=A,", 10, "expected a value"),
        ("symbol=A, B", 10, "expected a value"),
        ("symbol=A*B", 10, "found 'B' in a value"),
        ('symbol=A"B"', 9, "found '\"' in a value"),
        ("symbol=A(B)", 9, "found '(' in a value"),
        ('symbol="A', 8, "this quote is not closed"),
        (r'symbol="A\x"', 10, "this escape is unknown"),
        (r'symbol="\u{}"', 9, "this escape is unknown"),
        (r'symbol="\u{110000}"', 9, "this escape is unknown"),
        (r'symbol="\u{1_0}"', 9, "this escape is unknown"),
        (r'symbol="\u{61"', 9, "this escape is unknown"),
        (r'symbol="\u{d800}"', 1, "not Unicode text"),
        ("symbol=\ud800", 1, "not Unicode text"),
        ("(symbol=A", 1, "this ( is not closed"),
        ("symbol=A)", 9, "this ) closes nothing"),
        (")", 1, "found ')', expected a term"),
        ("symbol>A", 1, "symbol has no order"),
        ("bps>1,2", 1, "bps> takes one value"),
        ("bps>fifty", 1, "it is not decimal text"),
        ("bps>1e999", 1, "does not fit"),
        ("bps>5*", 1, "bps takes no prefix"),
        ("kind=collision*", 1, "leave out the star"),
        ("instrument=12", 1, "'12' is no id"),
        ("instrument=0x12345678123456789", 1, "is no id"),
        ("instrument=0x", 1, "is no id"),
        ("isin=US", 1, "first of them and a star"),
        ("isin=US03783310055", 1, "is no ISIN"),
        ("isin=U_*", 1, "is no ISIN"),
    ],
)
def test_errors_say_where_what_and_how(text: str, column: int, said: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_text(text)
    assert caught.value.facts["column"] == column
    assert said in str(caught.value)


def test_errors_escape_what_they_quote() -> None:
    with pytest.raises(PatternError) as caught:
        parse_text('class="\x1b[31m\u202e"')
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text, values",
    [
        ("symbol=AAPL", [Value("AAPL")]),
        ("symbol=AND", [Value("AND")]),
        ("symbol=a=b", [Value("a=b")]),
        (r"symbol=a\b", [Value(r"a\b")]),
        ('symbol="A,B",C', [Value("A,B"), Value("C")]),
        ('symbol="A*"', [Value("A*")]),
        ('symbol="A*"*', [Value("A*", True)]),
        ("symbol=A*,B", [Value("A", True), Value("B")]),
        ("symbol=B,A,B", [Value("A"), Value("B")]),
        ("symbol=*", [Value("", True)]),
        (r'symbol="\"\\\u{202e}\u{41}"', [Value('"\\\u202eA')]),
        ("symbol=\u00e9\u6f22", [Value("\u00e9\u6f22")]),
    ],
)
def test_values(text: str, values: list[Value]) -> None:
    assert parse_text(text) == Term("symbol", "=", tuple(values))


@pytest.mark.parametrize(
    "text, same",
    [
        ("", "  "),
        ("", "( )"),
        ("symbol=A symbol=B", "symbol=A AND symbol=B"),
        ("symbol=A symbol=B", "\tsymbol=B\n(symbol=A) "),
        ("symbol=A or symbol=B symbol=C", "symbol=A or (symbol=B and symbol=C)"),
        ("symbol=A OR symbol=B", "symbol=B oR NOT symbol!=A"),
        ("not symbol=A symbol=B", "(not symbol=A) and symbol=B"),
        ("not symbol=A or symbol=B", "(not symbol=A) or symbol=B"),
        ("not not symbol=A", "symbol=A"),
        ("not(symbol=A)", "symbol!=A"),
        ("not symbol!=A", "symbol=A"),
        ("kind=COLLISION class=Token", "kind=collision class=token"),
        ("severity>=warning", "severity=critical,warning"),
        ("severity<=info", "severity=info"),
        ("severity>info", "severity>=warning"),
        ("instrument=0x00ABC", "instrument=0x0000000000000abc"),
        ("bps>5.10", "bps>51e-1"),
        ("isin=us0378331005", "isin=US0378331005"),
        ("() symbol=A", "symbol=A"),
        ("() or symbol=A", ""),
        ("not () or symbol=A", "symbol=A"),
        ("not () symbol=A", "not ()"),
    ],
)  # fmt: skip
def test_spellings_of_one_pattern(text: str, same: str) -> None:
    assert Pattern.parse(text) == Pattern.parse(same)


@pytest.mark.parametrize("opening, closing", [("(", ")"), ("not ", ""), ("not (", ")")])
def test_nesting_is_limited(opening: str, closing: str) -> None:
    deep = DEPTH_MAX // (2 if closing and "not" in opening else 1)
    assert parse_text(opening * deep + "symbol=A" + closing * deep) == parse_text("symbol=A")
    for levels in (deep + 1, 500):
        with pytest.raises(PatternError, match="nests too deeply"):
            parse_text(opening * levels + "symbol=A" + closing * levels)


def test_depth_is_not_spent_by_what_stands_beside() -> None:
    assert parse_text("(symbol=A) not symbol=A " * 100) == parse_text("symbol=A symbol!=A")


def test_length_is_limited_in_bytes() -> None:
    fits = "symbol=" + "é" * ((TEXT_SIZE_BYTES_MAX - len("symbol=")) // 2)
    assert parse_text(fits)
    with pytest.raises(PatternError, match="too long"):
        parse_text(fits + "éé")


_WORDS = st.sampled_from(
    ("kind", "symbol", "bps", "collision", "=", "!=", ">", "(", ")", ",", '"', "*", "\\", " ",
     " and ", " or ", " not ", "A", "5", "0x1", "\\u{", "}", "\ud800", "\x00")
)  # fmt: skip


@given(st.lists(_WORDS, max_size=25).map("".join) | texts(max_size=30))
@example("\ud800")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        pattern = Pattern.parse(text)
    except PatternError as error:
        refused = error
    else:
        assert Pattern.parse(str(pattern)) == pattern
        return
    assert 1 <= refused.facts["column"] <= len(text) + 1  # type: ignore[operator]  # object
    assert str(refused)
