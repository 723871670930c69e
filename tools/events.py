"""Events as lines: what `tail`, `replay`, `history` and `alerts` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .output import short_time, shown
from .verb import Cli

if TYPE_CHECKING:
    from alphapulse.log import CandidateBody, Event, FeedBody, Pattern, ProposalBody, SnapshotBody
    from alphapulse.registry import ImportReport

_BELOW: Final = " " * 9
"""Where the time of an event stands, after its offset."""


def print_events(
    cli: Cli, events: Iterable[Event], *, raw: bool = False, explain: Pattern | None = None,
    flush: bool = False,
) -> int:  # fmt: skip
    """Prints events one by one as they come; how many. `flush` after each, for live ones.

    `explain` is the pattern of which to say why each event matches it.
    """
    from alphapulse.registry.render import event_dict

    count = 0
    for event in events:
        if cli.json:
            record = event_dict(event, raw=raw)
            if explain is not None:
                record["explain"] = explain.explain(event)
            cli.out.records([record])
        else:
            print_event(cli, event)
            if raw:
                cli.out.line(event.frame.hex())
            if explain is not None:
                for line in str(explain.explain(event)).splitlines():
                    cli.out.line(_BELOW + line)
        count += 1
        if flush:
            cli.out.flush()
    return count


def print_event(cli: Cli, event: Event, after: str = "") -> None:
    """Offset, recorded time to the second, kind, and what it is about."""
    from alphapulse.log import format_time

    moment = format_time(event.recorded)
    cli.out.cells(
        (str(event.offset), -7), (f"{moment[:10]} {moment[11:19]}", 19), (event.kind_name, 21),
        (describe(event) + after, 0),
    )  # fmt: skip


def describe(event: Event) -> str:
    """What an event says, in a few words; `--json` has all of it."""
    from alphapulse.log import format_time
    from alphapulse.registry.render import body_dict

    body = body_dict(event.body)
    text = {name: shown(value) for name, value in body.items()}
    if event.is_instrument:
        symbol = text.get("symbol") or text.get("native_id") or text.get("name", "")
        words = [text["class"], symbol, f"0x{event.entity:016x}"]
        if body["revision"] != 1:
            words.append(f"revision {text['revision']}")
        if text["status"] != "active":
            words.append(text["status"])
        if event.valid_from:
            words.append(f"from {short_time(format_time(event.valid_from))}")
    elif event.is_listing:
        words = [text["symbol"] or "(no symbol)", "at", text["venue"], text["currency"],
                 "of", text["instrument"]]  # fmt: skip
        if body["valid_to"]:
            words.append(f"until {text['valid_to'][:10]}")
    elif event.kind_name.startswith("venue."):
        words = _describe_venue(event, text)
    else:
        words = _describe_other(event, text)
    if event.source:
        words.append(f"({event.source})")
    return " ".join(word for word in words if word)


def _describe_other(event: Event, text: dict[str, str]) -> list[str]:
    from alphapulse.log import (
        AcknowledgedBody,
        AnswerBody,
        CandidateBody,
        CollisionBody,
        ConflictBody,
        EndorsedBody,
        FeedBody,
        ProposalBody,
        RelationBody,
        RulesBody,
        SnapshotBody,
    )
    from alphapulse.registry.relation_rules import ratio_in, ratio_text

    if isinstance(event.body, RelationBody):
        missing = f"({text['missing_key']})" if text["missing_key"] else ""
        far = text["other"] or missing or f"{text['group_source']}/{text['group']}"
        words = [text["instrument"] or missing, text["relation"], far]
        if missing:
            words.append("waiting")
        if ratio := ratio_text(ratio_in(event.body)):
            words.append(ratio)
        if text["valid_to"]:
            words.append(f"until {text['valid_to'][:10]}")
        return words
    if isinstance(event.body, CollisionBody):
        return [text["key"], "wanted", text["wanted"], "of", text["holder_key"], "and got",
                text["assigned"]]  # fmt: skip
    if isinstance(event.body, ConflictBody):
        held_by = event.body.held_source or "an unnamed source"
        offered_by = event.body.offered_source or "an unnamed source"
        held, offered = (
            _said(event.body.field, value) for value in (event.body.held, event.body.offered)
        )
        return [f"0x{event.entity:016x} {text['field']}:", held, "by", held_by,
                "stays,", offered, "by", offered_by, "was offered"]  # fmt: skip
    if isinstance(event.body, AcknowledgedBody):
        return [f"alert {text['alert']}", text["reason"]]
    if isinstance(event.body, EndorsedBody):
        fields = ", ".join(map(shown, event.body.fields))
        return [f"0x{event.entity:016x}", f"{fields}: it says so too, and comes first"]
    if isinstance(event.body, ProposalBody):
        return _describe_proposal(event.body, text)
    if isinstance(event.body, SnapshotBody):
        return _describe_snapshot(event.body)
    if isinstance(event.body, RulesBody):
        seen = (f"seen by {source}: {policy}" for source, policy in event.body.seen.items())
        order = " > ".join(event.body.precedence)
        return ["; ".join(each for each in (order, *seen) if each) or "no rules"]
    if isinstance(event.body, FeedBody):
        return [text["file"], "as", f"{text['format']}:", counts(event.body)]
    if isinstance(event.body, CandidateBody):
        return _describe_candidate(event.entity, event.body)
    assert isinstance(event.body, AnswerBody)
    said = f"0x{event.entity:016x}: a request was answered with event {text['answer']}, unchanged"
    conflicts = ", ".join(map(str, event.body.conflicts))
    return [said, f"in conflict {conflicts}" if conflicts else ""]


def _said(field: str, value: str) -> str:
    from alphapulse.registry.fields import said_text

    said = said_text(field, value)
    return repr(value) if said == value else short_time(said)


def _describe_venue(event: Event, text: dict[str, str]) -> list[str]:
    from alphapulse.log import EndpointsBody, FeesBody, TradingBody, VenueBody, WarningBody

    body, words = event.body, [text["venue"]]
    if isinstance(body, VenueBody):
        words += [text["kind"], text["name"], f"of {body.operating}" if body.operating else ""]
        if body.revision != 1:
            words.append(f"revision {body.revision}")
    elif isinstance(body, TradingBody):
        words.append(text["status"])
        if body.listing:
            words += ["for", text["listing"]]
        if body.side != "both":
            words.append(f"to {body.side}")
        words.append(f"since {text['valid_from'][:19]}")
        if body.until:
            words.append(f"until {text['until'][:19]}")
        words.append(body.reason)
    elif isinstance(body, WarningBody):
        words.append(f"schedule {body.schedule} line {body.line}: {body.problem}")
    else:
        if isinstance(body, FeesBody):
            lines = sum(len(schedule["lines"]) for schedule in body.schedules)
            words.append(_counted(lines, "fee line"))
        elif isinstance(body, EndpointsBody):
            words.append(_counted(len(body.endpoints), "endpoint"))
        if event.valid_from:
            words.append(f"from {text['valid_from'][:10]} on")
    return words


def _describe_candidate(id: int, body: CandidateBody) -> list[str]:
    from alphapulse.registry.candidates import start_of
    from alphapulse.registry.fields import id_text, relation_text

    a, b = body.instrument, body.other
    if body.relation:
        if start_of(body) == b:
            a, b = b, a
        words = [f"{id_text(id)}:", id_text(a), relation_text(body.relation), id_text(b)]
        return [*words, body.reason]
    words = [f"{id_text(id)}:", id_text(a), "and", id_text(b)]
    if body.reason:
        return [*words, "are unrelated:", body.reason]
    return [*words, "have the same", ", ".join(body.agree)]


def _describe_proposal(body: ProposalBody, text: dict[str, str]) -> list[str]:
    facts = {field: shown(value) for field, value in body.facts.items()}
    symbol = facts.get("symbol") or facts.get("native_id") or facts.get("name", "")
    words = [text["proposed"], text["class"], symbol, text["instrument"] or text["key"]]
    if body.since:
        words += ["not in", _counted(body.missed, "complete file"), "of", text["source"]]
    if body.policy:
        words.append(f"at once, by policy {text['policy']}")
    elif text["answered"] != "open":
        words.append(text["answered"])
    return [*words, text["reason"]]


def _describe_snapshot(body: SnapshotBody) -> list[str]:
    from alphapulse.registry.snapshots import unpack_ids

    words = [_counted(body.named, "instrument")]
    for name, ids in (("new", body.appeared), ("gone", body.gone)):
        if ids:
            words.append(f"{len(unpack_ids(ids))} {name}")
    what = f"{shown(body.flaw)} file" if body.flaw else f"complete file {body.number}"
    return [f"{what}: {', '.join(words)}"]


def counts(report: FeedBody | ImportReport) -> str:
    """`1204 rows, 3 new, 1 conflict`: what became of a file, without what did not happen."""
    words = [_counted(report.rows, "row")]
    for name in ("new", "unchanged", "amended", "quarantined"):
        if count := getattr(report, name):
            words.append(f"{count} {name}")
    if report.collisions:
        words.append(_counted(report.collisions, "collision"))
    if report.conflicts:
        words.append(_counted(report.conflicts, "conflict"))
    if met := getattr(report, "relations_met", 0):
        words.append(f"{_counted(met, 'relation')} met")
    if waiting := getattr(report, "relations_waiting", 0):
        words.append(f"{_counted(waiting, 'relation')} waiting")
    return ", ".join(words)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
