"""What every verb shares: its home, its output, keys, points in time, and how errors end it.

Exit codes: 0 fine; 1 the answer is no (a check failed, a key was not found or names several
things, the registry refused or could not do it); 2 what was typed or given cannot be used; 130
interrupted; 141 whoever read the output went away.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import click
from click.core import ParameterSource

from .output import Output, note

if TYPE_CHECKING:
    from alphapulse.log import AlphaPulseError, EventLog
    from alphapulse.registry import Match, Registry, When

HOME_DEFAULT: Final = "./alphapulse-home"
FINE: Final = 0
NO: Final = 1
UNUSABLE: Final = 2
CANDIDATES_MAX: Final = 20
ALERTS_SHOWN_MAX: Final = 5


class Cli:
    """Settings of one run of a verb."""

    def __init__(self, home: str, output: Output, named_home: str | None = None) -> None:
        self.home = home
        self.named_home = named_home
        """The home that was named with --home; None when it comes from elsewhere."""
        self.out = output
        self.json = output.json

    @contextmanager
    def registry(self, *, write: bool = False, create: bool = False) -> Iterator[Registry]:
        """The home's registry. Its alerts go to stderr while it is open."""
        from alphapulse.registry import Registry

        with (
            alerts_on_stderr(),
            Registry.open(self.home, mode="rw" if write else "r", create=create) as registry,
        ):
            if registry.log.broken:
                note(f"CRITICAL: {registry.log.broken}; read-only: run `alphapulse audit`")
            yield registry

    @contextmanager
    def log(self) -> Iterator[EventLog]:
        """The home's log alone, which is enough to read events, whatever became of the views."""
        from alphapulse.log import EventLog

        with EventLog.open(self.home, mode="r") as log:
            yield log

    def note(self, text: str) -> None:
        """A remark for people, on stderr, after what was printed; none with --json."""
        if not self.json:
            self.out.flush()
            note(text)

    def hint(self, text: str) -> None:
        """A note on what to type next."""
        if self.out.hints:
            self.note(text)


class _OnStderr(logging.Handler):
    """The first alerts as they come; `close` says how many more there were."""

    def __init__(self) -> None:
        super().__init__()
        self._alerts = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._alerts += record.levelno >= logging.CRITICAL
        if record.levelno < logging.CRITICAL or self._alerts <= ALERTS_SHOWN_MAX:
            note(f"{record.levelname}: {record.getMessage()}")

    def close(self) -> None:
        super().close()
        if self._alerts > ALERTS_SHOWN_MAX:
            more = self._alerts - ALERTS_SHOWN_MAX
            note(f"CRITICAL: … and {more} more; see `alphapulse alerts`")


@contextmanager
def alerts_on_stderr() -> Iterator[None]:
    """Lines of the logger "alphapulse" go to stderr; of CRITICAL ones (collisions) the first few,
    and at the end how many more there were."""
    logger, handler = logging.getLogger("alphapulse"), _OnStderr()
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        handler.close()


def settings(
    function: Callable[..., int | None], *,
    home_help: str = f"The registry's directory [else $ALPHAPULSE_HOME, else {HOME_DEFAULT}].",
) -> Callable[..., int]:  # fmt: skip
    """Gives a verb its Cli, from --home and --json before or after it. It returns an exit code.

    home_help: what --home means to this verb, when that is not where it else finds the home.
    """

    @click.option("--home", metavar="DIR", help=home_help)
    @click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
    @functools.wraps(function)
    def wrapper(*, home: str | None, as_json: bool, **arguments: object) -> int:
        context = click.get_current_context()
        above = context
        while above.parent is not None:
            above = above.parent
            as_json = as_json or bool(above.params.get("as_json"))
            if home is None and above.get_parameter_source("home") is ParameterSource.COMMANDLINE:
                home = above.params["home"]
        output = context.find_object(Output)
        if output is None:
            output = Output(json=as_json)
        # `--home "$DIR"` with DIR not set: not the home that was meant. An empty $ALPHAPULSE_HOME
        # is no option that was given: like every variable of an environment it counts as not set.
        if home == "":
            raise click.UsageError("--home names no directory")
        cli = Cli(home or above.params.get("home") or HOME_DEFAULT, output, home)
        code = function(cli, **arguments)
        output.flush()
        return FINE if code is None else code

    return cast(Callable[..., int], wrapper)


def family(
    help: str, cls: type[click.Group] = click.Group
) -> Callable[[Callable[[], None]], click.Group]:
    """A verb that has verbs of its own, `hours show`; --home and --json may stand before each.
    What it decorates is never called for anything."""

    def decorate(function: Callable[[], None]) -> click.Group:
        @click.group(help=help, cls=cls)
        @click.option("--home", metavar="DIR", help="As of `alphapulse`.")
        @click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
        @functools.wraps(function)
        def group(home: str | None, as_json: bool) -> None:
            """Read by `settings`."""

        return group

    return decorate


