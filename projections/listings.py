"""From an ISIN to the listings of whoever carries it: two views probed in one function.

Five words decide it, each likely a miss of every cache: the slot of the ISIN, the holder's cell,
its record (which must still carry the ISIN), the slot of the holder among the listings, and the
head of its posting block. All else is arithmetic, so the probes of `TableReader` are written out
here once more: the calls would cost as much as the misses.
"""

from __future__ import annotations

import struct
from abc import ABCMeta
from collections.abc import Iterator, Sequence
from typing import Final, overload

import msgspec

from .layout import BLOCK_HEAD_WORDS, MIX, PENDING_BIT, SUPERSEDED
from .records import ListingRecord
from .table_reader import Cells, TableReader

_ISIN: Final = struct.Struct("<96x12s").unpack_from
"""Of the instrument message."""


class _SequenceStruct(msgspec.StructMeta, ABCMeta):
    """Of a Struct that is a Sequence too."""


class Listings(
    msgspec.Struct, Sequence[ListingRecord], metaclass=_SequenceStruct, gc=False, eq=False
):  # fmt: skip
    """The listings of an instrument as they were known when asked for, in that order.

    Lazy: each is read from the view when it is asked for, and then as it is by now. A Struct for
    the reason that `Flyweight` gives.
    """

    _table: TableReader
    _cells: Cells | int
    """Or the word number in the posting area where so many of them stand. A block only ever gains
    cells behind those, and no word of it is used again, so they can wait there."""
    _count: int

    def _known(self) -> Cells:
        cells = self._cells
        if isinstance(cells, int):
            cells = self._cells = self._table.block(cells, self._count)
        return cells

    def __iter__(self) -> Iterator[ListingRecord]:
        table, cell = self._table, 0
        arena, index = table.arena, table._index
        try:
            for cell in self._known():
                yield ListingRecord(arena, index[cell])
        except IndexError as error:
            raise table.damaged("a posting", cell=cell) from error

    def __len__(self) -> int:
        return len(self._known())  # which has looked whether the count can be true

    @overload
    def __getitem__(self, index: int) -> ListingRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ListingRecord]: ...
    def __getitem__(self, index: int | slice) -> ListingRecord | list[ListingRecord]:
        table = self._table
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return ListingRecord(table.arena, table.position_of(self._known()[index]))

    def __repr__(self) -> str:
        return repr(list(self))


def listings_of_isin(
    instruments: TableReader, listings: TableReader, isin: str
) -> Listings | None:  # fmt: skip
    """The listings of the one instrument that ever carried this ISIN, and still does.

    None when it is not this simple: there is none, or several, or no listing, a change of it is
    announced, a view was superseded, or the text is no ISIN. Raises ViewUnusable when a view is
    damaged.
    """
    if instruments.words[SUPERSEDED] or listings.words[SUPERSEDED]:
        return None
    try:
        text = isin.encode()
        key = int(isin, 36) // 36 + 1  # isin_key() without a copy; the record has the last word
    except (ValueError, TypeError, AttributeError):
        return None
    slots, shift, mask = instruments._secondaries[0]
    i = key * MIX >> shift & mask
    found = slots[i]
    while found != key:
        if not found:
            return None
        i = (i + 2) & mask
        found = slots[i]
    cell = slots[i + 1]
    if not cell & 1:
        return None
    index = instruments._index
    try:
        if (key := index[cell]) & PENDING_BIT or _ISIN(instruments.arena, key)[0] != text:
            return None
        key = index[cell - 1]
    except (IndexError, OverflowError, struct.error) as error:
        raise instruments.damaged("an index slot", cell=cell) from error
    slots, shift, mask = listings._secondaries[0]
    i = key * MIX >> shift & mask
    found = slots[i]
    while found != key:
        if not found:
            return None
        i = (i + 2) & mask
        found = slots[i]
    word = slots[i + 1]
    if word & 1:
        return Listings(listings, (word,), 1)
    try:
        return Listings(listings, word + BLOCK_HEAD_WORDS, listings._postings[word + 1])
    except IndexError as error:
        raise listings.damaged("a posting block", word=word) from error
