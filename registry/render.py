"""What the registry knows, as plain dicts for JSON: one place for the shape of every answer.

The command line prints these, and whatever else speaks JSON sends the same. Ids are `0x%016x`,
fingerprints and hashes hex, keys `key_text`, times RFC 3339 UTC with nanoseconds, exact numbers
text, offsets integers. What is not known is null: empty text, time 0, decimals unset. Names of
fields never change their meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alphapulse.log import (
    ANSWERED_NAMES,
    CANDIDATE_STATE_NAMES,
    PROPOSED_NAMES,
    RELATION_NAMES,
    SEVERITY_NAMES,
    TRADING_NAMES,
    VENUE_KIND_NAMES,
    AcknowledgedBody,
    AnswerBody,
    AnyBody,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    EndorsedBody,
    EndpointsBody,
    Event,
    FeedBody,
    FeesBody,
    HoursBody,
    InstrumentBody,
    InstrumentRecord,
    ListingBody,
    PerformanceBody,
    ProposalBody,
    RelationBody,
    RulesBody,
    SampleBody,
    SnapshotBody,
    Status,
    TradingBody,
    VenueBody,
    Verdict,
    WarningBody,
    format_time,
    symbol_of,
)
from alphapulse.projections import ListingRecord, Rebuilt

from .candidate_finder import LookAlike
from .candidates import Candidate, Evidence
from .changes import Blame, Change
from .cross import Pair
from .deciding import Receipt, key_of
from .fields import (
    class_text,
    fact,
    fact_fields,
    id_text,
    relation_text,
    status_text,
    time_text,
    words_shown,
)
from .formula import components_of
from .identity import key_text
from .instruments import ORDER_FIELDS
from .lookup import Match
from .planning import Planned
from .registry import RegistryStatistics
from .related import Joined, Related, Waiting
from .relation_rules import ratio_text
from .snapshots import unpack_ids
from .synthetics import formula_of

Json = dict[str, object]


def _known_id(id: int) -> str | None:
    return id_text(id) if id else None


def _known_relation(relation: int) -> str | None:
    return relation_text(relation) if relation else None


def _status_said(status: int) -> str | None:
    return status_text(status) if status else None


def _facts(values: dict[str, str | int]) -> Json:
    return {field: fact(field, value) for field, value in values.items()}


def _ids(packed: bytes) -> list[str]:
    return [id_text(id) for id in unpack_ids(packed)]


def _as_is(value: object) -> object:
    return None if value == "" else value


_FORMS: Final[dict[str, Callable[..., object]]] = {
    "asset_class": lambda value: class_text(value) if value else None,  # None: of a venue, a feed
    "status": status_text, "relation": _known_relation,
    "valid_from": time_text, "valid_to": time_text, "symbol_from": time_text,
    "key": key_text, "holder_key": key_text,
    "earlier": lambda periods: [
        [time_text(begins), time_text(ends), words_shown(words)] for begins, ends, words in periods
    ],
    "missing_key": lambda value: key_text(value) if value else None,
    "instrument": _known_id, "other": _known_id,
    "wanted": id_text, "assigned": id_text, "holder": id_text,
    "fingerprint": bytes.hex, "holder_fingerprint": bytes.hex, "instrument_fingerprint": bytes.hex,
    "other_fingerprint": lambda value: value.hex() or None,
    "content_hash": bytes.hex,
    "agree": dict, "differ": lambda value: {field: list(said) for field, said in value.items()},
    "state": lambda value: CANDIDATE_STATE_NAMES.get(value, str(value)),
    "proposed": lambda value: PROPOSED_NAMES.get(value, str(value)),
    "answered": lambda value: ANSWERED_NAMES.get(value, str(value)),
    "facts": _facts, "modified": time_text, "appeared": _ids, "gone": _ids,
    "precedence": list, "fields": list, "seen": dict,
    "kind": lambda value: VENUE_KIND_NAMES.get(value, str(value)) if value else None,
    "links": dict, "hours": dict, "measures": dict, "endpoints": list, "schedules": list,
    "until": time_text, "window_from": time_text, "window_to": time_text, "listing": _known_id,
    "listing_fingerprint": lambda value: value.hex() or None,
    "sketches": lambda value: {name: sketch.hex() for name, sketch in value.items()},
    "conflicts": lambda value: list(value) if isinstance(value, tuple) else value,
}  # fmt: skip
"""How a field of a body is shown; the others are text, integers and booleans as they are."""
_RENAMED: Final = {"asset_class": "class"}


def _trading_status(value: int) -> str:
    return TRADING_NAMES.get(value, str(value))


def _check_forms() -> None:
    for kind in (
        ListingBody, RelationBody, CollisionBody, ConflictBody, AcknowledgedBody, AnswerBody,
        FeedBody, CandidateBody, ProposalBody, SnapshotBody, RulesBody, EndorsedBody,
        VenueBody, EndpointsBody, FeesBody, HoursBody, TradingBody, PerformanceBody, WarningBody,
    ):
        annotations = kind.__annotations__
        for field in kind.__struct_fields__:
            if field not in _FORMS and annotations[field] not in ("str", "int", "bool"):
                raise ImportError(f"{kind.__name__}.{field} needs a form for JSON")


_check_forms()


def body_dict(body: AnyBody) -> Json:
    """Every field of an event's body. Of an instrument: its state, with only the known facts."""
    if isinstance(body, InstrumentBody):
        return _instrument_dict(body)
    if isinstance(body, SampleBody):
        from .venues.samples import sample_dict  # what it needs takes 25 ms to load

        return sample_dict(body)
    shown: Json = {}
    for field in body.__struct_fields__:
        form = _FORMS.get(field, _as_is)
        if field == "status" and isinstance(body, ProposalBody):
            form = _status_said
        elif field == "status" and isinstance(body, TradingBody):
            form = _trading_status
        shown[_RENAMED.get(field, field)] = form(getattr(body, field))
    if isinstance(body, ListingBody | RelationBody):
        is_known = isinstance(body, ListingBody) or body.relation in RELATION_NAMES
        shown["key"] = key_text(key_of(body)) if is_known else None
    return shown


