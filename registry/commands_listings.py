"""Commands about where an instrument trades and which group it belongs to. See `commands`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

from msgspec.structs import replace

from alphapulse.log import (
    AssetClass,
    InstrumentRecord,
    InvalidInput,
    Kind,
    ListingBody,
    RelationBody,
    RelationKind,
    Space,
)

from .commands import Register
from .deciding import (
    DOING,
    Disagreement,
    Receipt,
    Word,
    allocate,
    announce_collision,
    check_periods,
    endorse,
    found_instrument,
    held_instrument,
    instrument_body,
    raise_conflicts,
    weigh,
)
from .errors import UnknownListing
from .held import DataBody, Held, Origin
from .identity import fingerprint_of, group_relation_key, listing_key, venue_fingerprint
from .instruments import ORDER_FIELDS, Listing
from .periods import DATES, Place, ended, has_date, place
from .readers import normalised
from .state import State
from .terms import agree
from .valid_time import symbol_before


class AddListing(NamedTuple):
    """Says that an instrument is listed somewhere. `of`: its fingerprint, or the registration that
    says who it is; else `listing.instrument` is its id."""

    listing: Listing
    of: bytes | Register | None = None

    @classmethod
    def make(cls, listing: Listing, of: bytes | Register | None = None) -> AddListing:
        """Validates; raises InvalidInput."""
        return cls(normalised(listing), of)

    def _owner(self, state: State) -> Held:
        if self.of is not None:
            named = self.of if isinstance(self.of, bytes) else self.of.meant(state).fingerprint
            return found_instrument(state, named)
        if not isinstance(self.listing.instrument, int):
            raise InvalidInput(DOING, problem="the instrument of a listing is given by its id")
        return held_instrument(state, self.listing.instrument)

    def _key(self, owner: Held) -> bytes:
        listing = self.listing
        return listing_key(
            owner.entity.fingerprint, venue_fingerprint(listing.venue), listing.currency,
            listing.line,
        )  # fmt: skip

    def _offered(self) -> dict[str, object]:
        """What it says, by field of the listing; empty values say nothing."""
        listing = self.listing
        return {
            "symbol": listing.symbol, "symbol_from": listing.symbol_from,
            "primary": listing.primary,
            "valid_from": listing.valid_from, "valid_to": listing.valid_to, "figi": listing.figi,
            **self._orders(),
        }  # fmt: skip

    def _orders(self) -> dict[str, Any]:
        """Which orders are taken, as a body holds it: text, empty = not known."""
        return {field: str(getattr(self.listing, field) or "") for field in ORDER_FIELDS}

    def unsaid(self, body: ListingBody, now: int) -> list[tuple[str, str]]:
        """Its words that this state does not say: (field, value). now: ns, when it was decided."""
        begins, ends = self.dates()
        then = place(body, begins, ends, now).state(body, begins)
        is_taken = self.listing.symbol == then.symbol  # else its date was no word, see `_again`
        return [
            (field, str(value)) for field, value in self._offered().items()
            if value and value != getattr(then, field) and (field != "symbol_from" or is_taken)
        ]

    def dates(self) -> tuple[int, int]:
        """Of the period that it is about (ns), 0 = it names none."""
        return int(self.listing.valid_from), int(self.listing.valid_to)

    def _differs(self, known: ListingBody, offered: Mapping[str, object]) -> bool:
        """Whether it says another thing of the listing than its dates. Where it is not known since
        when it is listed, what is said for the first time was not otherwise before."""
        return any(
            value and value != getattr(known, field) and (known.valid_from or getattr(known, field))
            for field, value in offered.items() if field not in DATES
        )  # fmt: skip

    def _value_of(self, field: str, value: object, now: int) -> Callable[[DataBody], object]:
        """How to read a field from a state: of the period that it is about; of a date, whether a
        period has it."""
        begins, ends = self.dates()

        def read(body: DataBody) -> object:
            assert isinstance(body, ListingBody)
            if field in DATES:
                return has_date(body, field, int(str(value)))
            return getattr(place(body, begins, ends, now).state(body, begins), field)

        return read

    def held(self, state: State) -> Held | None:
        """The listing, where it is known already."""
        return state.find(Space.LISTING, fingerprint_of(self._key(self._owner(state))))

    def _turned(
        self, state: State, origin: Origin, held: Held, where: Place
    ) -> tuple[ListingBody, bool]:
        """As `Place.turned`; a symbol that came in a later part is not that of one before."""
        assert isinstance(held.body, ListingBody)
        begins, ends = self.dates()

        def is_own(since: int) -> bool:
            value_of = self._value_of("valid_from", since, state.now)
            return state.said_by(held, "valid_from", value_of).source == origin.source

        known, is_cut = where.turned(held.body, begins, ends, state.now, is_own)
        then = where.state(held.body, begins)
        parts = list(known.earlier)
        for number, until in ((where.number, begins), (where.number + 1, ends)):
            if is_cut and until and 0 != then.symbol_from >= until:
                symbol, since = symbol_before(state.bodies_of(held), then, until - 1)
                first, last, words = parts[number]
                words = replace(words, symbol=symbol, symbol_from=since if since > first else 0)
                parts[number] = first, last, words
                known = replace(known, earlier=tuple(parts))
        return known, is_cut

    def _symbol_now(self, state: State, held: Held, period: ListingBody) -> str:
        """The symbol that is held until a newer one that is announced; empty when none is, or who
        speaks says since when."""
        if period.symbol_from <= state.now or self.listing.symbol_from:
            return ""
        return symbol_before(state.bodies_of(held), period, state.now)[0]

    def _check_orders(
        self, state: State, origin: Origin, held: Held, after: ListingBody, said: Set[str]
    ) -> None:
        """Raises InvalidInput for orders that contradict what the same source said of others."""
        if said.isdisjoint(ORDER_FIELDS):
            return
        agree(
            {
                field: value for field in ORDER_FIELDS
                if (value := getattr(after, field)) and (field in said or state.said_by(
                    held, field, self._value_of(field, value, state.now)
                ).source == origin.source)
            },
            said,
        )  # fmt: skip

    def decide(self, state: State, origin: Origin) -> Receipt:
        owner, metadata = self._owner(state), origin.metadata()
        key = self._key(owner)
        fingerprint = fingerprint_of(key)
        held = state.find(Space.LISTING, fingerprint)
        if held is not None:
            return self._again(state, origin, held)
        counter, id, holder = allocate(state, Space.LISTING, fingerprint)
        listing = self.listing
        body = ListingBody(
            fingerprint=fingerprint, instrument=owner.id,
            instrument_fingerprint=owner.entity.fingerprint,
            asset_class=instrument_body(owner).message[2], venue=listing.venue,
            currency=listing.currency, line=listing.line, symbol=listing.symbol,
            primary=listing.primary, valid_from=int(listing.valid_from),
            valid_to=int(listing.valid_to), counter=counter, figi=listing.figi,
            symbol_from=int(listing.symbol_from), **self._orders(),
        )  # fmt: skip
        offset = state.emit(
            Kind.LISTING_ADDED, Space.LISTING, id, body, metadata=metadata,
            valid_from=body.valid_from,
        )  # fmt: skip
        announce_collision(
            state, Space.LISTING, body.asset_class, id, key, counter, holder, metadata
        )
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        """What is not given says nothing; the rest fills in, amends or conflicts."""
        known = held.body
        assert isinstance(known, ListingBody)
        offered = self._offered()
        begins, ends = self.dates()
        where = place(known, begins, ends, state.now)
        is_cut = False
        if self._differs(where.state(known, begins), offered):
            known, is_cut = self._turned(state, origin, held, where)
            where = place(known, begins, ends, state.now)
        then = where.state(known, begins)
        changes: dict[str, object] = {}
        conflicts: list[Disagreement] = []
        for field, value in offered.items():
            before = getattr(then, field)
            if not value or value == before:
                continue
            if field == "symbol" and value == self._symbol_now(state, held, then):
                continue  # it says nothing against the one that is announced
            if field == "symbol_from" and offered["symbol"] != changes.get("symbol", then.symbol):
                continue  # it is the date of a symbol that is not taken
            said_by = state.said_by(held, field, self._value_of(field, before, state.now))
            said = Disagreement(field, str(before), said_by.source, str(value), origin.source)
            word = Word.CORRECTS
            if where.is_new or (is_cut and said_by.source == origin.source):
                pass  # it says how it was in a time of which nothing is known, or what came after
            elif before and not (field == "symbol_from" and "symbol" in changes):
                word = weigh(state, Space.LISTING, held.id, said_by, origin, said)
            if word != Word.CONFLICTS:
                changes[field] = value
            if word != Word.CORRECTS:
                conflicts.append(said.turned() if word == Word.OUTRANKS else said)
        where.refuse_to_put_off(changes, state.now)
        self._check_orders(state, origin, held, replace(then, **changes), changes.keys())
        where.refuse_symbol_from(changes)
        agreed = (
            (field, self._value_of(field, value, state.now)) for field, value in offered.items()
            if value and value == getattr(then, field)
        )  # fmt: skip
        endorsed = endorse(state, Space.LISTING, held, known.asset_class, agreed, origin)
        offset, outcome = held.data_offset if endorsed is None else endorsed, "unchanged"
        if changes:
            changes = where.said(known, changes, begins)
        if changes:
            offset = change_listing(
                state, held, Kind.LISTING_AMENDED, changes, origin.metadata()
            )
            outcome = "amended"
        raised = raise_conflicts(
            state, Space.LISTING, held.id, known.asset_class, conflicts, origin
        )
        if outcome == "unchanged" and endorsed is None and raised:
            offset = raised[0]
        return Receipt(held.id, held.entity.fingerprint, offset, outcome, raised)


def change_listing(
    state: State, held: Held, kind: Kind, changes: Mapping[str, object], metadata: bytes
) -> int:
    assert isinstance(held.body, ListingBody)
    body = replace(held.body, revision=held.body.revision + 1, **changes)
    check_periods(
        body, "listing",
        "`alphapulse listings KEY` shows what is known; give dates that agree, or of another period"
        " both",
    )  # fmt: skip
    return state.emit(
        kind, Space.LISTING, held.id, body, metadata=metadata, valid_from=body.valid_from
    )


class EndListing(NamedTuple):
    """Ends the listing with this id at `valid_to` (ns, the first instant without it).

    now: `valid_to` is only when it was asked; a listing that had ended by then stays as it is.
    """

    id: int
    valid_to: int
    now: bool = False

    def _listing(self, state: State) -> Held:
        held = state.held(Space.LISTING, self.id)
        if held is None:
            raise UnknownListing(DOING, id=f"0x{self.id:016x}")
        return held

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = self._listing(state)
        assert isinstance(held.body, ListingBody)
        fingerprint = held.entity.fingerprint
        where = ended(held.body, self.valid_to)
        ends = where.date("valid_to")
        is_known = has_date(held.body, "valid_to", self.valid_to)
        if is_known or (self.now and ends and ends < self.valid_to):
            return Receipt(self.id, fingerprint, held.data_offset, "unchanged")
        offset = change_listing(
            state, held, Kind.LISTING_ENDED,
            where.said(held.body, {"valid_to": self.valid_to}, 0), origin.metadata(),
        )  # fmt: skip
        return Receipt(self.id, fingerprint, offset, "amended")


class AddToGroup(NamedTuple):
    """Says that a source counts an instrument to a named group: its siblings are the others."""

    of: bytes
    """Fingerprint of the instrument."""
    source: str
    group: str

    def _key(self) -> bytes:
        return group_relation_key(self.of, self.source, self.group)

    def decide(self, state: State, origin: Origin) -> Receipt:
        owner = found_instrument(state, self.of)
        key = self._key()
        fingerprint = fingerprint_of(key)
        held = state.find(Space.RELATION, fingerprint)
        if held is not None:
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        counter, id, holder = allocate(state, Space.RELATION, fingerprint)
        asset_class = AssetClass(InstrumentRecord(instrument_body(owner).message).asset_class)
        body = RelationBody(
            fingerprint=fingerprint, relation=RelationKind.GROUPED, asset_class=asset_class,
            instrument=owner.id, instrument_fingerprint=self.of, group_source=self.source,
            group=self.group, counter=counter,
        )  # fmt: skip
        metadata = origin.metadata()
        offset = state.emit(Kind.RELATION_ADDED, Space.RELATION, id, body, metadata=metadata)
        announce_collision(
            state, Space.RELATION, asset_class, id, key, counter, holder, metadata
        )
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")


