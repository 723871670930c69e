"""Finding instruments: by id, fingerprint, ISIN, address, symbol, symbol at a venue, and other
identifiers; now or then.

A lookup probes a view for candidates and lets the record decide. Views never forget who once
carried a symbol or an ISIN, so the same candidates serve the past: asked about another time, each
one's own history says what it was then. `find` is the order of forms that the
command line uses: the first form with matches wins, and all its matches are returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from msgspec.structs import replace

from alphapulse.log import (
    INSTRUMENT_KINDS,
    AssetClass,
    Event,
    EventLog,
    InstrumentBody,
    InstrumentRecord,
    InvalidInput,
    ListingBody,
    Status,
    format_time,
    is_during,
    symbol_of,
)
from alphapulse.log.times import NS
from alphapulse.projections import (
    CUSIP_COUNTRIES,
    IDENTIFIER_INDEXES,
    Cells,
    RequestRecord,
    TableReader,
    Views,
    address_key,
    backwards,
    cusip_in,
    event_named,
    isin_key,
    native_id_of,
    pair_key,
    request_key,
    state_before,
    state_named,
    text_key,
)

from . import validation
from .chains import CHAINS_BY_SHORT_NAME, chain_from
from .errors import Ambiguous, RequestReused, UnknownInstrument
from .facts import facts_from
from .formula import canonical_text
from .generations import OVER
from .identity import fingerprint_of, id_candidates, security_key, token_key
from .periods import at_time, each_period, holds, periods_of
from .readers import BIRTH_SCHEMES, asset_of
from .valid_time import (
    NOW,
    When,
    begins_of,
    holds_from,
    state_at,
    symbol_before,
    with_status,
)

SCHEMES: Final = ("figi", "cusip", "sedol", "lei")
"""Identifiers with a check digit beside the ISIN."""
FORMS: Final = ("id", "fingerprint", "isin", "address", "symbol", *SCHEMES)
"""In the order in which a key is tried."""
NATIVE_ID: Final = "native_id"
"""A form of its own only by name: a key that is tried is a symbol as well."""
_CHANGES_HANDS: Final = frozenset({"symbol", NATIVE_ID})
_LEVELS: Final = {"figi": ("figi", "composite_figi")}
_ID: Final = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{32}", re.ASCII)


class Match(NamedTuple):
    """One instrument found: its full state and where it stands in the log."""

    id: int
    body: InstrumentBody
    offset: int
    """Of the event that holds this state."""

    @property
    def venue(self) -> str:
        """Of the issuing venue, as `validation.venue` spells it; empty when it has none."""
        return self.body.extension.venue or self.record.venue

    @property
    def record(self) -> InstrumentRecord:
        return InstrumentRecord(self.body.message)


class Lookup:
    """Read-only questions about instruments; `when`: as known and as true at other times."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._log = log
        self._views = views

    # One instrument by id

    def match(self, id: int, when: When = NOW) -> Match | None:
        """The full state of one instrument. At a valid time before it is said to be there, but when
        a listing of it held by its dates, it is as it begins, and active. Cost: 8 µs now; 8 µs an
        event of it for other times and while a change of it is announced."""
        table = self._views.table("instruments")
        position = table.find(id)
        if position < 0:
            other = self._views.recheck("instruments")
            if other is None or (position := (table := other).find(id)) < 0:
                return None
        return self._found(table, position, id, when)

    def _found(self, table: TableReader, position: int, id: int, when: When) -> Match | None:
        """As `match`, of one that stands at a position of the view."""
        found = self._state(table, position, id, when)
        if found is None and when.valid is not None and self._is_listed(id, when.known, when.valid):
            begins, _ = self.begins(id, when.known)
            if (first := self._state(table, position, id, When(when.known, begins))) is not None:
                return first._replace(body=with_status(first.body, Status.ACTIVE))
        return found

    def _is_listed(self, id: int, known: int | None, at: int) -> bool:
        """Whether a listing of it is said to have begun by a time (ns) and holds then."""
        table = self._views.table("listings")
        cells = table.postings("instrument", id)
        events = (self._listing_event(table, cell, When(known)) for cell in cells)
        return any(
            bool(begins) and is_during(at, begins, ends)
            for event in events if event is not None and isinstance(event.body, ListingBody)
            for begins, ends in periods_of(event.body)
        )  # fmt: skip

    def _state(self, table: TableReader, position: int, id: int, when: When) -> Match | None:
        trailer = table.trailer(position)
        if when.valid is None and (when.known is None or trailer.data_offset < when.known):
            until = trailer.pending_until_s * NS
            if not until or until <= when.moment(self._log):  # then all that was said is true
                event = state_named(self._log, trailer.data_offset, id)
                return Match(id, event.instrument_body, event.offset)
        state = state_at(self._log, trailer.last_offset, when, id)
        return None if state is None else Match(id, *state)

    def _matches(
        self, table: TableReader, cells: Cells, when: When,
        wanted: Callable[[Match], bool],
    ) -> list[Match]:  # fmt: skip
        found = []
        for cell in cells:
            position = table.position_of(cell)
            match = self._found(table, position, table.key_of(cell), when)
            if match is not None and wanted(match):
                found.append(match)
        return found

    # Forms

    def by_fingerprint(self, fingerprint: bytes, when: When = NOW) -> Match | None:
        """The instrument with this fingerprint, whatever id it got."""
        for _, id in id_candidates(fingerprint, self._log.genesis.id_bits):
            match = self.match(id)
            if match is None:
                return None
            if match.record.fingerprint == fingerprint:
                return match if when == NOW else self.match(id, when)
        return None

    def by_isin(self, isin: str, when: When = NOW) -> list[Match]:
        """Instruments that carry this ISIN, or were registered under it. Raises InvalidInput."""
        isin = validation.isin(isin)
        table = self._views.table("instruments")
        cells = table.postings("isin", isin_key(isin))
        found = self._matches(table, cells, when, lambda match: match.record.isin == isin)
        if found:
            return found
        born = self.by_fingerprint(fingerprint_of(security_key("isin", isin)), when)
        return [] if born is None else [born]

    def by_identifier(self, scheme: str, value: str, when: When = NOW) -> list[Match]:
        """Who carries an identifier of SCHEMES, an ISIN or a native id. A CUSIP is carried in an
        ISIN as well. Raises InvalidInput."""
        if scheme == "isin":
            return self.by_isin(value, when)
        table = self._views.table("instruments")
        if scheme == NATIVE_ID:
            value = validation.given_text(value, scheme)
            cells = table.postings("symbol", text_key(value))
            return self._matches(
                table, cells, when, lambda match: native_id_of(match.body) == value
            )
        if scheme not in SCHEMES:
            raise InvalidInput(
                "looking up an identifier", problem=f"there is no scheme {scheme[:40]!r}",
                cure=f"use one of isin, {', '.join(SCHEMES)}, {NATIVE_ID}",
            )  # fmt: skip
        value = validation.identifier(scheme, value)
        found = {
            match.id: match
            for match in self._matches(
                table, _cells(table, scheme, value), when,
                lambda match: _carries(match.body, scheme, value),
            )
        }  # fmt: skip
        if scheme == "figi":
            for body in self._listing_bodies("symbol", text_key(value), when):
                if body.figi == value and body.instrument not in found:
                    owner = self.match(body.instrument, when)
                    if owner is not None:
                        found[owner.id] = owner
        if not found and scheme in BIRTH_SCHEMES:
            born = self.by_fingerprint(fingerprint_of(security_key(scheme, value)), when)
            return [] if born is None else [born]
        return list(found.values())

    def pools_at(self, chain: str, address: str, when: When = NOW) -> list[Match]:
        """The pools with this address or id on a chain, whichever factory made them."""
        chain = chain_from(chain)
        table = self._views.table("instruments")
        spelling = address.lower() if chain.startswith("eip155:") else address
        return self._matches(
            table, table.postings("address", address_key(spelling)), when,
            lambda match: match.record.asset_class is AssetClass.DEX_POOL
            and (match.body.extension.chain, match.body.extension.address) == (chain, spelling),
        )  # fmt: skip

    def by_address(
        self, chain: str, address: str, namespace: str = "", when: When = NOW
    ) -> Match | None:
        """The token or coin at an address of a chain, which may be a placeholder for the coin."""
        chain = chain_from(validation.given_text(chain, "chain"))
        _, chain, namespace, reference = asset_of(chain, address, namespace)
        return self.by_fingerprint(fingerprint_of(token_key(chain, namespace, reference)), when)

    def by_symbol(self, symbol: str, venue: str = "", when: When = NOW) -> list[Match]:
        """Instruments of this exact symbol: their own, a native id, or that of a listing. `venue`:
        only who is listed there under it, or was issued there, and those alone that are listed
        now where any is; else who was, or will be. What is no longer traded at the time asked
        comes last."""
        symbol = validation.given_text(symbol, "symbol")
        venue = validation.venue(venue) if venue else ""

        def carries(match: Match) -> bool:
            is_its = symbol in (symbol_of(match.body), native_id_of(match.body))
            return is_its and (not venue or match.venue == venue)

        table = self._views.table("instruments")
        cells = table.postings("symbol", text_key(symbol))
        found = {match.id: match for match in self._matches(table, cells, when, carries)}
        index, key = "symbol", text_key(symbol)
        if venue:
            index, key = "venue_symbol", pair_key(venue, symbol)
        at, own, current = when.moment(self._log), found.keys() | set(), set[int]()
        for body in self._listing_bodies(index, key, when):
            if body.symbol != symbol or (venue and body.venue != venue):
                continue
            if holds(body, at):
                current.add(body.instrument)
            if body.instrument not in found:
                found_match = self.match(body.instrument, when)
                if found_match is not None:
                    found[body.instrument] = found_match
        if len(found) < 2:
            return list(found.values())
        if venue and not current.isdisjoint(found):
            found = {id: match for id, match in found.items() if id in current | own}
        return sorted(found.values(), key=lambda match: match.record.status_at(at) in OVER)

    def _listing_bodies(self, index: str, key: int, when: When) -> Iterator[ListingBody]:
        table = self._views.table("listings")
        for cell in table.postings(index, key):
            body = self.listing_at(table, cell, when)
            if body is not None and (when.valid is None or holds(body, when.valid)):
                yield body

    def listing_at(self, table: TableReader, cell: int, when: When) -> ListingBody | None:
        """A listing as it was known, and as it is in the period that holds at the time asked [else
        the newest], under the symbol that it had; None before it was known.

        Its dates are not asked: `periods.holds` does. Cost: 8 µs; 8 µs for each event of it when it
        changed since.
        """
        event, at = self._listing_event(table, cell, when), when.moment(self._log)
        if event is None or not isinstance(event.body, ListingBody):
            return None
        return self._as_called(event, at_time(event.body, at), at)

    def listing_periods(
        self, table: TableReader, cell: int, when: When
    ) -> list[ListingBody]:
        """As `listing_at`, once for each period, the oldest first. One that is not the one asked
        about comes under the symbol that it had at its end, or will have when it begins."""
        event, at = self._listing_event(table, cell, when), when.moment(self._log)
        if event is None or not isinstance(event.body, ListingBody):
            return []
        return [self._as_called(event, period, at) for period in each_period(event.body)]

    def _as_called(self, event: Event, period: ListingBody, at: int) -> ListingBody:
        if period.valid_from:
            at = max(at, period.valid_from)
        if period.valid_to:
            at = min(at, period.valid_to - 1)
        if not period.symbol_from or period.symbol_from <= at:
            return period
        bodies = (before.body for before in backwards(self._log, event.offset))
        symbol, since = symbol_before(bodies, period, at)
        return replace(period, symbol=symbol, symbol_from=since)

    def _listing_event(self, table: TableReader, cell: int, when: When) -> Event | None:
        trailer, id = table.trailer(table.position_of(cell)), table.key_of(cell)
        if when.known is None or trailer.data_offset < when.known:
            return state_named(self._log, trailer.data_offset, id)
        return state_before(self._log, trailer.last_offset, when.known, id)

    # Any key

    def find(self, key: str, by: str = "", when: When = NOW) -> tuple[str, list[Match]]:
        """(form, matches): the first form of FORMS with matches, or only the form `by`.

        A key that cannot be of a form is not tried as that form, unless `by` says it is: then it
        raises InvalidInput. No match at all gives ("", []).
        """
        key = validation.given_text(key, "key")
        if by:
            if by not in (*FORMS, NATIVE_ID):
                raise InvalidInput("looking up", problem=f"there is no form {by!r}",
                                   cure=f"use one of {', '.join(FORMS)}, {NATIVE_ID}")  # fmt: skip
            return by, self._form(by, key, when)
        for form in FORMS:
            try:
                found = self._form(form, key, when)
            except InvalidInput:
                continue  # the key is not of this form: the next one is tried
            if found:
                return form, found
        return "", []

    def whom(self, key: str, when: When = NOW, by: str = "") -> list[Match]:
        """As `find`, for what is dated by itself: listings, relations. A symbol means who had it at
        that time; what never changes hands, such as an id or an ISIN, means the same one always,
        also where its registration names no date or a later one."""
        _, found = self.find(key, by, when)
        if found or when.valid is None:
            return found
        form, found = self.find(key, by, When(when.known))
        return [] if form in _CHANGES_HANDS else found

    def begins(self, id: int, known: int | None = None) -> tuple[int, bool]:
        """The earliest time (ns) at which an instrument is said to be there, and whether that is a
        date that somebody named, or only when it was recorded. known: as in `When`; it was known
        then. Cost: 12 µs for each event of it."""
        table = self._views.table("instruments")
        events = [
            event for event in backwards(self._log, table.last_offset(table.find(id)), id)
            if event.kind in INSTRUMENT_KINDS and (known is None or event.offset < known)
        ]  # fmt: skip
        begins = begins_of(holds_from(events[-1]), (event.valid_from for event in events))
        return begins, any(event.valid_from == begins for event in events)

    def since(self, match: Match, when: When = NOW) -> int:
        """The named date (ns) from which on all that this match says holds; 0 when none was named,
        or some of it holds only since later. when: as of which it was found. Cost: 50 µs for each
        of its events."""
        begins, is_named = self.begins(match.id, when.known)
        then = self.match(match.id, When(when.known, valid=begins)) if is_named else None
        if then is None or facts_from(then.body) != facts_from(match.body):
            return 0
        follows = match.record.status is Status.PENDING  # from the date: nobody said that
        return begins if (then.record.status != match.record.status) == follows else 0

    def _form(self, form: str, key: str, when: When) -> list[Match]:
        if form == "id":
            if not _ID.fullmatch(key):
                raise InvalidInput("looking up by id", problem="it is not 0x and hex digits")
            found = self.match(int(key, 16), when)
        elif form == "fingerprint":
            if not _FINGERPRINT.fullmatch(key):
                raise InvalidInput("looking up by fingerprint", problem="it is 32 hex digits")
            found = self.by_fingerprint(bytes.fromhex(key[-32:]), when)
        elif form == "isin":
            return self.by_isin(key, when)
        elif form == "address":
            return self._at_address(key, when)
        elif form != "symbol":
            return self.by_identifier(form, key, when)
        else:
            matches = self.by_symbol(key, when=when)
            symbol, _, venue = key.rpartition("@")
            if not matches and symbol and venue:
                return self.by_symbol(symbol, venue, when)
            return matches
        return [] if found is None else [found]

    def _at_address(self, key: str, when: When) -> list[Match]:
        """Pools, and the token: the address of a pool may be its own token's."""
        chain, address, namespace = split_address(key)
        found = [] if namespace else self.pools_at(chain, address, when)
        try:
            token = self.by_address(chain, address, namespace, when)
        except InvalidInput:
            if not found:  # a pool's id is no address of a token
                raise
        else:
            found += [] if token is None else [token]
        return found

    def formula(self, text: object, request_id: str = "") -> str:
        """The canonical text of a formula in which each KEY means one instrument.

        request_id: of a request that may have been carried out; KEYs mean whom they meant before.
        Where one meant nobody, the request was another command: RequestReused.
        Raises FormulaInvalid; UnknownInstrument and Ambiguous, which names the candidates.
        """
        first = self.offset_of_request(request_id) if request_id else None
        when = self.before_request(first)

        def one(key: str) -> int:
            matches = self.find(key, when=when)[1]
            if not matches:
                raise UnknownInstrument(f"looking up {key[:80]}")
            if len(matches) > 1:
                raise Ambiguous(
                    f"looking up {key[:80]}", ids=[f"0x{match.id:016x}" for match in matches[:20]]
                )
            return matches[0].id

        try:
            return canonical_text(text, one)
        except UnknownInstrument as error:
            if first is None:
                raise
            raise RequestReused(
                error.doing, request_id=request_id[:40], offset=first,
                used_for=f"0x{event_named(self._log, first).entity:016x}",
            ) from error  # fmt: skip

    def before_request(self, first: int | None) -> When:
        """When a request was made that led to an event at `first`, and not to those before it; now
        when it led to none. first: 0 or None = none."""
        return When(first, None, self._log.event(first).recorded) if first else NOW

    def offset_of_request(self, request_id: str) -> int | None:
        """Of the first event that a request id led to; None when it led to none."""
        table, (key, digest) = self._views.table("requests"), request_key(request_id)
        position = table.find(key)
        if position < 0:
            return None
        record = RequestRecord(table.arena, position)
        return record.offset if record.digest == digest else None

    # Nothing found

    def near(self, key: str, most: int = 10) -> list[tuple[str, Match]]:
        """(why, match) for a key without matches: another case, another chain, the check digit."""
        found: list[tuple[str, Match]] = []
        for scheme in ("isin", *SCHEMES):
            corrected = validation.identifier_near(scheme, key)
            if corrected is not None:
                found += [(f"the {scheme.upper()} with its right check digit", match)
                          for match in self.by_identifier(scheme, corrected)]  # fmt: skip
            found += self._carried(scheme, key)
        table = self._views.table("instruments")
        address = key.rpartition(":")[2].rpartition("/")[2]
        for spelling in dict.fromkeys((address, address.lower())):
            cells = table.postings("address", address_key(spelling))
            found += [
                (f"the same address on {match.body.extension.chain}", match)
                for match in self._matches(table, cells, NOW, _has_contract)
            ]
        for spelling in _cases(key):
            found += [("the symbol in another case", m) for m in self.by_symbol(spelling)]
        symbol, at, venue = key.rpartition("@")
        if at:
            found += self._near_at(symbol, venue)
        found += self._at_other_times(
            table.postings("symbol", text_key(key)), lambda body: symbol_of(body) == key, "symbol"
        )
        unique = {match.id: (why, match) for why, match in reversed(found)}
        return list(reversed(unique.values()))[:most]

    def _near_at(self, symbol: str, venue: str) -> Iterator[tuple[str, Match]]:
        for place in (venue, *_cases(venue)):
            for spelling in (symbol, *_cases(symbol)):
                try:
                    matches = self.by_symbol(spelling, place)
                except InvalidInput:
                    break  # in this case it is no venue
                is_exact = (spelling, place) == (symbol, venue)
                why = "the symbol there" if is_exact else "the symbol or venue in another case"
                yield from ((why, match) for match in matches)
        for match in self.by_symbol(symbol):
            yield f"the symbol, but not at {venue}", match

    def _at_other_times(
        self, cells: Cells, said: Callable[[InstrumentBody], bool], what: str
    ) -> Iterator[tuple[str, Match]]:
        """Who carries what these say at another time, and since when it will."""
        table, now = self._views.table("instruments"), NOW.moment(self._log)
        for match in self._matches(table, cells, NOW, lambda match: True):
            events = backwards(self._log, table.last_offset(table.find(match.id)), match.id)
            since = [
                holds_from(event) for event in events
                if event.kind in INSTRUMENT_KINDS and said(event.instrument_body)
            ]  # fmt: skip
            if said(match.body):
                yield f"it has this {what}", match
            elif since and min(since) > now:
                yield f"it will have this {what} from {format_time(min(since))} on", match
            elif since:
                yield f"it had this {what} before", match

    def _carried(self, scheme: str, key: str) -> Iterator[tuple[str, Match]]:
        try:
            value = validation.identifier(scheme, key)
        except InvalidInput:
            return
        cells = _cells(self._views.table("instruments"), scheme, value)
        for match in self._formerly(cells, lambda body: _carries(body, scheme, value)):
            if _carries(match.body, scheme, value):
                yield f"it carries this {scheme.upper()}", match
            else:
                yield f"it carried this {scheme.upper()} before", match

    def _formerly(self, cells: Cells, said: Callable[[InstrumentBody], bool]) -> list[Match]:
        table = self._views.table("instruments")

        def had(match: Match) -> bool:
            events = backwards(self._log, table.last_offset(table.find(match.id)), match.id)
            return any(
                event.kind in INSTRUMENT_KINDS and said(event.instrument_body) for event in events
            )

        return self._matches(table, cells, NOW, had)


