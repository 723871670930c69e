"""The tree of a pattern: terms, not, all of, any of; and the one canonical text of each tree.

A tree is made through `term`, `negate`, `all_of` and `any_of`, which bring it to one form: nested
ands and ors are flat, operands are sorted (cheap facets first, so that evaluating in order is
fast) and appear once, double negations are gone, `!=` is a negated `=`. Equal meaning written in
another order therefore gives equal trees and equal text; `facet=value` is true when any of the
event's values of that facet is, so `facet!=value` is also true of an event that has none.

`AllOf(())` matches everything and is the empty text; `AnyOf(())` matches nothing: `not ()`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from .errors import InvalidInput, PatternError
from .facets import FACETS
from .kinds import CLASSES_BY_NAME, KINDS_BY_NAME, STATUS_WORDS, Severity
from .numbers import number

TEXT_SIZE_BYTES_MAX: Final = 4096
DEPTH_MAX: Final = 64
DOING: Final = "reading a pattern"
Operator: TypeAlias = Literal["=", ">", ">=", "<", "<="]

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": eq, ">": gt, ">=": ge, "<": lt, "<=": le,
}  # fmt: skip
NUMERIC_FACETS: Final = frozenset({"bps", "move_bps"})
PREFIX_FACETS: Final = frozenset({"isin", "symbol", "source", "venue", "chain"})
SEVERITIES_BY_NAME: Final = {severity.name.lower(): severity for severity in Severity}
KIND_PREFIXES: Final = tuple(
    sorted({name[:end] for name in KINDS_BY_NAME for end in (None, name.index("."))})
)
_VOCABULARIES: Final[dict[str, tuple[str, ...]]] = {
    "kind": KIND_PREFIXES,
    "class": tuple(CLASSES_BY_NAME),
    "status": tuple(STATUS_WORDS),
    "severity": tuple(SEVERITIES_BY_NAME),
}
_COST: Final = (
    "kind", "severity", "class", "instrument", "chain", "venue", "isin", "status", "currency",
    "symbol", "source", "bps", "move_bps",
)  # fmt: skip
"""Facets by the cost of reading them: the header, then columns, then the decoded frame."""
if sorted(_COST) != sorted(FACETS):
    raise ImportError("every facet needs a place in the order of costs")
_RANK: Final = {facet: rank for rank, facet in enumerate(_COST)}

_ID: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_ISIN: Final = re.compile(r"[0-9A-Z]{0,12}", re.ASCII)
_ISIN_SIZE: Final = 12
QUOTED_CHARACTERS: Final = frozenset('()," *=<>!\\')
"""A value with any of these (or white space, or a character that does not print) is quoted."""


class Value(NamedTuple):
    """One alternative of a term, normalised; `prefix` when it was written with a star."""

    text: str
    prefix: bool = False

    def __str__(self) -> str:
        return quoted(self.text) + ("*" if self.prefix else "")


class Term(msgspec.Struct, frozen=True):
    """`facet operator value,value`; more than one value only with `=`, and means any of them."""

    facet: str
    operator: Operator
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.facet}{self.operator}{','.join(map(str, self.values))}"

    @property
    def texts(self) -> frozenset[str]:
        """The exact alternatives. A venue is a MIC or a slug: as written, or in lower case."""
        return self._spellings(prefix=False)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return tuple(sorted(self._spellings(prefix=True)))

    def _spellings(self, *, prefix: bool) -> frozenset[str]:
        texts = {value.text for value in self.values if value.prefix is prefix}
        return frozenset(texts | {t.lower() for t in texts} if self.facet == "venue" else texts)

    @property
    def ids(self) -> frozenset[int]:
        """The instruments meant by an `instrument` term."""
        return frozenset(int(value.text, 16) for value in self.values)

    @property
    def numbers(self) -> tuple[Decimal, ...]:
        """The exact values of a numeric term."""
        return tuple(number(value.text).to_decimal() for value in self.values)


class Not(msgspec.Struct, frozen=True):
    part: Node

    def __str__(self) -> str:
        part = self.part
        if isinstance(part, Term):
            if part.operator == "=":
                return f"{part.facet}!{str(part)[len(part.facet) :]}"
            return f"not {part}"
        return f"not ({part})"


class AllOf(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({p})" if isinstance(p, AnyOf) else str(p) for p in self.parts)


class AnyOf(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts)) if self.parts else "not ()"


Node: TypeAlias = Term | Not | AllOf | AnyOf
EVERYTHING: Final = AllOf(())
NOTHING: Final = AnyOf(())


def quoted(text: str) -> str:
    """As a pattern's value: bare where that reads back as the same text, else in quotes."""
    if text and text.isprintable() and QUOTED_CHARACTERS.isdisjoint(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"


def negate(node: Node) -> Node:
    if isinstance(node, Not):
        return node.part
    if node == EVERYTHING:
        return NOTHING
    return EVERYTHING if node == NOTHING else Not(node)


def all_of(nodes: Iterable[Node]) -> Node:
    parts: set[Node] = set()
    for node in nodes:
        parts.update(node.parts if isinstance(node, AllOf) else (node,))
    if NOTHING in parts:
        return NOTHING
    return next(iter(parts)) if len(parts) == 1 else AllOf(_sorted(parts))


def any_of(nodes: Iterable[Node]) -> Node:
    parts: set[Node] = set()
    for node in nodes:
        parts.update(node.parts if isinstance(node, AnyOf) else (node,))
    if EVERYTHING in parts:
        return EVERYTHING
    return next(iter(parts)) if len(parts) == 1 else AnyOf(_sorted(parts))


def _sorted(parts: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(parts, key=lambda node: (_cost(node), str(node))))


def _cost(node: Node) -> tuple[int, int]:
    """Terms by their facet, then larger nodes by how many terms they hold."""
    held = terms_of(node)
    return (0, _RANK[held[0].facet]) if len(held) == 1 else (1, len(held))


def terms_of(node: Node) -> tuple[Term, ...]:
    """Every term of the tree, in the order of its text."""
    if isinstance(node, Term):
        return (node,)
    parts = (node.part,) if isinstance(node, Not) else node.parts
    return tuple(term for part in parts for term in terms_of(part))


def depth_of(node: Node) -> int:
    """How deeply `not` and parentheses nest in its text."""
    if isinstance(node, Term):
        return 0
    if isinstance(node, Not):
        if isinstance(node.part, Term):
            return 0 if node.part.operator == "=" else 1
        return 2 + depth_of(node.part)
    if node == NOTHING:
        return 2
    inside = isinstance(node, AllOf)
    return max((depth_of(p) + (inside and isinstance(p, AnyOf)) for p in node.parts), default=0)


def suggestion(name: str, known: Sequence[str]) -> str:
    """`did you mean X?`, or all that is known."""
    from difflib import get_close_matches  # here, for a quicker start

    near = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]}?" if near else f"write one of: {', '.join(known)}"


