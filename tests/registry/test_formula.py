"""Formulas: read, written in one spelling, and worth what Python says that they are worth."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import AlphaPulseError, InvalidInput
from alphapulse.registry.errors import (
    Ambiguous,
    DivisionByZero,
    FormulaInvalid,
    UnknownInstrument,
    ValueMissing,
)
from alphapulse.registry.formula import (
    DEPTH_MAX,
    FORMULA_SIZE_BYTES_MAX,
    NODES_MAX,
    Call,
    Component,
    Constant,
    Formula,
    Negation,
    Product,
    Sum,
    canonical,
    canonical_text,
    components,
    components_of,
    evaluate,
    formula_hash,
    parse,
)
from tests.texts import texts

A, B, C = Component(0xA), Component(0xB), Component(0xFEDCBA9876543210)
NAMED = {"AAPL@XNAS": 0xA, "MSFT": 0xB, "BTC-26DEC25-100000-C@deribit": 0xC, "600519": 0xD}


def named(key: str) -> int:
    if key == "700":
        raise Ambiguous(f"looking up {key}")
    if key not in NAMED:
        raise UnknownInstrument(f"looking up {key}")
    return NAMED[key]


@pytest.mark.parametrize(
    "text, tree",
    [
        ("0xa", A),
        (" 0x00000000A ", A),
        ("((0xfedcba9876543210))", C),
        ("0xa+0xb", Sum(A, (("+", B),))),
        ("0xa - 0xb + 1", Sum(A, (("-", B), ("+", Constant("1"))))),
        ("(0xa - 0xb) + 1", Sum(A, (("-", B), ("+", Constant("1"))))),
        ("0xa - (0xb + 1)", Sum(A, (("-", Sum(B, (("+", Constant("1")),))),))),
        ("0.50*0xa/2", Product(Constant("0.5"), (("*", A), ("/", Constant("2"))))),
        ("2*(0xa/2)", Product(Constant("2"), (("*", Product(A, (("/", Constant("2")),))),))),
        ("0xa*2 + 1", Sum(Product(A, (("*", Constant("2")),)), (("+", Constant("1")),))),
        ("-0xa*2", Product(Negation(A), (("*", Constant("2")),))),
        ("-(0xa*2)", Negation(Product(A, (("*", Constant("2")),)))),
        ("0xa--1e-12", Sum(A, (("-", Negation(Constant("0.000000000001"))),))),
        ("min(0xa, max(0xb,1), 2)", Call("min", (A, Call("max", (B, Constant("1"))),
                                                 Constant("2")))),
        ("0xa × 2 ÷ 3 − 1", Sum(Product(A, (("*", Constant("2")), ("/", Constant("3")))),
                                (("-", Constant("1")),))),
    ],
)  # fmt: skip
def test_a_tree(text: str, tree: Formula) -> None:
    assert parse(text) == tree
    assert parse(canonical(tree)) == tree


def test_one_spelling() -> None:
    wanted = "0.5*0x000000000000000a + 0.5*(0x000000000000000b - 1)"
    for text in (
        wanted, "0.50*0xA+5e-1*(0x0b-1.0)", "(0.5*AAPL@XNAS) + (0.5*((MSFT)-1))",
        "0.5*\"AAPL@XNAS\"\n\t+ 0.5 * ('MSFT' - 1)",
    ):  # fmt: skip
        assert canonical_text(text, named) == wanted
    for other in ("0.5*(0xb - 1) + 0.5*0xa", "0xa*0.5 + 0.5*(0xb - 1)"):
        assert canonical_text(other) != wanted, "nothing is reordered"
    assert canonical_text('"BTC-26DEC25-100000-C@deribit"/"600519"', named) == (
        "0x000000000000000c/0x000000000000000d"
    )
    assert formula_hash(wanted) == blake3(wanted.encode()).hexdigest()


@pytest.mark.parametrize(
    "text, at, says",
    [
        ("", 1, "a number, an instrument or ( must stand here [found=the end]"),
        ("0xa +", 6, "must stand here [found=the end]"),
        ("0xa + * 2", 7, "must stand here [found='*']"),
        ("(0xa", 5, ") is missing [found=the end] (close the ( at character 1)"),
        ("0xa)", 4, "at its end here [found=')']"),
        ("0xa 0xb", 5, "at its end here [found='0xb']"),
        ("2 + 3", 1, "names no instrument"),
        ("0xa / 0.00", 7, "divides by zero [found='0.00']"),
        ("0xa/-(0)", 5, "divides by zero"),
        ("0xa + avg(0xb, 1)", 7, "no such function [found='avg'] (use one of min, max)"),
        ("MIN(0xa, 1)", 1, "no such function"),
        ("min(0xa)", 1, "two arguments or more"),
        ("min 0xa", 1, "it is no id [found='min']"),
        ("min(0xa, 1", 11, "(close the ( of min at character 1)"),
        ("min(0xa,)", 9, "must stand here"),
        ("0xa, 0xb", 4, "at its end here"),
        ("0x0 + 1", 1, "0 is nobody's id"),
        ("0x1234567890abcdef0", 1, "it is no id"),
        ("1 + AAPL@XNAS", 5, "it is no id"),
        ('"AAPL', 1, "a quote is not closed"),
        ("0xa ^ 2", 5, "no formula has this character [found='^']"),
        ("0xa;import os", 4, "no formula has this character"),
        ("0xa*.5", 5, "it is no id [found='.5']"),
        ("0xa*1.2.3", 5, "it is no id"),
        ("0xa*9223372036854775808", 5, "does not fit a 64-bit mantissa"),
        ("0xa*1e9999", 5, "does not fit"),
        ("0xa\x00", 4, "no formula has this character [found='\\x00']"),
        ("0xa + \u202e", 7, "no formula has this character"),
        ("0xa × 2 ÷ 0", 11, "divides by zero"),
        ("0xa + 0865", 7, "no number begins like this [found='0865'] (write \"0865\" in quotes"),
        ("00.5*0xa", 1, "no number begins like this"),
        ("0*600519 + 0", 1, "names no instrument [found='0'] (a number alone is no synthetic;"),
    ],
)
def test_what_is_refused_and_where(text: str, at: int, says: str) -> None:
    with pytest.raises(FormulaInvalid) as caught:
        parse(text)
    assert caught.value.doing == f"reading field formula at character {at}"
    assert says in str(caught.value)


def test_a_whole_number_that_is_a_key_is_not_taken_for_a_number() -> None:
    """Toyota is 7203 in Tokyo, Kweichow Moutai 600519 in Shanghai."""
    for text, at in (("MSFT + 600519", 8), ("2*600519*MSFT - 600519", 3), ("1/MSFT*700", 8)):
        with pytest.raises(FormulaInvalid, match="a number, and the KEY of an inst") as caught:
            parse(text, named)
        assert caught.value.doing == f"reading field formula at character {at}"
    id, moutai = "0x000000000000000b", "0x000000000000000d"
    for text, meant in (
        ("MSFT + '600519'", f"{id} + {moutai}"),
        ("MSFT + 600519.0", f"{id} + 600519"),
        ("MSFT*2 + 3e1", f"{id}*2 + 30"),
        ("0xb + 600519", f"{id} + 600519"),  # what is canonical says the same to everybody
    ):
        assert canonical_text(text, named) == meant


def test_a_key_that_means_nobody_is_named_with_its_place() -> None:
    with pytest.raises(UnknownInstrument) as caught:
        parse("0.5*AAPL@XNAS + 0.5*NOBODY", named)
    assert caught.value.doing == "reading field formula at character 21: looking up NOBODY"
    assert caught.value.advice.endswith("such as BTC/USDT, is quoted")
    with pytest.raises(UnknownInstrument) as caught:
        parse("'NO/BODY'", named)
    assert caught.value.advice == UnknownInstrument.cure
    for other in (5, None, b"0xa", ["0xa"]):
        with pytest.raises(InvalidInput, match="it must be text"):
            parse(other)


def test_limits() -> None:
    deep = "(" * DEPTH_MAX + "0xa" + ")" * DEPTH_MAX
    assert parse(deep) == A
    for text in (f"({deep})", f"-{deep}", f"min(1, {deep})", "-" * 10_000 + "0xa",
                 "(" * 60_000, "min(" * 10_000):  # fmt: skip
        with pytest.raises(FormulaInvalid, match="nested over 32 deep"):
            parse(text)
    for flat in ("(0xa)", "-0xa", "min(0xa, 1)"):  # beside each other is not within each other
        parse("*".join([flat] * (DEPTH_MAX + 1)))
    basket = "+".join(f"0.5*0x{n:x}" for n in range(1, 1_001))
    tree = parse(basket)
    assert components(tree) == tuple(range(1, 1_001))
    assert evaluate(tree, {n: n for n in range(1, 1_001)}) == Fraction(500_500, 2)
    assert parse("0xa" + "+1" * (NODES_MAX - 2)) is not None
    with pytest.raises(FormulaInvalid, match=f"over {NODES_MAX} parts"):
        parse("0xa" + "+1" * NODES_MAX)
    with pytest.raises(InvalidInput, match="65537 bytes"):
        parse("0xa".ljust(FORMULA_SIZE_BYTES_MAX + 1))
    short = "0xa" + "+1e127" * 1_000
    with pytest.raises(InvalidInput, match="at most 65536"):
        canonical_text(short)


# --- worth ------------------------------------------------------------------------------------


def test_what_it_is_worth_is_exact() -> None:
    tree = parse("0.1*0xa + 0.2*0xa - 0.3*0xa + 0xb/3")
    assert evaluate(tree, {0xA: Decimal("0.7"), 0xB: 1}) == Fraction(1, 3)
    assert evaluate(parse("max(0xa - 10, 0) * -2"), {0xA: Fraction(21, 2)}) == -1
    with pytest.raises(ValueMissing, match="id=0x000000000000000b"):
        evaluate(tree, {0xA: 1})
    with pytest.raises(DivisionByZero, match="divisor=0x000000000000000a - 0x000000000000000b"):
        evaluate(parse("1/(0xa - 0xb)"), {0xA: 2, 0xB: Decimal("2.0")})
    for inexact in (0.5, "1", True, Decimal("NaN"), Decimal("Infinity")):
        with pytest.raises(InvalidInput, match="a value is not exact"):
            evaluate(parse("0xa"), {0xA: inexact})  # type: ignore[dict-item]  # what is refused


def test_no_value_takes_all_memory() -> None:
    for value in (Decimal("1e999999999"), Decimal("-1e-999999999"), Decimal("1e10001")):
        with pytest.raises(InvalidInput, match="a value is beyond all bounds"):
            evaluate(parse("1 + 0xa"), {0xA: value})
    assert evaluate(parse("0xa*0xb"), {0xA: Decimal("3e10000"), 0xB: Decimal("1e-10000")}) == 3


_LEAVES = st.sampled_from(["0xa", "0xb", "0x00c", "1", "0.25", "3", "0", "1e-3", "12.50"])
_PAIRS = st.sampled_from(["{0}+{1}", "{0} - {1}", "{0}*{1}", "{0} / {1}", "({0})*({1})",
                          "({0}) / ({1})", "min({0},{1})", "max( {0} , {1} )"])  # fmt: skip
TEXTS = st.recursive(
    _LEAVES,
    lambda inner: st.builds(lambda form, a, b: form.format(a, b), _PAIRS, inner, inner)
    | st.builds(str.format, st.sampled_from(["({})", "-{}", "-({})"]), inner),
    max_leaves=12,
).map("0xa*({})".format)  # fmt: skip
VALUES = st.fixed_dictionaries(
    {id: st.fractions(-3, 3, max_denominator=4) for id in (0xA, 0xB, 0xC)}
)


def as_python_reads(text: str, values: dict[int, Fraction]) -> Fraction:
    """By Python's own grammar and Fraction: none of ours has a hand in it."""
    code = re.sub(
        r"0x[0-9a-f]+|[0-9][0-9.]*(?:e-?[0-9]+)?",
        lambda found: f"v[{found[0]}]" if found[0][:2] == "0x" else f"F('{found[0]}')", text,
    )  # fmt: skip
    found = eval(code, {"v": values, "F": Fraction, "min": min, "max": max})
    assert isinstance(found, Fraction)
    return found


@given(TEXTS, VALUES)
def test_it_is_worth_what_python_says(text: str, values: dict[int, Fraction]) -> None:
    try:
        wanted = as_python_reads(text, values)
    except ZeroDivisionError:
        with pytest.raises((DivisionByZero, FormulaInvalid), match="zero"):
            evaluate(parse(text), values)
        return
    tree = parse(text)
    assert evaluate(tree, values) == wanted
    assert as_python_reads(canonical(tree), values) == wanted
    assert parse(canonical(tree)) == tree
    assert canonical_text(canonical(tree)) == canonical(tree)
    assert components_of(canonical(tree)) == tuple(
        dict.fromkeys(int(id, 16) for id in re.findall("0x[0-9a-f]+", text))
    )


@given(st.text("0x1a9.+-*/(),min e\"'@:$é×÷−\t\n", max_size=40) | texts(max_size=20))
def test_whatever_the_text_the_error_is_typed(text: str) -> None:
    found: Formula | AlphaPulseError
    try:
        found = parse(text, named)
    except AlphaPulseError as error:
        found = error
    if isinstance(found, AlphaPulseError):
        assert found.doing.startswith("reading field formula at character ")
    else:
        assert parse(canonical(found)) == found