def _not_empty(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """An unset variable of a script must not make a retry a second command."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty; leave it out, or give each command its own")
    return value


request_id_option = click.option(
    "--request-id", callback=_not_empty,
    help="A name for this command: sent again, it gives the same answer.",
)  # fmt: skip


def exit_code(error: AlphaPulseError) -> int:
    """2 for what the caller must change, 1 for the rest."""
    from alphapulse.log import (
        FormatTooNew,
        HomeExists,
        HomeMissing,
        HomeUnsupported,
        InvalidInput,
        NotABackup,
        NotAnExport,
        OffsetOutOfRange,
        PatternError,
    )

    unusable = (
        FormatTooNew, HomeExists, HomeMissing, HomeUnsupported, InvalidInput, NotABackup,
        NotAnExport, OffsetOutOfRange, PatternError,
    )  # fmt: skip
    return UNUSABLE if isinstance(error, unusable) else NO


# Points in time


def stop_at(log: EventLog, text: str, option: str = "--to") -> int:
    """The head that --to means, inclusive: after that event, or after all recorded by that time."""
    from alphapulse.log import stop_offset

    return stop_offset(log, text, f"reading {option}")


def time_asked(registry: Registry, text: str | None, option: str) -> int | None:
    """The moment (ns) that an option names: a time, or when that event was recorded."""
    from alphapulse.log import offset_given, parse_time

    if text is None:
        return None
    offset = offset_given(f"reading {option}", text)
    return parse_time(text) if offset is None else int(registry.log.event(offset).recorded)


# Keys


def find(
    registry: Registry, key: str, *, by: str = "", when: When | None = None, lasting: bool = False
) -> Sequence[Match]:
    """All matches of the first form of KEY that has any. Raises UnknownInstrument, near misses.

    lasting: what never changes hands is found at any time (`Lookup.whom`).
    """
    from alphapulse.registry import UnknownInstrument, When

    when = when or When()
    matches = (
        registry.lookup.whom(key, when) if lasting else registry.lookup.find(key, by, when)[1]
    )
    if matches:
        return matches
    others = [] if when == When() else registry.lookup.find(key, by)[1]
    if others:
        what, cure, lines = _at_another_time(registry, others, when)
    else:
        what = "nothing matches"
        near = registry.lookup.near(key)
        lines = [f"near: {brief(match)} ({why})" for why, match in near]
        cure = (
            "look up one of those" if lines
            else "check the spelling; a key is an id, fingerprint, ISIN, CHAIN:ADDRESS, symbol,"
            " FIGI, CUSIP, SEDOL or LEI"
        )  # fmt: skip
    error = UnknownInstrument(f"looking up {key[:80]}", problem=what, cure=cure)
    raise with_lines(error, lines)


def _at_another_time(
    registry: Registry, others: Sequence[Match], when: When
) -> tuple[str, str, list[str]]:
    """What is said of who matches now and did not then: the problem, the cure, who they are."""
    from alphapulse.log import format_time
    from alphapulse.registry import When

    if when.valid is None:
        lines = [f"later: {brief(match)}" for match in others[:CANDIDATES_MAX]]
        return "nothing matched then", "ask about a time when it was known", lines
    lines, late = [], []
    for match in others[:CANDIDATES_MAX]:
        begins, is_named = registry.lookup.begins(match.id)
        line = f"at another time: {brief(match)}"
        if begins > when.valid and registry.lookup.match(match.id, When(None, when.valid)) is None:
            late.append(match)
            how = "" if is_named else ", when it was recorded"
            line += f" (known to be there only since {format_time(begins)}{how})"
        lines.append(line)
    cure = "ask about another time"
    if late:
        date = format_time(when.valid)
        cure += (
            "; if it was there before, date it back: "
            f"`alphapulse amend 0x{late[0].id:016x} --valid-from {date}`"
        )
    return "nothing that is known matched then", cure, lines


def find_one(registry: Registry, key: str, *, when: When | None = None) -> Match:
    """The one instrument that KEY means. Raises UnknownInstrument, Ambiguous with candidates."""
    from alphapulse.registry import Ambiguous

    matches = find(registry, key, when=when)
    if len(matches) == 1:
        return matches[0]
    lines = [brief(match) for match in matches[:CANDIDATES_MAX]]
    if len(matches) > CANDIDATES_MAX:
        lines.append(f"… and {len(matches) - CANDIDATES_MAX} more: `alphapulse lookup` shows all")
    error = Ambiguous(f"looking up {key[:80]}", problem=f"{len(matches)} instruments match")
    raise with_lines(error, lines)


def with_lines(error: AlphaPulseError, lines: Sequence[str]) -> AlphaPulseError:
    """The error with things to choose from; `--json` has them in the cure."""
    if lines:
        error.lines = tuple(lines)  # type: ignore[attr-defined]  # read by output.print_error
    return error


def brief(match: Match) -> str:
    """`0x… token USDC eip155:1:0x…`, for lists of candidates; and what is no longer traded."""
    from alphapulse.log import Status, symbol_of
    from alphapulse.registry.generations import generation_of

    asset_class = match.record.asset_class.name.lower()
    symbol = symbol_of(match.body) or match.body.extension.name or "(no symbol)"
    words = [f"0x{match.id:016x}", asset_class, symbol, place_of(match)]
    if generation := generation_of(match.body):
        words.append(f"generation {generation}")
    status = match.record.status_at(time.time_ns())
    if status is not Status.ACTIVE:
        words.append(status.name.lower())
    return " ".join(filter(None, words))


def place_of(match: Match) -> str:
    """`eip155:1:0x…`, `BTCUSDT@binance` or the ISIN, keys that find it again; else its venue."""
    extension = match.body.extension
    venue, native = match.venue, extension.terms.get("native_id")
    if venue and native:
        return f"{native}@{venue}"
    if not extension.address:
        return match.record.isin or venue
    if extension.namespace in ("erc20", "token", ""):
        return f"{extension.chain}:{extension.address}"
    return f"{extension.chain}/{extension.namespace}:{extension.address}"
