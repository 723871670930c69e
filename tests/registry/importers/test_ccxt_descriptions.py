"""What ccxt says of venues: extracts and `describe()`, its odd tables, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.registry.importers import CcxtDescriptions, InputFile, Refused, Row
from alphapulse.registry.importing import importer_for
from alphapulse.registry.venues.commands import AddVenue, SetEndpoints, SetFees

RATES = {"maker": 0.001, "taker": 0.002, "tierBased": False, "percentage": True}


def read(tmp_path: Path, document: object) -> list[Row | Refused]:
    path = tmp_path / "venues.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with InputFile(path) as file:
        importer = importer_for(file)
        assert isinstance(importer, CcxtDescriptions)
        return list(importer.open(file).rows("ccxt"))


def described(id: str = "dummy", **fields: object) -> dict[str, Any]:
    return {"id": id, "name": "Dummy", "countries": ["SG"], "rateLimit": 50, "urls": {},
            "fees": {}, **fields}  # fmt: skip


def extract(id: str = "dummy", **fields: object) -> dict[str, Any]:
    return {"id": id, "name": "Dummy", "countries": [], "rateLimit": 50, "maker": None,
            "taker": None, "tierBased": None, "tiers": None, "subFees": {}, "api": [], "dex": False,
            **fields}  # fmt: skip


def fees(row: Row | Refused) -> SetFees:
    assert isinstance(row, Row), row
    found = row.commands[-1]
    assert isinstance(found, SetFees)
    return found


def shown(command: SetFees) -> list[tuple[tuple[str, ...], list[tuple[str, str, str, str]]]]:
    return [
        (each.products, [(x.side, x.volume_from, x.value, x.charged) for x in each.lines])
        for each in command.schedules
    ]  # fmt: skip


def test_a_description(tmp_path: Path) -> None:
    tiers = {"maker": [[0, 0.0002], [250, -0.00005]], "taker": [[0, 0.0005]]}
    said = described(
        hostname="www.dummy.example", rateLimit=7.5, dex=True,
        urls={"api": {"public": "https://api.{hostname}", "ws": {"a": "wss://{hostname}/{key}"}},
              "test": {"rest": "https://test.dummy.example"}, "www": "https://dummy.example",
              "doc": ["https://x.example"], "logo": "https://logo.example"},
        fees={"trading": RATES | {"feeSide": "get"}, "funding": {"withdraw": {"BTC": 1}},
              "inverse": {"trading": {"maker": 0.0002, "taker": 0.0005, "tiers": tiers,
                                      "feeSide": "base"}}},
    )  # fmt: skip
    (row,) = read(tmp_path, {"dummy": said})
    assert isinstance(row, Row) and row.place == "dummy" and row.odd == ()
    add, reached, _ = row.commands
    assert isinstance(add, AddVenue) and isinstance(reached, SetEndpoints)
    assert (add.venue.key, add.venue.kind, add.venue.country) == ("dummy", "dex", "SG")
    assert add.venue.links == {"web": "https://dummy.example"}
    assert {
        (each.kind, each.address, each.environment, *(limit.seconds for limit in each.limits))
        for each in reached.endpoints
    } == {
        ("rest", "https://api.www.dummy.example", "live", "0.0075"),
        ("websocket", "wss://www.dummy.example/{key}", "live"),
        ("rest", "https://test.dummy.example", "test", "0.0075"),
    }  # fmt: skip
    assert shown(fees(row)) == [
        ((), [("maker", "0", "0.1", "received"), ("taker", "0", "0.2", "received")]),
        (("inverse",), [("maker", "0", "0.02", "base"), ("maker", "250", "-0.005", "base"),
                        ("taker", "0", "0.05", "base")]),
    ]  # fmt: skip
    assert read(tmp_path, said) == [row._replace(place="[0]")], "one alone"


def test_rates_are_exact_whatever_their_digits(tmp_path: Path) -> None:
    text = json.dumps([extract(maker=1, taker=1, api=["https://{hostname}"])])
    text = text.replace('"maker": 1', '"maker": 0.00012345678901234567').replace(
        '"taker": 1', '"taker": 1e-05'
    )  # fmt: skip
    (row,) = read(tmp_path, text)
    maker, taker = fees(row).schedules[0].lines
    assert (maker.value, taker.value) == ("0.012345678901234567", "0.001")
    assert isinstance(row, Row) and isinstance(row.commands[1], SetEndpoints)
    assert row.commands[1].endpoints[0].address == "https://{hostname}", "it has no host to put in"


def test_parts_of_an_extract_are_products(tmp_path: Path) -> None:
    sub = {"maker": 0.0002, "taker": 0.0006}
    (row,) = read(tmp_path, [extract(maker=0.001, taker=0.001, subFees={"contract": sub})])
    assert [each.products for each in fees(row).schedules] == [(), ("future", "option", "swap")]


@pytest.mark.parametrize("said, odd", [
    ({"maker": 0.004, "tiers": {"maker": [[0, 0.003]]}},
     ["line 0, maker: the base rate is 0.4 %, and tier 0 0.3 %"]),
    ({"maker": None, "tiers": {"maker": [[0, 0.004]]}},
     ["line 0, maker: there is no base rate beside the tiers, which begin with 0.4 %"]),
    ({"maker": 0.003, "tiers": [{"maker": [[0, 0.003]]}]},
     ["line 0, maker: the table stands within a list"]),
    ({"maker": [[0, 0.003]]}, ["line 0, maker: a table stands where the base rate should be"]),
    ({"maker": 0.0002, "tiers": {"maker": [[0, 0.0002], [100, 0.0015]]}},
     ["line 1, maker: 0.15 from volume 100 on is more than 0.02 before"]),
    ({"maker": 0.1}, ["line 0, maker: 10 % is very high: is it a fraction, or bps?"]),
    ({"maker": -0.0001}, []),
    ({"maker": 0.0010, "tiers": {"maker": [[0.0, 0.001]]}}, []),
], ids=str)  # fmt: skip
def test_odd_tables_are_told_by_line(
    tmp_path: Path, said: dict[str, Any], odd: list[str]
) -> None:
    (row,) = read(tmp_path, [extract(**said)])
    assert isinstance(row, Row)
    assert list(row.odd) == [f"dummy: {each}" for each in odd]


def test_an_odd_table_is_named_by_its_product(tmp_path: Path) -> None:
    odd = {"trading": {"maker": 0.0005, "tiers": {"maker": [[0, 0.0004]]}}}
    (row,) = read(tmp_path, [described(fees={"linear": odd, "trading": RATES})])
    assert isinstance(row, Row)
    assert row.odd == (
        "dummy: line 0, linear maker: the base rate is 0.05 %, and tier 0 0.04 %",
    )
    assert [number for number, _ in fees(row).doubts()] == [1], "schedules are in one order"


@pytest.mark.parametrize("said, told", [
    ({"maker": 0.003, "tiers": {"maker": [[0, 0.003], [-5, 0.002]]}}, "must not be below zero"),
    ({"maker": 0.003, "tiers": {"maker": [[0, 0.003, 1]]}}, "it must be a list of pairs"),
    ({"maker": 0.003, "tiers": {"maker": [[5, 0.003]]}}, "has no line from 0"),
    ({"maker": "0.003"}, "it must be a number"),
    ({"maker": True}, "it must be a number"),
    ({"maker": 2}, "it is over 100 percent"),
    ({"maker": 0.1, "percentage": False}, "its rates are amounts"),
    ({"maker": 0.1, "feeSide": "give"}, "field feeSide: its meaning is not known"),
    ({"maker": 0.1, "feeSide": ["quote"]}, "field feeSide: its meaning is not known"),
    ({"maker": 0.1, "tiers": [[0, 0.1]]}, "it must be an object with maker and taker"),
    ({"subFees": "none"}, "field fees: it must be an object"),
    ({"fees": ["none"]}, "field fees: it must be an object"),
    ({"countries": "SG"}, "it must be a list of texts"),
    ({"rateLimit": 0, "api": ["https://a.example"]}, "it must be above zero"),
    ({"api": ["https://me:secret@a.example"]}, "a user or a password"),
    ({"api": ["ftp://a.example"]}, "begins with https or http"),
    ({"countries": ["XQ"]}, "no country of ISO 3166"),
    ({"id": "XNAS"}, "it is a MIC"),
    ({"name": 5}, "it must be text"),
], ids=str)  # fmt: skip
def test_what_is_wrong_is_refused(tmp_path: Path, said: dict[str, Any], told: str) -> None:
    good, bad = read(tmp_path, [extract("good"), extract(**said)])
    assert isinstance(good, Row)
    assert isinstance(bad, Refused) and told in bad.reason and bad.place == "[1]"


def test_numbers_that_are_none_and_venues_that_stand_twice(tmp_path: Path) -> None:
    text = json.dumps([extract(), extract(), 5]).replace('"maker": null', '"maker": NaN', 1)
    doing = "reading a description of a venue"
    assert [getattr(each, "reason", "") for each in read(tmp_path, text)] == [
        f"{doing}: it contains NaN, which is not JSON (correct the value and try again)", "",
        f"{doing}: it is 5 (write an object in braces)",
    ]  # fmt: skip
    _, twice = read(tmp_path, [extract(), extract()])
    assert isinstance(twice, Refused) and "dummy stands in [0] too" in twice.reason


@pytest.mark.parametrize("word, country", [("UK", "GB"), ("EU", ""), ("pt-BR", "BR"), ("JP", "JP")])
def test_words_for_countries(tmp_path: Path, word: str, country: str) -> None:
    (row,) = read(tmp_path, [extract(countries=[word])])
    assert isinstance(row, Row) and isinstance(row.commands[0], AddVenue)
    assert row.commands[0].venue.country == country
