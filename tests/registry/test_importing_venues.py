"""Importing venues: the real lists, twice; what they say of hierarchy, expiry and fees."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, Kind, WarningBody, parse_time
from alphapulse.registry import Equity, Listing, Registry, import_file
from alphapulse.registry.planning import Planned
from alphapulse.registry.venues import bundled_file, define, fee_line, fee_schedule, rule
from alphapulse.registry.venues.bundled import FILES
from alphapulse.registry.venues.venue import Venue

from .homes import open_home

ODD = {
    "bitstamp": 3, "bitvavo": 1, "blockchaincom": 2, "coinbase": 2, "fmfwio": 2, "kraken": 1,
    "krakenfutures": 2, "onetrading": 2, "p2b": 21, "weex": 12,
}  # fmt: skip
"""Warnings by venue: of 12 base rates, of 2 tables that rise, of 3 that leap, and of 2 that
have percent where fractions should be."""
SEGMENTS_OF_SEGMENTS = {"XEAS", "EXPA", "NBXO", "THRD", "VRXP", "ICAT", "PCDS"}
EXTRACT = "mic,operating_mic,market_name,lei,country,category,status,created,expiry,website\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def mics(path: Path, *rows: str) -> Path:
    path.write_text(EXTRACT + "".join(f"{row}\n" for row in rows))
    return path


def test_the_list_of_mics_twice(registry: Registry) -> None:
    path = bundled_file("mic-list")
    first = import_file(registry, path)
    assert (first.format, first.source) == ("iso-10383", "iso-10383")
    assert (first.rows, first.new, first.quarantined) == (2733, 2726, 7)
    assert first.quarantine_file is not None
    refused = [json.loads(line) for line in first.quarantine_file.read_text().splitlines()]
    assert {each["row"].partition(",")[0] for each in refused} == SEGMENTS_OF_SEGMENTS
    assert all("is a segment itself" in each["reason"] for each in refused)
    head = registry.log.head
    again = import_file(registry, path)
    assert (again.unchanged, again.quarantined, registry.log.head) == (2726, 7, head)
    with open(path, newline="", encoding="utf-8") as opened:
        said = {row["mic"]: row for row in csv.DictReader(opened)}
    known = {venue.key: venue for venue in registry.venues.all()}
    assert known.keys() == said.keys() - SEGMENTS_OF_SEGMENTS
    for mic, venue in known.items():
        row = said[mic]
        assert venue.operating_mic == row["operating_mic"]
        assert venue.valid_to == (parse_time(row["expiry"]) if row["expiry"] else 0)
        assert bool(venue.valid_to) == (row["status"] == "expired")
    assert len(registry.venues.segments("XSTO")) == 36
    event = next(iter(registry.log.read(7, 8)))
    assert event.metadata.content_hash == first.content_hash
    assert event.metadata.source == "iso-10383"


def test_crypto_venues_twice(registry: Registry) -> None:
    path = bundled_file("crypto-venues")
    first = import_file(registry, path)
    assert (first.rows, first.new, first.is_clean, first.source) == (104, 104, True, "ccxt")
    warned = [event.body for event in registry.log.read(0) if event.kind == Kind.VENUE_WARNING]
    found: dict[str, int] = {}
    for body in warned:
        assert isinstance(body, WarningBody)
        found[body.venue] = found.get(body.venue, 0) + 1
    assert found == ODD
    assert first.warnings == sum(ODD.values()) == len(warned)
    told = {problem.reason.partition(":")[0] for problem in first.problems}
    assert told == ODD.keys() and {problem.kind for problem in first.problems} == {"warning"}
    assert sum("base rate" in body.problem or "table" in body.problem for body in warned
               if isinstance(body, WarningBody)) == 12  # fmt: skip
    head = registry.log.head
    again = import_file(registry, path)
    assert (again.unchanged, again.warnings, registry.log.head) == (104, first.warnings, head)
    bitstamp = registry.venues.schedules("bitstamp")[0]
    assert bitstamp.lines[0].value == "0.3" and bitstamp.volume_unit == "", "the table decides"
    assert registry.venues.schedules("hitbtc")[0].lines[0].value == "0.09"
    (limit,) = registry.venues.endpoints("bequant")[0].limits
    assert (limit.count, limit.seconds) == ("1", "0.003333")


def test_bundled_files_have_a_source_and_names() -> None:
    for name, file in FILES.items():
        assert bundled_file(name).name == file and bundled_file(name).is_file()
        assert f"`{file}`" in bundled_file(name).with_name("SOURCES.md").read_text()
    with pytest.raises(InvalidInput, match="use mic-list or crypto-venues"):
        bundled_file("isin-list")


def test_the_next_edition_corrects_the_one_before(registry: Registry, tmp_path: Path) -> None:
    """A segment becomes an operator, another one expires."""
    path = tmp_path / "mics.csv"
    import_file(registry, mics(path, "XAAA,XAAA,A,,US,,active,,,", "XBBB,XAAA,B,,US,,active,,,",
                               "XCCC,XAAA,C,,US,,active,,,"))  # fmt: skip
    report = import_file(
        registry, mics(path, "XDDD,XBBB,D,,US,,active,,,", "XCCC,XAAA,C,,US,,expired,,2026-01-26,",
                       "XBBB,XBBB,B,,US,,active,,,", "XAAA,XAAA,A,,US,,active,,,"),
    )  # fmt: skip
    assert (report.new, report.amended, report.unchanged, report.quarantined) == (1, 2, 1, 0)
    promoted, expired = registry.venues.get("XBBB"), registry.venues.get("XCCC")
    assert promoted is not None and promoted.operating == ""
    assert expired is not None and expired.valid_to == parse_time("2026-01-26")
    other = import_file(registry, mics(path, "XBBB,XAAA,B,,US,,active,,,"), source="desk")
    assert "it operates others, so it cannot be a segment" in other.problems[0].reason


def test_an_operator_becomes_a_segment_together_with_its_own(
    registry: Registry, tmp_path: Path
) -> None:
    """Whatever the order of the rows: an operator waits for those that it operated."""
    old = mics(tmp_path / "old.csv", "XAAA,XAAA,,,,,active,,,", "XBBB,XBBB,,,,,active,,,",
               "XCCC,XCCC,,,,,active,,,", "XA11,XAAA,,,,,active,,,", "XB11,XBBB,,,,,active,,,")
    import_file(registry, old)
    new = mics(tmp_path / "new.csv", "XAAA,XCCC,,,,,active,,,", "XA11,XCCC,,,,,active,,,",
               "XBBB,XCCC,,,,,active,,,", "XB11,XCCC,,,,,active,,,", "XCCC,XCCC,,,,,active,,,",
               "XDDD,XEEE,,,,,active,,,")  # fmt: skip
    for dry_run in (True, False):
        report = import_file(registry, new, dry_run=dry_run)
        assert (report.rows, report.amended, report.unchanged, report.quarantined) == (6, 4, 1, 1)
        assert "XEEE is not registered" in report.problems[0].reason
    assert {each.key for each in registry.venues.segments("XCCC")} == {
        "XAAA", "XA11", "XBBB", "XB11"
    }  # fmt: skip
    head = registry.log.head
    report = import_file(registry, new)
    assert (report.unchanged, registry.log.head) == (5, head), "nothing is left for a second time"


def test_an_operator_of_its_own_contradicts_who_said_otherwise(
    registry: Registry, tmp_path: Path
) -> None:
    for venue in (Venue(key="XAAA"), Venue(key="XBBB", operating="XAAA")):
        registry.venues.add(venue, source="desk")
    path = mics(tmp_path / "mics.csv", "XBBB,XBBB,B,,,,active,,,")
    planned: list[Planned] = []
    dry = import_file(registry, path, dry_run=True, plan=planned.append)
    assert [each.what for each in planned] == ["amended", "conflict"]
    assert planned[1].changes[0] == ("venue XBBB operating", "XAAA", "XBBB")
    report = import_file(registry, path)
    assert report.conflicts == dry.conflicts == 1
    kept = registry.venues.get("XBBB")
    assert kept is not None and (kept.operating, kept.name) == ("XAAA", "B")


def test_a_segment_whose_operator_is_missing(registry: Registry, tmp_path: Path) -> None:
    path = mics(tmp_path / "mics.csv", "XBBB,XAAA,B,,,,active,,,")
    report = import_file(registry, path)
    assert report.quarantined == 1
    assert "its operating MIC XAAA is not registered" in report.problems[0].reason
    import_file(registry, mics(tmp_path / "more.csv", "XAAA,XAAA,A,,,,active,,,"))
    assert import_file(registry, path).new == 1, "once it is there"


def test_a_dry_run_tells_what_would_be_known_of_a_venue(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "venue.json"
    said = {"id": "v", "name": "V", "countries": [], "rateLimit": 50, "maker": 0.004,
            "taker": 0.004, "tierBased": True, "tiers": {"maker": [[0, 0.003]]},
            "api": ["https://v.example"]}  # fmt: skip
    path.write_text(json.dumps([said]))

    def plan() -> list[Planned]:
        found: list[Planned] = []
        import_file(registry, path, dry_run=True, plan=found.append)
        return found

    add, reached, fees, odd = plan()
    assert (add.what, add.kind, add.changes[:2]) == (
        "new", "venue.registered", (("venue v", None, True), ("venue v name", None, "V"))
    )  # fmt: skip
    assert reached.changes[1] == ("endpoints v rest https://v.example", None, "limits 1/0.05")
    assert fees.changes[1][0] == "fees v - maker trading 0"
    assert str(fees.changes[1][2]).startswith("0.3 percent of quote")
    assert (odd.what, odd.id) == ("warning", add.id) and "base rate is 0.4 %" in odd.reason
    report = import_file(registry, path)
    assert (report.new, report.warnings) == (1, 1)
    assert plan() == []
    path.write_text(json.dumps([said | {"tiers": {"maker": [[0, 0.002]]}, "maker": 0.002}]))
    (change,) = plan()
    assert (change.what, [each[0] for each in change.changes]) == (
        "amended", ["fees v - maker trading 0"]
    )  # fmt: skip
    assert import_file(registry, path).amended == 1


def test_a_fee_in_an_unknown_currency_is_told_and_counted(
    registry: Registry, tmp_path: Path
) -> None:
    registry.venues.add(Venue(key="XNAS"))
    path = tmp_path / "fees.csv"
    path.write_text("venue,side,value,basis,charged\nXNAS,both,0.003,per_unit,UDS\n")
    problem = "UDS is no currency of ISO 4217, nor any instrument's symbol"
    for dry_run in (True, False, False):
        report = import_file(registry, path, dry_run=dry_run)
        assert report.warnings == 1 and report.problems[0].reason.endswith(problem)
    written = [event for event in registry.read() if event.kind == Kind.VENUE_WARNING]
    assert len(written) == 1, "the second import said nothing new"


def test_what_names_no_date_holds_since_that_of_the_import(
    registry: Registry, tmp_path: Path
) -> None:
    venues = registry.venues
    fees = tmp_path / "fees.csv"
    fees.write_text("venue,side,value,valid_from\nbinance,both,0.2,\nbinance,both,0.1,2026-03-01\n")
    since = "2026-02-01"
    import_file(registry, bundled_file("crypto-venues"), valid_from=since)
    (line, *_) = venues.schedules("binance", "2026-02-01")[0].lines
    assert line.value == "0.1" and venues.endpoints("binance", "2026-02-01")
    assert venues.fees_word("binance", "2026-01-31") is None
    assert import_file(registry, fees, valid_from=since).amended == 1
    days = ("2026-02-28", "2026-03-01")
    said = [venues.schedules("binance", day)[0].lines[0].value for day in days]
    assert said == ["0.2", "0.1"]
    assert import_file(registry, fees, valid_from=since).unchanged == 1


def test_what_a_person_said_since_is_not_undone(registry: Registry, tmp_path: Path) -> None:
    registry.venues.add(Venue(key="kraken", name="Kraken"), source="desk")
    said = tmp_path / "venue.json"
    said.write_text(json.dumps([{
        "id": "kraken", "name": "Kraken", "api": ["https://a.example"], "rateLimit": 50,
        "maker": 0.001, "taker": 0.001,
    }]))  # fmt: skip
    first = import_file(registry, said)
    assert (first.new, first.amended) == (0, 1), "a known venue, of which more is known"
    fees, hours = tmp_path / "fees.csv", tmp_path / "hours.csv"
    fees.write_text("venue,side,value\nkraken,both,0.3\n")
    hours.write_text("venue,always\nkraken,yes\n")
    assert [import_file(registry, path).new for path in (fees, hours)] == [0, 1]
    (line,) = fee_schedule([fee_line({"value": "0.2"})]).lines
    registry.venues.set_fees("kraken", fee_schedule([line]))
    registry.venues.set_endpoints("kraken", [{"kind": "rest", "address": "https://b.example"}])
    registry.venues.set_hours("kraken", define("UTC", [rule("continuous", "mon", "9:00", "10:00")]))
    head = registry.log.head
    for path in (said, fees, hours):
        assert import_file(registry, path).unchanged == 1
    assert registry.log.head == head


def test_words_on_a_venue_that_nobody_knows_or_that_is_over(
    registry: Registry, tmp_path: Path
) -> None:
    registry.venues.add(Venue(key="over", valid_to="2020-01-01"))
    registry.venues.add(Venue(key="there"))
    path = tmp_path / "fees.csv"
    path.write_text("venue,side,value,valid_from\nnobody,both,1,\nover,both,1,2021-01-01\n"
                    "there,both,1,\n")  # fmt: skip
    report = import_file(registry, path)
    assert (report.new, report.quarantined) == (1, 2)
    nobody, over = (problem.reason for problem in report.problems)
    assert "there is no such venue" in nobody and "the venue is one no more by then" in over


def test_a_listing_at_a_mic_that_is_unknown_or_expired_is_taken(registry: Registry) -> None:
    """The list may be older than the listing, and people list the past."""
    registry.venues.add(Venue(key="XBBB", valid_to="2020-01-01"))
    apple = registry.register(Equity(isin="US0378331005"))
    for venue in ("XAAA", "XBBB"):
        receipt = registry.add_listing(Listing(instrument=apple.id, venue=venue, currency="USD"))
        assert receipt.outcome == "new"
