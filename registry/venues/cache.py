"""What was compiled for fast answers, and whether it still is what the log says.

Every view has folded just as far as every other, and says in one word of its header how far. An
entry remembers the word it was checked at; as long as that stands, nothing at all was written, by
whatever process. When it moved, an entry looks whether the chains that it was made from end where
they did, 2 µs each, and only else is made again. So a write to one venue costs the others nothing
but that look.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from alphapulse.log import EventLog
from alphapulse.projections import APPLIED, SUPERSEDED, TableReader, VenueRecord, Views
from alphapulse.registry.identity import fingerprint_of, id_candidates, primary_id

ENTRIES_MAX: Final = 100_000
T = TypeVar("T")


class Chain(NamedTuple):
    """An entity of the space of venues and the offset of its newest event; both -1 while there is
    none of this fingerprint."""

    fingerprint: bytes
    id: int
    last_offset: int


class Entry(Generic[T]):
    __slots__ = ("chains", "seen", "value", "words")

    def __init__(self, value: T, chains: tuple[Chain, ...]) -> None:
        self.value = value
        self.chains = chains
        self.seen = -1
        """How far the views were when it was last found to be right."""
        self.words: memoryview
        """Of the header of the table that said so."""


class Chains:
    """Finds and checks chains in the view of venues."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self.log = log
        self._views = views

    def look(self) -> tuple[TableReader, int]:
        """The table in force, and how far it is."""
        table = self._views.table("venues")
        return table, int(table.words[APPLIED])

    def find(self, key: bytes) -> Chain:
        table, _ = self.look()
        fingerprint = fingerprint_of(key)
        for _, id in id_candidates(fingerprint, self.log.genesis.id_bits):
            position = table.find(id)
            if position < 0:
                break
            if VenueRecord(table.arena, position).fingerprint == fingerprint:
                return Chain(fingerprint, id, table.last_offset(position))
        return Chain(fingerprint, -1, -1)

    def stands(self, chain: Chain) -> bool:
        """Whether it ends where it did. Of one that was missing: whether its first id is free."""
        table = self._views.table("venues")
        if chain.id < 0:
            first = primary_id(chain.fingerprint, self.log.genesis.id_bits)
            return table.find(first) < 0
        position = table.find(chain.id)
        return position >= 0 and table.last_offset(position) == chain.last_offset


class Cache(Generic[T]):
    """Entries by key, each made by `make` from chains."""

    def __init__(self, chains: Chains, make: Callable[..., tuple[T, tuple[Chain, ...]]]) -> None:
        self._chains = chains
        self._make = make
        self.entries: dict[Hashable, Entry[T]] = {}
        """To be read in place: an entry is right while `seen` is what the header says."""

    def get(self, *key: Hashable) -> T:
        """What is compiled for a key, made again where it must be. Cost: 1 µs when nothing was
        written since, 2 µs for each of its chains when something else was."""
        place: Hashable = key if len(key) > 1 else key[0]
        entry = self.entries.get(place)
        if entry is not None and entry.seen == entry.words[APPLIED] and not entry.words[SUPERSEDED]:
            return entry.value
        table, applied = self._chains.look()  # before it is checked: so it is checked too often
        if entry is None or not all(map(self._chains.stands, entry.chains)):
            value, chains = self._make(*key)
            if len(self.entries) >= ENTRIES_MAX:
                self.entries.clear()
            entry = Entry(value, chains)
        entry.seen, entry.words = -1, table.words  # a thread that reads it now looks for itself
        entry.seen = applied
        self.entries[place] = entry
        return entry.value
