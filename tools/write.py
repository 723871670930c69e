"""The verbs that write what is known: one thing by flags, many by lines.

Flags and the lines of `-` are the same fields, and both become one command in one place
(`fields.COMMANDS`). Lines are answered in order and as they come, so a program can write, wait for
the answer and write again; those that arrive together share a commit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from .fields import Fields, is_lasting, unit_of
from .lines import batches, parsed
from .output import error_dict, note, print_error
from .verb import FINE, NO, Cli, request_id_option, settings

if TYPE_CHECKING:
    from alphapulse.log import AlphaPulseError, AnyBody
    from alphapulse.registry import Command, Outcome, Receipt, Registry, Unit

REGISTER_FLAGS: Final[dict[str, str]] = {
    "symbol": "Ticker or token symbol.",
    "name": "Its name.",
    "chain": "token, coin, dex_pool, outcome: CAIP-2 chain, such as eip155:1.",
    "address": "token: contract address, mint or denom; dex_pool: address or id of the pool.",
    "namespace": "token: CAIP-19 asset namespace [erc20 on eip155, token on solana].",
    "decimals": "Of its smallest unit, any class: 0 to 77; unknown when left out.",
    "slip44": "coin: its SLIP-44 number, for chains that are not in our table.",
    "isin": "ISIN; not of tokens, coins, currencies and synthetics.",
    "figi": "FIGI; equity, etf, bond: that of the share class.",
    "cusip": "equity, etf, bond: CUSIP.",
    "sedol": "equity, etf, bond: SEDOL.",
    "composite-figi": "equity, etf, bond: FIGI of one country.",
    "lei": "equity, etf, bond: LEI of the issuer.",
    "cfi": "CFI of ISO 10962, such as FFICSX.",
    "currency": "equity, etf, bond, index: ISO 4217.",
    "coupon": "bond: percent a year, decimal text: 4.25; 0 for none.",
    "coupon-frequency": "bond: payments a year: 1, 2, 4 or 12; 0 for none before the maturity.",
    "issue-date": "bond: the whole date.",
    "denomination": "bond: nominal of one, decimal text.",
    "min-denomination": "bond: smallest nominal that may be held, decimal text.",
    "day-count": "bond: FpML's name: 30/360, ACT/360, ACT/365.FIXED, ACT/ACT.ICMA, ….",
    "code": "currency: ISO 4217; index: the administrator's code.",
    "administrator": "index: LEI or slug of who publishes it.",
    "venue": "spot_pair, perpetual, future, option, outcome: who issues it, MIC or slug.",
    "native-id": "What the venue calls it; spot_pair, perpetual: it is who it is.",
    "market": "spot_pair, perpetual: which of the venue's markets [spot, perpetual].",
    "generation": "Counts up when a venue uses a native id or a maturity again [0].",
    "product": "future: the market's code of the series, such as ES.",
    "root": "option: code of the series, such as AAPL.",
    "maturity": "future, option (part of who it is), bond: the whole date, 2026-12-18.",
    "strike": "option: decimal text.",
    "right": "option: call or put.",
    "style": "option: european, american or bermudan.",
    "adjustment": "option: number of the adjustment [0].",
    "factory": "dex_pool: address of the factory or manager.",
    "tokens": "dex_pool: addresses of what is in it, in order, with blanks between.",
    "fee-bps": "dex_pool: fee of a swap in basis points, decimal text.",
    "owner": "synthetic: LEI or slug of who defines it; with --name it is who it is.",
    "formula": "synthetic: 0.5*KEY + 0.5*KEY, with + - * / ( ) min(,) max(,); KEYs of odd "
    "characters, or of digits alone, in quotes.",
    "tenor": "fx_pair: SPOT, ON, TN, 1W, 3M … [SPOT].",
    "contract": "outcome: address of the contract that keeps the conditions.",
    "condition": "outcome: id of the question.",
    "outcome": "outcome: id of this outcome of it.",
    "base": "What is priced: a currency code, or the venue's code of an asset.",
    "quote": "What prices are in.",
    "settlement": "What it is settled in; perpetual: it is part of who it is.",
    "payoff": "perpetual, future, option: linear, inverse or quanto.",
    "multiplier": "Contract size, decimal text.",
    "underlying": "KEY of the instrument that it derives from, or an id that is not known yet.",
    "expiry": "future, option, outcome: the instant, 2026-12-18T14:30:00Z; without a zone in UTC.",
    "last-trade": "future, option, outcome: the instant after which it is not traded, as expiry.",
    "tick": "Smallest price step, exact: 0.01 or 1/256.",
    "ticks": "Price steps by band, FROM:STEP …: '0:0.0001 1:0.0005'.",
    "lot": "Smallest amount step, decimal text.",
    "min-size": "Smallest order, decimal text.",
    "max-size": "Largest order, decimal text.",
    "min-notional": "Smallest price × size of an order, decimal text.",
    "status": "pending, active, halted, … [active when new].",
    "valid-from": "RFC 3339 time or date from which this holds. Of what is registered: an earlier "
    "one dates it back.",
}
AMEND_FLAGS: Final[dict[str, str]] = {
    **{name: REGISTER_FLAGS[name] for name in (
        "symbol", "name", "decimals", "isin", "figi", "cusip", "sedol", "composite-figi", "lei",
        "cfi", "currency", "coupon", "coupon-frequency", "maturity", "issue-date", "denomination",
        "min-denomination", "day-count", "native-id", "tokens", "fee-bps", "base", "quote",
        "settlement", "payoff", "multiplier", "underlying", "expiry", "last-trade", "tick", "ticks",
        "lot", "min-size", "max-size", "min-notional", "formula")},
    "class": "equity, etf, bond: another of these.",
    "valid-from": "RFC 3339 time or date from which this holds [now]. It may lie ahead; before the "
    "instrument was there it dates that back, and needs no field beside.",
    "valid-to": "Until when; from then on goes on what was known to hold.",
}  # fmt: skip
LISTING_FLAGS: Final[dict[str, str]] = {
    "venue": "MIC, or slug of a venue without one: binance, binance:test.",
    "symbol": "Local symbol there.",
    "currency": "Currency it trades in.",
    "line": "Tells apart several lines in one currency [0].",
    "valid-from": "First day or instant there.",
    "valid-to": "First instant at which it is no longer listed.",
    **{name: REGISTER_FLAGS[name] for name in (
        "tick", "ticks", "lot", "min-size", "max-size", "min-notional")},
    "figi": "FIGI of this listing.",
    "symbol-from": "Since when it has this symbol, after another one.",
}
RELATION_FLAGS: Final[dict[str, str]] = {
    "ratio": "N/D: one A stands for so much of B. Exact, above zero.",
    "valid-from": "First instant at which it holds.",
    "valid-to": "First instant at which it does not hold any more.",
}
_INTEGERS: Final = frozenset({"decimals", "slip44", "line", "generation", "adjustment",
                              "coupon_frequency"})
_LINES_HELP: Final = """
    With - the same fields come as JSON Lines on stdin, {line}. A bad
    line is an error in its place, the others go on, and the exit code is 1. "source" and
    "request_id" may stand in each line; flags beside - fill in what a line leaves out.

    JSON fields: id, fingerprint, offset, outcome (new, unchanged, amended, collision). With --json
    the error of a line stands in its place on stdout.
    """
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _flags(flags: Mapping[str, str]) -> Decorator:
    """Options by name, in the order of the table; what is not given stays None."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, text in reversed(list(flags.items())):
            function = click.option(f"--{name}", name.replace("-", "_"), help=text)(function)
        return function

    return decorate


