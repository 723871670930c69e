"""The facade: one object for everything a Python service does with a registry."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, overload

from alphapulse.log import (
    Ack,
    AnyBody,
    Closed,
    Closing,
    CursorSubscription,
    Event,
    EventLog,
    Home,
    HomeExists,
    InstrumentRecord,
    Pattern,
    RelationBody,
    Start,
    Subscription,
)
from alphapulse.log.eventlog import Durability, Mode, check_choices
from alphapulse.log.interrupts import opened
from alphapulse.log.times import NS
from alphapulse.projections import (
    PENDING_BIT,
    SUPERSEDED,
    VIEWS_BY_NAME,
    Progress,
    Rebuilt,
    RelationRecord,
    Views,
    ViewState,
    find_import,
    group_key,
    state_named,
)

from . import validation
from .candidate_finder import CandidateQuestions
from .candidates import Candidates
from .changes import Blame, Change, between, blamed, changes
from .deciding import Receipt
from .errors import Ambiguous
from .facts import Facts, facts_from
from .formula import components_of
from .histories import alerts_of, history_of
from .identifiers import IdentifierQuestions
from .identity import fingerprint_of
from .instruments import AnyInstrument
from .listing_questions import ListingQuestions
from .lookup import Lookup, Match
from .readers import facts_of
from .related import Joined, Related, Relations
from .relation_rules import link_named
from .sources import Sources
from .synthetics import formula_of
from .tickets import Outcome, Unit
from .times_asked import AsOf, ValidAt
from .valid_time import NOW, either
from .venue_door import VenueDoor
from .writer import Rehearsal, Writer
from .writing import AsyncWriting, Writing, batches, receipts, told, whole

if TYPE_CHECKING:
    from .discovery import Found

class RegistryStatistics(NamedTuple):
    head: int
    chain_head: bytes
    id_bits: int
    events: int
    instruments: int
    listings: int
    alerts_open: int
    size_bytes: int
    durable: bool
    broken: str
    """Why the registry is read-only, empty when it is not."""
    views: dict[str, ViewState]


class Registry(
    Writing[Receipt, list[Receipt]], ListingQuestions, CandidateQuestions, IdentifierQuestions,
    VenueDoor, Closing,
):  # fmt: skip
    """Open with `Registry.open`; a context manager. Thread-safe, one for each home and process.

    Reading takes no lock. Writing returns when the event is on stable storage and in the views.
    """

    def __init__(self, log: EventLog, wait_s: float) -> None:
        self.log = log
        self.views = Views(log)
        self.lookup = Lookup(log, self.views)
        self.relations = Relations(log, self.views, self.lookup)
        self.alike = Candidates(log, self.views)
        self.sources = Sources(log, self.views)
        self._writer = Writer(log, self.views, wait_s)
        self.aio = AsyncWriting(self._writer, self.lookup, self.alike)
        """The same commands for coroutines: `await registry.aio.register(usdc)`."""
        self._instruments = self.views.table("instruments")
        self._listings = self.views.table("listings")
        log.shown = self._shown

    def _shown(self) -> int:
        try:
            return self.views.head_seen()
        except Closed:  # by another thread, and then the log is next
            return self.log.head

    @classmethod
    def open(
        cls, home: str | os.PathLike[str], *, mode: Mode = "rw", create: bool = True,
        durability: Durability = "fsync", wait_s: float = 10.0, id_bits: int = 64,
        reserve_size_bytes: int = 64 << 20,
    ) -> Registry:  # fmt: skip
        """Opens the registry in `home`, making it when it is missing and mode is "rw".

        mode: "r" appends nothing, from any number of processes; views that are behind the log are
        still advanced on opening when no writer is at work. wait_s: how long a write may wait for
        the session of another process or thread. id_bits: for a new home. reserve_size_bytes: disk
        space that writes leave free. Raises InvalidInput, HomeMissing, HomeUnsupported,
        FormatTooNew, Corrupt.
        """
        check_choices(home, mode, durability)
        if mode == "rw" and create and not Home(home).exists():
            with contextlib.suppress(HomeExists):  # another process was first
                EventLog.create(home, id_bits=id_bits)

        def make() -> Registry:
            log = EventLog.open(
                home, mode=mode, durability=durability, reserve_size_bytes=reserve_size_bytes
            )
            try:
                return cls(log, wait_s)
            except BaseException:
                log.close()
                raise

        return opened(make)

    # Writing: the commands are those of `Writing`

    def execute(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Carries out units of commands, up to 1,000 in a session; an outcome each, in order.

        This is what importers use: a unit that is refused is an error in its place, not a raise.
        """
        for batch in batches(units):
            yield from told(self._writer.submit(batch))

    def _carry_out(self, unit: Unit) -> Receipt:
        return whole(receipts(told(self._writer.submit((unit,)))))

    def _carry_out_all(self, units: Sequence[Unit]) -> list[Receipt]:
        return receipts(self.execute(units))

    def rehearsal(self) -> AbstractContextManager[Rehearsal]:
        """Its `execute` says what would become of units and writes nothing; see `Rehearsal`."""
        return self._writer.rehearsal()

    def body_at(self, offset: int) -> AnyBody:
        """What the event at an offset says. Raises InvalidInput, OffsetOutOfRange. Cost: 8 µs."""
        return self.log.event(validation.offset(offset, "offset")).body

    def discover(
        self, directories: Iterable[str | os.PathLike[str]], *,
        feeds: str | os.PathLike[str] | None = None, once: bool = False,
        stop: threading.Event | None = None,
    ) -> Iterator[Found]:  # fmt: skip
        """Imports each file that appears in these directories, once; what it came to, as it goes.

        feeds: a feeds file, see `read_feeds`; the rules that it states hold from then on. once:
        what is there now, and ends; else it goes on until `stop` is set, from this thread or
        another. Raises InvalidInput for what cannot be watched or is no feeds file; `Discovery` has
        more to choose.
        """
        from .discovery import ANY, Discovery, read_feeds  # imports files by way of this class

        found = Discovery(self, directories, ANY if feeds is None else read_feeds(feeds))
        return found.once(stop) if once else found.run(stop)

    # Reading: hot paths

    def get(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> InstrumentRecord | None:
        """The instrument with this id, read in place; None when there is none.

        as_of: as it was known then; `known`, here and wherever there is a `valid`, is another word
        for it. valid: as it was true at that time, by what was known as of then, with the status
        at that time; None before it was there. What names no date is true since it was recorded.
        Without `valid`: as it is true now, or was when as_of was; what is announced for later
        counts from its day on, and what is registered for later is pending till then.
        Cost: about that of `dict.get` (benchmarks/README.md); with one of them, and while a change
        of it is announced, an event read for each event about it.
        """
        if as_of is not None or valid is not None or known is not None:
            match = self.describe(id, as_of=as_of, valid=valid, known=known)
            return None if match is None else match.record
        table = self._instruments
        if table.words[SUPERSEDED]:
            table = self._instruments = self.views.table("instruments")
        try:
            position = table.find(id)
        except TypeError:
            validation.id64(id)
            raise
        if position & PENDING_BIT:  # a miss has it too: -1 has every bit
            return self._get_slowly(id, position)
        return InstrumentRecord(table.arena, position)

    def _get_slowly(self, id: int, position: int) -> InstrumentRecord | None:
        """What is not in the table as it was, and what a change is or was announced of."""
        table = self._instruments
        if position < 0:
            found = self.views.recheck("instruments")
            if found is None or (position := found.find(id)) < 0:
                return None
            table = self._instruments = found
        if NOW.moment(self.log) >= table.trailer(position).pending_until_s * NS:
            return InstrumentRecord(table.arena, position)
        match = self.lookup.match(id)
        return None if match is None else match.record

    # Reading: everything else

    def find(
        self, key: str, *, by: str = "", as_of: AsOf = None, valid: ValidAt = None,
        known: AsOf = None,
    ) -> list[tuple[Match, Joined | None]]:  # fmt: skip
        """All that a key means, and then who is joined to them: what is `same_as` them, what
        succeeds them and what they succeed, with the relation.

        Also who is joined to an id or ISIN that was not there yet at that time. by: only in this
        form of `FORMS`. Raises InvalidInput.
        """
        as_of = either(as_of, known, "as_of", "known")
        when = self.when(as_of, valid)
        _, matches = self.lookup.find(key, by, when)
        found: list[tuple[Match, Joined | None]] = [(match, None) for match in matches]
        ids = [match.id for match in matches or self.lookup.whom(key, when, by)]
        at = self._moment(valid, as_of)
        for joined in self.relations.around(ids, at=at, stop=when.known):
            match = self.lookup.match(joined.id, when)
            if match is not None:
                found.append((match, joined))
        return found

    def by_isin(
        self, isin: str, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> InstrumentRecord | None:
        """The instrument that carries this ISIN; of several that are `same_as` each other the one
        that was first known to. Raises InvalidInput, Ambiguous."""
        as_of = either(as_of, known, "as_of", "known")
        matches = self.lookup.by_isin(isin, self.when(as_of, valid))
        if len(matches) > 1:
            links = self.related(
                matches[0].id, depth=None, as_of=as_of, valid=valid, relations=("same_as",)
            )
            same = {id for link in links for id in (link.instrument, link.other)}
            if not same.issuperset(match.id for match in matches):
                raise Ambiguous(f"looking up {isin}", ids=[f"0x{m.id:016x}" for m in matches])
        return matches[0].record if matches else None

    def by_address(
        self, chain: str, address: str, *, namespace: str = "", as_of: AsOf = None,
        valid: ValidAt = None, known: AsOf = None,
    ) -> InstrumentRecord | None:
        """The token or coin at an address; placeholders give the chain's native coin."""
        when = self.when(as_of, valid, known)
        match = self.lookup.by_address(chain, address, namespace, when)
        return None if match is None else match.record

    def by_symbol(
        self, symbol: str, *, venue: str = "", as_of: AsOf = None, valid: ValidAt = None,
        known: AsOf = None, at: ValidAt = None,
    ) -> list[InstrumentRecord]:  # fmt: skip
        """All instruments of this exact symbol or native id, their own or at a venue; what is no
        longer traded comes last.

        Symbols are not unique, and go from one instrument to another: `valid`, or `at`, which is
        another word for it here, asks who had it at a time.
        """
        when = self.when(as_of, either(valid, at, "valid", "at"), known)
        return [match.record for match in self.lookup.by_symbol(symbol, venue, when)]

    def describe(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> Match | None:
        """The full state: message, extension (name, key, identifiers) and offset."""
        return self.lookup.match(validation.id64(id), self.when(as_of, valid, known))

    def facts(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> Facts | None:
        """What is known of an instrument, by field name."""
        match = self.describe(id, as_of=as_of, valid=valid, known=known)
        return None if match is None else facts_from(match.body)

    def resolve(self, instrument: AnyInstrument) -> int | None:
        """The id under which this very instrument is registered, collisions included."""
        facts = facts_of(self._exact(instrument))
        match = self.lookup.by_fingerprint(fingerprint_of(facts.key))
        return None if match is None else match.id

    def components(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> tuple[int, ...]:
        """Ids of the instruments in a synthetic's formula, in its order; none of what has none.

        Its formula is `facts(id).values["formula"]`, for `parse_formula` and `evaluate`.
        """
        match = self.describe(id, as_of=as_of, valid=valid, known=known)
        return () if match is None else components_of(formula_of(match.body))

    def groups(self, id: int, *, as_of: AsOf = None) -> list[tuple[str, str]]:
        """(source, group) of every group that counts this instrument."""
        return [(body.group_source, body.group) for body in self._groups(id, as_of)]

    def siblings(self, id: int, *, as_of: AsOf = None) -> list[int]:
        """Ids of the members of its groups, without itself, in the order they became known."""
        table, stop = self.views.table("relations"), self._stop(as_of)
        found: dict[int, None] = {}
        for source, group in self.groups(id, as_of=as_of):
            for cell in table.postings("group", group_key(source, group)):
                position = table.position_of(cell)
                if stop is None or table.trailer(position).data_offset < stop:
                    found[RelationRecord(table.arena, position).instrument] = None
        found.pop(id, None)
        return list(found)

    def _groups(self, id: int, as_of: AsOf) -> Iterator[RelationBody]:
        table, stop = self.views.table("relations"), self._stop(as_of)
        for cell in table.postings("instrument", validation.id64(id)):
            position = table.position_of(cell)
            offset = table.trailer(position).data_offset
            if RelationRecord(table.arena, position).group and (stop is None or offset < stop):
                body = state_named(self.log, offset, table.key_of(cell)).body
                if isinstance(body, RelationBody):
                    yield body

    def related(
        self, key: int | str, *, depth: int | None = 1, as_of: AsOf = None,
        valid: ValidAt = None, known: AsOf = None, ended: bool = False,
        relations: Collection[str] | None = None,
    ) -> list[Related]:  # fmt: skip
        """Relations of an instrument, either side, and of those that they lead to.

        key: its id; text is a key as `lookup.find` takes it, and asks about all that it means.
        depth: how far to go, None = all the way, which ends though relations go in circles.
        valid: those that hold then [now, or at the moment of as_of]; ended: those that hold at
        other times, too. relations: their names. Raises InvalidInput. Cost: 5 µs for each that is
        found.
        """
        as_of = either(as_of, known, "as_of", "known")
        stop = self._stop(as_of)
        if depth is not None and (type(depth) is not int or depth < 1):
            validation.refuse("depth", "it must be 1 or more", depth)
        if isinstance(key, str):
            ids = [match.id for match in self.lookup.whom(key, self.when(as_of, valid))]
        else:
            ids = [validation.id64(key)]
        return self.relations.related(
            ids, depth=depth, stop=stop, at=None if ended else self._moment(valid, as_of),
            relations=None if relations is None else {link_named(name) for name in relations},
        )  # fmt: skip

    def joined(
        self, ids: Iterable[int], *, as_of: AsOf = None, valid: ValidAt = None,
        known: AsOf = None,
    ) -> list[Joined]:  # fmt: skip
        """Who else is meant by instruments, through any number of relations: what is `same_as`
        them, and what succeeds them. Not these themselves."""
        as_of = either(as_of, known, "as_of", "known")
        return self.relations.joined(
            map(validation.id64, ids), at=self._moment(valid, as_of), stop=self._stop(as_of)
        )

    def diff(
        self, a: int | str, b: int | str, ids: Sequence[int] = (), venues: Sequence[str] = ()
    ) -> Iterator[Change]:
        """What is otherwise after `b` than after `a`, of these instruments and of the venues with
        these keys, or of all.

        Each is an offset or a time, as for `as_of`. Raises InvalidInput when `a` is after `b`.
        Cost: 30 µs for each event between them, whatever the size of the log.
        """
        start, stop = between(self.stop_of, a, b)
        keys, these = list(map(validation.venue, venues)), list(map(validation.id64, ids))

        def venue_id(key: str) -> int:
            return self.venues.id_of(key)  # loaded only where a venue changed

        return changes(self.log, start, stop, venue_id, these, keys)

    def blame(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> list[Blame]:
        """For each field of an instrument, the event that set the value it has, or had at `valid`.

        Fields of its listings, its groups and the relations that start from it are among them;
        empty when there is no instrument.
        """
        as_of = either(as_of, known, "as_of", "known")
        stop, at = self._stop(as_of), self._moment(valid, as_of)
        events = (e for e in self.history(id) if stop is None or e.offset < stop)
        return blamed(id, events, at)

    def history(self, id: int) -> list[Event]:
        """Every event about an instrument, its listings, relations, candidates and proposals,
        oldest first.

        Among them are collisions of others with it, which are in their chains. Cost: 6 µs each.
        """
        return history_of(self.log, self.views, validation.id64(id))

    def alerts(self, *, acknowledged: bool = False) -> list[tuple[Event, int | None]]:
        """(event, offset of its acknowledgement) of open alerts, or of all, oldest first."""
        return alerts_of(self.log, self.views, acknowledged)

    def proposals(self, *, answered: bool = False) -> list[Event]:
        """The newest event of each open proposal, or of all, oldest first. Its body is the whole
        state of the proposal, and its entity the id to confirm or refuse it by."""
        return self.sources.proposals(answered=answered)

    def offset_of_request(self, request_id: str) -> int | None:
        """Of the first event that a request id led to; None when it led to none."""
        return self.lookup.offset_of_request(validation.given_text(request_id, "request_id"))

    def imported(self, content_hash: bytes) -> int | None:
        """Offset of the `feed.imported` of a file with this Blake3, 32 bytes; None when there is
        none. Cost: 3 µs."""
        if not isinstance(content_hash, bytes):
            validation.refuse("content_hash", "it must be 32 bytes", content_hash)
        return find_import(self.views.table("imports"), content_hash)

    # The log

    @overload
    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: bool = False, cursor: None = None,
    ) -> Subscription: ...  # fmt: skip

    @overload
    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: bool = False, cursor: str, ack: Ack = "auto",
    ) -> CursorSubscription: ...  # fmt: skip

    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: bool = False, cursor: str | None = None, ack: Ack = "auto",
    ) -> Subscription:  # fmt: skip
        """Events by pattern, from history into live; `for` or `async for`.

        Whoever is told of an event finds it in the views (or a second has passed since a writer
        was killed between the two).
        spin: waiting looks at a word of a view without pause: some 10 µs sooner, for a core.
        cursor: a name under which the position is kept; see `EventLog.subscribe`.
        """
        head = self.views.head_seen if spin else None
        if cursor is None:
            return self.log.subscribe(pattern, start, stop=stop, spin=head)
        return self.log.subscribe(pattern, start, stop=stop, spin=head, cursor=cursor, ack=ack)

    def read(
        self, start: int = 0, stop: int | None = None, pattern: Pattern | str = ""
    ) -> Iterator[Event]:
        """Events from `start` (inclusive) to `stop` (exclusive) that match.

        A pattern trusts the columns of a block about which events cannot match; that they say what
        the events say is for `alphapulse audit` to check.
        """
        for name, offset in (("start", start), ("stop", 0 if stop is None else stop)):
            if type(offset) is not int:
                validation.refuse(name, "it must be an offset", offset)
        if not isinstance(pattern, Pattern):
            pattern = Pattern.parse(validation.given_text(pattern, "pattern"))
        return self.log.read(start, stop, pattern)

    def rebuild(
        self, views: Iterable[str] = (), *, check: bool = False, progress: Progress | None = None
    ) -> list[Rebuilt]:
        """Rebuilds views from the log beside the live ones; with `check` only compares.

        views: their names, none = all. Raises InvalidInput.
        """
        names = list(views)
        for name in names:
            if name not in (known := list(VIEWS_BY_NAME)):
                validation.refuse("views", "there is no such view", name, f"use {', '.join(known)}")
        return self.views.rebuild(names, check=check, progress=progress)

    def statistics(self) -> RegistryStatistics:
        log, states = self.log.statistics(), self.views.states()
        return RegistryStatistics(
            log.head, log.chain_head, self.log.genesis.id_bits, log.head,
            states["instruments"].rows, states["listings"].rows, states["alerts"].rows,
            log.size_bytes, log.durable, self.log.broken, states,
        )  # fmt: skip

    def close(self) -> None:
        """Marks the views clean, writes a checkpoint, gives everything back; again is fine.

        Waits for those who are writing; LogBusy when they are not done after `wait_s`, and then it
        is closed for writing only. After it, methods raise Closed.
        """
        self._writer.close()
        self.log.shown = None
        try:
            self.views.close()
        finally:
            self.log.close()
