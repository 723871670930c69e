"""Hours and fees of venues as TOML and CSV: each venue whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, parse_time
from alphapulse.registry.importers import InputFile, Refused, Row
from alphapulse.registry.importers.venue_words import FeesReading, HoursReading
from alphapulse.registry.importing import importer_for
from alphapulse.registry.venues import FeeLine
from alphapulse.registry.venues.commands import SetFees, SetHours
from alphapulse.registry.venues.hours_text import COLUMNS

HOURS = "venue,zone,phase,weekdays,start,end,date,reason\n"
SYDNEY = (
    "XASX,Australia/Sydney,continuous,mon-fri,10:00,16:00,,\nXASX,,,,,,2026-12-25,Christmas Day\n"
)
FEES = "venue,products,side,value,volume_from,valid_from\n"
TOML = """venues = ["XNZE", "XASX"]
zone = "Pacific/Auckland"
[[rule]]
phase = "continuous"
weekdays = "mon-fri"
start = "10:00"
end = "16:45"
"""


def read(tmp_path: Path, name: str, data: str) -> list[Row | Refused]:
    path = tmp_path / name
    path.write_text(data)
    with InputFile(path) as file:
        rows = importer_for(file).open(file).rows("me")
        return [row for row in rows if isinstance(row, Row | Refused)]


def test_a_file_has_every_column_of_its_kind() -> None:
    assert HoursReading.COLUMNS == COLUMNS
    assert {*FeeLine.__struct_fields__} < {*FeesReading.COLUMNS}


def test_hours_of_each_venue(tmp_path: Path) -> None:
    (sydney,) = read(tmp_path, "h.csv", HOURS + SYDNEY)
    assert isinstance(sydney, Row) and sydney.place == "line 2"
    (command,) = sydney.commands
    assert isinstance(command, SetHours) and command.venue == "XASX"
    assert len(command.hours.rules) == len(command.hours.days) == 1
    both = read(tmp_path, "h.toml", TOML)
    assert [each.place for each in both] == ["XNZE", "XASX"]
    assert {type(command) for row in both if isinstance(row, Row) for command in row.commands} == {
        SetHours
    }


@pytest.mark.parametrize("rows, told", [
    ("XNZE,Pacific/Aukland,continuous,mon-fri,10:00,16:45,,\n", "did you mean Pacific/Auckland?"),
    ("XNZE,UTC,continuous,mon-fri,10:00,12:00,,\nXNZE,,closing_auction,fri,11:59,12:05,,\n",
     "overlap"),
    ("XNZE,UTC,continuous,mon-fri,10:00,12:00,,\nXNZE,,nap,fri,12:00,12:05,,\n", "XNZE: line 5: "),
    ("XNZE,Europe/Berlin,continuous,sun,02:30,12:00,,\n", "2:30"),
], ids=str)  # fmt: skip
def test_hours_that_are_wrong_refuse_their_venue_and_no_other(
    tmp_path: Path, rows: str, told: str
) -> None:
    sydney, wrong = read(tmp_path, "h.csv", HOURS + SYDNEY + rows)
    assert isinstance(sydney, Row)
    assert isinstance(wrong, Refused) and told in wrong.reason
    assert (wrong.place, wrong.raw) == ("line 4", rows.rstrip())


def test_a_gap_and_a_session_over_midnight_are_fine(tmp_path: Path) -> None:
    data = HOURS + "v,UTC,continuous,mon,20:00,02:00+1,,\nv,,continuous,wed,10:00,11:00,,\n"
    (row,) = read(tmp_path, "h.csv", data)
    assert isinstance(row, Row)


def test_fees_of_each_venue_and_date(tmp_path: Path) -> None:
    data = FEES + (
        "kraken,spot,taker,0.30,,2026-04-01\nkraken,spot,maker,0.16,,2026-01-01\n"
        "kraken,swap spot,maker,0.2,,2026-04-01\nkraken,spot,maker,0.20,1000,2026-01-01\n"
    )
    (row,) = read(tmp_path, "f.csv", data)
    assert isinstance(row, Refused) and "two of them are about spot" in row.reason
    (row,) = read(tmp_path, "f.csv", data.replace("swap spot", "swap"))
    assert isinstance(row, Row)
    first, second = row.commands
    assert isinstance(first, SetFees) and isinstance(second, SetFees)
    assert (first.valid_from, second.valid_from) == (
        parse_time("2026-01-01"), parse_time("2026-04-01")
    )  # fmt: skip
    assert [line.value for line in first.schedules[0].lines] == ["0.16", "0.2"]
    assert [each.products for each in second.schedules] == [("spot",), ("swap",)]
    (odd,) = row.odd
    assert odd == "kraken: schedule 0, line 1: 0.2 from volume 1000 on is more than 0.16 before"


def test_fees_in_toml_name_their_venues_and_date(tmp_path: Path) -> None:
    lines = '[[schedule]]\n[[schedule.line]]\nvalue = 0.0030\nbasis = "per_unit"\ncharged = "USD"\n'
    data = f'venues = ["XNAS", "XBOS", "XNAS"]\nvalid_from = 2026-04-01\n{lines}'
    rows = read(tmp_path, "f.toml", data)
    assert [row.place for row in rows] == ["XNAS", "XBOS"]
    assert isinstance(rows[0], Row) and isinstance(rows[0].commands[0], SetFees)
    command = rows[0].commands[0]
    assert command.valid_from == parse_time("2026-04-01")
    assert command.schedules[0].lines[0].value == "0.003"
    with pytest.raises(InvalidInput, match=r"importing .*f\.toml: reading field venues"):
        read(tmp_path, "f.toml", lines)


@pytest.mark.parametrize("cells, told", [
    ("v,,maker,0.1,-5,", "field volume_from: it must not be below zero"),
    ("v,,maker,0.1,0,soon", "field valid_from"),
    ("v,,nobody,0.1,0,", "field side"),
    ("v,,maker,ten,0,", "field value"),
    ("v,,maker,0.1,7,", "has no line from 0"),
], ids=str)  # fmt: skip
def test_fees_that_are_wrong(tmp_path: Path, cells: str, told: str) -> None:
    (row,) = read(tmp_path, "f.csv", f"{FEES}{cells}\n")
    assert isinstance(row, Refused) and told in row.reason and row.reason.startswith("v: ")


@pytest.mark.parametrize("charged", ["US DOLLAR", "U\u202eSD"])
def test_a_currency_that_can_be_none(tmp_path: Path, charged: str) -> None:
    (row,) = read(tmp_path, "f.csv", f"venue,side,value,charged\nv,both,0.1,{charged}\n")
    assert isinstance(row, Refused) and "field charged" in row.reason


@pytest.mark.parametrize("name, data, told", [
    ("f.csv", FEES + "v,,maker,0.1,0\n", "nobody knows whose row this is: it has 5 cells"),
    ("f.csv", FEES + ",,maker,0.1,0,\n", "nobody knows whose row this is"),
    ("f.csv", FEES + '"v,,maker,0.1,0,\n', "a quote is opened here"),
    ("f.csv", "venue,side,value,valeu\nv,both,1,2\n", "it has a column valeu"),
    ("h.csv", HOURS.replace("reason", "reson") + SYDNEY, "it has a column reson"),
    ("h.toml", TOML + "ends = 5\n", "rule 1: "),
    ("h.toml", TOML.replace("10:00", "17:00"), "h.toml: rule 1"),
], ids=str)  # fmt: skip
def test_a_file_that_cannot_be_attributed_is_refused_whole(
    tmp_path: Path, name: str, data: str, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(tmp_path, name, data)
