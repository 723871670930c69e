"""Exact numbers: a 64-bit mantissa times a power of ten, and nothing that passes through a float.

The canonical form has no trailing zeros in the mantissa and exponent 0 for zero, so equal numbers
have equal bytes. The smallest i64 stands for "unset". `0.10` and `0.1` are one number; `1/256` is
`390625e-8`; a number that does not fit raises instead of being rounded.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple

from .errors import InvalidInput

MANTISSA_UNSET: Final = -(1 << 63)
MANTISSA_MAX: Final = (1 << 63) - 1
EXPONENT_MIN: Final = -128
EXPONENT_MAX: Final = 127
_TEXT: Final = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)
_DIGITS_MAX: Final = 400


class Number(NamedTuple):
    """mantissa × 10^exponent, canonical. Make it with `number()`; print it with `str()`."""

    mantissa: int
    exponent: int

    def __str__(self) -> str:
        """Plain decimal text without exponent: `0.01`, `-12`, `390625e-8` gives `0.00390625`."""
        sign, digits = ("-" if self.mantissa < 0 else ""), str(abs(self.mantissa))
        if self.exponent >= 0:
            return sign + (digits + "0" * self.exponent if self.mantissa else "0")
        whole, part = digits[: self.exponent] or "0", digits[self.exponent :]
        return f"{sign}{whole}.{part.rjust(-self.exponent, '0')}"

    def to_decimal(self) -> Decimal:
        # Arithmetic such as scaleb would round to the precision that the caller's context has.
        return Decimal(f"{self.mantissa}e{self.exponent}")


UNSET: Final = Number(MANTISSA_UNSET, 0)


def canonical(mantissa: int, exponent: int) -> Number:
    """Strip trailing zeros; raises InvalidInput when it does not fit i64 × 10^i8."""
    if mantissa == 0:
        return Number(0, 0)
    while mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    while exponent > EXPONENT_MAX and abs(mantissa) <= MANTISSA_MAX // 10:
        mantissa *= 10
        exponent -= 1
    if abs(mantissa) > MANTISSA_MAX or not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
        raise InvalidInput(
            "reading a number",
            problem="it does not fit a 64-bit mantissa and an 8-bit exponent",
            mantissa=mantissa if abs(mantissa) < 10**40 else "over 40 digits",
            exponent=exponent,
        )
    return Number(mantissa, exponent)


def number(value: str | int | Decimal | Number) -> Number:
    """The exact number in decimal text, an int or a Decimal. Floats and NaN are refused."""
    if isinstance(value, Number):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidInput(
            "reading a number",
            problem=f"a {type(value).__name__} is not exact",
            cure="give decimal text, an int or a Decimal",
        )
    if isinstance(value, int):
        return canonical(value, 0)
    text = str(value)
    match = _TEXT.fullmatch(text) if len(text) <= _DIGITS_MAX else None
    if match is None:
        raise InvalidInput(
            "reading a number", problem="it is not decimal text", value=repr(text[:40]),
            cure="write it like 0.25 or 1.5e-9",
        )  # fmt: skip
    sign, whole, part, power = match.groups()
    part = part or ""
    mantissa = int(whole + part)
    return canonical(-mantissa if sign == "-" else mantissa, int(power or 0) - len(part))
