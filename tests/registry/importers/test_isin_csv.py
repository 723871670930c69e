"""ISIN lists: the source's words become ours by a table, or the row is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from alphapulse.log import AssetClass, InvalidInput, Status
from alphapulse.registry import AddListing, Register, validation
from alphapulse.registry.importers import FORMATS, InputFile, IsinCsv, Refused, Row
from alphapulse.registry.importers.venue_aliases import ALIASES, venue_of
from alphapulse.registry.importing import importer_for

SAMPLE = Path(__file__).parents[3] / "tools" / "samples" / "india_isins.csv"
RELIANCE = {
    "isin": "INE002A01018", "name": "RELIANCE INDUSTRIES", "type": "EQUITY SHARES",
    "status": "ACTIVE", "symbol": "RELIANCE", "exchange": "NSE",
}  # fmt: skip


def one(path: Path, **cells: str) -> Row | Refused:
    """The row of Reliance with other cells."""
    row = {**RELIANCE, **cells}
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with InputFile(path) as file:
        (found,) = IsinCsv().open(file).rows("source")
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "isins.csv"


def read(row: Row | Refused) -> tuple[Register, AddListing | None]:
    assert isinstance(row, Row), row
    register, *more = row.commands
    assert isinstance(register, Register)
    listing = more[0] if more else None
    assert listing is None or isinstance(listing, AddListing)
    return register, listing


def test_a_row_is_a_security_and_its_listing(path: Path) -> None:
    register, listing = read(one(path))
    assert register.facts.asset_class is AssetClass.EQUITY
    assert register.status is Status.ACTIVE
    assert register.facts.values == {"isin": "INE002A01018", "name": "RELIANCE INDUSTRIES"}
    assert listing is not None
    assert listing.of == register.fingerprint
    said = listing.listing
    assert (said.venue, said.symbol, said.currency) == ("XNSE", "RELIANCE", "INR")


@pytest.mark.parametrize(
    "word, asset_class",
    [("equity  shares", AssetClass.EQUITY), ("ETF", AssetClass.ETF), ("Bond", AssetClass.BOND)],
)
def test_types_are_classes(path: Path, word: str, asset_class: AssetClass) -> None:
    assert read(one(path, type=word))[0].facts.asset_class is asset_class


@pytest.mark.parametrize(
    "word, status", [("ACTIVE", Status.ACTIVE), ("Suspended", Status.HALTED), ("", None)]
)
def test_statuses_are_statuses(path: Path, word: str, status: Status | None) -> None:
    register, listing = read(one(path, status=word))
    assert register.status is status
    assert listing is not None


def test_of_a_delisted_one_no_open_listing_is_claimed(path: Path) -> None:
    register, listing = read(one(path, status="DELISTED"))
    assert register.status is Status.DELISTED
    assert listing is None


def test_a_symbol_without_an_exchange_is_the_instruments(path: Path) -> None:
    register, listing = read(one(path, exchange=""))
    assert register.facts.values["symbol"] == "RELIANCE"
    assert listing is None


@pytest.mark.parametrize(
    "cells, currency",
    [({"exchange": "lse"}, ""), ({"exchange": "lse", "currency": "USD"}, "USD"),
     ({"currency": "USD"}, "USD"), ({"exchange": "XNSE"}, "INR")],
)  # fmt: skip
def test_a_currency_is_said_or_the_only_one(
    path: Path, cells: dict[str, str], currency: str
) -> None:
    listing = read(one(path, **cells))[1]
    assert listing is not None
    assert listing.listing.currency == currency


@pytest.mark.parametrize(
    "cells, reason",
    [
        ({"isin": "INE002A01019"}, "check digit"),
        ({"isin": ""}, "isin"),
        ({"type": "MUTUAL FUND UNITS"}, "type: it has no certain class [value='MUTUAL FUND UNITS"),
        ({"type": ""}, "type: it has no certain class"),
        ({"status": "DEMATERIALISED"}, "status: its meaning is not known"),
        ({"exchange": "TSE"}, "exchange: no MIC is known for this exchange [value='TSE'] (write"),
        ({"exchange": "xnse2"}, "exchange: no MIC is known"),
        ({"exchange": "NSE", "isin": "US0378331005"}, "several exchanges are called so, and US"),
        ({"exchange": "BSE", "isin": "BG1100003166"}, "several exchanges are called so, and BG"),
        ({"currency": "rupee"}, "currency"),
        ({"name": "a\x1b[31m"}, "name: it contains U+001B"),
    ],
)
def test_what_is_not_certain_is_refused(path: Path, cells: dict[str, str], reason: str) -> None:
    row = one(path, **cells)
    assert isinstance(row, Refused)
    assert row.place == "line 2"
    assert reason in row.reason


@pytest.mark.parametrize(
    "head, name",
    [
        ("isin,name,issuer,type,status,symbol,exchange\n", "isin-csv"),
        ("TYPE,ISIN\n", "isin-csv"),
        ("isin,mic,type\n", "listings-csv"),
        ("isin,venue,type\n", "listings-csv"),
        ("isin,symbol,exchange\n", "listings-csv"),
    ],
)
def test_it_is_known_by_its_header(path: Path, head: str, name: str) -> None:
    path.write_text(head)
    with InputFile(path) as file:
        assert importer_for(file) is FORMATS[name]


def test_a_header_without_a_type_is_unusable(path: Path) -> None:
    path.write_text("isin,exchange\n")
    with InputFile(path) as file, pytest.raises(InvalidInput, match="it has no column type"):
        IsinCsv().open(file)


def test_every_alias_names_a_mic() -> None:
    for name, alias in ALIASES.items():
        assert validation.venue_parts(alias.mic)[0] == "mic"
        assert name == " ".join(name.upper().split())
        assert not alias.currency or validation.currency(alias.currency)
        assert venue_of(name.lower(), alias.isin_prefix) == alias


def test_the_sample(path: Path) -> None:
    with InputFile(SAMPLE) as file:
        reading = IsinCsv().open(file)
        rows = [read(row) for row in reading.rows("source")]
    assert reading.unknown_columns == ("issuer",)
    assert reading.done == reading.total
    assert [register.status for register, _ in rows].count(Status.HALTED) == 2
    assert len(rows) == 12


def test_a_long_list_takes_no_memory(path: Path) -> None:
    row = ",".join(RELIANCE.values())
    path.write_text(",".join(RELIANCE) + "\n" + f"{row}\n" * 1_500)
    with InputFile(path) as file:
        rows = IsinCsv().open(file).rows("source")
        next(rows)  # what is made once is not the rows'
        tracemalloc.start()
        try:
            assert sum(isinstance(found, Row) for found in rows) == 1_499
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 200_000
