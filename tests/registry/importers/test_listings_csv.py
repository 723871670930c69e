"""Listing CSVs: columns by name, and damage that stays in its own line."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, parse_time
from alphapulse.registry import AddListing, Register, key_text
from alphapulse.registry.importers import InputFile, ListingsCsv, Refused, Row
from alphapulse.registry.importers.base import LINE_SIZE_BYTES_MAX, Line
from alphapulse.registry.importers.csv_rows import RECORD_LINES_MAX, records

HEADER = "isin,mic,symbol,currency,name"
APPLE = "US0378331005,XNAS,AAPL,USD,Apple Inc."
SHELL = "GB00BP6MXD84,XLON,SHEL,GBX,Shell plc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "listings.csv"


def read(path: Path, data: str | bytes) -> list[Row | Refused]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with InputFile(path) as file:
        return list(ListingsCsv().open(file).rows("source"))


def places(rows: list[Row | Refused]) -> list[tuple[str, bool]]:
    return [(row.place, isinstance(row, Row)) for row in rows]


def commands(row: Row | Refused) -> tuple[Register, AddListing]:
    assert isinstance(row, Row), row
    register, listing = row.commands
    assert isinstance(register, Register)
    assert isinstance(listing, AddListing)
    assert listing.of == (register if register.newest else register.fingerprint)
    return register, listing


def cell(path: Path, **cells: str) -> Row | Refused:
    """The one row of a file with an ISIN, a MIC and these columns."""
    row = {"isin": "US0378331005", "mic": "XNAS", "primary": "", **cells}
    (found,) = read(path, ",".join(row) + "\n" + ",".join(row.values()) + "\n")
    return found


def test_every_column_has_its_place(path: Path) -> None:
    register, listing = commands(
        cell(
            path, cusip="037833100", sedol="2046251", figi="BBG001S5N8V8",
            composite_figi="BBG000B9XRY4", lei="HWUPKR0MPOU8FGXBT394", symbol="AAPL",
            currency="USD", valid_from="1980-12-12", valid_to="2030", primary="true",
            name="Apple Inc.", line="2", decimals="0", tick="0.010", lot="1",
            cfi="ESVUFR", listing_figi="BBG000B9XVV8", symbol_from="2007",
        )
    )  # fmt: skip
    assert register.facts.values == {
        "isin": "US0378331005", "cusip": "037833100", "sedol": "2046251",
        "figi": "BBG001S5N8V8", "composite_figi": "BBG000B9XRY4",
        "lei": "HWUPKR0MPOU8FGXBT394", "symbol": "AAPL", "name": "Apple Inc.", "decimals": 0,
        "cfi": "ESVUFR",
    }  # fmt: skip
    said = listing.listing
    assert (said.venue, said.symbol, said.currency, said.line) == ("XNAS", "AAPL", "USD", 2)
    assert (said.valid_from, said.valid_to) == (parse_time("1980-12-12"), parse_time("2030"))
    assert (said.primary, said.tick, said.lot) == (True, "0.01", "1")
    assert said.figi == "BBG000B9XVV8"
    assert said.symbol_from == parse_time("2007")


def test_columns_stand_in_any_order_and_case(path: Path) -> None:
    a, b = (
        read(path, text)
        for text in (
            f"{HEADER}\n{APPLE}\n",
            " NAME ,Currency,SYMBOL,Mic,isin\nApple Inc.,USD,AAPL,XNAS,US0378331005\n",
        )
    )
    assert commands(a[0]) == commands(b[0])


@pytest.mark.parametrize(
    "word, primary",
    [("true", True), ("YES", True), ("1", True), ("False", False), ("no", False), ("0", False)],
)
def test_the_symbol_of_a_primary_listing_is_the_instruments(
    path: Path, word: str, primary: bool
) -> None:
    register, listing = commands(cell(path, symbol="AAPL", primary=word))
    assert listing.listing.symbol == "AAPL"
    assert listing.listing.primary is primary
    assert register.facts.values.get("symbol") == ("AAPL" if primary else None)


def test_without_a_column_primary_the_symbol_is_the_instruments_too(path: Path) -> None:
    register, listing = commands(read(path, f"{HEADER}\n{APPLE}\n")[0])
    assert register.facts.values["symbol"] == listing.listing.symbol == "AAPL"
    assert not listing.listing.primary


def test_all_classes_stand_in_one_file(path: Path) -> None:
    rows = read(
        path,
        "class,venue,issuer,symbol,native_id,settlement,product,root,maturity,strike,right,style,"
        "administrator,code,base,quote,chain,address,isin,currency,tick,expiry,tenor\n"
        "perpetual,binance,,BTC/USDT:USDT,BTCUSDT,USDT,,,,,,,,,BTC,USDT,,,,USDT,0.10,,\n"
        "option,XCBO,occ,AAPL C150,,,,AAPL,2026-12-18,150,call,american,,,,,,,,USD,0.01,"
        "2026-12-18T21:00Z,\n"
        "index,,,,,,,,,,,,stoxx,SX5E,,,,,,EUR,,,\n"
        "fx_pair,,,,,,,,,,,,,,EUR,USD,,,,,,,3M\n"
        "token,binance,,USDC,,,,,,,,,,,,,eip155:1,0x" + "1" * 40 + ",,USDT,0.01,,\n"
        "equity,XNAS,,AAPL,,,,,,,,,,whatever,,,,,US0378331005,USD,0.01,,\n",
    )
    assert all(isinstance(row, Row) for row in rows), rows
    perpetual, option = commands(rows[0]), commands(rows[1])
    assert key_text(perpetual[0].facts.key) == "perpetual|binance|perpetual|BTCUSDT|USDT|0"
    assert perpetual[0].facts.values["tick"] == "0.1"
    assert (perpetual[1].listing.venue, perpetual[1].listing.tick) == ("binance", None)
    assert key_text(option[0].facts.key) == "option|occ|AAPL|2026-12-18|150|call|american|0"
    assert option[1].listing.venue == "XCBO"
    for row, key in zip(rows[2:4], ("index|stoxx|SX5E", "fx_pair|EUR|USD|3M"), strict=True):
        assert isinstance(row, Row)
        (register,) = row.commands
        assert isinstance(register, Register) and key_text(register.facts.key) == key
    token, equity = commands(rows[4]), commands(rows[5])
    assert "tick" not in token[0].facts.values and token[1].listing.tick == "0.01"
    assert equity[0].facts.values == {"isin": "US0378331005", "symbol": "AAPL"}


def test_without_a_column_class_columns_of_other_classes_are_unknown(path: Path) -> None:
    path.write_text("isin,mic,strike,market\nUS0378331005,XNAS,5,x\n")
    with InputFile(path) as file:
        reading = ListingsCsv().open(file)
        assert reading.unknown_columns == ("strike", "market")
        assert [isinstance(row, Row) for row in reading.rows("source")] == [True]


@pytest.mark.parametrize(
    "cells, reason",
    [
        ({"isin": "US0378331006"}, "isin"),
        ({"isin": ""}, "needs an ISIN"),
        ({"cusip": "037833101"}, "cusip"),
        ({"mic": "xnas"}, "mic: it is not a MIC"),
        ({"mic": ""}, "mic"),
        ({"class": "stock"}, "class: there is no such class"),
        ({"class": "token"}, "reading a token: Object contains unknown field `isin`"),
        ({"class": "index", "code": "X"}, "administrator is missing"),
        ({"class": "future", "product": "F", "maturity": "2026-12"}, "maturity: it is not a whole"),
        ({"class": "future", "product": "F", "strike": "5"}, "unknown field `strike`"),
        ({"class": "spot_pair", "native_id": "X", "generation": "x"}, "generation: it must be an"),
        ({"primary": "maybe"}, "primary: it is neither true nor false"),
        ({"currency": "usd"}, "currency"),
        ({"valid_from": "12/12/1980"}, "valid_from: it is not RFC 3339"),
        ({"valid_from": "2020", "valid_to": "2019"}, "valid_to: it must be after"),
        ({"line": "-1"}, "line: it must be an integer"),
        ({"line": "70000"}, "line: it must be 0 to 65535"),
        ({"decimals": "1e3"}, "decimals: it must be an integer"),
        ({"tick": "0"}, "tick: it must be above zero"),
        ({"tick": "nan"}, "tick"),
        ({"symbol": "AA\0PL"}, "symbol: it contains U+0000"),
        ({"name": '"Apple\nInc."'}, "name: it contains U+000A"),
        ({"name": "Apple\u2066"}, "name: it contains U+2066"),
    ],
)
def test_a_bad_cell_refuses_its_row(path: Path, cells: dict[str, str], reason: str) -> None:
    row = cell(path, **cells)
    assert isinstance(row, Refused)
    assert reason in row.reason
    assert row.place == "line 2"


@pytest.mark.parametrize(
    "bad, reason",
    [
        (b"US0378331005,XNAS,AAPL,USD", "it has 4 cells, the header has 5"),
        (b"US0378331005,XNAS,AAPL,USD,Apple,Inc.", "it has 6 cells, the header has 5"),
        (b"DE0007164600,XETR,SAP,EUR,Caf\xe9 AG", "not UTF-8 (byte 0xe9 at 29)"),
        (b"DE0007164600,XETR,HUGE,EUR,SAP", "the line has 10000027 bytes"),
        (b'DE0007164600,XETR,"SAP,EUR,SAP SE', "a quote is opened here and not closed"),
        (b'DE0007164600,XETR,"SAP"x,EUR,SAP SE', "it is not CSV"),
        (b"DE0007164600,XETR,SAP\rEUR,SAP SE", "it is not CSV"),
    ],
    ids=["few", "many", "latin-1", "10 MB", "open quote", "after quote", "carriage return"],
)
def test_damage_stays_in_its_line(path: Path, bad: bytes, reason: str) -> None:
    bad = bad.replace(b"HUGE", b"S" * 10_000_000)
    rows = read(path, b"\n".join([HEADER.encode(), APPLE.encode(), bad, SHELL.encode(), b""]))
    assert places(rows) == [("line 2", True), ("line 3", False), ("line 4", True)]
    refused = rows[1]
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert isinstance(refused.raw, str)
    assert len(refused.raw) <= 1_001


def test_a_symbol_of_ten_megabytes_takes_no_memory(path: Path) -> None:
    path.write_bytes(f"{HEADER}\n{APPLE}\nX,XETR,{'S' * 10_000_000},EUR,\n".encode())
    tracemalloc.start()
    try:
        with InputFile(path) as file:
            rows = list(ListingsCsv().open(file).rows("source"))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert places(rows) == [("line 2", True), ("line 3", False)]
    assert peak_bytes < 5_000_000


def test_a_quoted_cell_may_hold_commas_quotes_and_lines(path: Path) -> None:
    text = f'{HEADER}\nUS0378331005,XNAS,"AAPL",USD,"Apple, ""Inc."""\n\n{SHELL}\n'
    rows = read(path, text)
    assert places(rows) == [("line 2", True), ("line 4", True)]
    assert commands(rows[0])[0].facts.values["name"] == 'Apple, "Inc."'


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(path: Path, end: str, mark: str) -> None:
    rows = read(path, mark + end.join(["", HEADER, APPLE, ",,,,", SHELL]))
    assert places(rows) == [("line 3", True), ("line 5", True)]
    assert commands(rows[1])[0].facts.values["name"] == "Shell plc"


