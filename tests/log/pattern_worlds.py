"""Random events and random patterns that often meet, and what a pattern means, told naively."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from alphapulse.log.bodies import AnyBody
from alphapulse.log.facets import facet_values
from alphapulse.log.frame import Event
from alphapulse.log.kinds import (
    CANDIDATE_STATES,
    KIND_NAMES,
    PROPOSAL_KINDS,
    RELATION_KINDS,
    SAMPLE_KINDS,
    STATUS_WORDS,
    AssetClass,
    Kind,
    Severity,
    Status,
    TradingStatus,
)
from alphapulse.log.numbers import number
from alphapulse.log.pattern_tree import AllOf, AnyOf, Node, Not, Operator, Term, Value, negate
from alphapulse.log.pattern_tree import all_of as make_all_of
from alphapulse.log.pattern_tree import any_of as make_any_of
from alphapulse.log.pattern_tree import term as make_term

from .builders import (
    acknowledged_body,
    answer_body,
    aspect_body,
    candidate_body,
    collision_body,
    conflict_body,
    endorsed_body,
    feed_body,
    instrument_body,
    listing_body,
    make_event,
    proposal_body,
    relation_body,
    rules_body,
    sample_body,
    snapshot_body,
    trading_body,
    venue_body,
)

# "plumless" and "buckeroo" have one CRC32: a column cannot tell them apart.
TWINS = ("plumless", "buckeroo")
CHAINS = ("eip155:1", "eip155:137", *TWINS)
VENUES = ("XNAS", "XETR", "binance", "xn", *TWINS)
SYMBOLS = ("AAPL", "a b", "tok*", 'q"\\', "(x)", "and", "\u202etxt", "LongerThanSixteenBytes", "é")
ISINS = ("US0378331005", "US5949181045", "DE0007164600")
CURRENCIES = ("USD", "EUR")
SOURCES = ("a.csv", "lists/optimism.json", "not")
IDS = (1, 2, 3, (1 << 64) - 1)

_ids = st.sampled_from(IDS)
_classes = st.sampled_from(AssetClass)
_statuses = st.sampled_from(Status)


def _or_none(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(("", *values))


_instruments = st.builds(
    instrument_body, _ids, asset_class=_classes, status=_statuses, symbol=_or_none(SYMBOLS),
    isin=_or_none(ISINS), currency=_or_none(CURRENCIES), venue=_or_none(VENUES),
    chain=_or_none(CHAINS),
)  # fmt: skip
_listings = st.builds(
    listing_body, _ids, instrument=_ids, asset_class=_classes, venue=_or_none(VENUES),
    currency=_or_none(CURRENCIES), symbol=_or_none(SYMBOLS), status=_statuses,
)  # fmt: skip
_relations = st.builds(
    relation_body, _ids, asset_class=_classes, instrument=_ids, other=st.sampled_from((0, *IDS))
)
_candidates = st.builds(
    candidate_body, _ids, instrument=_ids, other=_ids, asset_class=_classes
)
_proposals = st.builds(
    proposal_body, _ids, instrument=st.sampled_from((0, *IDS)), asset_class=_classes,
    facts=st.fixed_dictionaries({}, optional={
        "chain": st.sampled_from(CHAINS), "venue": st.sampled_from(VENUES),
        "symbol": st.sampled_from(SYMBOLS), "currency": st.sampled_from(CURRENCIES),
    }),
)  # fmt: skip
_places = st.sampled_from(VENUES)
_venues = st.builds(venue_body, _ids, venue=_places, currency=_or_none(CURRENCIES))
BODIES: dict[Kind, st.SearchStrategy[AnyBody]] = {
    Kind.INSTRUMENT_REGISTERED: _instruments,
    Kind.INSTRUMENT_AMENDED: _instruments,
    Kind.INSTRUMENT_STATUS: _instruments,
    Kind.LISTING_ADDED: _listings,
    Kind.LISTING_AMENDED: _listings,
    Kind.LISTING_ENDED: _listings,
    **dict.fromkeys(RELATION_KINDS, _relations),
    Kind.COLLISION_DETECTED: st.builds(collision_body, _ids, holder=_ids, asset_class=_classes),
    Kind.CONFLICT_DETECTED: st.builds(conflict_body, asset_class=_classes),
    Kind.ALERT_ACKNOWLEDGED: st.builds(acknowledged_body),
    Kind.REQUEST_ANSWERED: st.builds(answer_body, asset_class=_classes),
    Kind.FEED_IMPORTED: st.builds(feed_body),
    **dict.fromkeys(map(Kind, CANDIDATE_STATES), _candidates),
    **dict.fromkeys(PROPOSAL_KINDS, _proposals),
    Kind.FEED_SNAPSHOT: st.builds(snapshot_body),
    Kind.WORD_ENDORSED: st.builds(endorsed_body, asset_class=_classes),
    Kind.FEED_RULES: st.builds(rules_body),
    Kind.VENUE_REGISTERED: _venues, Kind.VENUE_AMENDED: _venues,
    **{kind: st.builds(aspect_body, st.just(kind), _ids, venue=_places) for kind in (
        Kind.VENUE_ENDPOINTS, Kind.VENUE_FEES, Kind.VENUE_HOURS, Kind.VENUE_PERFORMANCE,
        Kind.VENUE_WARNING,
    )},
    Kind.VENUE_STATUS: st.builds(
        trading_body, _ids, venue=_places, instrument=st.sampled_from((0, *IDS)),
        asset_class=_classes, status=st.sampled_from((*TradingStatus, 99)),
    ),
    **{
        Kind(kind): st.builds(sample_body, st.just(measure), venue=st.sampled_from(VENUES))
        for kind, measure in SAMPLE_KINDS.items()
    },
}
assert BODIES.keys() == set(Kind)


# Strategies are made once, not within `composite`: making and checking them took more than drawing.
_sources = _or_none(SOURCES)
_kinds = st.sampled_from(Kind)
_booleans = st.booleans()


def events(size_max: int = 24) -> st.SearchStrategy[list[Event]]:
    """Some events with offsets from 0."""
    return _events(st.lists(_kinds, min_size=1, max_size=size_max))


@st.composite
def _events(draw: st.DrawFn, kinds: st.SearchStrategy[list[Kind]]) -> list[Event]:
    return [
        make_event(
            kind, draw(BODIES[kind]), offset=offset, entity=draw(_ids), source=draw(_sources)
        )
        for offset, kind in enumerate(draw(kinds))
    ]


def venue_world() -> list[Event]:
    """A venue with a currency and each word on how it trades, beside all that have a status too."""
    made: list[tuple[Kind, AnyBody]] = [
        (Kind.VENUE_REGISTERED, venue_body(currency="USD")),
        *((Kind.VENUE_STATUS, trading_body(status=status)) for status in TradingStatus),
        *((Kind.LISTING_AMENDED, listing_body(status=status)) for status in Status),
        *((Kind.INSTRUMENT_STATUS, instrument_body(status=status)) for status in Status),
    ]
    return [make_event(kind, body, offset=at) for at, (kind, body) in enumerate(made)]


_EXACT = {
    "kind": (*KIND_NAMES.values(), "instrument", "listing", "collision", "venue"),
    "class": tuple(value.name.lower() for value in AssetClass),
    "status": tuple(STATUS_WORDS),
    "severity": tuple(value.name.lower() for value in Severity),
    "instrument": tuple(hex(number) for number in IDS),
    "chain": CHAINS,
    "venue": (*VENUES, "BINANCE", "XN"),
    "isin": ISINS,
    "symbol": SYMBOLS,
    "currency": (*CURRENCIES, "usd"),
    "source": SOURCES,
    "bps": ("5", "-0.10", "12e3"),
    "move_bps": ("0", "1e-3"),
}
_PREFIXES = {
    "chain": ("eip155:", "p", ""), "venue": ("X", "BIN", ""), "isin": ("US", "us03", ""),
    "symbol": ("A", "a ", "tok*", "\u202e", ""), "source": ("lists/", "n", ""),
}  # fmt: skip
_OPERATORS: tuple[Operator, ...] = (">", ">=", "<", "<=")


def _values_of(facet: str) -> st.SearchStrategy[list[Value]]:
    exact = st.builds(Value, st.sampled_from(_EXACT[facet]), st.just(False))
    if facet not in _PREFIXES:
        return st.lists(exact, min_size=1, max_size=3)
    starred = st.builds(Value, st.sampled_from(_PREFIXES[facet]), st.just(True))
    return st.lists(exact | starred, min_size=1, max_size=3)


_facets = st.sampled_from(sorted(_EXACT))
_operators = st.sampled_from(_OPERATORS)
_values = {facet: _values_of(facet) for facet in _EXACT}
_limits = {facet: st.sampled_from(_EXACT[facet]) for facet in ("bps", "move_bps")}


@st.composite
def terms(draw: st.DrawFn) -> Term:
    facet = draw(_facets)
    if facet in _limits and draw(_booleans):
        value = Value(draw(_limits[facet]))
        return make_term(facet, draw(_operators), [value])
    return make_term(facet, "=", draw(_values[facet]))


def trees() -> st.SearchStrategy[Node]:
    return st.recursive(
        terms(),
        lambda inner: st.one_of(
            inner.map(negate),
            st.lists(inner, max_size=3).map(make_all_of),
            st.lists(inner, max_size=3).map(make_any_of),
        ),
        max_leaves=8,
    )


def naive(node: Node, event: Event) -> bool:
    """What the tree means, in the plainest words and without anything compiled."""
    if isinstance(node, Not):
        return not naive(node.part, event)
    if isinstance(node, AllOf):
        return all(naive(part, event) for part in node.parts)
    if isinstance(node, AnyOf):
        return any(naive(part, event) for part in node.parts)
    held = [value for value in facet_values(event, node.facet) if value != ""]
    return any(_meets(node, wanted, value) for wanted in node.values for value in held)


def _meets(term: Term, wanted: Value, value: str | int) -> bool:
    text = wanted.text
    if term.facet == "instrument":
        return value == int(text, 16)
    if isinstance(value, int):
        have, limit = Decimal(value), number(text).to_decimal()
        return {
            "=": have == limit, ">": have > limit, ">=": have >= limit,
            "<": have < limit, "<=": have <= limit,
        }[term.operator]  # fmt: skip
    if term.facet == "kind":
        return value.split(".")[: text.count(".") + 1] == text.split(".")
    spellings = (text, text.lower()) if term.facet == "venue" else (text,)
    if wanted.prefix:
        return any(value.startswith(spelling) for spelling in spellings)
    return value in spellings
