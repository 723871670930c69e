"""Ticker collections: what is certain is registered, and nothing is paired by guessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import AssetClass, InvalidInput
from alphapulse.registry import Register
from alphapulse.registry.importers import FORMATS, InputFile, Refused, Row, TickerCollection
from alphapulse.registry.importing import importer_for

SAMPLE = Path(__file__).parents[3] / "tools" / "samples" / "pytickersymbols_equities.json"


def ticker(yahoo: str, google: str) -> dict[str, str]:
    return {"yahoo": yahoo, "google": google, "currency": "EUR"}


ACCOR: dict[str, Any] = {
    "name": "Accor", "isins": ["FR0000120404"], "symbols": [ticker("AC.PA", "EPA:AC")],
}  # fmt: skip


def read(path: Path, *companies: object) -> list[Row | Refused]:
    path.write_text(json.dumps(companies))
    with InputFile(path) as file:
        reading = TickerCollection().open(file)
        rows = list(reading.rows("source"))
    assert reading.done == reading.total == len(companies)
    return rows


def values(row: Row | Refused) -> dict[str, Any]:
    assert isinstance(row, Row), row
    (register,) = row.commands
    assert isinstance(register, Register)
    assert register.facts.asset_class is AssetClass.EQUITY
    return register.facts.values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickers.json"


def test_one_isin_and_one_ticker_at_home_are_one_equity(path: Path) -> None:
    (row,) = read(path, ACCOR)
    assert values(row) == {"isin": "FR0000120404", "name": "Accor", "symbol": "AC"}
    assert row.place == "[0]"
    assert row.raw == ACCOR


@pytest.mark.parametrize(
    "symbols",
    [
        [],
        [ticker("AC.PA", "EPA:AC"), ticker("ACRFF", "OTCMKTS:ACRFF")],
        [ticker("AC.L", "LON:AC")],
        [ticker("AC", "AC")],
        [ticker("AC.XX", "XX:AC")],
        [ticker("AC.PA", "EPA:ACC")],
        [ticker("AC-B.PA", "EPA:AC-B")],
        [ticker("", "")],
    ],
    ids=["none", "two", "abroad", "american", "unknown", "disagree", "vendor's", "empty"],
)
def test_a_ticker_that_may_not_be_the_isins_is_no_symbol(
    path: Path, symbols: list[dict[str, str]]
) -> None:
    (row,) = read(path, {**ACCOR, "symbols": symbols})
    assert values(row) == {"isin": "FR0000120404", "name": "Accor"}


def test_a_ticker_of_two_companies_is_the_symbol_of_neither(path: Path) -> None:
    capital = {"name": "Capital One", "isins": ["US14040H1059"], "symbols": [ticker("AC", "AC")]}
    one, other = read(path, ACCOR, capital)
    assert "symbol" not in values(one) and "symbol" not in values(other)
    # also when the other company itself is refused
    one, refused = read(path, ACCOR, {**capital, "isins": []})
    assert "symbol" not in values(one)
    assert isinstance(refused, Refused)


def test_an_isin_of_two_companies_is_neithers(path: Path) -> None:
    other = {"name": "Accord", "isins": ["US14040H1059", "fr0000120404 "], "symbols": []}
    for row, reason in zip(
        read(path, ACCOR, other),
        ("its ISIN stands on 2 companies [isin=FR0000120404, companies='Accor', 'Accord']",
         "it has 2 ISINs, and nothing says which is whose"),
        strict=True,
    ):  # fmt: skip
        assert isinstance(row, Refused)
        assert reason in row.reason


@pytest.mark.parametrize(
    "company, reason",
    [
        ({**ACCOR, "isins": []}, "it has no ISIN, and a ticker does not say who it is"),
        ({"name": "Accor"}, "it has no ISIN"),
        ({**ACCOR, "isins": ["FR0000120405"]}, "isin: it fails only its check digit"),
        ({**ACCOR, "isins": ["FR0000120404", "CH1012549785"]}, "value='CH1012549785'"),
        ({**ACCOR, "isins": [None]}, "isins: it must be text"),
        ({**ACCOR, "isins": "FR0000120404"}, "isins: it must be a list"),
        ({**ACCOR, "symbols": [5]}, "symbols: it must be an object"),
        ({**ACCOR, "symbols": [{"yahoo": 7}]}, "yahoo: it must be text"),
        ({**ACCOR, "name": 7}, "name: it must be text"),
        ({**ACCOR, "name": "a\u202eb"}, "name: it contains U+202E"),
        ({**ACCOR, "indices": float("nan")}, "it contains NaN"),
        (None, "it is None"),
    ],
)
def test_a_bad_company_is_refused_alone(path: Path, company: object, reason: str) -> None:
    nintendo = {"name": "Nintendo", "isins": ["JP3756600007"], "symbols": []}
    refused, good = read(path, company, nintendo)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert values(good)["isin"] == "JP3756600007"


def test_one_isin_said_twice_is_one(path: Path) -> None:
    (row,) = read(path, {**ACCOR, "isins": ["FR0000120404", "FR0000120404"]})
    assert values(row)["symbol"] == "AC"


@pytest.mark.parametrize("data", ["{}", "7", '{"isins": [], "symbols": []}'])
def test_a_document_of_another_form_is_unusable(path: Path, data: str) -> None:
    path.write_text(data)
    with InputFile(path) as file, pytest.raises(InvalidInput, match="it is no ticker collection"):
        TickerCollection().open(file)


def test_it_is_known_by_its_beginning() -> None:
    with InputFile(SAMPLE) as file:
        assert importer_for(file) is FORMATS["ticker-collection"]


def test_the_traps_of_the_sample() -> None:
    with InputFile(SAMPLE) as file:
        rows = list(TickerCollection().open(file).rows("source"))
    names = {json.loads(json.dumps(row.raw))["name"]: row for row in rows}
    refused = {name for name, row in names.items() if isinstance(row, Refused)}
    assert refused == {"ABN AMRO", "Adyen", "Elis", "Elisa", "Sonova"}
    symbols = {name: values(row).get("symbol") for name, row in names.items()
               if isinstance(row, Row)}  # fmt: skip
    assert symbols == {
        "DSM-Firmenich": None, "Verallia": "OLG", "Nintendo": "7974", "Akamai Technologies": "AKAM",
        "Accor": "AC", "Arm Holdings": None, "Saab AB": None, "Capital One": None,
        "Cofinimmo": None,
    }  # fmt: skip