def _origin_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--source", help="Who says so.")(request_id_option(function))


def _given(flags: Mapping[str, Any]) -> Fields:
    """Flags that were given, as the fields of a line."""
    fields: Fields = {}
    for name, value in flags.items():
        if value is None or value is False or value == ():
            continue
        if name in _INTEGERS and value != "":
            try:
                value = int(value)
            except ValueError:
                raise click.UsageError(f"--{name} takes an integer, not {value!r}") from None
        fields[name] = value
    return fields


# The verbs


@click.command(help=f"""Register one instrument, or say more about a known one.

    \b
    CLASS is token, coin, equity, etf, bond, currency, fx_pair, spot_pair,
    dex_pool, perpetual, future, option, index, outcome or synthetic:
      register equity --isin US0378331005 --symbol AAPL --name "Apple Inc."
      register token --chain eip155:1 --address 0xa0b8… --symbol USDC --decimals 6
      register future --venue XCME --product ES --maturity 2026-12-18 --tick 0.25
      register synthetic --owner desk --name TOP2 --formula "AAPL + MSFT@XNAS"
      register - < instruments.jsonl
    {_LINES_HELP.format(line='{"class": "equity", "isin": …}')}
    """)  # fmt: skip
@click.argument("asset_class", metavar="CLASS|-")
@_flags(REGISTER_FLAGS)
@_origin_flags
@settings
def register(cli: Cli, asset_class: str, **flags: str | None) -> int:
    return _run(cli, "register", asset_class, "class", _given(flags))