def _instrument_dict(body: InstrumentBody) -> Json:
    record = InstrumentRecord(body.message)
    return {
        "fingerprint": record.fingerprint.hex(),
        "class": class_text(body.message[2]),
        "status": status_text(body.message[3]),
        "revision": record.revision,
        "counter": body.extension.counter,
        "key": key_text(body.extension.key),
        **fact_fields(body),
    }


def event_dict(event: Event, *, raw: bool = False) -> Json:
    """An event as `tail` shows it; `raw` adds its frame. Raises what decoding its body raises.

    The content hash of the file that it comes from and the request id stand there only when it has
    them. Cost: 20 µs.
    """
    shown: Json = {
        "offset": event.offset,
        "kind": event.kind_name,
        "version": event.version,
        "recorded": format_time(event.recorded),
        "valid_from": time_text(event.valid_from),
        "space": event.space_name,
        "id": id_text(event.entity),
        "severity": SEVERITY_NAMES.get(event.severity, str(event.severity)),
        "source": event.source or None,
    }
    if event.metadata_size:
        metadata = event.metadata
        if metadata.content_hash:
            shown["content_hash"] = metadata.content_hash.hex()
        if metadata.request_id:
            shown["request_id"] = metadata.request_id
    shown["body"] = body_dict(event.body)
    if raw:
        shown["frame_hex"] = event.frame.hex()
    return shown


def match_dict(match: Match, at: int, joined: Joined | None = None, since: int = 0) -> Json:
    """An instrument as `lookup` shows it at `at` (ns), which decides whether it has expired.

    What every class may have comes first and may be null; then the other facts that are known.
    joined: the relation by which it was found. since: as of `Lookup.since`.
    """
    body, record = match.body, match.record
    first: Json = {
        "id": id_text(match.id),
        "fingerprint": record.fingerprint.hex(),
        "class": class_text(body.message[2]),
        "status": status_text(record.status_at(at)),
        "symbol": symbol_of(body) or None,
        "name": body.extension.name or None,
        "decimals": record.decimals,
        "isin": record.isin or None,
        "chain": body.extension.chain or None,
        "address": body.extension.address or None,
    }
    formula = formula_of(body)
    uses = {"components": list(map(id_text, components_of(formula)))} if formula else {}
    others = {field: value for field, value in fact_fields(body).items() if field not in first}
    dates = {"valid_from": time_text(since)} if since else {}
    return first | others | dates | uses | {
        "revision": record.revision,
        "offset": match.offset,
        "key": key_text(body.extension.key),
        "joined": None if joined is None else joined_text(joined),
    }