@pytest.mark.parametrize(
    "data, problem",
    [
        ("\n\n", "it has no header"),
        ("isin,symbol\n", "it has no column mic or venue"),
        ("mic,symbol\n", "it has no column isin or figi or cusip"),
        ("a,b\n", "no column isin or figi or cusip, and none mic or venue"),
        ("isin;mic;symbol\n", "separate the cells by commas"),
        ("isin,mic,ISIN\n", "the column isin stands twice"),
        ("isin,mic,venue\n", "a column mic and a column venue"),
        ("isin,mic,\"symbol\n", "not closed"),
        ("isin,mic\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_an_unusable_header_names_the_file(path: Path, data: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(path, data)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_unknown_columns_are_named(path: Path) -> None:
    path.write_text("isin,mic,Sector,,symbol\nUS0378331005,XNAS,tech,x,AAPL\n")
    with InputFile(path) as file:
        reading = ListingsCsv().open(file)
        (row,) = reading.rows("source")
    assert reading.unknown_columns == ("sector", "column 4")
    assert isinstance(row, Row)
    assert reading.done == reading.total == path.stat().st_size


def test_two_unknown_columns_of_one_name_are_no_error(path: Path) -> None:
    (row,) = read(path, "isin,mic,x,x\nUS0378331005,XNAS,1,2\n")
    assert isinstance(row, Row)


def test_a_line_appended_while_reading_is_left_for_later(path: Path) -> None:
    path.write_text(f"{HEADER}\n{APPLE}\n")
    with InputFile(path) as file:
        reading = ListingsCsv().open(file)
        with path.open("a") as more:
            more.write(f"{SHELL}\n")
        assert places(list(reading.rows("source"))) == [("line 2", True)]


def test_a_file_that_changes_while_it_is_read_is_noticed(path: Path) -> None:
    path.write_text(f"{HEADER}\n{APPLE}\n" + f"{SHELL}\n" * 1_000)
    with InputFile(path) as file:
        rows = ListingsCsv().open(file).rows("source")
        next(rows)
        with path.open("r+b") as other:
            other.seek(-10, 2)
            other.write(b"X")
        with pytest.raises(InvalidInput, match="changed while it was read"):
            list(rows)


def lines_of(data: bytes) -> Iterator[Line]:
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        yield Line(number, line, len(line))


def test_an_open_quote_costs_one_line_however_far_the_next_quote_is() -> None:
    more = RECORD_LINES_MAX + 20
    found = list(records(lines_of(b'a,"b\n' + b"x,y\n" * more + b'"c",d\n')))
    assert [record.line for record in found if record.problem] == [1]
    assert len(found) == more + 2
    assert found[-1].cells == ["c", "d"]


def test_a_record_over_the_limit_is_refused_at_its_first_line() -> None:
    piece = b"x" * (LINE_SIZE_BYTES_MAX // 3)
    data = b'"' + piece + b"\n" + piece + b"\n" + piece + b"\n" + piece + b'"\n'
    found = list(records(lines_of(data)))
    assert [(record.line, bool(record.problem)) for record in found] == [
        (1, True), (2, False), (3, False), (4, False),
    ]  # fmt: skip


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "", '"q"', '"', "x,y", "\r", "é", "ÿ", " "]), max_size=4)
        .map(",".join)
        .map(lambda text: text.encode("latin-1" if "ÿ" in text else "utf-8")),
        max_size=30,
    )
)
def test_no_line_gets_lost_in_a_record_that_is_refused(lines: list[bytes]) -> None:
    """Every line is in one record: the lines of good ones, and one for each refused."""
    given_lines = [line for line in lines if b"\r" not in line]
    at = 1
    for record in records(lines_of(b"".join(line + b"\n" for line in given_lines))):
        skipped = given_lines[at - 1 : record.line - 1]
        assert all(not line.decode().strip(' ,"') for line in skipped)
        at = record.line + (1 if record.problem else record.raw.count("\n") + 1)
    assert at <= len(given_lines) + 1


def test_terms_of_bonds_and_of_orders(path: Path) -> None:
    """What orders a venue takes of a security is the listing's; of a pair it is the pair's."""
    said = {"tick": "1/64", "ticks": "0:1/64", "lot": "1", "min_size": "5", "max_size": "7",
            "min_notional": "9"}  # fmt: skip
    known = {**said, "tick": "0.015625", "ticks": "0:0.015625"}
    bond = {"coupon": "0", "coupon_frequency": "1", "maturity": "2032-02-15"}
    register, listing = commands(cell(path, **{"class": "bond"}, **bond, **said))
    assert {field: getattr(listing.listing, field) for field in known} == known
    assert register.facts.values == {
        "isin": "US0378331005", **bond, "coupon_frequency": 1,
    }  # fmt: skip
    register, listing = commands(cell(path, **said))
    assert {field: getattr(listing.listing, field) for field in known} == known
    pair = {"class": "spot_pair", "native_id": "AB"}
    register, listing = commands(cell(path, **pair, **said))
    assert known.items() <= register.facts.values.items() and listing.listing.tick is None
    refused = cell(path, **{"class": "equity"}, coupon="1")
    assert isinstance(refused, Refused) and "unknown field `coupon`" in refused.reason
