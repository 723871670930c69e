"""Frames and a block of every kind at version 1 stay readable, and mean the same, for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphapulse.log import (
    KIND_NAMES,
    MESSAGE_RESIDUE,
    NO_PREVIOUS,
    SEVERITIES,
    SPACE_NAMES,
    Block,
    Event,
    InstrumentBody,
    Kind,
    SampleBody,
    chain_hash,
    columns_of,
    decode_message,
    decode_sample,
    encode_block,
    encode_body,
    encode_frame,
    encode_metadata,
)
from alphapulse.log.checkpoints import Checkpoint
from alphapulse.log.home import Genesis, decode_genesis
from alphapulse.log.verify import verify_blocks


def _golden(name: str) -> Any:
    return json.loads((Path(__file__).parent / name).read_text(encoding="ascii"))


GOLDEN: dict[str, Any] = _golden("version1.json")
LATER: list[dict[str, Any]] = [
    row for name in (
        "requests", "relations", "feeds", "candidates", "proposals", "orders", "venues", "periods"
    )
    for row in _golden(f"version1_{name}.json")["frames"]
] + _golden("version1_samples.json")["frames"]
"""Of kinds, or with fields, that came after the file above was written."""
FRAMES: list[dict[str, Any]] = GOLDEN["frames"] + LATER


def test_every_kind_of_version_1_is_here() -> None:
    assert {row["kind"] for row in GOLDEN["frames"]} == {
        "instrument.registered", "instrument.amended", "instrument.status", "listing.added",
        "listing.amended", "listing.ended", "relation.added", "collision.detected",
        "conflict.detected", "alert.acknowledged",
    }  # fmt: skip
    assert {row["codec"] for row in GOLDEN["frames"]} == {"none", "lz4", "snappy", "zstd"}
    assert {row["kind"] for row in LATER} == {
        "instrument.registered", "listing.added", "listing.amended",
        "request.answered", "relation.added", "relation.amended", "relation.ended",
        "feed.imported", "candidate.proposed", "candidate.confirmed", "candidate.refused",
        "instrument.seen", "instrument.missing", "proposal.confirmed",
        "proposal.refused", "proposal.withdrawn", "feed.snapshot", "feed.rules", "word.endorsed",
        "venue.registered", "venue.amended", "venue.endpoints", "venue.fees", "venue.hours",
        "venue.status", "venue.performance", "venue.warning",
        "sample.ack", "sample.reject", "sample.fill", "sample.outage", "sample.spread",
        "sample.depth",
    }  # fmt: skip


def test_every_kind_that_can_be_written_has_golden_frames() -> None:
    kept = set()
    for path in Path(__file__).parent.glob("version*.json"):
        kept |= {row["kind"] for row in json.loads(path.read_text())["frames"]}
    assert kept == set(KIND_NAMES.values())


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: f"{row['offset']}-{row['kind']}")
def test_a_frame_means_what_it_meant(row: dict[str, Any]) -> None:
    event = Event(bytes.fromhex(row["frame"]))
    assert event.kind_name == row["kind"] and event.version == row["version"] == 1
    assert event.space_name == row["space"] and event.severity == row["severity"]
    for name in ("offset", "recorded", "valid_from", "entity", "previous"):
        assert getattr(event, name) == row[name]
    assert msgspec.to_builtins(event.metadata) == row["metadata"]
    body = event.body
    if isinstance(body, InstrumentBody):
        said = [v.hex() if isinstance(v, bytes) else v for v in decode_message(body.message)]
        assert said == row["message"]
        assert msgspec.to_builtins(body.extension) == row["body"]
    elif isinstance(body, SampleBody):
        read = decode_sample(body.message)
        assert [v.hex() if isinstance(v, bytes) else v for v in read] == row["message"]
        assert msgspec.to_builtins(body.extension) == row["body"]
    else:
        assert json.loads(msgspec.json.encode(body)) == row["body"]
    assert list(columns_of(event.kind, event.severity, event.entity, body)) == row["columns"]


@pytest.mark.parametrize(
    "row", [row for row in FRAMES if row["codec"] == "none"], ids=lambda row: str(row["offset"])
)
def test_todays_writer_gives_the_same_bytes(row: dict[str, Any]) -> None:
    """Holds while version 1 is the one written; drop a kind from here when it gets version 2."""
    event = Event(bytes.fromhex(row["frame"]))
    fixed, rest = encode_body(event.body)
    again = encode_frame(
        kind=event.kind, space=event.space, offset=event.offset, recorded=event.recorded,
        valid_from=event.valid_from, entity=event.entity,
        previous=NO_PREVIOUS if event.previous is None else event.previous,
        fixed=fixed, rest=rest, metadata=encode_metadata(event.metadata),
    )  # fmt: skip
    assert again.hex() == row["frame"]


def test_the_block_means_what_it_meant() -> None:
    kept = GOLDEN["block"]
    block = Block(bytes.fromhex(kept["bytes"]))
    assert (block.first, block.time, block.chain.hex()) == (0, kept["time"], kept["chain"])
    kept_frames = [row["frame"] for row in GOLDEN["frames"]]
    assert [event.frame.hex() for event in block.events()] == kept_frames
    seed = bytes.fromhex(GOLDEN["genesis"]["seed"])
    block.check_chain(seed)
    verdicts = verify_blocks([block.data], seed, [Checkpoint(len(block), block.chain)])
    assert [(v.name, v.ok, v.checked) for v in verdicts] == [
        ("bytes", True, 16), ("continuity", True, 16), ("chain", True, 16),
    ]  # fmt: skip


def test_the_block_is_encoded_to_the_same_bytes() -> None:
    block = Block(bytes.fromhex(GOLDEN["block"]["bytes"]))
    columns = [columns_of(e.kind, e.severity, e.entity, e.body) for e in block.events()]
    frames = [event.frame for event in block.events()]
    seed = bytes.fromhex(GOLDEN["genesis"]["seed"])
    assert encode_block(0, block.time, seed, frames, columns) == block.data


def test_the_genesis_record_means_what_it_meant() -> None:
    kept = GOLDEN["genesis"]
    genesis = decode_genesis(bytes.fromhex(kept["record"]), Path("home"))
    assert genesis == Genesis(1, bytes.fromhex(kept["log_id"]), kept["id_bits"], kept["created"])
    assert genesis.encode().hex() == kept["record"]
    assert chain_hash(b"", genesis.encode()).hex() == kept["seed"]


def test_numbers_of_the_vocabularies_are_what_they_were() -> None:
    assert KIND_NAMES == {
        1: "instrument.registered", 2: "instrument.amended", 3: "instrument.status",
        8: "venue.registered", 9: "venue.amended", 10: "venue.endpoints", 11: "venue.fees",
        12: "venue.hours", 13: "venue.status", 14: "venue.performance", 15: "venue.warning",
        16: "listing.added", 17: "listing.amended", 18: "listing.ended", 32: "relation.added",
        33: "relation.amended", 34: "relation.ended", 48: "collision.detected",
        49: "conflict.detected", 50: "alert.acknowledged",
        64: "request.answered", 80: "feed.imported", 96: "candidate.proposed",
        97: "candidate.confirmed", 98: "candidate.refused", 112: "instrument.seen",
        113: "instrument.missing", 114: "proposal.confirmed", 115: "proposal.refused",
        116: "proposal.withdrawn", 117: "feed.snapshot", 118: "feed.rules", 119: "word.endorsed",
        128: "sample.ack", 129: "sample.reject", 130: "sample.fill", 131: "sample.outage",
        132: "sample.spread", 133: "sample.depth",
    }  # fmt: skip
    assert SPACE_NAMES == {
        1: "instrument", 2: "listing", 3: "venue", 4: "relation", 5: "feed", 6: "candidate",
        7: "proposal",
    }  # fmt: skip
    assert {k: int(v) for k, v in SEVERITIES.items() if v} == {
        Kind.COLLISION_DETECTED: 2, Kind.CONFLICT_DETECTED: 1, Kind.VENUE_WARNING: 1,
    }  # fmt: skip
    assert MESSAGE_RESIDUE == 0x2144DF1C
