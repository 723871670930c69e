"""The list of MICs: the official file and its extract, in any order, and rows that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, parse_time
from alphapulse.registry.importers import InputFile, Iso10383, Refused, Row
from alphapulse.registry.importers.iso10383 import OFFICIAL, SOURCE
from alphapulse.registry.importing import importer_for
from alphapulse.registry.venues.commands import AddVenue
from alphapulse.registry.venues.venue import Venue

HEADER = (
    "MIC,OPERATING MIC,OPRT/SGMT,MARKET NAME-INSTITUTION DESCRIPTION,LEGAL ENTITY NAME,LEI,"
    "MARKET CATEGORY CODE,ACRONYM,ISO COUNTRY CODE (ISO 3166),CITY,WEBSITE,STATUS,CREATION DATE,"
    "LAST UPDATE DATE,LAST VALIDATION DATE,EXPIRY DATE,COMMENTS"
)
XPAR = (
    '"XPAR","XPAR","OPRT","EURONEXT - EURONEXT PARIS","EURONEXT PARIS SA","969500HMVSZ0TCV65D58",'
    '"RMKT","","FR","PARIS","WWW.EURONEXT.COM/Fr","ACTIVE","20050627","20240101","","",""'
)
ALXP = (
    '"ALXP","XPAR","SGMT","EURONEXT GROWTH PARIS – CÔTÉ","EURONEXT PARIS SA","","MLTF","","FR",'
    '"PARIS","","EXPIRED","20050627","20240101","","20190422","gone"'
)
EXTRACT = "mic,operating_mic,market_name,lei,country,category,status,created,expiry,website\n"


def read(tmp_path: Path, data: str | bytes) -> list[Row | Refused]:
    path = tmp_path / "mics.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with InputFile(path) as file:
        importer = importer_for(file)
        assert isinstance(importer, Iso10383)
        reading = importer.open(file)
        assert reading.source == SOURCE
        return list(reading.rows(SOURCE))


def venues(rows: list[Row | Refused]) -> list[Venue]:
    found = []
    for row in rows:
        assert isinstance(row, Row), row
        (command,) = row.commands
        assert isinstance(command, AddVenue)
        found.append(command.venue)
    return found


def row(tmp_path: Path, **cells: str) -> Row | Refused:
    """The one row of an extract."""
    said = dict.fromkeys(EXTRACT.strip().split(","), "")
    said |= {"mic": "XAAA", "operating_mic": "XAAA", "status": "active", **cells}
    (found,) = read(tmp_path, EXTRACT + ",".join(f'"{cell}"' for cell in said.values()))
    return found


def test_the_official_file_in_its_own_encoding_and_order(tmp_path: Path) -> None:
    """The segment stands first there, and comes last here."""
    data = "\r\n".join([HEADER, ALXP, XPAR]).encode("cp1252")
    paris, growth = venues(read(tmp_path, data))
    assert paris == Venue(
        key="XPAR", name="EURONEXT - EURONEXT PARIS", kind="exchange", country="FR",
        lei="969500HMVSZ0TCV65D58", links={"web": "https://www.euronext.com/Fr"},
        valid_from=parse_time("2005-06-27"), valid_to=0,
    )  # fmt: skip
    assert growth == Venue(
        key="ALXP", operating="XPAR", name="EURONEXT GROWTH PARIS – CÔTÉ", kind="mtf",
        country="FR", valid_from=parse_time("2005-06-27"), valid_to=parse_time("2019-04-22"),
    )  # fmt: skip
    assert venues(read(tmp_path, data.decode("cp1252"))) == [paris, growth], "saved as UTF-8"


def test_columns_that_say_nothing_here_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mics.csv"
    path.write_text(f"{HEADER}\n{XPAR}\n")
    with InputFile(path) as file:
        unknown = Iso10383().open(file).unknown_columns
    assert set(unknown) == {name.lower() for name in HEADER.split(",")} - OFFICIAL.keys()
    assert "legal entity name" in unknown


@pytest.mark.parametrize("cells, venue", [
    ({"country": "IN_"}, {"country": "IN"}),
    ({"country": "ZZ"}, {"country": ""}),
    ({"category": "nspd"}, {"kind": ""}),
    ({"category": "casp"}, {"kind": "crypto_exchange"}),
    ({"status": "updated", "expiry": "2030-01-01"}, {"valid_to": parse_time("2030-01-01")}),
    ({"website": "HTTP://A.example, www.b.example"},
     {"links": {"web": "http://a.example", "web-2": "https://www.b.example"}}),
], ids=str)  # fmt: skip
def test_words_of_the_list(
    tmp_path: Path, cells: dict[str, str], venue: dict[str, object]
) -> None:
    (found,) = venues([row(tmp_path, **cells)])
    assert {name: getattr(found, name) for name in venue} == venue


@pytest.mark.parametrize("cells, told", [
    ({"mic": "XAA"}, "field mic"),
    ({"mic": "xaaa", "operating_mic": "xaaa"}, "field mic: it is not a MIC"),
    ({"status": "gone"}, "field status: its meaning is not known"),
    ({"status": "expired"}, "it expired, and nothing says when"),
    ({"status": "expired", "expiry": "soon"}, "field expiry: it is no date"),
    ({"status": "expired", "created": "2020-01-01", "expiry": "2020-01-01"}, "after valid_from"),
    ({"category": "abcd"}, "field category"),
    ({"country": "QX"}, "no country of ISO 3166"),
    ({"lei": "969500HMVSZ0TCV65D59"}, "lei"),
    ({"website": "https://a:b@c.example"}, "a user or a password"),
], ids=str)  # fmt: skip
def test_a_row_that_is_wrong_is_refused(
    tmp_path: Path, cells: dict[str, str], told: str
) -> None:
    refused = row(tmp_path, **cells)
    assert isinstance(refused, Refused) and told in refused.reason
    assert refused.place == "line 2"


def test_operating_or_segment_must_agree(tmp_path: Path) -> None:
    (refused,) = read(tmp_path, f"{HEADER}\n{XPAR.replace('OPRT', 'SGMT')}\n")
    assert isinstance(refused, Refused) and "disagrees with its operating MIC" in refused.reason


def test_a_segment_of_a_segment_and_a_mic_that_stands_twice(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        EXTRACT + "XCCC,XBBB,C,,,,active,,,\nXBBB,XAAA,B,,,,active,,,\nXAAA,XAAA,A,,,,active,,,\n"
        "XAAA,XAAA,A,,,,active,,,\nXAAA,XAAA,Other,,,,active,,,\n",
    )  # fmt: skip
    told = [(each.place, getattr(each, "reason", "")) for each in rows]
    assert told == [
        ("line 4", ""), ("line 5", ""), ("line 6", "XAAA is another one in line 4"),
        ("line 2", "its operating MIC XBBB is a segment itself (line 3), of XAAA"), ("line 3", ""),
    ]  # fmt: skip


def test_a_list_without_its_columns_is_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="it has no column status, and none expiry"):
        read(tmp_path, "mic,operating_mic\nXAAA,XAAA\n")
    (refused,) = read(tmp_path, EXTRACT.encode() + b"XAAA,XAAA,C\xd4T,,,,active,,,\n")
    assert isinstance(refused, Refused) and "not UTF-8" in refused.reason, "only the official one"
