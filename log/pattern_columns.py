"""Which events of a block a pattern may match, from the block's columns alone.

Each node becomes a function from a block to two sets of its events: those that *may* match and
those that *must*; must ⊆ matches ⊆ may. `not` swaps the two and takes complements, so a term that
the columns only approximate (text stands there as a CRC32, several instruments as one mark)
stays sound under any nesting: an event outside *may* never matches, one inside *must* always
does, and only for those between is a frame decoded.

A set is one integer with a byte for each event, 0 or 1: and, or, not are then one operation of
the interpreter for a whole block. Columns are searched as raw little-endian bytes with
`bytes.translate` and `bytes.find`. Cost: 5 to 15 ns an event and term, plus 3 µs a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, reduce
from itertools import compress
from operator import and_, or_
from typing import Final, NamedTuple, Protocol, TypeAlias

from .bodies import (
    BODY_TYPES,
    AcknowledgedBody,
    AnswerBody,
    ConflictBody,
    EndorsedBody,
    Extension,
    ListingBody,
    ProposalBody,
    TradingBody,
    VenueBody,
)
from .facets import SEVERAL, text_number
from .kinds import CLASSES_BY_NAME, KINDS_BY_NAME
from .pattern_tree import SEVERITIES_BY_NAME, AllOf, AnyOf, Node, Not, Term

Mask: TypeAlias = int
_DENSE: Final = 8
"""Above one hit in this many events, looking at each costs less than jumping from hit to hit."""
_NOT_ZERO: Final = bytes([0]) + bytes([1]) * 255
_ZERO: Final = bytes([1]) + bytes(255)


def _kinds_of(*bodies: type) -> frozenset[int]:
    return frozenset(kind for kind, body in BODY_TYPES.items() if body in bodies)


_KINDS_WITH: Final = {
    "isin": _kinds_of(Extension, ProposalBody),
    "symbol": _kinds_of(Extension, ListingBody, ProposalBody),
    "currency": _kinds_of(Extension, ListingBody, ProposalBody, VenueBody),
    "status": _kinds_of(Extension, ListingBody, TradingBody),
}  # fmt: skip
"""Facets without a column that only these kinds have."""
_OF_ANY_SPACE: Final = _kinds_of(ConflictBody, AcknowledgedBody, AnswerBody, EndorsedBody)
"""Kinds whose instrument column holds the entity also where that is a venue or a feed."""
if max(BODY_TYPES) > 255:
    raise ImportError("kinds over 255 need another search than their low byte")


class ColumnBlock(Protocol):
    """What is needed of a block; each column is a memoryview of one number an event."""

    def __len__(self) -> int: ...
    @property
    def instruments(self) -> memoryview: ...
    @property
    def chains(self) -> memoryview: ...
    @property
    def venues(self) -> memoryview: ...
    @property
    def kinds(self) -> memoryview: ...
    @property
    def classes(self) -> memoryview: ...
    @property
    def severities(self) -> memoryview: ...


class Bounds(NamedTuple):
    may: Mask
    must: Mask


Scan: TypeAlias = Callable[[ColumnBlock], Bounds]


def kind_numbers(term: Term) -> frozenset[int]:
    """The kinds a `kind` term means: each name, or every kind below a dotted prefix."""
    texts = term.texts
    below = tuple(f"{text}." for text in texts)
    return frozenset(
        int(kind) for name, kind in KINDS_BY_NAME.items() if name in texts or name.startswith(below)
    )


@cache
def full(count: int) -> Mask:
    """All events of a block."""
    return int.from_bytes(b"\1" * count, "little")


def mask_bytes(mask: Mask, count: int) -> bytes:
    return mask.to_bytes(count, "little")


def indexes(mask: Mask, count: int) -> list[int]:
    """The events of the set, in order."""
    flags = mask_bytes(mask, count)
    if flags.count(1) * _DENSE > count:
        return list(compress(range(count), flags))
    found, at = [], flags.find(1)
    while at >= 0:
        found.append(at)
        at = flags.find(1, at + 1)
    return found


def scan_of(node: Node) -> Scan:
    """The compiled form of a tree."""
    if isinstance(node, Term):
        return _term_scan(node)
    if isinstance(node, Not):
        return _not_scan(scan_of(node.part))
    return _parts_scan(node)


def is_exact(node: Node) -> bool:
    """Whether the columns always decide, so that may equals must."""
    if isinstance(node, Term):
        return node.facet in ("kind", "class", "severity")
    parts = (node.part,) if isinstance(node, Not) else node.parts
    return all(map(is_exact, parts))


def _not_scan(inner: Scan) -> Scan:
    def scan(block: ColumnBlock) -> Bounds:
        every = full(len(block))
        may, must = inner(block)
        return Bounds(every ^ must, every ^ may)

    return scan


def _parts_scan(node: AllOf | AnyOf) -> Scan:
    scans = tuple(map(scan_of, node.parts))
    if isinstance(node, AnyOf):

        def scan(block: ColumnBlock) -> Bounds:
            may = must = 0
            for part in scans:
                bounds = part(block)
                may |= bounds.may
                must |= bounds.must
            return Bounds(may, must)

    else:

        def scan(block: ColumnBlock) -> Bounds:
            may = must = full(len(block))
            for part in scans:
                bounds = part(block)
                may &= bounds.may
                must &= bounds.must
                if not may:
                    break
            return Bounds(may, must)

    return scan


def _term_scan(term: Term) -> Scan:
    facet = term.facet
    if facet == "kind":
        return _exact(_kind_mask(kind_numbers(term)))
    if facet == "class":
        classes = _table(int(CLASSES_BY_NAME[text]) for text in term.texts)
        return _exact(lambda block: _from_bytes(bytes(block.classes).translate(classes)))
    if facet == "severity":
        severities = _table(int(SEVERITIES_BY_NAME[text]) for text in term.texts)
        return _exact(lambda block: _from_bytes(bytes(block.severities).translate(severities)))
    if facet == "instrument":
        return _instrument_scan(term.ids)
    if facet == "chain":
        chains = _text_mask(term)
        return lambda block: Bounds(chains(block.chains), 0)
    if facet == "venue":
        venues = _text_mask(term)
        return lambda block: Bounds(venues(block.venues), 0)
    if facet in _KINDS_WITH:
        kinds = _kind_mask(_KINDS_WITH[facet])
        return lambda block: Bounds(kinds(block), 0)
    return lambda block: Bounds(full(len(block)), 0)


def _exact(mask_of: Callable[[ColumnBlock], Mask]) -> Scan:
    def scan(block: ColumnBlock) -> Bounds:
        mask = mask_of(block)
        return Bounds(mask, mask)

    return scan


def _instrument_scan(ids: frozenset[int]) -> Scan:
    certain = ids - {SEVERAL}
    of_any_space = _kind_mask(_OF_ANY_SPACE)

    def scan(block: ColumnBlock) -> Bounds:
        raw = bytes(block.instruments)
        may = reduce(or_, (_equal(raw, 8, number) for number in certain), 0)
        must = may & (full(len(block)) ^ of_any_space(block)) if may else 0
        return Bounds(may | _equal(raw, 8, SEVERAL), must)

    return scan


def _text_mask(term: Term) -> Callable[[memoryview], Mask]:
    """Events whose text may be meant; a prefix says only that there is some text."""
    if term.prefixes:
        return lambda column: _not_zero(bytes(column))
    numbers = {text_number(text) for text in term.texts}

    def mask_of(column: memoryview) -> Mask:
        raw = bytes(column)
        return reduce(or_, (_equal(raw, 4, number) for number in numbers), 0)

    return mask_of


def _kind_mask(kinds: frozenset[int]) -> Callable[[ColumnBlock], Mask]:
    """Kinds are u16, but all known ones are below 256: look at the low bytes, then the high."""
    low = _table(kinds)

    def mask_of(block: ColumnBlock) -> Mask:
        raw = bytes(block.kinds)
        high = raw[1::2]
        mask = _from_bytes(raw[::2].translate(low))
        return mask & _from_bytes(high.translate(_ZERO)) if high.count(0) < len(high) else mask

    return mask_of


def _table(numbers: Iterable[int]) -> bytes:
    """For `bytes.translate`: 1 for these bytes, 0 for the others."""
    wanted = frozenset(numbers)
    return bytes(byte in wanted for byte in range(256))


@cache
def _only(byte: int) -> bytes:
    """The table for one byte; there are at most 256 of them."""
    return _table((byte,))


def _from_bytes(flags: bytes) -> Mask:
    return int.from_bytes(flags, "little")


def _not_zero(raw: bytes) -> Mask:
    """Of 4-byte numbers: or the four bytes of each, then 1 where any bit is set."""
    merged = reduce(or_, (_from_bytes(raw[byte::4]) for byte in range(4)))
    return _from_bytes(mask_bytes(merged, len(raw) // 4).translate(_NOT_ZERO))


def _equal(raw: bytes, width: int, number: int) -> Mask:
    """Events whose number of `width` bytes is this one."""
    needle = number.to_bytes(width, "little")
    count = len(raw) // width
    hits = raw.count(needle)
    if not hits:
        return 0
    if hits * _DENSE > count:
        planes = (
            _from_bytes(raw[at::width].translate(_only(byte))) for at, byte in enumerate(needle)
        )
        return reduce(and_, planes)
    flags, at = bytearray(count), raw.find(needle)
    while at >= 0:
        index, misplaced = divmod(at, width)
        if not misplaced:
            flags[index] = 1
        at = raw.find(needle, (index + 1) * width)
    return _from_bytes(bytes(flags))
