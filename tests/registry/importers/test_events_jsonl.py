"""Our own events from one home into another: what is known now, in any order, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from alphapulse.log import InvalidInput, Status, parse_time
from alphapulse.registry import (
    Coin,
    Currency,
    Equity,
    Listing,
    Registry,
    Synthetic,
    Token,
    import_file,
)
from alphapulse.registry.importers import FORMATS, EventsJsonl, InputFile, Refused, Relation, Row
from alphapulse.registry.importers.events_jsonl import OFFSET_MAX
from alphapulse.registry.importing import ImportReport, importer_for
from alphapulse.registry.instruments import class_named, from_mapping
from alphapulse.registry.render import event_dict
from tests.registry.homes import prepare
from tests.registry.samples import FULL

APPLE = Equity(isin="US0378331005", symbol="AAPL", name="Apple Inc.", lot="1", tick="0.01")
USDC = Token(
    chain="eip155:1", address="0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", symbol="USDC",
    decimals=6,
)  # fmt: skip


def basket(name: str, formula: str) -> Synthetic:
    return Synthetic(owner="desk", name=name, symbol=name, formula=formula)


def lines(registry: Registry) -> list[dict[str, Any]]:
    """What `alphapulse --json tail --raw` prints."""
    return [event_dict(event, raw=True) for event in registry.read()]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "ours", durability="relaxed") as opened:
        yield opened


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "theirs", durability="relaxed") as opened:
        yield opened


@pytest.fixture
def send(tmp_path: Path, ours: Registry, theirs: Registry) -> Callable[[], ImportReport]:
    return lambda: import_file(theirs, written(tmp_path / "ours.jsonl", lines(ours)))


def digests(registry: Registry) -> dict[str, tuple[int, bytes]]:
    views = registry.statistics().views
    return {name: (state.rows, state.digest) for name, state in views.items()}


def test_all_that_is_known_arrives(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport], tmp_path: Path
) -> None:
    apple = ours.register(APPLE, source="a").id
    tokens = {"name": "b", "tokens": [
        {"chainId": 1, "address": USDC.address, "symbol": "USDC", "decimals": 6,
         "extensions": {"opTokenId": "USDC"}},
    ]}  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(tokens))
    import_file(ours, tmp_path / "list.json")
    ours.register(Coin(chain="eip155:999999", slip44=60, symbol="ETH"))
    ours.register(Currency(code="EUR", decimals=2))
    listing = ours.add_listing(Listing(instrument=apple, venue="XNAS", symbol="AAPL", tick="0.01"))
    ours.amend(apple, name="Apple")
    ours.set_status(apple, Status.HALTED)
    ours.end_listing(listing.id, valid_to="2026-11-01")
    report = send()
    assert (report.format, report.source, report.is_clean) == ("events-jsonl", "ours", True)
    assert (report.rows, report.new) == (6, 6)
    assert digests(theirs) == digests(ours)
    record = theirs.get(apple)
    assert record is not None and record.status == Status.HALTED
    head = theirs.log.head
    assert (send().unchanged, theirs.log.head) == (6, head)


def test_relations_arrive_with_ratio_and_dates(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport]
) -> None:
    ids = [ours.register(Token(chain="eip155:1", address=f"0x{n:040x}")).id for n in range(1, 5)]
    ours.relate(ids[0], "receipt_of", ids[1], ratio="1/10", valid_from="2026-01-01")
    ours.relate(ids[3], "same_as", ids[2])
    ours.relate(ids[1], "wraps", ids[2], ratio="1/1")
    ours.unrelate(ids[1], "wraps", ids[2], valid_to="2026-02-01")
    report = send()
    assert (report.rows, report.relations, report.relations_new) == (4, 3, 3)
    assert report.is_clean
    assert digests(theirs) == digests(ours)
    head = theirs.log.head
    again = send()
    assert (again.relations, again.relations_new, theirs.log.head) == (3, 0, head)
    ours.unrelate(ids[0], "receipt_of", ids[1], valid_to="2026-06-01")
    assert (send().is_clean, theirs.log.head) == (True, head + 1)
    assert digests(theirs) == digests(ours)


def test_a_relation_to_nobody_is_quarantined_until_that_is_there(
    ours: Registry, theirs: Registry, tmp_path: Path
) -> None:
    one, two = (
        ours.register(Token(chain="eip155:1", address=f"0x{n:040x}")).id for n in (1, 2)
    )  # fmt: skip
    ours.relate(one, "wraps", two)
    first, second, third = lines(ours)
    path = written(tmp_path / "part.jsonl", [first, third])
    report = import_file(theirs, path)
    assert (report.rows, report.new, report.quarantined) == (1, 1, 0)
    assert (report.relations, report.relations_new, report.relations_quarantined) == (1, 0, 1)
    assert f"what is 0x{two:016x} there is not registered" in report.problems[0].reason
    import_file(theirs, written(tmp_path / "rest.jsonl", [second]))
    again = import_file(theirs, path)
    assert (again.relations_new, again.relations_quarantined, again.is_clean) == (1, 0, True)
    assert digests(theirs) == digests(ours)


def test_synthetics_come_behind_what_they_are_made_of(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport]
) -> None:
    """Wherever the newest event of each stands: here all stand the wrong way round."""
    usdc = ours.register(USDC).id
    ids = [ours.register(basket("S0", "2*USDC")).id]
    for number in range(1, 5):
        ids.append(ours.register(basket(f"S{number}", f"S{number - 1} + USDC")).id)
    for id in reversed(ids):
        ours.amend(id, quote="USD")
    ours.amend(usdc, name="USD Coin")
    report = send()
    assert (report.rows, report.new, report.is_clean) == (6, 6, True)
    assert digests(theirs) == digests(ours)
    ours.amend(ids[4], formula="USDC")
    ours.amend(ids[0], formula="S4")  # the other way round now
    report = send()
    assert (report.amended, report.unchanged, report.is_clean) == (2, 4, True)
    assert digests(theirs) == digests(ours)


def test_a_synthetic_of_which_an_event_is_missing_is_read_twice(
    ours: Registry, theirs: Registry, tmp_path: Path
) -> None:
    """Nothing in the file says that the first was replaced, and no row may be lost."""
    ours.register(USDC)
    id = ours.register(basket("S", "USDC")).id
    for number in (2, 3):
        ours.amend(id, formula=f"{number}*USDC")
    rows = lines(ours)
    report = import_file(theirs, written(tmp_path / "part.jsonl", [*rows[:2], rows[3]]))
    assert (report.rows, report.new, report.unchanged) == (3, 2, 1)
    assert report.conflicts == 1  # a file that contradicts itself corrects nothing


def test_a_circle_of_synthetics_is_quarantined(
    ours: Registry, theirs: Registry, tmp_path: Path
) -> None:
    for registry, one, other in ((ours, "S1", "S2"), (theirs, "S2", "S1")):
        registry.register(USDC)
        registry.register(basket(one, "USDC"))
        registry.register(basket(other, one))
    path = written(tmp_path / "both.jsonl", [*lines(ours)[::2], lines(theirs)[2]])
    with Registry.open(tmp_path / "third", durability="relaxed") as third:
        report = import_file(third, path)
        assert (report.rows, report.new, report.quarantined) == (3, 1, 2)
        assert all("not registered" in problem.reason for problem in report.problems)


def test_what_changed_since_is_amended(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport]
) -> None:
    apple = ours.register(APPLE).id
    send()
    ours.amend(apple, symbol="APPL")
    report = send()
    assert (report.rows, report.amended, report.is_clean) == (1, 1, True)
    assert digests(theirs) == digests(ours)


def test_an_alert_between_two_states_hides_neither(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport]
) -> None:
    apple = ours.register(APPLE, source="a")
    raised = ours.register(Equity(isin=APPLE.isin, name="Apfel"), source="b")
    assert raised.conflicts
    ours.acknowledge(raised.conflicts[0])
    ours.amend(apple.id, name="Apple")
    report = send()
    assert (report.rows, report.new, report.is_clean) == (1, 1, True)
    found = theirs.facts(apple.id)
    assert found is not None and found.values["name"] == "Apple"


def test_ids_derive_again(theirs: Registry, tmp_path: Path) -> None:
    """Where ids are short they collide; elsewhere the same instruments have ids of their own."""
    with Registry.open(tmp_path / "short", durability="relaxed", id_bits=8) as short:
        for number in range(1, 41):
            token = short.register(Token(chain="eip155:1", address=f"0x{number:040x}"))
            short.add_listing(Listing(instrument=token.id, venue="binance"))
        assert short.alerts()
        path = written(tmp_path / "short.jsonl", lines(short))
    report = import_file(theirs, path)
    assert (report.rows, report.new, report.collisions, report.is_clean) == (80, 80, 0, True)
    assert theirs.statistics().listings == 40


@pytest.mark.parametrize("name", FULL)
def test_every_class_arrives_with_all_its_fields(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport], name: str
) -> None:
    prepare(ours, name)
    before = ours.log.head
    known = ours.register(from_mapping(class_named(name), FULL[name])).id
    ours.add_listing(
        Listing(instrument=known, venue="XLON", symbol="A", symbol_from="2020",
                figi="BBG000B9XRY4", lot="5")
    )  # fmt: skip
    report = send()
    assert (report.new, report.is_clean) == (before + 2, True)
    assert theirs.facts(known) == ours.facts(known)
    assert digests(theirs) == digests(ours)


@pytest.mark.parametrize("halted", [True, False])
def test_validity_is_the_registrations(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport], halted: bool
) -> None:
    """Halted since March does not mean that there was nothing before March."""
    january, march = parse_time("2026-01-01"), parse_time("2026-03-01")
    apple = ours.register(Equity(isin=APPLE.isin, valid_from=january)).id
    if halted:
        ours.set_status(apple, Status.HALTED, valid_from=march)
    send()
    assert [event.valid_from for event in theirs.read()] == [0 if halted else january]


def test_it_is_known_by_its_first_line(tmp_path: Path, ours: Registry) -> None:
    ours.register(APPLE)
    with InputFile(written(tmp_path / "tail.json", lines(ours))) as file:
        assert importer_for(file) is FORMATS["events-jsonl"]


def read(path: Path) -> list[Row | Relation | Refused]:
    with InputFile(path) as file:
        reading = EventsJsonl().open(file)
        rows = list(reading.rows("source"))
    assert reading.done == reading.total
    return rows


def framed(frame: bytearray) -> str:
    """The frame with its CRC made right, as whoever means harm would."""
    frame[:4] = crc32(frame[4:]).to_bytes(4, "little")
    return frame.hex()


def changed(row: dict[str, Any], at: int, data: bytes) -> dict[str, Any]:
    frame = bytearray.fromhex(row["frame_hex"])
    frame[at : at + len(data)] = data
    return {"frame_hex": framed(frame)}


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda row: {**row, "frame_hex": row["frame_hex"][:-2] + "7f"}, "CRC32 does not match"),
        (lambda row: {"offset": 1}, "it has no frame_hex"),
        (lambda row: {"frame_hex": 7}, "it has no frame_hex"),
        (lambda row: {"frame_hex": "xyz"}, "it has no frame_hex"),
        (lambda row: {"frame_hex": ""}, "it is cut short"),
        (lambda row: {"frame_hex": row["frame_hex"][:100]}, "cut short"),
        (lambda row: {"frame_hex": row["frame_hex"] + "00" * 8}, "bytes follow its frame"),
        (lambda row: changed(row, 16, OFFSET_MAX.to_bytes(8, "little")), "offset is impossible"),
        (lambda row: changed(row, 48, b"\0" * 8), "its offset is impossible"),
    ],
)
def test_a_damaged_line_is_refused_once_and_alone(
    ours: Registry, tmp_path: Path, damage: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    ours.register(APPLE)
    ours.register(USDC)
    first, second = lines(ours)
    rows = read(written(tmp_path / "a.jsonl", [damage(first), second]))
    (refused,) = [row for row in rows if isinstance(row, Refused)]
    assert refused.place == "line 1"
    assert reason in refused.reason
    assert [row.place for row in rows if isinstance(row, Row)] == ["line 2"]


def test_lines_that_are_no_json_are_refused(ours: Registry, tmp_path: Path) -> None:
    ours.register(APPLE)
    path = written(tmp_path / "a.jsonl", lines(ours))
    path.write_bytes(path.read_bytes() + b"\n\n[]\n{\n\xff\n" + b"[" * 100_000 + b"\n")
    assert [(row.place, type(row)) for row in read(path)] == [
        ("line 1", Row), *((f"line {number}", Refused) for number in range(4, 8))
    ]


def test_a_replaced_birth_identifier_is_for_a_person(
    ours: Registry, theirs: Registry, send: Callable[[], ImportReport]
) -> None:
    apple = ours.register(APPLE).id
    ours.amend(apple, isin="US0231351067")
    report = send()
    assert (report.rows, report.quarantined) == (1, 1)
    assert "is its birth identifier replaced?" in report.problems[0].reason
    assert theirs.statistics().instruments == 0


def test_a_listing_of_nobody_is_quarantined(
    ours: Registry, theirs: Registry, tmp_path: Path
) -> None:
    apple = ours.register(APPLE).id
    ours.add_listing(Listing(instrument=apple, venue="XNAS"))
    report = import_file(theirs, written(tmp_path / "a.jsonl", lines(ours)[1:]))
    assert (report.rows, report.quarantined) == (1, 1)


def test_a_file_that_is_no_events_is_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"isin": "US0378331005"}\n')
    with InputFile(path) as file, pytest.raises(InvalidInput, match="its format is not known"):
        importer_for(file)
