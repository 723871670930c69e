"""`candidates`: instruments that look alike, and deciding whether they are related."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from .output import Column, note, progress
from .verb import FINE, NO, Cli, brief, find, request_id_option, settings

if TYPE_CHECKING:
    from alphapulse.registry import LookAlikes, Registry

_ACTIONS: Final = ("list", "find", "propose", "show", "confirm", "refuse")
_OF_ONE: Final = ("show", "confirm", "refuse")
_GOES_WITH: Final = {
    "state": ("list",), "key": ("list",), "min_score": ("find", "propose"),
    "relation": ("confirm",), "start": ("confirm",), "ratio": ("confirm",),
    "valid_from": ("confirm",), "reason": ("confirm", "refuse"),
    "source": ("propose", "confirm", "refuse"), "request_id": ("confirm", "refuse"),
}  # fmt: skip
_FLAGS: Final = {"key": "--of", "start": "--from"}
_ID: Final = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
_ALL: Final = "all"
_CROWDS_SHOWN_MAX: Final = 5
Given = dict[str, Any]
"""Options that were given, by name."""


@click.command()
@click.argument("action", type=click.Choice(_ACTIONS), default="list")
@click.argument("id", required=False)
@click.option(
    "--state", type=click.Choice(("proposed", "confirmed", "refused", _ALL)),
    help="With list: those in this state.  [default: proposed]",
)  # fmt: skip
@click.option("--of", "key", metavar="KEY", help="With list: those with what KEY means.")
@click.option(
    "--min-score", type=int, metavar="N",
    help="With find and propose: how strong the evidence must be.  [default: 2]",
)  # fmt: skip
@click.option("--relation", metavar="RELATION", help="With confirm: how they are related.")
@click.option(
    "--from", "start", type=click.Choice(("a", "b")),
    help="With confirm: which of the two the relation starts from; same_as has no direction.",
)  # fmt: skip
@click.option("--ratio", metavar="N/D", help="With confirm: as for `relate`.")
@click.option("--valid-from", metavar="TIME", help="With confirm: since when they are related.")
@click.option("--reason", help="With refuse, and with confirm if you like: why; it is kept.")
@click.option("--source", help="Who says so.  [default: operator; of proposals: finder]")
@request_id_option
@settings
def candidates(cli: Cli, action: str, id: str | None, **flags: Any) -> int:
    """Show instruments that look alike, and decide whether they are related.

    \b
      candidates               those that wait for a decision
      candidates find          what looks alike now; writes nothing
      candidates propose       write that down as events, once each
      candidates show ID       both instruments side by side
      candidates confirm ID --relation wraps --from a    a wraps b
      candidates confirm ID --relation same_as
      candidates refuse ID --reason "two companies"

    Same symbol, name, issuer or identifier make two tokens, securities or indices look alike;
    nothing is merged. To confirm relates the two, as `relate` does; what was refused comes up
    again only on other evidence. No more pairs are proposed than connect what looks alike.

    The score orders: what agrees adds to it (an identifier 8, the issuer of equities 4, name 3,
    symbol 2, decimals 1), what differs takes away (issuer 4; name, decimals, class 1). Exit 1
    when a relation is known otherwise.

    \b
    JSON fields: id, a, b, evidence (score, agree, differ), state, source, offset,
    relation, reason. With find the state is "found", and id and offset are null.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if action not in _GOES_WITH[name]:
            flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{flag} goes with {' and '.join(_GOES_WITH[name])}")
    if (id is None) == (action in _OF_ONE):
        raise click.UsageError(f"write `candidates [list|find|propose]`, or `{_usage(action)}`")
    writes = action in ("propose", "confirm", "refuse")
    with cli.registry(write=writes) as registry:
        if id is not None:
            return _ONE[action](cli, registry, _id(id), given)
        if action == "list":
            _list(cli, registry, given)
        elif action == "find":
            _find(cli, registry, given)
        else:
            _propose(cli, registry, given)
    return FINE


def _usage(action: str) -> str:
    return f"candidates {action} ID" if action in _OF_ONE else "candidates show|confirm|refuse ID"


def _id(text: str) -> int:
    if not _ID.fullmatch(text):
        raise click.UsageError(f"{text!r} is no id of a candidate: 0x and up to 16 hex digits")
    return int(text, 16)


def _list(cli: Cli, registry: Registry, given: Given) -> None:
    from alphapulse.registry.candidates import STATES
    from alphapulse.registry.render import candidate_dict

    state = given.get("state", "proposed")
    of = [match.id for match in find(registry, given["key"])] if "key" in given else None
    found = registry.candidates(states=STATES if state == _ALL else (state,), of=of)
    _print(cli, registry, list(map(candidate_dict, found)))
    if not found:
        which = "known" if state == _ALL else state
        cli.note(f"no candidate is {which}; `alphapulse candidates propose` looks for some")
    elif state == "proposed":
        cli.note(
            f"{_counted(len(found))}: `candidates show ID`, then `confirm ID --relation RELATION` "
            "or `refuse ID --reason WHY`"
        )


def _find(cli: Cli, registry: Registry, given: Given) -> None:
    from alphapulse.registry.render import look_alike_dict

    found = _look(registry, given)
    _print(cli, registry, list(map(look_alike_dict, found.pairs)))
    _tell(cli, found)
    if found.pairs:
        cli.note("nothing is written; `alphapulse candidates propose` does that")


