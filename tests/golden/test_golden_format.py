"""log/FORMAT.md is executed: its examples are decoded and its tables are held to the code."""

from __future__ import annotations

import re
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
import zstandard
from blake3 import blake3

from alphapulse.log import (
    FRAME_HEADER_SIZE_BYTES,
    KIND_NAMES,
    KINDS_BY_NAME,
    MEASURE_NAMES,
    MESSAGE_RESIDUE,
    RELATION_NAMES,
    SEVERITIES,
    SEVERITY_NAMES,
    STATUS_NAMES,
    AcknowledgedBody,
    AnswerBody,
    AssetClass,
    Backup,
    Block,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    EndorsedBody,
    EndpointsBody,
    Event,
    Extension,
    FeedBody,
    FeesBody,
    Head,
    HoursBody,
    InstrumentRecord,
    ListingBody,
    Measure,
    Metadata,
    PerformanceBody,
    ProposalBody,
    RelationBody,
    RulesBody,
    SampleExtension,
    SampleRecord,
    SnapshotBody,
    TradingBody,
    VenueBody,
    WarningBody,
    archive,
    decode_message,
    decode_sample,
    number,
    text_number,
)
from alphapulse.log import bodies as bodies_module
from alphapulse.log.checkpoints import Checkpoint, Checkpoints
from alphapulse.log.codec import Codec, unpack
from alphapulse.log.columns import check_columns
from alphapulse.log.home import Genesis, decode_genesis
from alphapulse.log.sheet import sheet_of
from alphapulse.registry import CLASSES, from_mapping, identity
from alphapulse.registry.facts import body_of
from alphapulse.registry.readers import facts_of
from tests.registry.samples import FULL, MORE

TEXT = (Path(__file__).parents[2] / "log" / "FORMAT.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```(?:hex|text) ([^\n]+)\n(.*?)\n```", TEXT, re.DOTALL))
TIME = 1_764_000_000_123_456_789


def data_of(name: str) -> bytes:
    """The bytes of an example, whose lines must give their own offsets rightly."""
    found = bytearray()
    for line in EXAMPLES[name].splitlines():
        said, _, rest = line.partition("  ")
        assert int(said, 16) == len(found), f"{name}: {line}"
        found += bytes.fromhex(rest.partition(";")[0])
    return bytes(found)


def section(title: str) -> str:
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row, headings left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for i, row in enumerate(cells) if "---" not in row[0] and "---" not in (
        cells[i + 1][0] if i + 1 < len(cells) else "")]  # fmt: skip


def test_every_example_is_tried() -> None:
    assert set(EXAMPLES) == {
        "key", "genesis", "block", "frame acknowledged", "frame registered", "frame listing",
        "message", "sample", "part lz4", "checkpoint", "export",
        "cursor",  # by tests/log/test_cursors.py
    }  # fmt: skip


def test_the_key() -> None:
    assert data_of("key") == (300).to_bytes(8, "big")


def test_the_genesis_record_and_the_seed() -> None:
    data = data_of("genesis")
    genesis = decode_genesis(data, Path("home"))
    assert genesis == Genesis(1, bytes(range(16)), 64, TIME - 1_000_000_000)
    assert genesis.encode() == data
    assert f"`{blake3(data).hexdigest()}`" in section("Chain")


def test_the_block() -> None:
    seed = blake3(data_of("genesis")).digest()
    block = Block(data_of("block"))
    block.check_chain(seed)
    assert block.chain == blake3(seed + block.data[32:]).digest()
    assert (block.first, block.time, len(block)) == (0, TIME, 1)
    event = block.event(0)
    assert event.body == AcknowledgedBody(alert=8, asset_class=1)
    check_columns(sheet_of(block), len(block))


def test_the_frames() -> None:
    small = Event(data_of("frame acknowledged"))
    assert (small.kind_name, small.offset, small.entity, small.previous) == (
        "alert.acknowledged", 12, 77, 9,
    )  # fmt: skip
    assert small.body == AcknowledgedBody(alert=8)
    whole = Event(data_of("frame registered"))
    assert whole.metadata == Metadata(source="optimism.tokenlist.json")
    assert whole.instrument_body.message == data_of("message")
    assert whole.instrument_body.extension.name == "USD Coin"
    listing = Event(data_of("frame listing"))
    assert isinstance(listing.body, ListingBody)
    assert (listing.body.symbol, listing.body.revision, listing.previous) == ("AAPL", 2, 4)
    for event in (small, whole, listing):
        assert event.recorded == TIME


