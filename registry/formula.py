"""Formulas over instruments: text to a checked tree, back to one canonical text, and to a number.

    sum      = product { ("+" | "-") product }
    product  = signed { ("*" | "/") signed }
    signed   = "-" signed | number | KEY | "(" sum ")" | ("min" | "max") "(" sum { "," sum } ")"

Nothing is ever given to an interpreter: a text becomes a tree of the five sorts below or an error
that names the character. In the canonical text components are ids (`0x%016x`), numbers plain
decimals, and only the parentheses that are needed stand there, so texts of one tree are one text.
Nothing is reordered or computed: `0.5*a + 0.5*b` and `0.5*b + 0.5*a` are two definitions of one
value. Sums and products are lists, not pairs, so a basket of a thousand is no deeper than one of
two; `(a + b) + c` is `a + b + c`, and `a + (b + c)` is not. `×`, `÷` and `−` are taken too.

Whoever gives a text may name instruments by other KEYs, when he says what they mean (`resolve`):
bare, or in quotes when there is more in one than letters, digits and `_ . : @ $`, or digits alone.
Many shares in Asia are called by numbers, and `AAPL + 7203` would add dollars instead of Toyota. So
beside a KEY, a whole number that is a KEY itself is refused until one of the two is meant clearly,
and so is `0865`, which is no way to write a number.

Numbers are exact: decimals as `log.numbers` reads them, values as Fraction, never a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple, NoReturn, assert_never

import msgspec
from blake3 import blake3

from alphapulse.log import AlphaPulseError, InvalidInput, number

from .errors import Ambiguous, DivisionByZero, FormulaInvalid, UnknownInstrument, ValueMissing
from .validation import refuse, shown

FORMULA_SIZE_BYTES_MAX: Final = 65_536
NODES_MAX: Final = 5_000
DEPTH_MAX: Final = 32
"""Of parentheses, calls and signs within each other."""
VALUE_EXPONENT_MAX: Final = 10_000
"""Of a value to evaluate with: a Fraction of 1e999999999 has all its digits, 400 MB of them."""
FUNCTIONS: Final = {"min": min, "max": max}


class Constant(msgspec.Struct, frozen=True):
    value: str
    """Canonical decimal text, not below zero."""


class Component(msgspec.Struct, frozen=True):
    id: int


class Negation(msgspec.Struct, frozen=True):
    operand: Formula


class Call(msgspec.Struct, frozen=True):
    function: str
    arguments: tuple[Formula, ...]
    """Two or more."""


class Sum(msgspec.Struct, frozen=True):
    first: Formula
    """No sum itself."""
    rest: tuple[tuple[str, Formula], ...]
    """("+" or "-", operand), one or more, from the left."""


class Product(msgspec.Struct, frozen=True):
    first: Formula
    """No product itself."""
    rest: tuple[tuple[str, Formula], ...]
    """("*" or "/", operand), one or more, from the left."""


Formula = Constant | Component | Negation | Call | Sum | Product
Resolve = Callable[[str], int]
"""From a KEY to the id of the one instrument that it means; else it raises AlphaPulseError, and
UnknownInstrument when it means none."""

# --- reading ---------------------------------------------------------------------------------

_BLANK: Final = " \t\r\n"
_TOKEN: Final = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?(?![A-Za-z0-9_.:@$]))
      | (?P<word>[A-Za-z0-9_.:@$]+)
      | (?P<sign>[-+*/(),])""",
    re.VERBOSE,
)
_ID: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_CANONICAL_ID: Final = re.compile(r"0x[0-9a-f]{16}")
_SPELLINGS: Final = str.maketrans("×÷−", "*/-")


class _Token(NamedTuple):
    sort: str
    """quoted, number, word, sign, or empty at the end."""
    text: str
    at: int
    """Its first character's place in the text, from 1."""


def parse(text: object, resolve: Resolve | None = None) -> Formula:
    """The tree of a formula. Without `resolve` every component must be an id.

    Raises FormulaInvalid, which names the character, and what `resolve` raises, which then does
    too. Cost: 5 µs for each number, sign and instrument.
    """
    if not isinstance(text, str):
        refuse("formula", "it must be text", text)
    if len(text) > FORMULA_SIZE_BYTES_MAX:  # a text has at least as many bytes as characters
        _refuse_size(len(text))
    return _Parser(text, resolve).whole()


def _refuse_size(size: int) -> NoReturn:
    refuse(
        "formula", f"it has {size} bytes, at most {FORMULA_SIZE_BYTES_MAX} are allowed", "",
        "make some of its parts synthetics of their own",
    )  # fmt: skip


def _tokens(text: str) -> Iterator[_Token]:
    at, plain = 0, text.translate(_SPELLINGS)  # one character for one, so places stay
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if at == len(text):
            yield _Token("", "", at + 1)
            return
        found = _TOKEN.match(plain, at)
        if found is None:
            what = "a quote is not closed" if text[at] in "\"'" else "no formula has this character"
            _fail(_Token("sign", text[at], at + 1), what)
        sort = found.lastgroup or ""
        yield _Token(sort, text[at : found.end()] if sort == "quoted" else found[0], at + 1)
        at = found.end()