def joined_text(joined: Joined) -> str:
    """`same_as 0x…`, `succeeds 0x…` or `succeeded_by 0x…`."""
    word = "succeeded_by" if joined.is_former else relation_text(joined.relation)
    return f"{word} {id_text(joined.to)}"


def related_dict(related: Related, source: str) -> Json:
    return {
        "from": id_text(related.instrument),
        "relation": relation_text(related.relation),
        "to": id_text(related.other),
        "ratio": ratio_text(related.ratio) or None,
        "valid_from": time_text(related.valid_from),
        "valid_to": time_text(related.valid_to),
        "source": source or None,
        "depth": related.depth,
        "field": related.field or None,
    }


def waiting_dict(waiting: Waiting, source: str) -> Json:
    missing = key_text(waiting.missing_key)
    return {
        "id": id_text(waiting.id),
        "from": id_text(waiting.instrument) if waiting.instrument else missing,
        "relation": relation_text(waiting.relation),
        "to": id_text(waiting.other) if waiting.other else missing,
        "missing": missing,
        "refused": waiting.is_refused,
        "source": source or None,
        "offset": waiting.offset,
    }


def candidate_dict(candidate: Candidate) -> Json:
    said, start = None, candidate.start
    if candidate.relation is not None:
        end = candidate.b if start == candidate.a else candidate.a
        said = f"{id_text(start)} {relation_text(candidate.relation)} {id_text(end)}"
    return {
        "id": id_text(candidate.id),
        "a": id_text(candidate.a),
        "b": id_text(candidate.b),
        "evidence": _evidence_dict(candidate.evidence),
        "state": candidate.state.name.lower(),
        "source": candidate.source or None,
        "offset": candidate.offset,
        "relation": said,
        "reason": candidate.reason or None,
    }


def look_alike_dict(pair: LookAlike) -> Json:
    """As `candidate_dict`, of what was only found."""
    return {
        "id": None, "a": id_text(pair.a), "b": id_text(pair.b),
        "evidence": _evidence_dict(pair.evidence), "state": "found", "source": None,
        "offset": None, "relation": None, "reason": None,
    }  # fmt: skip


def _evidence_dict(evidence: Evidence) -> Json:
    return {
        "score": evidence.score, "agree": dict(evidence.agree),
        "differ": {field: list(said) for field, said in evidence.differ.items()},
    }


def listing_status(
    listing: ListingBody | ListingRecord, at: int, owner: Status = Status.ACTIVE
) -> str:  # fmt: skip
    """Of a listing at `at` (ns): pending, active or delisted follows from its dates.

    owner: the instrument's status at that time; what is active is so only while that is, too.
    """
    if at < listing.valid_from:
        return "pending"
    if listing.valid_to and at >= listing.valid_to:
        return "delisted"
    status = status_text(listing.status)
    return owner.name.lower() if status == "active" and owner is not Status.ACTIVE else status


def listing_dict(listing: ListingBody, at: int, owner: Status = Status.ACTIVE) -> Json:
    """A listing as it stands at `at` (ns), its status as `listing_status` says."""
    status = listing_status(listing, at, owner)
    return {
        "instrument": id_text(listing.instrument),
        "venue": listing.venue,
        "symbol": listing.symbol or None,
        "currency": listing.currency or None,
        "primary": listing.primary,
        "valid_from": time_text(listing.valid_from),
        "valid_to": time_text(listing.valid_to),
        "figi": listing.figi or None,
        **{field: getattr(listing, field) or None for field in ORDER_FIELDS},
        "status": status,
        "current": status == "active",
    }