def test_the_message() -> None:
    fields = decode_message(data_of("message"))
    assert (fields.decimals, fields.expiry_or_chain, fields.id) == (6, 1, 0xD97BC73B599D01DB)
    assert InstrumentRecord(data_of("message")).symbol == "USDC"
    assert f"0x{MESSAGE_RESIDUE:08X}" in section("Instrument message")


def test_the_sample() -> None:
    fields = decode_sample(data_of("sample"))
    assert fields.fingerprint == identity.venue_fingerprint("binance")
    record = SampleRecord(data_of("sample"))
    assert (record.measure, str(record.value), record.band_bps, record.currency) == (
        Measure.DEPTH, "1250000", 10, "USDT",
    )  # fmt: skip
    said = " ".join(section("Sample message").split())
    assert ", ".join(f"{number} `{name}`" for number, name in MEASURE_NAMES.items()) + "." in said


def test_the_packed_part() -> None:
    extension = msgspec.msgpack.decode(unpack(data_of("part lz4"), Codec.LZ4), type=Extension)
    assert extension.name == "A long name. " * 60


def test_the_checkpoint_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text(EXAMPLES["checkpoint"] + "\n")
    found = Checkpoints(tmp_path / "checkpoints").last()
    assert found == Checkpoint(1, Block(data_of("block")).chain)


def test_the_exported_log(tmp_path: Path) -> None:
    """By the page alone, and by our reader; and our writer gives these bytes around the frame."""
    data, genesis, block = data_of("export"), data_of("genesis"), data_of("block")
    header = data[: 20 + len(genesis)]
    assert header[12:16] == len(genesis).to_bytes(4, "little") and header[16:-4] == genesis
    assert int.from_bytes(header[-4:], "little") == crc32(header[:-4])
    trailer = data[-96:]
    index_at = int.from_bytes(trailer[72:80], "little")
    chunk, index = data[len(header) : index_at], data[index_at:-96]
    assert zstandard.ZstdDecompressor().decompress(chunk[32:]) == block
    assert int.from_bytes(chunk[28:32], "little") == crc32(chunk[:28] + chunk[32:])
    assert index == bytes(8) + len(header).to_bytes(8, "little")
    assert trailer[:32] == blake3(data[:-96]).digest() and trailer[32:64] == block[:32]
    assert int.from_bytes(trailer[84:88], "little") == crc32(index + trailer[:84])
    (tmp_path / "log").write_bytes(data)
    with archive.Archive(tmp_path / "log") as exported:
        exported.verify()
        assert exported.genesis.encode() == genesis and exported.head == 1
        assert exported.chain_head == exported.block_at(0).chain
        assert [found.data for found in exported.blocks()] == [block]
    assert archive.encode_header(genesis) == header
    assert archive.encode_chunk([block])[8:28] == chunk[8:28]
    end = archive.encode_end([(0, len(header))], index_at, Head(1, block[:32], TIME),
                             blake3(header + chunk))  # fmt: skip
    assert end == index + trailer


@pytest.mark.parametrize(
    "title,size,layout",
    [
        ("Frame", FRAME_HEADER_SIZE_BYTES, [4, 4, 2, 1, 1, 1, 1, 2, 8, 8, 8, 8, 8]),
        ("Instrument message", 128, [1, 1, 1, 1, 2, 1, 1, 8, 16, 8, 8, 8, 8, 8, 8, 1, 1, 1, 1, 4,
                                     4, 4, 12, 16, 4]),
        ("Sample message", 64, [1, 1, 1, 1, 4, 8, 16, 8, 8, 8, 4, 4]),
        ("Block", 64, [32, 4, 4, 8, 8, 4, 4]),
        ("Archive header", 16, [8, 2, 2, 4]),
        ("Archive chunk", 32, [4, 4, 4, 4, 8, 4, 4]),
        ("Archive index", 16, [8, 8]),
        ("Archive trailer", 96, [32, 32, 8, 8, 4, 4, 8]),
    ],
)  # fmt: skip
def test_layout_tables_have_no_holes(title: str, size: int, layout: list[int]) -> None:
    table = [row for row in rows(section(title)) if row[0].isdigit() and row[1].isdigit()]
    at = 0
    for row in table:
        assert int(row[0]) == at, row
        at += int(row[1])
    assert at == size and [int(row[1]) for row in table] == layout