def _fail(token: _Token, problem: str, cure: str | None = None) -> NoReturn:
    found = shown(token.text) if token.sort else "the end"
    raise FormulaInvalid(
        f"reading field formula at character {token.at}", problem=problem, cure=cure, found=found
    )


class _Parser:
    """Recursive descent, one method for each line of the grammar."""

    def __init__(self, text: str, resolve: Resolve | None) -> None:
        self._tokens = _tokens(text)
        self._token = next(self._tokens)
        self._resolve = resolve
        self._nodes = 0
        self._depth = 0
        self._integers: dict[str, _Token] = {}
        """Whole numbers by their text, where each stands first."""
        self._has_keys = False

    def whole(self) -> Formula:
        first, tree = self._token, self._sum()
        if self._token.sort:
            _fail(self._token, "the formula is at its end here", "write a sign between two parts")
        if not components(tree):
            _fail(first, "it names no instrument",
                  "a number alone is no synthetic; a KEY of digits stands in quotes")  # fmt: skip
        if self._resolve is not None and self._has_keys:
            for token in self._integers.values():
                _refuse_key(token, self._resolve)
        return tree

    def _next(self) -> _Token:
        token, self._token = self._token, next(self._tokens, self._token)
        return token

    def _is(self, signs: str) -> bool:
        return self._token.sort == "sign" and self._token.text in signs

    def _expect(self, sign: str, cure: str) -> None:
        if not self._is(sign):
            _fail(self._token, f"{sign} is missing", cure)
        self._next()

    def _count(self, token: _Token) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            _fail(token, f"it has over {NODES_MAX} parts",
                  "make some of its parts synthetics of their own")  # fmt: skip

    def _deeper(self, token: _Token) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            _fail(token, f"it is nested over {DEPTH_MAX} deep",
                  "make some of its parts synthetics of their own")  # fmt: skip

    def _sum(self) -> Formula:
        first, rest = self._product(), []
        while self._is("+-"):
            rest.append((self._next().text, self._product()))
        if not rest:
            return first
        self._count(self._token)
        if isinstance(first, Sum):  # `(a + b) + c` is read from the left anyway
            return Sum(first.first, first.rest + tuple(rest))
        return Sum(first, tuple(rest))

    def _product(self) -> Formula:
        first, rest = self._signed(), []
        while self._is("*/"):
            sign, operand = self._next(), self._token
            factor = self._signed()
            if sign.text == "/" and _is_zero(factor):
                _fail(operand, "it divides by zero", "divide by something else")
            rest.append((sign.text, factor))
        if not rest:
            return first
        self._count(self._token)
        if isinstance(first, Product):
            return Product(first.first, first.rest + tuple(rest))
        return Product(first, tuple(rest))

    def _signed(self) -> Formula:
        token = self._next()
        self._count(token)
        if token.sort == "number":
            if token.text.isdigit():
                self._integers.setdefault(token.text, token)
            return _constant(token)
        if token.sort == "word" and self._is("("):
            return self._call(token)
        if token.sort in ("word", "quoted"):
            return self._component(token)
        if token.sort != "sign" or token.text not in "-(":
            _fail(token, "a number, an instrument or ( must stand here")
        self._deeper(token)
        inner: Formula
        if token.text == "-":
            inner = Negation(self._signed())
        else:
            inner = self._sum()
            self._expect(")", f"close the ( at character {token.at}")
        self._depth -= 1
        return inner

    def _call(self, token: _Token) -> Formula:
        if token.text not in FUNCTIONS:
            _fail(token, "there is no such function", f"use one of {', '.join(FUNCTIONS)}")
        self._deeper(token)
        self._next()
        arguments = [self._sum()]
        while self._is(","):
            self._next()
            arguments.append(self._sum())
        self._expect(")", f"close the ( of {token.text} at character {token.at}")
        if len(arguments) < 2:
            _fail(token, "it needs two arguments or more", "write min(…, …)")
        self._depth -= 1
        return Call(token.text, tuple(arguments))

    def _component(self, token: _Token) -> Formula:
        if token.sort == "word" and _ID.fullmatch(token.text):
            id = int(token.text, 16)
        elif self._resolve is None:
            _fail(token, "it is no id", "write an id of 16 hex digits, such as 0x9f3c000000000001")
        else:
            self._has_keys = True
            key = token.text[1:-1] if token.sort == "quoted" else token.text
            try:
                id = self._resolve(key)
            except AlphaPulseError as error:
                error.doing = f"reading field formula at character {token.at}: {error.doing}"
                if token.sort == "word" and isinstance(error, UnknownInstrument):
                    error.advice += "; one with other signs in it, such as BTC/USDT, is quoted"
                raise
        if not id:
            _fail(token, "0 is nobody's id")
        return Component(id)


