"""What `lookup --json` prints is imported again and says nothing new; elsewhere it says all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import Status
from alphapulse.registry import Equity, Future, Registry, import_file
from alphapulse.registry.importers import InputFile, InstrumentsJsonl
from alphapulse.registry.importing import ImportReport, importer_for
from alphapulse.registry.instruments import CLASSES, from_mapping
from alphapulse.registry.render import match_dict
from tests.registry.homes import open_home
from tests.registry.samples import EUR, FULL, IDENTITIES, Fields

NOW = 1_800_000_000 * 10**9
APPLE = {"class": "equity", "isin": "US0378331005"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def printed(registry: Registry, ids: list[int]) -> list[dict[str, Any]]:
    found = []
    for id in ids:
        match = registry.describe(id)
        assert match is not None
        found.append(json.loads(json.dumps(match_dict(match, NOW))))
    return found


def imported(registry: Registry, path: Path, *rows: object) -> ImportReport:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return import_file(registry, path, source="file")


def every(samples: dict[str, Fields]) -> list[Any]:
    """The currency that the synthetic is made of comes before it."""
    return [from_mapping(CLASSES[name], fields) for name, fields in samples.items()]


@pytest.mark.parametrize("samples", [IDENTITIES, FULL], ids=["key", "full"])
def test_one_of_each_class_and_back(
    registry: Registry, tmp_path: Path, samples: dict[str, Fields]
) -> None:
    others = {name: fields for name, fields in samples.items() if name not in ("etf", "bond")}
    ids = [registry.register(each, source="file").id for each in every(others)]
    rows, head = printed(registry, ids), registry.log.head
    report = imported(registry, tmp_path / "x.jsonl", *rows)
    assert (report.format, report.rows, report.unchanged) == ("instruments-jsonl", *[len(ids)] * 2)
    assert registry.log.head == head
    with open_home(tmp_path / "other") as other:
        backwards = rows[::-1]  # the synthetic stands first, and is carried out last
        assert imported(other, tmp_path / "x.jsonl", *backwards).new == len(ids)
        for here, there in zip(rows, printed(other, ids), strict=True):
            assert there == here | {"offset": there["offset"]}
        for name in ("instruments", "listings"):
            digests = [each.statistics().views[name].digest for each in (registry, other)]
            assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["equity", "etf", "bond"])
def test_each_class_of_securities(registry: Registry, tmp_path: Path, name: str) -> None:
    id = registry.register(from_mapping(CLASSES[name], FULL[name]), source="file").id
    (row,) = printed(registry, [id])
    assert {field: row[field] for field in FULL[name]} == FULL[name]
    assert imported(registry, tmp_path / "x.jsonl", row).unchanged == 1


def test_what_expired_by_itself_stays_as_it_was(registry: Registry, tmp_path: Path) -> None:
    future = Future(
        venue="XCME", product="ES", maturity="2026-12-18", expiry="2026-12-18T14:30:00Z"
    )
    id = registry.register(future, source="file").id
    (row,) = printed(registry, [id])
    assert row["status"] == "expired"
    assert imported(registry, tmp_path / "x.jsonl", row).unchanged == 1
    record = registry.get(id)
    assert record is not None and record.status is Status.ACTIVE
    halted = registry.register(Equity(isin="US0378331005", status="halted"), source="file").id
    with open_home(tmp_path / "other") as other:
        imported(other, tmp_path / "x.jsonl", *printed(registry, [halted]))
        assert [row["status"] for row in printed(other, [halted])] == ["halted"]


@pytest.mark.parametrize(
    "row, reason",
    [
        ('{"class": ', "the line is not JSON"), ("[1]", "it is a list"),
        ({"class": "stock"}, "there is no such class"), ({"isin": "US0378331005"}, "field class"),
        ({**APPLE, "key": "security|isin|US5949181045"}, "no registration says the same"),
        ({**APPLE, "strike": "1"}, "unknown field `strike`"),
        ({**APPLE, "valid_from": 2020}, "valid_from: a bare number is no time"),
        ('{"class": "equity", "isin": "US0378331005", "isin": "US0378331005"}', "stands twice"),
        ({"class": "coin", "chain": "eip155:1", "address": "x"}, "unknown field `address`"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_alone(
    registry: Registry, tmp_path: Path, row: object, reason: str
) -> None:
    report = imported(registry, tmp_path / "x.jsonl", APPLE, row)
    assert (report.new, report.quarantined) == (1, 1)
    assert reason in report.problems[0].reason and report.problems[0].place == "line 2"


def test_a_plain_line_is_a_registration(registry: Registry, tmp_path: Path) -> None:
    line = '{"class": "etf", "isin": "IE00B4BNMY34", "tick": 0.1, "name": null, "symbol": ""}'
    assert imported(registry, tmp_path / "x.jsonl", line).new == 1
    (found,) = registry.by_identifier("isin", "IE00B4BNMY34")
    assert str(found.tick) == "0.1"
    coin = {"class": "coin", "chain": "eip155:999999", "slip44": 7}
    euro = {"class": "currency", "code": "EUR"}
    assert imported(registry, tmp_path / "x.jsonl", coin, euro).new == 2


def test_a_file_of_them_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    for text, seen in ((json.dumps(APPLE), True), ('{"class": 1}', False), (EUR, False)):
        path.write_text(text + "\n")
        with InputFile(path) as file:
            assert InstrumentsJsonl().sniff(path, file.head) is seen
    path.write_text(json.dumps(APPLE) + "\n")
    with InputFile(path) as file:
        assert importer_for(file).name == "instruments-jsonl"


def test_what_is_pending_until_its_day_comes_back_with_that_day(
    registry: Registry, tmp_path: Path
) -> None:
    id = registry.register(
        Equity(isin="US0378331005", symbol="AAPL", valid_from="2199-01-01"), source="file"
    ).id

    def shown(registry: Registry) -> dict[str, Any]:
        match = registry.describe(id)
        assert match is not None
        return match_dict(match, NOW, since=registry.lookup.since(match))

    row, head = shown(registry), registry.log.head
    assert (row["status"], row["valid_from"]) == ("pending", "2199-01-01T00:00:00.000000000Z")
    report = imported(registry, tmp_path / "x.jsonl", row)
    assert (report.unchanged, report.conflicts, registry.log.head) == (1, 0, head)
    with open_home(tmp_path / "other") as other:
        imported(other, tmp_path / "x.jsonl", row)
        assert shown(other) == row
        then = other.get(id, valid="2199-01-01")
        assert then is not None and then.status is Status.ACTIVE
    # What holds only since later would be said of all that time.
    registry.amend(id, name="Apple", valid_from="2200-01-01")
    later = registry.find("AAPL", valid="2200-01-01")[0][0]
    assert registry.lookup.since(later) == 0


def test_what_was_said_to_be_pending_stays_so(registry: Registry, tmp_path: Path) -> None:
    said = Equity(isin="US0378331005", status="pending", valid_from="2020-01-01")
    match = registry.describe(registry.register(said).id)
    assert match is not None and registry.lookup.since(match) == 0
    with open_home(tmp_path / "other") as other:
        line = {"class": "equity", "isin": said.isin, "status": "pending"}
        imported(other, tmp_path / "x.jsonl", line | {"valid_from": "2199-01-01"})
        then = other.by_isin(said.isin, valid="2199-01-01")
        assert then is not None and then.status is Status.PENDING
