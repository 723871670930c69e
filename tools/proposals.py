"""`proposals` and `rules`: what a person is asked for, and what holds for sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from .events import describe
from .output import note
from .verb import FINE, NO, Cli, request_id_option, settings

if TYPE_CHECKING:
    from alphapulse.log import Event
    from alphapulse.registry import Receipt, Registry

CONFIRM: Final = "confirm"
REFUSE: Final = "refuse"


@click.command()
@click.argument("words", nargs=-1, metavar="[confirm|refuse ID...]")
@click.option("--reason", default="", help="Why, kept with refuse.")
@click.option("--all", "everything", is_flag=True, help="Show answered ones too.")
@request_id_option
@settings
def proposals(
    cli: Cli, words: tuple[str, ...], reason: str, everything: bool, request_id: str | None
) -> int:
    """Show what is proposed, or answer it: `proposals confirm 0x9f3c…`.

    What a source saw is proposed to be registered; what the complete files of a source name no
    longer is proposed to be delisted. Nothing of it happens by itself. To confirm does it; so does
    `register` or `delist`. What is refused is not proposed again for the same key, or before the
    source has named it in between.

    Several are answered all together, or none where one cannot be.

    Exit 1 while any proposal is open. JSON fields: those of `tail`; of an answer id, fingerprint,
    offset, outcome, where id is the instrument's when it is confirmed.
    """
    if words and (words[0] not in (CONFIRM, REFUSE) or len(words) == 1):
        raise click.UsageError("write `proposals confirm ID...` or `proposals refuse ID...`")
    if reason and words[:1] != (REFUSE,):
        raise click.UsageError("--reason is of refuse")
    if request_id and not words:
        raise click.UsageError("--request-id is of an answer")
    ids = [_id(word) for word in words[1:]]
    with cli.registry(write=bool(words)) as registry:
        if words:
            for receipt in _answered(registry, words[0], ids, reason, request_id or ""):
                _print_answer(cli, words[0], receipt)
        open_ones = registry.proposals()
        if not words:
            for event in registry.proposals(answered=True) if everything else open_ones:
                _print_proposal(cli, registry, event)
    cli.note(f"{len(open_ones)} open" if open_ones else "no open proposals")
    if open_ones and not words:
        cli.note("answer with `alphapulse proposals confirm ID...` or `refuse ID...`")
    return NO if open_ones and not words else FINE


def _answered(
    registry: Registry, verb: str, ids: Iterable[int], reason: str, request_id: str
) -> list[Receipt]:
    """A receipt for each; all of them are answered, or none when one cannot be."""
    from alphapulse.registry import ConfirmProposal, RefuseProposal, Unit
    from alphapulse.registry.writing import receipts

    commands = [
        ConfirmProposal.make(id) if verb == CONFIRM else RefuseProposal.make(id, reason)
        for id in ids
    ]
    unit = Unit(tuple(commands), registry.origin("operator", request_id))
    return receipts(registry.execute([unit]))


def _id(word: str) -> int:
    try:
        return int(word, 16) if word.startswith("0x") else int(word)
    except ValueError:
        raise click.UsageError(f"{word!r} is no id of a proposal") from None


def _print_answer(cli: Cli, verb: str, receipt: Receipt) -> None:
    from alphapulse.registry.render import receipt_dict

    shown = receipt_dict(receipt)
    if cli.json:
        cli.out.records([shown])
        return
    said = "confirmed" if verb == CONFIRM else "refused"
    cli.out.cells((said, 9), (str(shown["id"]), 18), (f"offset {receipt.offset}", 0))
    if receipt.outcome == "unchanged":
        note("it was so before")


def _print_proposal(cli: Cli, registry: Registry, event: Event) -> None:
    from alphapulse.log import ProposalBody
    from alphapulse.registry.render import event_dict

    if cli.json:
        cli.out.records([event_dict(event)])
        return
    assert isinstance(event.body, ProposalBody)
    record = registry.get(event.body.instrument) if event.body.instrument else None
    symbol = record.symbol if record else str(event.body.facts.get("symbol", ""))
    cli.out.cells(
        (f"0x{event.entity:016x}", 18), (event.kind_name, 18), (symbol, 10), (describe(event), 0)
    )


@click.command()
@click.argument("feeds", required=False, metavar="[FILE.toml]")
@settings
def rules(cli: Cli, feeds: str | None) -> int:
    """Show what holds for sources, or state what a feeds file says of them; see watch.

    \b
      precedence = ["exchange", "listing-csv"]
      [seen]
      "collector" = "auto"

    Where two sources disagree that precedence names, the word of the one that comes first stands,
    whoever came first, and the disagreement is a conflict all the same. seen is the policy for
    unknown instruments that a source saw: auto registers them at once, propose (the default) asks a
    person. Rules stand in the log and hold for what is said from then on, in every process.

    JSON fields: precedence, seen, offset (of the event that stated them, or null).
    """
    from alphapulse.registry import Origin, StateRules, Unit
    from alphapulse.registry.discovery import FEEDS_FILE, read_feeds
    from alphapulse.registry.writing import receipts

    stated = StateRules() if feeds is None else read_feeds(feeds).rules
    is_writing = stated != StateRules()
    if feeds is not None and not is_writing:
        cli.note(f"{feeds} states neither precedence nor seen")
    with cli.registry(write=is_writing, create=is_writing) as registry:
        if is_writing:
            receipts(registry.execute([Unit((stated,), Origin(FEEDS_FILE))]))
        _print_rules(cli, registry)
    return FINE


def _print_rules(cli: Cli, registry: Registry) -> None:
    known = registry.sources.rules()
    if cli.json:
        offset = registry.sources.rules_offset()
        cli.out.records([
            {"precedence": list(known.precedence), "seen": known.seen, "offset": offset}
        ])  # fmt: skip
        return
    for number, source in enumerate(known.precedence, 1):
        cli.out.cells(("precedence", 10), (str(number), -7), (source, 0))
    for source, policy in known.seen.items():
        cli.out.cells(("seen", 10), (policy, 7), (source, 0))
    if not (known.precedence or known.seen):
        cli.note("no rules are stated: the first word stands, and what is seen is proposed")