@click.command(help=f"""Say that a source came upon an instrument, named by its full key as for
    register. What is known is left as it is; what is not is proposed, once for its key, and a
    person confirms or refuses it (see proposals).

    \b
      seen token --chain eip155:1 --address 0x… --symbol NEW --source collector
      seen - < sightings.jsonl
    {_LINES_HELP.format(line='{"class": "token", "chain": …, "policy": …}')}
    The outcome is proposed (the id is that of the proposal), new (by --policy auto) or unchanged;
    one more field, state: registered, proposed or refused.
    """)  # fmt: skip
@click.argument("asset_class", metavar="CLASS|-")
@_flags(REGISTER_FLAGS)
@click.option(
    "--policy", metavar="POLICY", help="propose, or auto: register at once [what the rules say].",
)  # fmt: skip
@_origin_flags
@settings
def seen(cli: Cli, asset_class: str, **flags: str | None) -> int:
    return _run(cli, "seen", asset_class, "class", _given(flags))


@click.command(help=f"""Correct what is known of an instrument. It always applies, whoever said
    otherwise before; an empty value means: no longer known. What is announced for later counts
    from its day on.

    \b
      amend AAPL --symbol APPL --valid-from 2027-01-01
      amend AAPL --currency EUR --valid-from 2026-01-01 --valid-to 2026-02-01
      amend AAPL --valid-from 1980-12-12
      amend - < corrections.jsonl
    {_LINES_HELP.format(line='{"key": …, "symbol": …}; null forgets')}
    """)  # fmt: skip
@click.argument("key", metavar="KEY|-")
@_flags(AMEND_FLAGS)
@_origin_flags
@settings
def amend(cli: Cli, key: str, **flags: str | None) -> int:
    fields = _given(flags)
    if key != "-" and not fields.keys() - {"valid_to", "source", "request_id"}:
        raise click.UsageError(f"say what to change: --{', --'.join(AMEND_FLAGS)}")
    return _run(cli, "amend", key, "key", fields)


