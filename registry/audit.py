"""Can this home be believed? Separate verdicts, from the bytes up to the views.

bytes, continuity and chain come from the log's own verifier, in a child process. If they hold,
`meaning` folds the whole log through the very `check` that writers call, and `views` compares
each view, healed and brought to the head, with a fresh fold. Nothing is changed but views, and the
mark that makes a broken home read-only, which comes when the log fails and goes when it holds.
What keeps the views from being built, such as a full disk, fails `views` and leaves the rest
judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import chain
from struct import Struct
from time import perf_counter_ns
from typing import Final

from alphapulse.log import (
    AcknowledgedBody,
    AlphaPulseError,
    BlockSource,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    Event,
    EventLog,
    FeedBody,
    PerformanceBody,
    ProposalBody,
    RelationBody,
    RulesBody,
    SnapshotBody,
    Space,
    TradingBody,
    VenueBody,
    Verdict,
    cure_at,
    keep_mark,
    verify_in_child,
)
from alphapulse.log.broken import read_mark
from alphapulse.log.home import Home
from alphapulse.log.verify import cure_of_tail
from alphapulse.projections import Views, ahead_of

from .check import NEW_KINDS, Entity, check, evidence_hash
from .errors import IllegalEvent
from .formula import components_of
from .identity import fingerprint_of, id_candidates, rules_key
from .relation_rules import RULES, Link, links_in
from .snapshots import Members
from .synthetics import formula_of

NAMES = ("bytes", "continuity", "chain", "meaning", "views")
VIEWS_CURE = "run `alphapulse rebuild`; the log is the truth and is not touched"
_PROGRESS_EVENTS = 20_000
_ACYCLIC: Final = frozenset(int(kind) for kind, rule in RULES.items() if rule.acyclic)
_ENTITY: Final = Struct("<16sqIBI")
"""The fields of an `Entity`, in its order."""

Progress = Callable[[str, int], None]
"""Called with the verdict's name and the events done so far."""


def audit(home: str | os.PathLike[str], *, progress: Progress | None = None) -> list[Verdict]:
    """The verdicts in the order of NAMES. Raises HomeMissing, FormatTooNew, HomeUnsupported.

    Cost: 2 µs an event for the first three together, 10 µs for meaning, a rebuild for views.
    """
    place = Home(home)
    place.require()
    return keep_mark(place, *_judged(place, progress))


def _judged(place: Home, progress: Progress | None) -> tuple[list[Verdict], int]:
    """The verdicts, and the head that was seen once when the log is shorter now, else 0."""
    def report(name: str) -> Callable[[int], None] | None:
        return None if progress is None else lambda done: progress(name, done)

    verdicts, seen = verify_in_child(place.path, progress=report("bytes")), 0
    if all(verdict.ok for verdict in verdicts):
        with EventLog.open(place.path, mode="r") as log:
            verdicts[2], seen = _held_to_witnesses(log, verdicts[2])
            if verdicts[2].ok:
                verdicts.append(audit_meaning(log, progress=report("meaning")))
            if verdicts[-1].ok:
                return [*verdicts, audit_views(log, progress=report("views"))], seen
    bad = [verdict for verdict in verdicts if not verdict.ok]
    places = [v.first_bad_offset for v in bad if v.first_bad_offset is not None]
    first = min(places, default=None)
    why = f"not judged: {' and '.join(v.name for v in bad)} failed first"
    others = [
        Verdict(name, False, 0, 0, first, why, bad[0].cure) for name in NAMES[len(verdicts) :]
    ]
    return verdicts + others, seen


def _held_to_witnesses(log: EventLog, chain: Verdict) -> tuple[Verdict, int]:
    """The verdict on the chain, failed when a view saw more events, or an earlier audit did: they
    are no worse witnesses of a cut tail than a checkpoint. To be asked before the views are opened,
    which heals them."""
    ahead, mark = ahead_of(log), read_mark(log.home)
    if ahead is not None:
        witness, head, seen = f"the view {ahead.view}", ahead.head, ahead.applied
    elif mark is not None and mark.seen > log.head:
        witness, head, seen = "an earlier audit", log.head, mark.seen
    else:
        return chain, 0
    failed = chain._replace(
        ok=False, first_bad_offset=head, cure=cure_of_tail(head),
        detail=f"the log ends at {head}, but {witness} saw it at {seen}: its tail was cut",
    )  # fmt: skip
    return failed, seen