def check_facet(facet: str) -> str:
    if facet not in _RANK:
        raise PatternError(
            DOING, problem=f"there is no facet {_shown(facet)}", cure=suggestion(facet, FACETS)
        )
    return facet


def term(facet: str, operator: Operator, values: Iterable[Value]) -> Term:
    """A term with its values checked against the facet and normalised; raises PatternError.

    `severity>=warning` and its like become the list of severities they mean.
    """
    listed = [_normal(check_facet(facet), value) for value in values]
    if not listed:
        raise PatternError(DOING, problem=f"{facet} needs a value", cure=f"write {facet}=value")
    if operator != "=":
        if len(listed) > 1:
            raise PatternError(
                DOING, problem=f"{facet}{operator} takes one value", cure="write one value"
            )
        if facet == "severity":
            return Term(facet, "=", _severities(operator, listed[0].text))
        if facet not in NUMERIC_FACETS:
            raise PatternError(
                DOING, problem=f"{facet} has no order", cure=f"write {facet}= or {facet}!="
            )
    return Term(facet, operator, tuple(sorted(set(listed))))


def _severities(operator: str, name: str) -> tuple[Value, ...]:
    bound = SEVERITIES_BY_NAME[name]
    within = COMPARE[operator]
    values = [Value(name) for name, level in SEVERITIES_BY_NAME.items() if within(level, bound)]
    if not values:
        raise PatternError(
            DOING, problem=f"no severity is {operator}{name}", cure=f"write severity={name}"
        )
    return tuple(sorted(values))


def _normal(facet: str, value: Value) -> Value:
    text, prefix = value
    if prefix and facet not in PREFIX_FACETS:
        cure = (
            "leave out the star: a kind matches by its dotted prefix" if facet == "kind"
            else f"only {', '.join(sorted(PREFIX_FACETS))} take a star; quote the value to mean one"
        )  # fmt: skip
        raise PatternError(DOING, problem=f"{facet} takes no prefix", cure=cure)
    if not text and not prefix:
        raise PatternError(DOING, problem=f"{facet} needs a value", cure=f"write {facet}=value")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PatternError(
            DOING, problem=f"the value of {facet} is not Unicode text", cure="leave out surrogates"
        )
    if facet in _VOCABULARIES:
        return Value(_known(facet, text))
    if facet == "instrument":
        return Value(_id(text))
    if facet in NUMERIC_FACETS:
        return Value(_number(facet, text))
    if facet == "isin":
        return Value(_isin(text, prefix), prefix)
    return Value(text.upper() if facet == "currency" else text, prefix)


def _known(facet: str, text: str) -> str:
    name, known = text.lower(), _VOCABULARIES[facet]
    if name not in known:
        raise PatternError(
            DOING, problem=f"there is no {facet} {_shown(text)}", cure=suggestion(text, known)
        )
    return name


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise PatternError(
            DOING, problem=f"{_shown(text)} is no id", cure="write 0x and up to 16 hex digits"
        )
    return f"0x{int(text, 16):016x}"


def _number(facet: str, text: str) -> str:
    try:
        return str(number(text))
    except InvalidInput as error:
        raise PatternError(
            DOING, problem=f"{facet} {_shown(text)}: {error.why}", cure=f"write like {facet}>12.5"
        ) from error


def _isin(text: str, prefix: bool) -> str:
    isin = text.upper()
    if _ISIN.fullmatch(isin) is None or (not prefix and len(isin) < _ISIN_SIZE):
        raise PatternError(
            DOING, problem=f"{_shown(text)} is no ISIN",
            cure="write its 12 letters and digits, or the first of them and a star: isin=US*",
        )  # fmt: skip
    return isin


def _shown(text: str) -> str:
    """For messages: short, and escaped where it would not print."""
    return ascii(text[:40]) if not text[:40].isprintable() else repr(text[:40])