@click.command(help=f"""Say that an instrument is delisted, everywhere: then no listing of it is
    current. For one venue, see end-listing.
    {_LINES_HELP.format(line='{"key": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="KEY|-")
@_flags({"valid-from": REGISTER_FLAGS["valid-from"]})
@_origin_flags
@settings
def delist(cli: Cli, key: str, **flags: str | None) -> int:
    return _run(cli, "delist", key, "key", _given(flags))


@click.command(help=f"""Move an instrument through its life: pending, active, halted, delisted,
    expired or migrated.

    \b
      status AAPL halted --valid-from 2026-01-31T14:30:00Z
      status AAPL active

    From pending it becomes active or delisted; active and halted become each
    other, delisted, expired or migrated; delisted becomes active again. What
    took the place of a migrated one is said by relate NEW succeeds OLD.
    {_LINES_HELP.format(line='{"key": …, "status": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="KEY|-")
@click.argument("status", required=False)
@_flags({"valid-from": REGISTER_FLAGS["valid-from"]})
@_origin_flags
@settings
def status(cli: Cli, key: str, status: str | None, **flags: str | None) -> int:
    if key == "-" and status is not None:
        raise click.UsageError("with - statuses come from stdin alone")
    if key != "-" and status is None:
        raise click.UsageError("say what it becomes: status KEY halted")
    return _run(cli, "status", key, "key", _given({"status": status, **flags}))


@click.command(help=f"""Say that an instrument is listed at a venue; again with more, fills in or
    amends. The answer's id is the listing's.

    \b
      add-listing US0378331005 --venue XETR --symbol APC --currency EUR
    {_LINES_HELP.format(line='{"key": …, "venue": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="KEY|-")
@_flags(LISTING_FLAGS)
@click.option("--primary", is_flag=True, help="It is the primary listing.")
@_origin_flags
@settings
def add_listing(cli: Cli, key: str, **flags: Any) -> int:
    return _run(cli, "add-listing", key, "key", _given(flags))


@click.command(help=f"""Say when the listing of an instrument at a venue ends: now, unless
    --valid-to says otherwise. The answer's id is the listing's.
    {_LINES_HELP.format(line='{"key": …, "venue": …, "valid_to": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="KEY|-")
@_flags({name: LISTING_FLAGS[name] for name in ("venue", "currency", "line", "valid-to")})
@_origin_flags
@settings
def end_listing(cli: Cli, key: str, **flags: str | None) -> int:
    return _run(cli, "end-listing", key, "key", _given(flags))


@click.command(help=f"""Say how instrument A is related to instrument B; again with more, fills in
    or amends. The answer's id is the relation's.

    \b
    RELATION is read aloud, and has a ratio where N/D stands:
      underlying             A's underlying is B
      bridged_from, wraps    A stands for B, one for one
      receipt_of N/D         A is a claim on N/D of B
      succeeds N/D           A took the place of B: a new ISIN, a merger
      same_as                both are one thing, registered twice
      component N/D          B is in the basket A, with this weight
    \b
      relate ADR receipt_of SHARE --ratio 1/2 --valid-from 2020-01-01

    What would lead back to where it starts (A wraps B wraps A) is refused, each
    relation by itself; same_as may go in circles, and has no direction.
    {_LINES_HELP.format(line='{"from": …, "relation": …, "to": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="A|-")
@click.argument("relation", metavar="[RELATION", required=False)
@click.argument("other", metavar="B]", required=False)
@_flags(RELATION_FLAGS)
@_origin_flags
@settings
def relate(cli: Cli, key: str, **flags: Any) -> int:
    return _run_relation(cli, "relate", key, flags)


@click.command(help=f"""Say when a relation ends: now, unless --valid-to says otherwise. What was
    known of it stays in its history. The answer's id is the relation's.
    {_LINES_HELP.format(line='{"from": …, "relation": …, "to": …, "valid_to": …}')}
    """)  # fmt: skip
@click.argument("key", metavar="A|-")
@click.argument("relation", metavar="[RELATION", required=False)
@click.argument("other", metavar="B]", required=False)
@_flags({"valid-to": RELATION_FLAGS["valid-to"]})
@_origin_flags
@settings
def unrelate(cli: Cli, key: str, **flags: Any) -> int:
    return _run_relation(cli, "unrelate", key, flags)


def _run_relation(cli: Cli, verb: str, key: str, flags: Fields) -> int:
    relation, other = flags.pop("relation"), flags.pop("other")
    if key == "-" and relation is not None:
        raise click.UsageError("with - relations come from stdin alone")
    if key != "-" and other is None:
        raise click.UsageError(f"say how, and to what: {verb} A RELATION B")
    return _run(cli, verb, key, "from", _given({"relation": relation, "to": other, **flags}))


# Carrying them out


def _run(cli: Cli, verb: str, subject: str, subject_name: str, fields: Fields) -> int:
    with cli.registry(write=True, create=True) as registry:
        if subject == "-":
            if "request_id" in fields:
                raise click.UsageError('give each line its own "request_id"')
            return _Lines(cli, registry, verb, fields).run(sys.stdin.buffer)
        unit = unit_of(registry, verb, {subject_name: subject, **fields})
        outcome = next(iter(registry.execute([unit])))
        from alphapulse.log import AlphaPulseError

        if isinstance(outcome, AlphaPulseError):
            raise outcome
        return _print_receipt(cli, registry, unit, outcome)


def _print_receipt(cli: Cli, registry: Registry, unit: Unit, outcome: Outcome) -> int:
    from alphapulse.registry.render import receipt_dict

    assert isinstance(outcome, list)
    receipt = outcome[0]
    shown = receipt_dict(receipt)
    if state := _state_of_seen(registry, unit.commands[0], receipt):
        shown["state"] = state
    if cli.json:
        cli.out.records([shown])
    else:
        after = f" ({state})" if state and receipt.outcome == "unchanged" else ""
        cli.out.cells(
            (receipt.outcome, 9), (str(shown["id"]), 18), (f"offset {receipt.offset}{after}", 0)
        )
    for offset in receipt.conflicts:
        note(f"warning: that contradicts what is known: see the conflict at offset {offset}")
    if receipt.outcome == "unchanged" and not unit.origin.request_id:  # a retry is about the past
        _note_ended(cli, unit.commands[0], registry.body_at(receipt.offset))
        _note_pending(cli, registry, unit.commands[0])
    _note_venue(cli, registry, unit.commands[0])
    if receipt.outcome == "new":
        _note_currency(cli, registry, unit.commands[0])
    return NO if receipt.conflicts else FINE


def _state_of_seen(registry: Registry, command: Command, receipt: Receipt) -> str:
    """What the receipt of a sighting is about; empty for that of another command."""
    from alphapulse.log import Answered, ProposalBody
    from alphapulse.registry import Seen

    if not isinstance(command, Seen):
        return ""
    body = registry.body_at(receipt.offset)
    if not isinstance(body, ProposalBody):
        return "registered"
    return "refused" if body.answered == Answered.REFUSED else "proposed"


def _note_ended(cli: Cli, command: Command, known: AnyBody) -> None:
    """That what was said to hold or to end had ended before: then nothing was changed."""
    from alphapulse.log import ListingBody, RelationBody, format_time
    from alphapulse.registry import AddListing, EndListing, Relate, Unrelate

    if not isinstance(known, ListingBody | RelationBody):
        return
    if not known.valid_to or known.valid_to > time.time_ns():
        return
    ended = format_time(known.valid_to)
    if isinstance(command, Relate) and not command.valid_to:
        cli.note(f"note: that relation ended at {ended}; --valid-from TIME begins it again")
    elif isinstance(command, AddListing) and not command.listing.valid_to:
        cli.note(f"note: that listing ended at {ended}; --valid-from TIME begins it again")
    elif isinstance(command, EndListing | Unrelate) and command.now:
        cli.note(f"note: it ended at {ended} already; --valid-to TIME corrects that")


def _note_pending(cli: Cli, registry: Registry, command: Command) -> None:
    """That what was said to be active is pending until a date that was named for it."""
    from alphapulse.log import Status, format_time
    from alphapulse.registry import SetStatus

    if not isinstance(command, SetStatus) or command.valid_from:
        return
    match = registry.describe(command.id)
    if match is not None and match.record.status is Status.PENDING is not command.status:
        begins, _ = registry.lookup.begins(command.id)
        cli.note(
            f"note: it is pending until {format_time(begins)};"
            f" `alphapulse amend 0x{command.id:016x} --valid-from TIME` dates that back"
        )


def _note_venue(cli: Cli, registry: Registry, command: Command) -> None:
    """That a listing goes on at a venue that is one no more, or is at one that nobody registered
    while others like it, by MIC or by slug, are. It is taken all the same: who told of the venue
    may be wrong, or has not yet."""
    from alphapulse.log import format_time
    from alphapulse.registry import AddListing
    from alphapulse.registry.venues import Venue

    if not isinstance(command, AddListing):
        return
    key = command.listing.venue
    venue = registry.venues.get(key)
    if venue is None:
        is_mic = bool(Venue(key=key).mic)
        if any(bool(each.mic) == is_mic for each in registry.venues.all()):
            cli.note(
                f"note: {key} is no venue that is registered here; if that is its name,"
                f" `alphapulse venue add {key}` registers it"
            )
        return
    ends = int(venue.valid_to)
    if ends and not 0 < int(command.listing.valid_to) <= ends:
        cli.note(
            f"note: {key} is no venue since {format_time(ends)};"
            " --valid-to TIME says when the listing ended"
        )


def _note_currency(cli: Cli, registry: Registry, command: Command) -> None:
    """That what was meant to say more of a listing began another: the currency is in its key."""
    from alphapulse.registry import AddListing

    if not isinstance(command, AddListing):
        return
    id, said, venue = (
        command.listing.instrument, command.listing.currency, command.listing.venue
    )  # fmt: skip
    assert isinstance(id, int), "fields name it by its id"
    others = {
        each.currency for each in registry.listings(id)
        if each.venue == venue and each.currency != said
    }  # fmt: skip
    if others and not said:
        cli.note(
            f"note: it was listed at {venue} in {', '.join(sorted(others))} already;"
            " without --currency this is another listing"
        )
    elif "" in others:
        cli.note(f"note: it was listed at {venue} without a currency already; this is another")


class _Lines:
    """Commands from JSON Lines. `defaults` fill in what a line does not say."""

    def __init__(self, cli: Cli, registry: Registry, verb: str, defaults: Fields) -> None:
        self._cli = cli
        self._registry = registry
        self._verb = verb
        self._defaults = defaults
        self._waiting: list[tuple[int, Unit]] = []
        self._code = FINE

    def run(self, stream: BinaryIO) -> int:
        number = 0
        for lines in batches(stream):
            for line in lines:
                number += 1
                if line is None or line.strip():
                    self._take(number, line)
            self._carry_out()
            self._cli.out.flush()
        if not number:
            self._cli.note("stdin had no lines")
        return self._code

    def _take(self, number: int, line: bytes | None) -> None:
        from alphapulse.log import AlphaPulseError

        try:
            fields = {**self._defaults, **parsed(line)}
            names = ("key", "instrument", "from", "to", "underlying")
            keys = (fields.get(name) for name in names)
            if self._waiting and (
                "formula" in fields or not all(is_lasting(self._registry, key) for key in keys)
            ):
                self._carry_out()  # an earlier line may have changed whom this key means
            self._waiting.append((number, unit_of(self._registry, self._verb, fields)))
        except AlphaPulseError as error:
            self._carry_out()
            self._refuse(number, error)

    def _carry_out(self) -> None:
        from alphapulse.log import AlphaPulseError

        outcomes = self._registry.execute(unit for _, unit in self._waiting)
        for (number, unit), outcome in zip(self._waiting, outcomes, strict=True):
            if isinstance(outcome, AlphaPulseError):
                self._refuse(number, outcome)
            else:
                self._code = max(
                    self._code, _print_receipt(self._cli, self._registry, unit, outcome)
                )  # fmt: skip
        self._waiting.clear()

    def _refuse(self, number: int, error: AlphaPulseError) -> None:
        """The error of one line. Errors of the home itself end the verb."""
        from alphapulse.log import ChainBroken, LogBusy, LogFull, ReadOnly
        from alphapulse.projections import ViewFull

        error.doing = f"line {number}: {error.doing}"
        if isinstance(error, ChainBroken | LogBusy | LogFull | ReadOnly | ViewFull):
            raise error
        self._code = NO
        if self._cli.json:
            self._cli.out.records([error_dict(error)])
        else:
            self._cli.out.flush()
            print_error(error, as_json=False)
