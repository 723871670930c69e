"""Commands about where an instrument trades and which group it belongs to. See `commands`."""

from __future__ import annotations

from collections.abc import Mapping
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
    Receipt,
    allocate,
    announce_collision,
    check_periods,
    found_instrument,
    held_instrument,
    instrument_body,
)
from .errors import UnknownListing
from .held import Held, Origin
from .identity import fingerprint_of, group_relation_key, listing_key, venue_fingerprint
from .instruments import ORDER_FIELDS, Listing
from .periods import DATES, Turned, ended, place, with_symbols
from .readers import normalised
from .retelling import Retelling
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

    def words(self) -> dict[str, Any]:
        """What it says, by field of the listing."""
        listing = self.listing
        words = {
            "symbol": listing.symbol, "symbol_from": int(listing.symbol_from),
            "primary": listing.primary, **dict(zip(DATES, self.dates(), strict=True)),
            "figi": listing.figi,
            **{field: str(getattr(listing, field) or "") for field in ORDER_FIELDS},
        }  # fmt: skip
        return {field: value for field, value in words.items() if value}

    def unsaid(self, body: ListingBody, now: int) -> list[tuple[str, str]]:
        """Its words that this state does not say: (field, value). now: ns, when it was decided."""
        begins, ends = self.dates()
        then = place(body, begins, ends, now).state(body, begins)
        is_taken = self.listing.symbol == then.symbol  # else its date was no word
        return [
            (field, str(value)) for field, value in self.words().items()
            if value != getattr(then, field) and (field != "symbol_from" or is_taken)
        ]

    def dates(self) -> tuple[int, int]:
        """Of the period that it is about (ns), 0 = it names none."""
        return int(self.listing.valid_from), int(self.listing.valid_to)

    def held(self, state: State) -> Held | None:
        """The listing, where it is known already."""
        return state.find(Space.LISTING, fingerprint_of(self._key(self._owner(state))))

    def decide(self, state: State, origin: Origin) -> Receipt:
        owner, metadata = self._owner(state), origin.metadata()
        key = self._key(owner)
        fingerprint = fingerprint_of(key)
        held = state.find(Space.LISTING, fingerprint)
        if held is not None:
            return ListingAgain(state, origin, held, self.words()).decide()
        counter, id, holder = allocate(state, Space.LISTING, fingerprint)
        listing = self.listing
        body = ListingBody(
            fingerprint=fingerprint, instrument=owner.id,
            instrument_fingerprint=owner.entity.fingerprint,
            asset_class=instrument_body(owner).message[2], venue=listing.venue,
            currency=listing.currency, line=listing.line, counter=counter, **self.words(),
        )  # fmt: skip
        offset = state.emit(
            Kind.LISTING_ADDED, Space.LISTING, id, body, metadata=metadata,
            valid_from=body.valid_from,
        )  # fmt: skip
        announce_collision(
            state, Space.LISTING, body.asset_class, id, key, counter, holder, metadata
        )
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")


class ListingAgain(Retelling[ListingBody]):
    space = Space.LISTING

    def value(self, period: ListingBody, field: str) -> Any:
        return getattr(period, field)

    def text(self, value: object) -> str:
        return str(value)

    def fields(self, words: Mapping[str, Any]) -> dict[str, Any]:
        if self.turned.is_cut and "symbol" in words:
            return {"symbol_from": 0, **words}  # it has it from its beginning on
        return dict(words)

    def amend(self, fields: Mapping[str, Any]) -> int:
        metadata = self.origin.metadata()
        return change_listing(self.state, self.held, Kind.LISTING_AMENDED, fields, metadata)

    def is_otherwise(self) -> bool:
        symbol = self._symbol_then()
        is_renamed = symbol is not None and self.words.get("symbol", symbol) != symbol
        return is_renamed or super().is_otherwise()

    def cut(self, turned: Turned[ListingBody]) -> Turned[ListingBody]:
        state, symbol = turned.state, self._symbol_then()
        if symbol is not None and self.words.get("symbol") == self.then.symbol:
            # It had that one later only, so what it says is held against the one before.
            words = {"symbol": symbol, "symbol_from": 0}
            state = replace(state, **place(state, self.begins, 0).said(state, words, self.begins))
        state = with_symbols(
            state, lambda period, at: symbol_before(self.state.bodies_of(self.held), period, at)
        )
        return turned._replace(state=state)

    def is_void(self, field: str, changes: Mapping[str, Any]) -> bool:
        symbol = self.words.get("symbol", "")
        if field == "symbol" and self.then.symbol_from > self.state.now:
            return bool(symbol == self._symbol_then())  # nothing against the one that is announced
        if field == "symbol_from" and symbol != changes.get("symbol", self.then.symbol):
            return True  # it is the date of a symbol that is not taken
        return super().is_void(field, changes)

    def _symbol_then(self) -> str | None:
        """The symbol that was held when it says, or is now, until a newer one; empty when it is not
        known. None when none is newer, or who speaks says since when."""
        is_within = self.turned.is_cut or 0 != self.then.valid_from < self.begins
        at = self.begins if is_within else self.state.now
        if self.then.symbol_from <= at or "symbol_from" in self.words:
            return None
        return symbol_before(self.state.bodies_of(self.held), self.then, at)[0]

    def is_free(self, field: str, changes: Mapping[str, Any]) -> bool:
        is_of_another = field == "symbol_from" and "symbol" in changes
        return is_of_another or super().is_free(field, changes)

    def check(self, changes: Mapping[str, Any]) -> None:
        super().check(changes)
        if not changes.keys().isdisjoint(ORDER_FIELDS):
            self._check_orders(changes)
        self.where.refuse_symbol_from(changes)

    def _check_orders(self, changes: Mapping[str, Any]) -> None:
        """Raises InvalidInput for orders that contradict what the same source said of others."""
        after = {**{field: getattr(self.then, field) for field in ORDER_FIELDS}, **changes}
        agree(
            {
                field: value for field in ORDER_FIELDS
                if (value := after[field]) and (
                    field in changes or self.said_by(field, value).source == self.origin.source
                )
            },
            changes.keys(),
        )  # fmt: skip


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
        changes = ended(held.body, self.valid_to, self.now)
        if not changes:
            return Receipt(self.id, fingerprint, held.data_offset, "unchanged")
        offset = change_listing(state, held, Kind.LISTING_ENDED, changes, origin.metadata())
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