class Remembered:
    """The state that the audit folds: what `check` asks for, and nothing more.

    Entities are kept packed, since all of a log's are held at once: about 185 bytes each.
    """

    def __init__(self, id_bits: int) -> None:
        self.id_bits = id_bits
        self._entities: dict[int, bytes] = {}
        """By id and space in one number."""
        self._alerts: dict[int, tuple[int, int, bool]] = {}
        self._links: dict[tuple[int, int], dict[int, list[Link]]] = {}
        """By instrument and relation, the periods of those that may not lead back; each by its
        id."""
        self._imports: dict[bytes, int] = {}
        self._evidence: dict[int, bytes] = {}
        """By candidate, the hash of what it was proposed on."""
        self._rules = RulesBody(fingerprint=fingerprint_of(rules_key()), revision=0)
        self._members: dict[str, Members] = {}
        """By source."""
        self._proposed_since: dict[int, int] = {}
        """By proposal to delist."""
        self._components: dict[int, tuple[int, ...]] = {}
        """By synthetic."""
        self._operated: dict[int, str] = {}
        """By segment, the MIC of who operates it."""
        self._trading: dict[int, list[TradingBody]] = {}
        """By trading status, what was said of it."""
        self._summarised: dict[int, int] = {}
        """By performance, the end of its newest window."""
        self._unannounced: dict[tuple[int, int], int] = {}
        """Entities with a fallback id whose collision was not read yet, with their offset."""

    def entity(self, space: int, id: int) -> Entity | None:
        packed = self._entities.get(id << 3 | space)
        return None if packed is None else Entity._make(_ENTITY.unpack(packed))

    def remember(self, space: int, id: int, entity: Entity) -> None:
        self._entities[id << 3 | space] = _ENTITY.pack(*entity)

    def links_from(self, instrument: int, relation: int) -> Iterable[Link]:
        return chain.from_iterable(self._links.get((instrument, relation), {}).values())

    def components(self, instrument: int) -> Iterable[int]:
        return self._components.get(instrument, ())

    def alert(self, offset: int) -> tuple[int, int, bool] | None:
        return self._alerts.get(offset)

    def awaits_collision(self, space: int, id: int) -> bool:
        return (space, id) in self._unannounced

    def imported(self, content_hash: bytes) -> int | None:
        return self._imports.get(content_hash)

    def evidence(self, candidate: int) -> bytes | None:
        return self._evidence.get(candidate)

    def rules(self) -> RulesBody:
        return self._rules

    def members(self, source: str) -> Members:
        return self._members.get(source) or Members()

    def status_of(self, instrument: int) -> tuple[bytes, int] | None:
        found = self.entity(Space.INSTRUMENT, instrument)
        return None if found is None else (found.fingerprint, found.status)

    def proposed_since(self, proposal: int) -> int:
        return self._proposed_since.get(proposal, 0)

    def operates(self, venue: str) -> bool:
        return venue in self._operated.values()

    def trading_words(self, entity: int) -> Iterable[TradingBody]:
        return reversed(self._trading.get(entity, []))

    def summarised_until(self, entity: int) -> int:
        return self._summarised.get(entity, 0)

    def fold(self, event: Event) -> None:
        """Checks one event and takes it in. Raises IllegalEvent, NotDecodable."""
        body, place = event.body, (event.space, event.entity)
        after = check(self, event.kind, event.space, event.entity, event.previous, body)
        self.remember(event.space, event.entity, after._replace(last_offset=event.offset))
        if isinstance(body, CollisionBody | ConflictBody):
            self._alerts[event.offset] = (*place, True)
        elif isinstance(body, AcknowledgedBody):
            self._alerts[body.alert] = (*place, False)
        elif isinstance(body, RelationBody):
            if body.relation in _ACYCLIC and not body.missing_key:
                links = self._links.setdefault((body.instrument, body.relation), {})
                links[event.entity] = links_in(body)
        elif isinstance(body, FeedBody):
            self._imports[body.content_hash] = event.offset
        elif isinstance(body, CandidateBody):
            self._evidence[event.entity] = evidence_hash(body)
        elif isinstance(body, RulesBody):
            self._rules = body
        elif isinstance(body, SnapshotBody):
            self._members.setdefault(body.source, Members()).fold(body)
        elif isinstance(body, ProposalBody):
            if body.since:
                self._proposed_since[event.entity] = body.since
        elif isinstance(body, VenueBody):
            self._operated.pop(event.entity, None)
            if body.operating:
                self._operated[event.entity] = body.operating
        elif isinstance(body, TradingBody):
            self._trading.setdefault(event.entity, []).append(body)
        elif isinstance(body, PerformanceBody):
            self._summarised[event.entity] = body.window_to
        elif formula := formula_of(body):
            self._components[event.entity] = components_of(formula)
        is_new = event.kind in NEW_KINDS and after.revision == 1
        if is_new and after.counter and self._had_holder(after, place):
            self._unannounced[place] = event.offset
        if isinstance(body, CollisionBody):
            self._unannounced.pop(place, None)

    def _had_holder(self, entity: Entity, place: tuple[int, int]) -> bool:
        """A counter above 0 that only skipped an id of 0 is no collision."""
        return next(id_candidates(entity.fingerprint, self.id_bits))[1] != place[1]

    def end_of_block(self, stop: int) -> None:
        """A collision must stand in the same commit as the registration. Raises IllegalEvent.

        Only a prefix that `replay` cut right between the two may lack it.
        """
        for (space, id), offset in self._unannounced.items():
            if offset != stop - 1:
                raise IllegalEvent(
                    "checking a commit", problem="a fallback id without its collision event",
                    space=Space(space).name.lower(), id=f"0x{id:016x}", offset=offset,
                )  # fmt: skip
        self._unannounced.clear()