@pytest.mark.parametrize(
    "title,body",
    [
        ("Extension", Extension), ("Listing", ListingBody), ("Relation", RelationBody),
        ("Collision", CollisionBody), ("Conflict", ConflictBody),
        ("Acknowledgement", AcknowledgedBody), ("Answer", AnswerBody), ("Feed", FeedBody),
        ("Candidate", CandidateBody),
        ("Proposal", ProposalBody), ("Snapshot", SnapshotBody), ("Rules", RulesBody),
        ("Endorsement", EndorsedBody),
        ("Venue", VenueBody), ("Endpoints", EndpointsBody), ("Fees", FeesBody),
        ("Hours", HoursBody), ("Trading status", TradingBody), ("Performance", PerformanceBody),
        ("Warning", WarningBody), ("Sample extension", SampleExtension),
        ("Metadata", Metadata),
        ("Genesis record", Genesis), ("Backup", Backup),
    ],
)  # fmt: skip
def test_every_field_stands_in_its_table_with_its_default(
    title: str, body: type[msgspec.Struct]
) -> None:
    table = {row[0].strip("`"): row for row in rows(section(title))}
    fields = msgspec.structs.fields(body)
    assert list(table) == [field.encode_name for field in fields]
    if body in (Genesis, Backup):
        return
    for field in fields:
        said = table[field.encode_name][2]
        if field.default_factory is not msgspec.NODEFAULT:
            assert said == "{}"
        elif field.default is msgspec.NODEFAULT:
            assert said == ""
        else:
            empty = {"": '""', b"": "empty", (): "empty", False: "false"}
            is_number = type(field.default) is int
            assert said == (str(field.default) if is_number else empty[field.default])


def test_every_term_is_said() -> None:
    said = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(section("Terms"))))
    made: set[str] = set()
    for name, fields in FULL.items():
        for more in ({}, {"quote": "FDUSD"} if "quote" in MORE[name] else {}):
            known = facts_of(from_mapping(CLASSES[name], fields))
            values = known.values | more
            made |= body_of(
                known._replace(values=values), id=1, fingerprint=bytes(16)
            ).extension.terms.keys()
    assert sorted(said) == sorted(made | {"currency"})


def test_every_body_type_has_its_section() -> None:
    titles = {title for title, _ in (
        ("Extension", Extension), ("Listing", ListingBody), ("Relation", RelationBody),
        ("Collision", CollisionBody), ("Conflict", ConflictBody),
        ("Acknowledgement", AcknowledgedBody), ("Answer", AnswerBody), ("Feed", FeedBody),
        ("Candidate", CandidateBody),
        ("Proposal", ProposalBody), ("Snapshot", SnapshotBody), ("Rules", RulesBody),
        ("Endorsement", EndorsedBody),
        ("Venue", VenueBody), ("Endpoints", EndpointsBody), ("Fees", FeesBody),
        ("Hours", HoursBody), ("Trading status", TradingBody), ("Performance", PerformanceBody),
        ("Warning", WarningBody), ("Sample extension", SampleExtension),
    )}  # fmt: skip
    assert len(titles) == len(set(bodies_module.BODY_TYPES.values()))


def test_every_kind_stands_in_the_table() -> None:
    table = {row[1].strip("`"): row for row in rows(section("Bodies of the kinds"))}
    assert list(table) == list(KINDS_BY_NAME)
    for name, row in table.items():
        kind = KINDS_BY_NAME[name]
        assert int(row[0]) == kind and KIND_NAMES[kind] == name
        assert row[3] == SEVERITY_NAMES[SEVERITIES[kind]]


def test_every_number_of_a_vocabulary_is_said() -> None:
    said = " ".join(section("Instrument message").split())
    classes = {int(value): value.name.lower() for value in AssetClass}
    for names in (classes, STATUS_NAMES, RELATION_NAMES):
        assert ", ".join(f"{value} `{name}`" for value, name in names.items()) + "." in said


def test_the_tables_of_numbers() -> None:
    for text, mantissa, exponent in rows(section("Numbers")):
        assert number(text.strip("`")) == (int(mantissa), int(exponent))
    for text, value in rows(section("Text numbers")):
        assert text_number(text.strip("`")) == int(value, 16)


def test_identity_as_the_page_says_it() -> None:
    contexts = re.findall(r"`(alphapulse registry [^`]+)`", section("Identity"))
    key = Event(data_of("frame registered")).instrument_body.extension.key
    print16 = blake3(key, derive_key_context=contexts[0]).digest(16)
    assert print16 == InstrumentRecord(data_of("message")).fingerprint
    assert print16 == identity.fingerprint_of(key)
    fallback = blake3(print16 + b"\1\0", key=blake3(derive_key_context=contexts[1]).digest())
    assert int.from_bytes(fallback.digest(8), "little") == identity.fallback_id(print16, 1)