def _refuse_key(token: _Token, resolve: Resolve) -> None:
    """Refuses a number that is the KEY of an instrument, or of several, as well."""
    try:
        resolve(token.text)
    except UnknownInstrument:
        return
    except Ambiguous:
        pass
    _fail(
        token, "it is a number, and the KEY of an instrument",
        f'write "{token.text}" in quotes for the instrument, {token.text}.0 for the number',
    )  # fmt: skip


def _constant(token: _Token) -> Constant:
    if token.text[0] == "0" and token.text[1:2].isdigit():
        _fail(token, "no number begins like this",
              f'write "{token.text}" in quotes for an instrument of that KEY')  # fmt: skip
    try:
        return Constant(str(number(token.text)))
    except InvalidInput as error:
        _fail(token, error.why, error.advice)


def _is_zero(tree: Formula) -> bool:
    while isinstance(tree, Negation):
        tree = tree.operand
    return tree == Constant("0")


# --- writing ---------------------------------------------------------------------------------


def canonical(tree: Formula) -> str:
    """The text that `parse` reads as this tree, and that every other text of it becomes."""
    if isinstance(tree, Constant):
        return tree.value
    if isinstance(tree, Component):
        return f"0x{tree.id:016x}"
    if isinstance(tree, Negation):
        return f"-{_grouped(tree.operand, Sum, Product)}"
    if isinstance(tree, Call):
        return f"{tree.function}({', '.join(map(canonical, tree.arguments))})"
    if isinstance(tree, Sum):
        parts = [f" {sign} {_grouped(operand, Sum)}" for sign, operand in tree.rest]
        return canonical(tree.first) + "".join(parts)
    if isinstance(tree, Product):
        parts = [f"{sign}{_grouped(operand, Sum, Product)}" for sign, operand in tree.rest]
        return _grouped(tree.first, Sum) + "".join(parts)
    assert_never(tree)


def _grouped(tree: Formula, *kinds: type[Sum] | type[Product]) -> str:
    text = canonical(tree)
    return f"({text})" if isinstance(tree, kinds) else text


def canonical_text(value: object, resolve: Resolve | None = None) -> str:
    """The canonical text of a formula as people write it. Raises as `parse` does."""
    text = canonical(parse(value, resolve))
    if len(text) > FORMULA_SIZE_BYTES_MAX:
        _refuse_size(len(text))
    return text


def formula_hash(text: str) -> str:
    """Blake3 of a canonical text, 64 hex digits."""
    return blake3(text.encode()).hexdigest()


# --- asking ----------------------------------------------------------------------------------


def components(tree: Formula) -> tuple[int, ...]:
    """Ids of the instruments in it, each once, in the order of the text."""
    return components_of(canonical(tree))


def components_of(text: str) -> tuple[int, ...]:
    """As `components`, from a canonical text, which is not checked. Cost: 1 µs for each."""
    return tuple(int(id, 16) for id in dict.fromkeys(_CANONICAL_ID.findall(text)))


def evaluate(tree: Formula, values: Mapping[int, Fraction | Decimal | int]) -> Fraction:
    """The exact value, when each component has the value given by its id.

    Raises ValueMissing, DivisionByZero, and InvalidInput for a value that is not exact, or a
    Decimal that is too far from 1.
    """
    if isinstance(tree, Constant):
        return Fraction(tree.value)
    if isinstance(tree, Component):
        return _value(tree.id, values)
    if isinstance(tree, Negation):
        return -evaluate(tree.operand, values)
    if isinstance(tree, Call):
        return FUNCTIONS[tree.function](evaluate(operand, values) for operand in tree.arguments)
    total = evaluate(tree.first, values)
    for sign, operand in tree.rest:
        value = evaluate(operand, values)
        if sign == "+":
            total += value
        elif sign == "-":
            total -= value
        elif sign == "*":
            total *= value
        elif value:
            total /= value
        else:
            raise DivisionByZero("evaluating a formula", divisor=canonical(operand)[:80])
    return total


def _value(id: int, values: Mapping[int, Fraction | Decimal | int]) -> Fraction:
    value = values.get(id)
    if value is None:
        raise ValueMissing("evaluating a formula", id=f"0x{id:016x}")
    is_exact = isinstance(value, Fraction | int) and not isinstance(value, bool)
    if not is_exact and not (isinstance(value, Decimal) and value.is_finite()):
        raise InvalidInput(
            "evaluating a formula", problem="a value is not exact", id=f"0x{id:016x}",
            value=shown(value), cure="give a Fraction, a finite Decimal or an int",
        )  # fmt: skip
    if isinstance(value, Decimal) and abs(value.adjusted()) > VALUE_EXPONENT_MAX:
        raise InvalidInput(
            "evaluating a formula", problem="a value is beyond all bounds", id=f"0x{id:016x}",
            exponent=value.adjusted(), cure=f"its exponent may be ±{VALUE_EXPONENT_MAX}",
        )  # fmt: skip
    return Fraction(value)
