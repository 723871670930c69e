"""`instruments-at` and `cross`: what is listed at a venue, and at both of two.

Both print line by line as they read, since a venue may have a hundred thousand listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import click

from .lookup import as_of_option, moment, valid_at_option
from .output import escape, shown, width_of
from .verb import Cli, settings, time_asked

if TYPE_CHECKING:
    from alphapulse.log import ListingBody
    from alphapulse.projections import ListingRecord
    from alphapulse.registry import Registry
    from alphapulse.registry.cross import Pair

ROWS_MEASURED: Final = 500
WHEN: Final = """Only what is listed there at the time asked (--valid-at, else --as-of, else now)
    counts; a status follows as `listings` says it."""


@click.command(name="instruments-at", help=f"""Show what is listed at a venue: a MIC such as XNAS,
    or a slug such as binance. {WHEN}

    \b
    JSON fields: instrument, symbol, currency, primary, class, name, isin,
    valid_from, valid_to, status, current; null when not known.
    """)  # fmt: skip
@click.argument("venue")
@click.option("--ended", is_flag=True, help="At other times, too: ended ones and future ones.")
@as_of_option
@valid_at_option
@settings
def instruments_at(
    cli: Cli, venue: str, ended: bool, as_of: str | None, valid_at: str | None
) -> None:
    with cli.registry() as registry:
        asking = _Asking(registry, as_of, valid_at)
        found = registry.instruments_at(venue, ended=ended, **asking.at)
        rows = (asking.row(record) for record in found)
        if cli.json:
            count = _records(cli, rows)
        else:
            keys = ("symbol", "currency", "class", "status", "instrument", "name")
            lines = (tuple(shown(row[key]) for key in keys) for row in rows)
            count = _lines(cli, keys, lines)
        never = _never(registry, venue)
    if count:
        cli.note(f"{count} listing{'s' * (count > 1)} at {venue}")
    elif never:
        cli.note(never)
    else:
        cli.note(f"nothing was listed at {venue} then; --ended shows what was at other times")


@click.command(help=f"""Show what trades at both of two venues: the same instrument, or others that
    stand for each other through any number of relations (same_as, receipt_of, wraps,
    bridged_from). A receipt and its share are related, never the same. {WHEN}

    One of the instrument at A is `ratio` of the one at B, exactly; empty where a relation on the
    way says no ratio. For people, > stands before a relation that is gone from A's side, and <
    before one that is gone backwards.

    \b
    JSON fields: instrument_a, instrument_b, ratio, path, listings_a, listings_b.
    path, empty for the same instrument: from, relation, to, ratio.
    Listings: as `instruments-at`.
    """)  # fmt: skip
@click.argument("venue_a", metavar="A")
@click.argument("venue_b", metavar="B")
@as_of_option
@valid_at_option
@settings
def cross(
    cli: Cli, venue_a: str, venue_b: str, as_of: str | None, valid_at: str | None
) -> None:
    from alphapulse.registry.cross import Pair

    with cli.registry() as registry:
        asking = _Asking(registry, as_of, valid_at)
        crossing = registry.cross(venue_a, venue_b, **asking.at)
        same = (Pair(id, id, (1, 1), ()) for id in crossing.same)
        rows = (asking.pair(pair, venue_a, venue_b) for pair in chain(same, crossing.related))
        if cli.json:
            _records(cli, rows)
        else:
            titles = (venue_a, venue_b, "ratio", f"id at {venue_a}", f"id at {venue_b}", "relation")
            _lines(cli, titles, map(_brief, rows))
        never = [_never(registry, venue) for venue in (venue_a, venue_b)]
    for text in filter(None, never):
        cli.note(text)
    both, related = len(crossing.same), len(crossing.related)
    cli.note(
        f"{both} instrument{'s' * (both != 1)} at both {venue_a} and {venue_b},"
        f" {related} more pair{'s' * (related != 1)} by relations"
    )


def _never(registry: Registry, venue: str) -> str:
    """That no listing at a venue is known, when it is so: its name may be misspelt."""
    if any(True for _ in registry.instruments_at(venue, ended=True)):
        return ""
    return f"no listing at {venue} is known, of any time"


def _records(cli: Cli, rows: Iterable[dict[str, object]]) -> int:
    """Prints each as it comes; how many."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  # the last one is how many
        cli.out.records([row])
    return count


def _lines(cli: Cli, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Prints each as it comes, in columns as wide as the first rows need; how many."""
    rows = iter(rows)
    first = list(islice(rows, ROWS_MEASURED))
    if not first:
        return 0
    columns = zip(titles, *first, strict=True)
    widths = [max(width_of(escape(cell)) for cell in column) for column in columns]
    count = -1
    for row in chain((titles,), first, rows):
        cli.out.cells(*zip(row, widths, strict=True))
        count += 1
    return count


def _brief(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `cross` for people."""
    is_same = not row["path"]
    return (
        _of_listings(row["listings_a"]), _of_listings(row["listings_b"]),
        "" if is_same else shown(row["ratio"]), row["instrument_a"],
        "same" if is_same else row["instrument_b"], _way(row["instrument_a"], row["path"]),
    )  # fmt: skip


def _of_listings(rows: Iterable[dict[str, object]]) -> str:
    """`AAPL USD`, of each listing; its status where it is not active."""
    return ", ".join(
        " ".join(
            str(value)
            for value in (row["symbol"], row["currency"], None if row["current"] else row["status"])
            if value is not None
        )
        for row in rows
    )


def _way(at: str, path: Iterable[dict[str, str]]) -> str:
    words = []
    for step in path:
        forward = step["from"] == at
        words.append(("> " if forward else "< ") + step["relation"])
        at = step["to"] if forward else step["from"]
    return " ".join(words)


class _Asking:
    """What is asked of the registry for each row, as of the times that the options name."""

    def __init__(self, registry: Registry, as_of: str | None, valid_at: str | None) -> None:
        valid = time_asked(registry, valid_at, "--valid-at")
        self.at: dict[str, Any] = {"as_of": as_of, "valid": valid}
        self.moment = moment(registry, as_of, valid)
        self._registry = registry

    def row(self, record: ListingRecord) -> dict[str, object]:
        from alphapulse.registry.render import listed_dict

        then = self._registry.describe(record.instrument, **self.at)
        owner = then or self._registry.describe(record.instrument, as_of=self.at["as_of"])
        assert owner is not None  # a listing is of a registered instrument
        return listed_dict(self._whole(record), self.moment, owner, then)

    def pair(self, pair: Pair, venue_a: str, venue_b: str) -> dict[str, object]:
        from alphapulse.registry.render import pair_dict

        sides = (pair.a, venue_a), (pair.b, venue_b)
        return pair_dict(pair, *([*self._rows(id, venue)] for id, venue in sides))

    def _rows(self, id: int, venue: str) -> Iterator[dict[str, object]]:
        """What is listed there, in all currencies and lines."""
        from alphapulse.registry.validation import venue as key_of

        key = key_of(venue)
        for record in self._registry.listings(id, as_of=self.at["as_of"], valid=self.moment):
            if self._whole(record).venue == key:
                yield self.row(record)

    def _whole(self, record: ListingRecord) -> ListingRecord | ListingBody:
        """With text that did not fit into the record."""
        if not record.is_cut:
            return record
        periods = self._registry.listing_periods(record.instrument, **self.at)
        return next(
            period for id, period in periods
            if (id, period.valid_from) == (record.id, record.valid_from)
        )  # fmt: skip
