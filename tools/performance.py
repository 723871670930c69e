"""`performance`: how venues behave, from samples."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from io import BufferedReader
from typing import TYPE_CHECKING, Final, cast

import click

from .lookup import as_of_option
from .output import Column, duration, note, short_time
from .verb import FINE, NO, Cli, family, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alphapulse.log import AlphaPulseError
    from alphapulse.registry import Registry
    from alphapulse.registry.venues import Performance, Taken, Window

REFUSED_SHOWN_MAX: Final = 20
WINDOWS_SHOWN: Final = 24
DEPTHS_SHOWN_MAX: Final = 4
_READ_SIZE_BYTES: Final = 256 << 10
window_option = click.option(
    "--window", default="1h", show_default=True, metavar="LENGTH",
    help="1m, 5m, 15m, 1h or 1d; each begins at a multiple of it in UTC.",
)  # fmt: skip


@family("""Take samples of how venues behave, sum them up, and show it.

    Samples are kept for 7 days and up to 1 GiB in market/ in the home, and are not safe from a
    power cut. `summarise` says in the log, for good, what each window of them held.
    """)
def performance() -> None:
    pass


@contextmanager
def _opened(cli: Cli, *, write_log: bool = False, write: bool = True) -> Iterator[Performance]:
    from alphapulse.registry.venues import Performance

    registry: Registry
    with (
        cli.registry(write=write_log) as registry,
        Performance(registry, mode="rw" if write else "r") as found,
    ):
        if write and found.market.emptied:
            note(f"CRITICAL: the market log was emptied: {found.market.emptied}")
        yield found


@performance.command("add")
@click.argument("file", metavar="FILE|-")
@click.option("--source", default="", help="Who measured; it is kept.")
@settings
def add(cli: Cli, file: str, source: str) -> int:
    """Take samples from JSON Lines, of a file or of stdin as they come: each line that is there is
    committed, up to 1,000 together.

    \b
      {"venue": "XNAS", "measure": "ack", "time": "2026-11-23T09:30:00.5Z",
       "latency_ns": 250000}
      {"venue": "XNAS", "measure": "reject", "time": 1795426200000000000}
      {"venue": "XNAS", "measure": "outage", "time": …, "duration_ns": 4000000000}
      {"venue": "XNAS", "measure": "spread", "time": …, "spread_bps": 1.25}
      {"venue": "XNAS", "measure": "depth", "time": …, "depth": "1250000",
       "within_bps": 10, "currency": "USD"}

    \b
    measure   ack, reject and fill have latency_ns (of a reject it may be left
              out); an outage lasted duration_ns up to its time
    time      when it was measured: RFC 3339 or ns since 1970 UTC
    listing   the id of a listing, when it is about one; else left out

    A line that cannot be taken is told on stderr, the others are taken, and the exit code is 1: no
    number, below zero, of an unknown venue, over 5 s from the future, for a window that is closed,
    or older than what is kept. The order of lines does not matter.

    JSON fields: taken, refused (by reason), first, last (m:OFFSET), durable (false), registry_head.
    """
    with _opened(cli) as found:
        taken = _take(found, file, source)
    if cli.json:
        from alphapulse.log import market_offset_text

        places = {
            name: None if at is None else market_offset_text(at)
            for name, at in (("first", taken.first), ("last", taken.last))
        }
        cli.out.records([taken._asdict() | places])
    else:
        cli.out.line(_said(taken))
    return NO if taken.refused else FINE


def _said(taken: Taken) -> str:
    from alphapulse.log import market_offset_text

    words = [f"{taken.taken} taken"]
    if taken.first is not None and taken.last is not None:
        words.append(f"{market_offset_text(taken.first)} to {market_offset_text(taken.last)}")
        words.append("not safe from a power cut")
    if taken.refused:
        parts = ", ".join(f"{count} {reason}" for reason, count in taken.refused.items())
        words.append(f"{sum(taken.refused.values())} refused ({parts})")
    return ", ".join(words)


def _take(found: Performance, file: str, source: str) -> Taken:
    """All lines of a file, in commits of what is there."""
    from alphapulse.registry.venues import Taken

    total, done = Taken(0, {}, None, None, 0), 0
    counts: Counter[str] = Counter()
    shown = 0

    def complain(number: int, error: AlphaPulseError) -> None:
        nonlocal shown
        shown += 1
        if shown <= REFUSED_SHOWN_MAX:
            note(f"line {done + number + 1}: {error}")

    for lines in _batches(file):
        taken = found.add(lines, source=source, refused=complain)
        done += len(lines)
        counts.update(taken.refused)
        total = taken._replace(
            taken=total.taken + taken.taken, refused=dict(sorted(counts.items())),
            first=taken.first if total.first is None else total.first,
            last=total.last if taken.last is None else taken.last,
        )  # fmt: skip
    if shown > REFUSED_SHOWN_MAX:
        note(f"… and {shown - REFUSED_SHOWN_MAX} more lines")
    return total


def _batches(file: str) -> Iterator[list[bytes]]:
    """Lines as they come: those that one read gives, up to 256 KiB."""
    from alphapulse.log import SystemCalls

    with ExitStack() as stack:
        with SystemCalls(f"reading {file}"):
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(open(file, "rb"))
        rest = b""
        while True:
            with SystemCalls(f"reading {file}"):
                data = cast(BufferedReader, stream).read1(_READ_SIZE_BYTES)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _READ_SIZE_BYTES:  # no line is so long: what it is, is told, once
                lines, rest = [*lines, rest], b""
            if lines:
                yield lines
        if rest:
            yield [rest]


@performance.command("summarise")
@window_option
@click.option("--listings", is_flag=True, help="For each listing that samples name, too.")
@settings
def summarise(cli: Cli, window: str, listings: bool) -> None:
    """Close the windows that ended 30 s ago: say in the log what their samples amount to. Samples
    for them are refused from then on. Windows without samples are left out.

    \b
    JSON fields: those of `performance show`, and offset, outcome.
    """
    with _opened(cli, write_log=True) as found:
        closed = found.summarise(window, listings=listings)
    rows = [
        _row(each) | {"offset": receipt.offset, "outcome": receipt.outcome}
        for each, receipt in closed
    ]
    if cli.json:
        cli.out.records(rows)
    elif rows:
        _table(cli, rows)
    else:
        cli.note("no window with samples ended over 30 s ago and was not closed before")


@performance.command("show")
@click.argument("venue")
@window_option
@click.option("--from", "start", metavar="TIME", help="Windows that begin from then on.")
@click.option("--to", "stop", metavar="TIME", help="Windows that end by then.")
@click.option("--listing", metavar="ID", help="Of this listing there, by its id.")
@click.option("--merged", is_flag=True, help="One row that sums them up.")
@click.option("--closed", is_flag=True, help="Only what is in the log, not what samples say since.")
@as_of_option
@settings
def show(
    cli: Cli, venue: str, window: str, start: str | None, stop: str | None, listing: str | None,
    merged: bool, closed: bool, as_of: str | None,
) -> int:  # fmt: skip
    """Show how a venue behaved, window by window: the last 24 of them, unless --from or --to says
    which. Windows that are open come from samples, and more may come; with --as-of there are none,
    only what the log said by then.

    \b
    uptime    the share of the window without outage
    ack, fill p50 and p99 of latencies, within 1 % of the exact ones
    spread    mean, in bps
    depth     mean amount within so many bps of the mid price
    score     liquidity, 0 to 10,000: 10,000 × uptime × (1 − reject rate)
              × 10 ÷ (10 + spread) × depth ÷ (depth + 1,000,000),
              with the depth within 10 bps; rounded down

    \b
    JSON fields: venue, listing, window_from, window_to, open, samples, acks,
    fills, rejects, reject_rate, uptime, ack_p50_ns, ack_p99_ns, fill_p50_ns,
    fill_p99_ns, spread_bps, depth (within_bps, currency, mean),
    depths_left_out, score, score_currency. Numbers that are not whole are text,
    exact: decimal, or a ratio such as 1/3. Null: not measured. A window that
    closes keeps 100 pairs of within_bps and currency; depths_left_out: how many
    it left out.
    """
    from alphapulse.registry.venues import Window, merge_windows

    with _opened(cli, write=False) as found:
        number = _listing_id(listing)
        windows = found.windows(
            venue, window, start=start or 0, stop=stop or 0, listing=number, open=not closed,
            known=as_of,
        )
    if start is None and stop is None:
        windows = windows[-WINDOWS_SHOWN:]
    if merged and windows:
        total = merge_windows(windows)
        windows = [Window(windows[0].place, total, any(each.open for each in windows))]
    rows = [_row(each) for each in windows]
    if cli.json:
        cli.out.records(rows)
    elif rows:
        _table(cli, rows)
    elif as_of is not None:
        cli.note("the log said nothing of it by then")
    else:
        cli.note("nothing was sampled; `alphapulse performance add -` takes samples")
    return FINE if rows else NO


def _listing_id(text: str | None) -> int:
    digits = (text or "0x0").removeprefix("0x")
    if text is not None and (len(digits) != 16 or not set(digits) <= set("0123456789abcdef")):
        raise click.UsageError(f"--listing takes an id like 0x… with 16 digits, not {text!r}")
    return int(digits, 16)


def _row(window: Window) -> dict[str, object]:
    from alphapulse.log import format_time
    from alphapulse.registry.fields import id_text
    from alphapulse.registry.venues import exact_text

    place, found, is_open = window
    ack, fill, reject = (found.latencies[name] for name in ("ack", "fill", "reject"))
    rate = found.reject_rate
    return {
        "venue": place.venue, "listing": id_text(place.listing) if place.listing else None,
        "window_from": format_time(found.start), "window_to": format_time(found.stop),
        "open": is_open, "samples": found.samples, "acks": ack.count, "fills": fill.count,
        "rejects": reject.count, "reject_rate": None if rate is None else exact_text(rate),
        "uptime": exact_text(found.uptime),
        "ack_p50_ns": ack.quantile(0.5), "ack_p99_ns": ack.quantile(0.99),
        "fill_p50_ns": fill.quantile(0.5), "fill_p99_ns": fill.quantile(0.99),
        "spread_bps": exact_text(found.spread.mean) if found.spread.count else None,
        "depth": [
            {"within_bps": band, "currency": currency, "mean": exact_text(figures.mean)}
            for (band, currency), figures in sorted(found.depths.items())
        ],
        "depths_left_out": found.depths_left_out,
        "score": found.score, "score_currency": found.scored[0] if found.scored else None,
    }  # fmt: skip


def _table(cli: Cli, rows: list[dict[str, object]]) -> None:
    cli.out.table(
        [Column("venue"), Column("listing"), Column("window"), Column("samples", right=True),
         Column("uptime", right=True), Column("ack_p50", "ack p50", right=True),
         Column("ack_p99", "p99", right=True), Column("fill_p50", "fill p50", right=True),
         Column("fill_p99", "p99", right=True), Column("rejects", right=True),
         Column("spread", "spread bps", right=True), Column("depth", right=True),
         Column("score", right=True), Column("state")],
        [_cells(row) for row in rows],
    )  # fmt: skip


def _cells(row: Mapping[str, object]) -> dict[str, object]:
    """For people: rounded."""
    depths, left_out = row["depth"], row["depths_left_out"]
    assert isinstance(depths, list) and isinstance(left_out, int)
    more = max(0, len(depths) - DEPTHS_SHOWN_MAX) + left_out
    began, ended = short_time(row["window_from"]), short_time(row["window_to"])
    return {
        "venue": row["venue"], "listing": row["listing"], "window": f"{began} to {ended}",
        "samples": row["samples"], "uptime": _percent(row["uptime"]),
        **{f"{name}_{q}": duration(row[f"{name}_{q}_ns"])
           for name in ("ack", "fill") for q in ("p50", "p99")},
        "rejects": _percent(row["reject_rate"]), "spread": _rounded(row["spread_bps"]),
        "depth": " ".join(
            f"{_rounded(each['mean'])} {each['currency']} ({each['within_bps']} bps)"
            for each in depths[:DEPTHS_SHOWN_MAX]
        ) + (f" and {more} more" if more else ""),
        "score": row["score"], "state": "open" if row["open"] else None,
    }  # fmt: skip


def _percent(ratio: object) -> str | None:
    return None if ratio is None else f"{float(Fraction(str(ratio)) * 100):.6g} %"


def _rounded(value: object) -> str | None:
    """Four digits, or all before the point."""
    if value is None:
        return None
    number = Fraction(str(value))
    return f"{round(number):,}" if number >= 1_000 else f"{float(number):.4g}"