def _propose(cli: Cli, registry: Registry, given: Given) -> None:
    from alphapulse.registry.render import candidate_dict

    found = _look(registry, given)
    receipts = registry.propose(found.pairs, source=given.get("source", "finder"))
    proposed = [registry.alike.one(receipt.id) for receipt in receipts]
    _print(cli, registry, list(map(candidate_dict, proposed)))
    _tell(cli, found)


def _look(registry: Registry, given: Given) -> LookAlikes:
    options = {"score_min": given["min_score"]} if "min_score" in given else {}
    with progress("comparing") as report:
        return registry.look_alikes(progress=report, **options)


def _tell(cli: Cli, found: LookAlikes) -> None:
    more = f", {found.more} more are weaker: decide about these first" if found.more else ""
    cli.note(f"{found.compared} instruments compared, {_counted(len(found.pairs))}{more}")
    crowds = sorted(found.crowds, key=lambda crowd: -crowd.members)
    for crowd in crowds[:_CROWDS_SHOWN_MAX]:
        cli.note(f"passed over: {crowd.members} have the {crowd.field} {crowd.value}")
    if len(crowds) > _CROWDS_SHOWN_MAX:
        cli.note(f"… and {len(crowds) - _CROWDS_SHOWN_MAX} more values that too many have")


def _show(cli: Cli, registry: Registry, id: int, _: Given) -> int:
    from alphapulse.registry.render import candidate_dict

    candidate = registry.alike.one(id)
    row = candidate_dict(candidate)
    if cli.json:
        cli.out.records([row])
        return FINE
    evidence = candidate.evidence
    cli.out.fields(
        (
            ("id", str(row["id"])), ("state", str(row["state"])),
            ("a", _brief(registry, candidate.a)), ("b", _brief(registry, candidate.b)),
            *((f"same {field}", value) for field, value in evidence.agree.items()),
            *((f"other {field}", f"{a} | {b}") for field, (a, b) in evidence.differ.items()),
            ("score", str(evidence.score)), ("relation", str(row["relation"] or "")),
            ("reason", candidate.reason), ("source", candidate.source),
            ("offset", str(candidate.offset)),
        )
    )  # fmt: skip
    return FINE


def _confirm(cli: Cli, registry: Registry, id: int, given: Given) -> int:
    if "relation" not in given:
        raise click.UsageError(
            "say how they are related: --relation same_as, wraps, bridged_from, receipt_of or "
            "another one of `alphapulse relate --help`"
        )
    candidate = registry.alike.one(id)
    start = {"a": candidate.a, "b": candidate.b}.get(given.pop("start", ""))
    receipt = registry.confirm(id, start=start, **given)
    _print_decision(cli, registry, id)
    for offset in receipt.conflicts:
        note(f"warning: the relation is known otherwise: see the conflict at offset {offset}")
    return NO if receipt.conflicts else FINE


def _refuse(cli: Cli, registry: Registry, id: int, given: Given) -> int:
    if "reason" not in given:
        raise click.UsageError("say why, for whoever asks later: --reason TEXT")
    registry.refuse(id, **given)
    _print_decision(cli, registry, id)
    return FINE


_ONE: Final[dict[str, Callable[[Cli, Registry, int, Given], int]]] = {
    "show": _show, "confirm": _confirm, "refuse": _refuse,
}  # fmt: skip


def _print_decision(cli: Cli, registry: Registry, id: int) -> None:
    from alphapulse.registry.render import candidate_dict

    row = candidate_dict(registry.alike.one(id))
    if cli.json:
        cli.out.records([row])
    else:
        words = (row["state"], row["id"], f"offset {row['offset']}", row["relation"])
        cli.out.line("  ".join(str(word) for word in words if word))


def _print(cli: Cli, registry: Registry, rows: Sequence[dict[str, Any]]) -> None:
    if cli.json:
        cli.out.records(rows)
        return
    if not rows:
        return
    symbols = {row[side]: _symbol(registry, row[side]) for row in rows for side in "ab"}
    cli.out.table(
        [Column("score", right=True), Column("id", whole=True), Column("state"),
         Column("a", whole=True), Column("a_symbol", "symbol"), Column("b", whole=True),
         Column("b_symbol", "symbol"), Column("same"), Column("other"), Column("relation"),
         Column("reason")],
        [
            row | {
                "score": row["evidence"]["score"], "same": ", ".join(row["evidence"]["agree"]),
                "other": ", ".join(row["evidence"]["differ"]),
                "state": "" if row["state"] in ("found", "proposed") else row["state"],
                "a_symbol": symbols[row["a"]], "b_symbol": symbols[row["b"]],
                "relation": (row["relation"] or "").split(" ", 1)[-1].split(" ")[0],
            }
            for row in rows
        ],
    )  # fmt: skip


def _symbol(registry: Registry, id: str) -> str:
    """Symbol or name, as it is known now."""
    from alphapulse.log import symbol_of

    match = registry.describe(int(id, 16))
    assert match is not None  # a candidate is about registered instruments
    return symbol_of(match.body) or match.body.extension.name


def _brief(registry: Registry, id: int) -> str:
    match = registry.describe(id)
    assert match is not None  # as above
    name = match.body.extension.name
    return f"{brief(match)} ({name})" if name else brief(match)


def _counted(count: int) -> str:
    return f"{count} candidate{'s' * (count != 1)}"
