"""Commands about sources: a file was imported, a snapshot names these, these rules hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alphapulse.log import FeedBody, InvalidInput, Kind, RulesBody, SnapshotBody, Space

from . import validation
from .deciding import Receipt, allocate, announce_collision
from .held import Origin
from .identity import feed_key, fingerprint_of, rules_key, snapshots_key
from .proposal_rules import POLICIES, PROPOSE
from .snapshots import INSTRUMENTS_MAX, is_short, pack_ids
from .state import State

SOURCE_SIZE_BYTES_MAX = 200
BROKEN = "broken"
SHORT = "short"
"""Flaws of a snapshot."""


class RecordImport(NamedTuple):
    """Says that all of a file was imported, and what became of its rows.

    The same content again adds nothing, whatever the file is called and whoever sent it: the
    receipt is then that of the event that said so. Given after the rows, so a crash in between
    leaves rows without it; they are imported again, which adds nothing.
    """

    source: str
    file: str
    content_hash: bytes
    format: str
    rows: int
    new: int
    unchanged: int
    amended: int
    quarantined: int
    collisions: int
    conflicts: int

    def decide(self, state: State, origin: Origin) -> Receipt:
        before = state.imported(self.content_hash)
        if before is not None:
            _, _, space, id = state.event_at(before)
            return Receipt(id, state.fingerprint(space, id), before, "unchanged")
        return _say(
            state, origin, Kind.FEED_IMPORTED, FeedBody, feed_key(self.source), self._asdict()
        )


class RecordSnapshot(NamedTuple):
    """Says which instruments a snapshot names, after its rows were imported.

    One that is not later than the newest one of its source says nothing. One that is broken, or
    suddenly short, is told as such: of nobody does it say that it is gone.
    """

    source: str
    content_hash: bytes
    modified: int
    """ns."""
    named: frozenset[int]
    is_broken: bool
    drop_max_percent: int

    def decide(self, state: State, origin: Origin) -> Receipt:
        key = snapshots_key(self.source)
        members = state.members(self.source)
        if self.modified <= members.modified:
            held = state.find(Space.FEED, fingerprint_of(key))
            assert held is not None
            return Receipt(held.id, held.entity.fingerprint, held.data_offset, "unchanged")
        known = members.named()
        flaw = BROKEN if self.is_broken else ""
        if len(self.named) > INSTRUMENTS_MAX:
            raise InvalidInput(
                "recording a snapshot", problem="it names too many instruments",
                cure=f"split the feed by source: each names up to {INSTRUMENTS_MAX}",
                instruments=len(self.named),
            )  # fmt: skip
        if not flaw and is_short(len(self.named), len(known), self.drop_max_percent):
            flaw = SHORT
        appeared, gone = self.named - known, known - self.named
        said = {
            "source": self.source, "content_hash": self.content_hash, "modified": self.modified,
            "number": members.number + (not flaw), "named": len(self.named), "flaw": flaw,
            "appeared": pack_ids(appeared), "gone": b"" if flaw else pack_ids(gone),
        }  # fmt: skip
        return _say(state, origin, Kind.FEED_SNAPSHOT, SnapshotBody, key, said)


class StateRules(NamedTuple):
    """Says what holds for sources from here on; what is None stays as it is. Make it with
    `make`."""

    precedence: tuple[str, ...] | None = None
    seen: tuple[tuple[str, str], ...] | None = None
    """(source, policy), in the order of sources."""

    @classmethod
    def make(
        cls, precedence: Sequence[object] | None, seen: Mapping[str, object] | None
    ) -> StateRules:
        """Raises InvalidInput."""
        sources = None if precedence is None else tuple(map(_source, precedence))
        if sources is not None and len(set(sources)) < len(sources):
            twice = next(source for source in sources if sources.count(source) > 1)
            validation.refuse("precedence", "a source stands in it twice", twice)
        policies = None
        if seen is not None:
            policies = tuple(
                sorted((_source(source), policy_named(policy)) for source, policy in seen.items())
            )
        return cls(sources, policies)

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = state.rules()
        precedence = held.precedence if self.precedence is None else self.precedence
        seen = held.seen
        if self.seen is not None:
            seen = {source: policy for source, policy in self.seen if policy != PROPOSE}
        found = state.find(Space.FEED, held.fingerprint)
        if found is not None and (held.precedence, held.seen) == (precedence, seen):
            return Receipt(found.id, held.fingerprint, found.data_offset, "unchanged")
        said = {"precedence": precedence, "seen": seen}
        return _say(state, origin, Kind.FEED_RULES, RulesBody, rules_key(), said)


def policy_named(policy: object) -> str:
    """Raises InvalidInput."""
    if not isinstance(policy, str) or policy not in POLICIES:
        cure = f"use {' or '.join(POLICIES)}"
        validation.refuse("policy", "there is no such policy", policy, cure)
    return policy


def _source(source: object) -> str:
    return validation.text(source, "source", SOURCE_SIZE_BYTES_MAX)


def _say(
    state: State, origin: Origin, kind: Kind,
    body_type: type[FeedBody] | type[SnapshotBody] | type[RulesBody], key: bytes,
    said: Mapping[str, Any],
) -> Receipt:  # fmt: skip
    """The next event of an entity of the space of feeds, or its first one."""
    fingerprint, metadata, holder = fingerprint_of(key), origin.metadata(), None
    held = state.find(Space.FEED, fingerprint)
    if held is None:
        counter, id, holder = allocate(state, Space.FEED, fingerprint)
        revision = 1
    else:
        counter, id, revision = held.entity.counter, held.id, held.entity.revision + 1
    body = body_type(fingerprint=fingerprint, counter=counter, revision=revision, **said)
    offset = state.emit(kind, Space.FEED, id, body, metadata=metadata)
    announce_collision(state, Space.FEED, 0, id, key, counter, holder, metadata)
    outcome = "collision" if holder else "amended" if held and kind == Kind.FEED_RULES else "new"
    return Receipt(id, fingerprint, offset, outcome)