def _cells(table: TableReader, scheme: str, value: str) -> Cells:
    """Who ever carried an identifier, and perhaps others."""
    if scheme == "isin":
        return table.postings("isin", isin_key(value))
    cells = table.postings(IDENTIFIER_INDEXES[scheme], text_key(value))
    if scheme != "cusip" or not value.isalnum():  # it may have * @ #, an ISIN has none
        return cells
    within = (table.postings("isin", isin_key(country + value)) for country in CUSIP_COUNTRIES)
    return [*cells, *chain.from_iterable(within)]


def _carries(body: InstrumentBody, scheme: str, value: str) -> bool:
    held, isin = body.extension.identifiers, InstrumentRecord(body.message).isin
    if scheme == "isin":
        return isin == value
    if scheme == "cusip" and cusip_in(isin) == value:
        return True
    return any(held.get(level) == value for level in _LEVELS.get(scheme, (scheme,)))


def _has_contract(match: Match) -> bool:
    """A coin's address is its SLIP-44 number, which the key of another thing may end in."""
    return match.record.asset_class is not AssetClass.COIN


def _cases(text: str) -> list[str]:
    """Other ways to write it."""
    spellings = dict.fromkeys((text.upper(), text.lower(), text.capitalize(), text.strip()))
    return [spelling for spelling in spellings if spelling != text]


def split_address(key: str) -> tuple[str, str, str]:
    """(chain, address, namespace) of `CHAIN:ADDRESS` or CAIP-19 `CHAIN/NAMESPACE:REFERENCE`.

    The chain is CAIP-2 or a short name such as `ethereum`. Raises InvalidInput.
    """
    chain, slash, asset = key.partition("/")
    if slash:
        namespace, colon, reference = asset.partition(":")
        if colon and ":" in chain:
            return chain, reference, namespace
    parts = key.split(":")
    if len(parts) >= 3:
        return ":".join(parts[:2]), ":".join(parts[2:]), ""
    if len(parts) == 2 and parts[0].lower() in CHAINS_BY_SHORT_NAME:
        return parts[0], parts[1], ""
    raise InvalidInput(
        "looking up by address", problem="it is neither CHAIN:ADDRESS nor CAIP-19",
        cure="write eip155:1:0x… or eip155:1/erc20:0x…",
    )  # fmt: skip
