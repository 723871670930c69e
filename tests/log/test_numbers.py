from __future__ import annotations

from decimal import Context, Decimal, Inexact, Rounded, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.errors import InvalidInput
from alphapulse.log.numbers import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    MANTISSA_MAX,
    MANTISSA_UNSET,
    UNSET,
    Number,
    canonical,
    number,
)

MANTISSAS = st.integers(-MANTISSA_MAX, MANTISSA_MAX)
EXPONENTS = st.integers(EXPONENT_MIN, EXPONENT_MAX)


def value_of(mantissa: int, exponent: int) -> Fraction:
    return mantissa * Fraction(10) ** exponent


@given(MANTISSAS, EXPONENTS)
def test_the_value_is_kept_exactly_and_text_comes_back(mantissa: int, exponent: int) -> None:
    try:
        exact = canonical(mantissa, exponent)
    except InvalidInput:
        assert exponent > 100  # trailing zeros had no room left
        return
    assert value_of(*exact) == value_of(mantissa, exponent)
    assert number(str(exact)) == exact
    with localcontext(Context(prec=3, traps=[Inexact, Rounded])):  # an application may set it
        assert number(exact.to_decimal()) == exact
    assert "e" not in str(exact).lower()
    assert canonical(*exact) == exact and number(exact) is exact


@given(st.integers(-(10**17), 10**17), st.integers(-20, 20), st.integers(0, 30))
def test_equal_numbers_are_equal_however_written(mantissa: int, exponent: int, zeros: int) -> None:
    one = canonical(mantissa, exponent)
    assert canonical(mantissa * 10**zeros, exponent - zeros) == one
    assert number(f"{mantissa}{'0' * zeros}e{exponent - zeros}") == one
    assert number(str(one) + (".000" if "." not in str(one) else "000")) == one


@given(MANTISSAS.filter(bool), st.integers(-50, 50))
def test_the_mantissa_has_no_trailing_zero(mantissa: int, exponent: int) -> None:
    assert canonical(mantissa, exponent).mantissa % 10 != 0


@pytest.mark.parametrize(
    "text,mantissa,exponent,printed",
    [
        ("0", 0, 0, "0"), ("-0.000", 0, 0, "0"), ("0e99", 0, 0, "0"), ("1", 1, 0, "1"),
        ("0.10", 1, -1, "0.1"), ("0.1", 1, -1, "0.1"), ("+12.50", 125, -1, "12.5"),
        ("-0.01", -1, -2, "-0.01"), ("0.00390625", 390625, -8, "0.00390625"),
        ("1200", 12, 2, "1200"), ("1E3", 1, 3, "1000"), ("1.5e-3", 15, -4, "0.0015"),
        ("00012", 12, 0, "12"), ("9223372036854775807", MANTISSA_MAX, 0, "9223372036854775807"),
        ("-9223372036854775807", -MANTISSA_MAX, 0, "-9223372036854775807"),
        ("1e127", 1, 127, "1" + "0" * 127), ("1e128", 10, 127, "1" + "0" * 128),
        ("1e-128", 1, -128, "0." + "0" * 127 + "1"),
    ],
)  # fmt: skip
def test_examples(text: str, mantissa: int, exponent: int, printed: str) -> None:
    assert number(text) == Number(mantissa, exponent)
    assert str(number(text)) == printed
    assert number(Decimal(text)) == Number(mantissa, exponent)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".5", "1,5", "1_000", "NaN", "inf", "-", "1e", "1e12345", "0x10", " 1", "1 ",
     "1\n", "١", "１", "--1", "1" * 401],
)  # fmt: skip
def test_what_is_no_decimal_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        number(text)


@pytest.mark.parametrize(
    "text",
    ["9223372036854775808", "-9223372036854775808", "1.2345678901234567891", "1e-129", "1e9999",
     "9223372036854775807e128", "1" * 400],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_never_rounded(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        number(text)


@pytest.mark.parametrize("value", [0.1, 1.0, True, None, b"1", [1], complex(1)])
def test_what_is_not_exact_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="not exact"):
        number(value)  # type: ignore[arg-type]  # which is what is tested


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_decimals_that_are_no_numbers_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        number(Decimal(value))


def test_integers_are_numbers() -> None:
    assert number(-1200) == Number(-12, 2)
    assert number(0) == Number(0, 0)


def test_unset_is_the_smallest_mantissa_which_no_number_has() -> None:
    assert UNSET.mantissa == MANTISSA_UNSET == -(2**63)
    with pytest.raises(InvalidInput):
        canonical(MANTISSA_UNSET, 0)