def audit_meaning(log: BlockSource, *, progress: Callable[[int], None] | None = None) -> Verdict:
    """Folds the log through the writers' own check."""
    state, checked, began = Remembered(log.genesis.id_bits), 0, perf_counter_ns()

    def rate() -> int:
        return checked * 1_000_000_000 // max(perf_counter_ns() - began, 1)

    offset = 0
    try:
        for block in log.blocks():
            for event in block.events():
                offset = event.offset
                state.fold(event)
                checked += 1
                if progress is not None and checked % _PROGRESS_EVENTS == 0:
                    progress(checked)
            state.end_of_block(block.stop)
    except AlphaPulseError as error:
        named = error.facts.get("offset")
        offset = named if isinstance(named, int) else offset
        return Verdict("meaning", False, checked, rate(), offset, str(error.why), cure_at(offset))
    except Exception as error:  # whatever bytes say, the auditor answers with a verdict
        detail = f"an event cannot be understood: {type(error).__name__}: {error}"
        return Verdict("meaning", False, checked, rate(), offset, detail, cure_at(offset))
    return Verdict("meaning", True, checked, rate())


def audit_views(log: EventLog, *, progress: Callable[[int], None] | None = None) -> Verdict:
    """Heals and advances the views, then compares each with a fresh fold."""
    began = perf_counter_ns()
    try:
        with closing(Views(log)) as views:
            results = views.rebuild(
                check=True,
                progress=None if progress is None else lambda _, done, __: progress(done),
            )
    except AlphaPulseError as error:  # no space, a busy lock: what was judged before still holds
        _, _, problem = error.as_json()["error"].partition(": ")
        detail = f"not judged: {error.doing}: {problem}"
        return Verdict("views", False, 0, 0, None, detail, error.advice)
    checked = sum(result.events for result in results)
    rate = checked * 1_000_000_000 // max(perf_counter_ns() - began, 1)
    different = [result.view for result in results if not result.equal]
    if not different:
        return Verdict("views", True, checked, rate)
    detail = f"{', '.join(different)} differ from a fresh fold of the log"
    return Verdict("views", False, checked, rate, None, detail, VIEWS_CURE)
