"""Instruments that only look alike: what speaks for it, how strongly, and who they are.

Nothing here merges anything. A *look-alike* is a pair of instruments that say the same of something
that one thing would have once: an identifier, the issuer, the name, the symbol. A *candidate* is a
look-alike that was written into the log for a person to decide. Confirmed, the two are related;
refused, they are not proposed again until the evidence is another.

*What is compared.* Only instruments of one family: tokens and coins; equities, ETFs and bonds;
indices. A symbol that stands at two venues, as those of pairs and contracts do, is no news, and
that a token is called like a share says nothing. Text is compared without case; a name also without
punctuation, and that of a security without words that say its form (`Apple Inc.` is `apple`).

*The score* is the sum of `WEIGHTS` over the fields that both have, and `SCORE_MIN` what a proposal
needs, so by default: an identifier in common; the issuer (of equities: a bank has one LEI for all
its bonds); the name; or the symbol, unless names or decimals differ (names may, if the decimals
are the same). An issuer that differs outweighs a name. The score orders; it is no probability.

`candidate_finder` looks for them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence, Set
from typing import Final, NamedTuple

from alphapulse.log import (
    CANDIDATE_STATE_NAMES,
    AssetClass,
    CandidateBody,
    CandidateState,
    EventLog,
    InstrumentBody,
    InstrumentRecord,
    RelationKind,
    symbol_of,
)
from alphapulse.projections import CandidateRecord, Views, ViewUnusable, event_named

from .errors import UnknownCandidate
from .validation import refuse

STATES: Final = tuple(CANDIDATE_STATE_NAMES.values())
SCORE_MIN: Final = 2

FAMILIES: Final[dict[int, str]] = {
    AssetClass.TOKEN: "chain", AssetClass.COIN: "chain", AssetClass.EQUITY: "security",
    AssetClass.ETF: "security", AssetClass.BOND: "security", AssetClass.INDEX: "index",
}  # fmt: skip
WEIGHTS: Final[dict[str, tuple[int, int]]] = {
    "isin": (8, 0), "figi": (8, 0), "cusip": (8, 0), "sedol": (8, 0), "lei": (4, -4),
    "name": (3, -1), "symbol": (2, 0), "decimals": (1, -1), "class": (0, -1), "chain": (0, 0),
    "currency": (0, 0),
}  # fmt: skip
"""Field to what it adds when both say the same, and when they do not. One identifier is enough, a
different one says nothing: a share and its depositary receipt have two. What weighs nothing is told
when it differs."""
FIELDS: Final = tuple(WEIGHTS)
_WEIGHTS: Final = tuple(weights for weights in WEIGHTS.values() if weights != (0, 0))
_GROUPING: Final = tuple(
    FIELDS.index(field) for field in ("isin", "figi", "cusip", "sedol", "lei", "name", "symbol")
)
"""Fields by which look-alikes are found, and one of which any two must share."""
_LEI: Final = FIELDS.index("lei")
if any(WEIGHTS[field] == (0, 0) for field in FIELDS[: len(_WEIGHTS)]):
    raise ImportError("fields that weigh nothing come last")
_FORMS: Final = frozenset(
    {"ab", "adr", "ads", "ag", "asa", "bhd", "co", "common", "company", "corp", "corporation",
     "gdr", "gmbh", "inc", "incorporated", "kk", "limited", "llc", "lp", "ltd", "nv", "ordinary",
     "oyj", "plc", "sa", "sab", "se", "share", "shares", "spa", "stock", "the"}
)  # fmt: skip
"""Words of a name that say the form of a company or of a share. In that of a token they may be what
tells it apart: `Frax Price Index Share` is not `Frax Price Index`."""
_WORDS: Final = re.compile(r"[^\W_]+")


class Side(NamedTuple):
    """What is compared of one instrument: its words in the order of FIELDS, empty if not known."""

    id: int
    fingerprint: bytes
    asset_class: int
    said: tuple[str, ...]
    compared: tuple[str, ...]
    """The same in the form in which they are compared."""


class Evidence(NamedTuple):
    """Why two instruments look alike; of the one whose fingerprint comes first, then the other."""

    agree: dict[str, str]
    """Field to what both say, as it was compared."""
    differ: dict[str, tuple[str, str]]
    """Field to what each says."""
    score: int


class LookAlike(NamedTuple):
    """A pair that would be proposed. a: the one whose fingerprint comes first."""

    a: int
    b: int
    fingerprints: tuple[bytes, bytes]
    evidence: Evidence


class Candidate(NamedTuple):
    """A look-alike that was proposed."""

    id: int
    a: int
    b: int
    evidence: Evidence
    state: CandidateState
    relation: RelationKind | None
    """Once confirmed, how they are related."""
    start: int
    """Once confirmed, the one that the relation starts from; else 0."""
    reason: str
    source: str
    """Who said the newest word about it."""
    offset: int
    """Of the event that holds this state."""


# Comparing


def side_of(body: InstrumentBody) -> Side | None:
    """None for a class whose instruments are never taken for one another. Cost: 6 µs."""
    record, extension = InstrumentRecord(body.message), body.extension
    asset_class = body.message[2]
    if asset_class not in FAMILIES:
        return None
    known, decimals = extension.identifiers.get, record.decimals
    identifiers = record.isin or "", *(known(field, "") for field in ("figi", "cusip", "sedol"))
    others = (
        "" if decimals is None else str(decimals), AssetClass(asset_class).name.lower(),
        extension.chain, record.currency or "",
    )  # fmt: skip
    lei, name, symbol = known("lei", ""), extension.name, symbol_of(body)
    forms = _FORMS if FAMILIES[asset_class] == "security" else frozenset[str]()
    return Side(
        record.id, record.fingerprint, asset_class, (*identifiers, lei, name, symbol, *others),
        (*identifiers, lei, _plain_name(name, forms), _folded(symbol), *others),
    )  # fmt: skip


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _plain_name(name: str, forms: Set[str]) -> str:
    """Its words, without those that say a form; all of it when nothing else is left."""
    folded = _folded(name)
    words = _WORDS.findall(folded.replace(".", ""))
    return " ".join([word for word in words if word not in forms]) or folded


def groups_of(asset_class: int, compared: Sequence[str]) -> list[tuple[int, str]]:
    """(place in FIELDS, value) of the groups that it is in. Issuers have few shares, many bonds."""
    groups = [(place, compared[place]) for place in _GROUPING if compared[place]]
    if asset_class != AssetClass.EQUITY:
        groups = [group for group in groups if group[0] != _LEI]
    return groups


def score_of(one: Sequence[str], other: Sequence[str]) -> int:
    """Of two sides, as they are compared. Cost: 1.5 µs."""
    score = 0
    for a, b, (gain, loss) in zip(one, other, _WEIGHTS, strict=False):
        if a and b:
            score += gain if a == b else loss
    return score


def evidence_of(one: Side, other: Side) -> Evidence | None:
    """None when nothing speaks for it: another family, or nothing in common. Cost: 6 µs."""
    if FAMILIES[one.asset_class] != FAMILIES[other.asset_class] or one.id == other.id:
        return None
    a, b = (one, other) if one.fingerprint < other.fingerprint else (other, one)
    shared = set(groups_of(a.asset_class, a.compared))
    if shared.isdisjoint(groups_of(b.asset_class, b.compared)):
        return None
    agree: dict[str, str] = {}
    differ: dict[str, tuple[str, str]] = {}
    for place, field in sorted(enumerate(FIELDS), key=lambda each: each[1]):
        value, beside = a.compared[place], b.compared[place]
        if value and beside and value != beside:
            differ[field] = a.said[place], b.said[place]
        elif value and beside and WEIGHTS[field][0]:
            agree[field] = value
    return Evidence(agree, differ, score_of(a.compared, b.compared))


def evidence_in(body: CandidateBody) -> Evidence:
    return Evidence(body.agree, body.differ, body.score)


def candidate_state(name: object) -> CandidateState:
    """`refused` gives REFUSED. Raises InvalidInput."""
    if name not in STATES:
        refuse("state", "there is no such state", name, f"use one of {', '.join(STATES)}")
    return CandidateState[str(name).upper()]


def start_of(body: CandidateBody) -> int:
    """Who the relation of a confirmed candidate starts from; 0 of another one."""
    if not body.relation:
        return 0
    return body.other if body.backwards else body.instrument


def is_same(one: Evidence, other: Evidence) -> bool:
    """Whether they are the same evidence: the words, whatever they are worth today."""
    return (one.agree, one.differ) == (other.agree, other.differ)


# Reading


class Candidates:
    """What was written about look-alikes. Safe for threads."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._log = log
        self._views = views

    def written(
        self, states: Iterable[CandidateState], of: Iterable[int] | None = None
    ) -> list[Candidate]:
        """Those in these states, of some instruments or of all; strongest first, then by age. Cost:
        10 µs each."""
        table, wanted = self._views.table("candidates"), frozenset(states)
        if of is None:
            positions = {position for _, position in table.keys()}  # noqa: SIM118  # pairs
        else:
            cells = {cell for id in of for cell in table.postings("instrument", id)}
            positions = set(map(table.position_of, cells))
        found = [
            self._candidate(table.trailer(position).data_offset)
            for position in positions
            if CandidateRecord(table.arena, position).state in wanted
        ]
        return sorted(found, key=lambda each: (-each.evidence.score, each.offset))

    def one(self, id: int) -> Candidate:
        """The candidate with this id. Raises UnknownCandidate."""
        return self._candidate(self._offset_of(id))

    def body(self, id: int) -> CandidateBody:
        """The full state of a candidate. Raises UnknownCandidate."""
        return self._body(self._offset_of(id))

    def _offset_of(self, id: int) -> int:
        table = self._views.table("candidates")
        position = table.find(id)
        if position < 0:
            raise UnknownCandidate("looking for a candidate", id=f"0x{id:016x}")
        return table.trailer(position).data_offset

    def _candidate(self, offset: int) -> Candidate:
        event, body = event_named(self._log, offset), self._body(offset)
        return Candidate(
            event.entity, body.instrument, body.other, evidence_in(body),
            CandidateState(body.state), RelationKind(body.relation) if body.relation else None,
            start_of(body), body.reason, event.source, offset,
        )  # fmt: skip

    def _body(self, offset: int) -> CandidateBody:
        body = event_named(self._log, offset).body
        if not isinstance(body, CandidateBody):
            raise ViewUnusable("reading a candidate", offset=offset)
        return body
