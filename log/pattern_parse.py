"""Reads the text of a pattern into its tree.

    pattern  = [ any ]                                  an empty text matches everything
    any      = all { "or" all }
    all      = not { [ "and" ] not }                    side by side means and
    not      = "not" not | "(" [ any ] ")" | term
    term     = facet operator value { "," value }       without white space
    operator = "=" | "!=" | ">" | ">=" | "<" | "<="
    value    = ( bare | '"' quoted '"' ) [ "*" ]        a star: values that start like this

`and`, `or`, `not` are read in any case. Quoted text is literal; `\\"`, `\\\\` and `\\u{202e}` are
its escapes. Text over 4,096 bytes or nested deeper than 64 is refused, so the recursion is bounded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NoReturn

from .errors import PatternError
from .pattern_tree import (
    DEPTH_MAX,
    DOING,
    EVERYTHING,
    QUOTED_CHARACTERS,
    TEXT_SIZE_BYTES_MAX,
    Node,
    Operator,
    Value,
    all_of,
    any_of,
    check_facet,
    negate,
    term,
)

_OPERATORS: Final[tuple[Literal["!="] | Operator, ...]] = ("!=", ">=", "<=", "=", ">", "<")
_CONNECTIVES: Final = frozenset({"and", "or", "not"})
_ENDS_BARE: Final = frozenset('()," *')
_ESCAPE_DIGITS_MAX: Final = 6
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def parse_text(text: str) -> Node:
    """The tree. Raises PatternError with the column (from 1) and what was expected there."""
    size_bytes = len(text.encode(errors="surrogatepass"))
    if size_bytes > TEXT_SIZE_BYTES_MAX:
        raise PatternError(
            DOING, problem="it is too long", cure="shorten it or use several patterns",
            size_bytes=size_bytes, size_bytes_max=TEXT_SIZE_BYTES_MAX,
        )  # fmt: skip
    return _Reader(text).pattern()


class _Reader:
    """A position in the text that moves forward only."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def pattern(self) -> Node:
        self._skip_space()
        node = self._any() if self.at < len(self.text) else EVERYTHING
        if self.at < len(self.text):
            self._fail("this ) closes nothing", "take it away, or open a ( before it")
        return node

    def _any(self) -> Node:
        parts = [self._all()]
        while self._take_word("or"):
            parts.append(self._all())
        return any_of(parts)

    def _all(self) -> Node:
        parts = [self._not()]
        while True:
            if not self._take_word("and") and (self._peek() in ("", ")") or self._is_word("or")):
                return all_of(parts)
            parts.append(self._not())

    def _not(self) -> Node:
        start = self.at
        if self._take_word("not"):
            self._enter(start)
            node = negate(self._not())
        elif self._peek() == "(":
            self._enter(start)
            node = self._group()
        else:
            return self._term()
        self.depth -= 1
        return node

    def _group(self) -> Node:
        start = self.at
        self.at += 1
        self._skip_space()
        node = EVERYTHING if self._peek() == ")" else self._any()
        if self._peek() != ")":
            self._fail("this ( is not closed", "write the missing )", at=start)
        self.at += 1
        self._skip_space()
        return node

    def _enter(self, start: int) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self._fail("it nests too deeply", f"nest at most {DEPTH_MAX} deep", at=start)

    def _term(self) -> Node:
        start = self.at
        facet = self._word()
        if not facet or (facet.lower() in _CONNECTIVES and not self._operator(len(facet))):
            found = repr(facet or self._peek()) if start < len(self.text) else "the end"
            self._fail(f"found {found}, expected a term", "write facet=value, like kind=collision")
        with self._blame(start):
            check_facet(facet)
        self.at += len(facet)
        operator = self._operator()
        if operator is None:
            self._fail(
                f"expected an operator after {facet}",
                f"write {facet}=value without spaces; also != > >= < <=",
            )
        self.at += len(operator)
        values = [self._value()]
        while self._peek() == ",":
            self.at += 1
            values.append(self._value())
        if self._peek() not in ("", ")", "(") and not self._peek().isspace():
            self._fail(f"found {self._peek()!r} in a value", 'quote the value: symbol="A*"')
        if self._peek() == "(":
            self._fail("found '(' in a value", 'quote the value: symbol="A(B"')
        with self._blame(start):
            node = term(facet, "=" if operator == "!=" else operator, values)
        self._skip_space()
        return negate(node) if operator == "!=" else node

    def _value(self) -> Value:
        start = self.at
        if self._peek() == '"':
            text = self._quoted()
        else:
            end = start
            while end < len(self.text) and not (
                self.text[end] in _ENDS_BARE or self.text[end].isspace()
            ):
                end += 1
            text = self.text[start:end]
            if text[:1] in QUOTED_CHARACTERS and text:
                self._fail(f"expected a value, found {text[0]!r}", "quote it if it is meant")
            self.at = end
        prefix = self._peek() == "*"
        if prefix:
            self.at += 1
        if self.at == start:
            self._fail("expected a value", "write one without spaces around it, or in quotes")
        return Value(text, prefix)

    def _quoted(self) -> str:
        start = self.at
        self.at += 1
        characters = []
        while (character := self._peek()) != '"':
            if not character:
                self._fail("this quote is not closed", 'write the missing "', at=start)
            self.at += 1
            characters.append(self._escape() if character == "\\" else character)
        self.at += 1
        return "".join(characters)

    def _escape(self) -> str:
        """What follows a backslash."""
        character = self._peek()
        if character and character in '"\\':
            self.at += 1
            return character
        end = self.text.find("}", self.at)
        digits = self.text[self.at + 2 : max(end, 0)]
        if (
            not self.text.startswith("u{", self.at)
            or not 0 < len(digits) <= _ESCAPE_DIGITS_MAX
            or not _HEX.issuperset(digits)
            or int(digits, 16) > sys.maxunicode
        ):
            self._fail("this escape is unknown", r"write \", \\ or \u{hex digits}", at=self.at - 1)
        self.at = end + 1
        return chr(int(digits, 16))

    def _peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.at : self.at + 1]

    def _word(self) -> str:
        end = self.at
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] in "_.-"):
            end += 1
        return self.text[self.at : end]

    def _operator(self, ahead: int = 0) -> Literal["!="] | Operator | None:
        at = self.at + ahead
        return next((sign for sign in _OPERATORS if self.text.startswith(sign, at)), None)

    def _is_word(self, connective: str) -> bool:
        """Whether the connective is next, and not a facet of that name."""
        word = self._word()
        return word.lower() == connective and not self._operator(len(word))

    def _take_word(self, connective: str) -> bool:
        if not self._is_word(connective):
            return False
        self.at += len(connective)
        self._skip_space()
        return True

    def _skip_space(self) -> None:
        while self._peek().isspace():
            self.at += 1

    @contextmanager
    def _blame(self, start: int) -> Iterator[None]:
        """Errors about a term name the column where it starts."""
        try:
            yield
        except PatternError as error:
            error.facts["column"] = start + 1
            raise

    def _fail(self, problem: str, cure: str, at: int | None = None) -> NoReturn:
        column = (self.at if at is None else at) + 1
        raise PatternError(DOING, problem=problem, cure=cure, column=column)