def listed_dict(
    listing: ListingBody | ListingRecord, at: int, owner: Match, then: Match | None
) -> Json:  # fmt: skip
    """A listing of a known venue, with what `instruments-at` says of the instrument.

    owner: the instrument as it was known. then: as it was at that time; None before its
    registration holds, when only the listing speaks.
    """
    status = listing_status(
        listing, at, Status.ACTIVE if then is None else then.record.status_at(at)
    )
    return {
        "instrument": id_text(listing.instrument),
        "symbol": listing.symbol or None,
        "currency": listing.currency or None,
        "primary": listing.primary,
        "class": class_text(listing.asset_class),
        "name": owner.body.extension.name or None,
        "isin": owner.record.isin or None,
        "valid_from": time_text(listing.valid_from),
        "valid_to": time_text(listing.valid_to),
        "status": status,
        "current": status == "active",
    }


def pair_dict(pair: Pair, listings_a: list[Json], listings_b: list[Json]) -> Json:
    """What stands for each other at two venues, with the relations as they were said."""
    return {
        "instrument_a": id_text(pair.a),
        "instrument_b": id_text(pair.b),
        "ratio": ratio_text(pair.ratio) or None,
        "path": [
            {
                "from": id_text(step.link.instrument),
                "relation": relation_text(step.link.relation),
                "to": id_text(step.link.other),
                "ratio": ratio_text(step.link.ratio) or None,
            }
            for step in pair.path
        ],
        "listings_a": listings_a,
        "listings_b": listings_b,
    }


def on_chain_dict(match: Match, since: int, then: Match | None) -> Json:
    """A token or coin in the form of a listing: its venue is its chain.

    since: the valid-from (ns) of its registration, 0 = not known. then: its state at the time
    asked, None before that time.
    """
    status = Status.PENDING if then is None else then.record.status
    match = then or match
    return {
        "instrument": id_text(match.id),
        "venue": match.body.extension.chain,
        "symbol": symbol_of(match.body) or None,
        "currency": None,
        "primary": False,
        "valid_from": time_text(since),
        "valid_to": None,
        "figi": None,
        **dict.fromkeys(ORDER_FIELDS),
        "status": status.name.lower(),
        "current": status is Status.ACTIVE,
    }


def receipt_dict(receipt: Receipt) -> Json:
    return {
        "id": id_text(receipt.id),
        "fingerprint": receipt.fingerprint.hex(),
        "offset": receipt.offset,
        "outcome": receipt.outcome,
    }


def change_dict(change: Change) -> Json:
    """As `diff` shows it."""
    shown = {**change._asdict(), "id": id_text(change.id)}
    del shown["venue"]
    return shown


def planned_dict(planned: Planned, file: str) -> Json:
    """As a dry run shows it. `changes` are as `diff` shows them."""
    return {
        "file": file,
        "place": planned.place,
        "what": planned.what,
        "kind": planned.kind or None,
        "id": _known_id(planned.id),
        "changes": [change._asdict() for change in planned.changes],
        "reason": planned.reason or None,
    }


def blame_dict(blame: Blame) -> Json:
    return {
        **blame._asdict(),
        "recorded": format_time(blame.recorded),
        "source": blame.source or None,
    }


def rebuilt_dict(rebuilt: Rebuilt) -> Json:
    live = rebuilt.live_digest
    return {
        "view": rebuilt.view,
        "events": rebuilt.events,
        "events_per_s": rebuilt.events_per_s,
        "digest": rebuilt.digest.hex(),
        "live_digest": None if live is None else live.hex(),
        "equal": rebuilt.equal,
    }


def verdict_dict(verdict: Verdict) -> Json:
    return {
        "verdict": verdict.name,
        "ok": verdict.ok,
        "checked": verdict.checked,
        "rate_per_s": verdict.rate_per_s,
        "first_bad_offset": verdict.first_bad_offset,
        "detail": verdict.detail or None,
        "cure": verdict.cure or None,
    }


def statistics_dict(statistics: RegistryStatistics) -> Json:
    return {
        "head": statistics.head,
        "chain_head": statistics.chain_head.hex(),
        "id_bits": statistics.id_bits,
        "events": statistics.events,
        "instruments": statistics.instruments,
        "listings": statistics.listings,
        "alerts_open": statistics.alerts_open,
        "bytes": statistics.size_bytes,
        "views": {
            name: {
                "offset": state.offset, "digest": state.digest.hex(),
                "lag_events": state.lag_events,
            }
            for name, state in statistics.views.items()
        },
    }  # fmt: skip
