"""Changed bytes and texts at every door through which data comes in: only typed errors.

Each door runs in a child that may allocate little more than it has, so a size that is believed
before it is checked ends in a MemoryError, which is as wrong as any other untyped error. Where a
CRC would stop everything at once it is made right again: an attacker does that too.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from alphapulse.log import AlphaPulseError, Block, Codec, Event, InvalidInput, Pattern
from alphapulse.log.codec import COMPRESS_FROM_BYTES, pack, unpack
from alphapulse.log.message import decode_message, verify_message
from alphapulse.log.verify import verify_blocks
from alphapulse.registry.importers import FORMATS, InputFile, Refused
from alphapulse.registry.venues import bundled_file
from tests.crash.children import Child, Hear, Say, report, seeds
from tests.crash.lists import LIST, ROWS, SAMPLE
from tests.log.builders import CHAIN_SEED, instrument_body

from .blocks import EVENTS, frame_at, mixed_block

TRIES: Final = 250
MEMORY_BYTES: Final = 96 << 20
"""What a child may allocate beyond what it has when it begins."""
EDGES: Final = (0, 1, 7, 8, 0x7F, 0xFF, 0xFFFF, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)
NOISE: Final = (b"\xff", b"\0", b'"', b",", b"\n", b"{", b"[", b"\xed\xa0\x80", b"9" * 50)

Door = Callable[[random.Random, Path], None]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One to four changes: bits, cuts, doubled or foreign pieces, sizes at the edges."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at : at + rng.randint(1, 40)]
            case 2:
                changed[at:at] = changed[at : at + rng.randint(1, 200)]
            case 3:
                changed[at:at] = rng.choice(NOISE) * rng.randint(1, 3)
            case 4:
                changed[at : at + 4] = struct.pack("<I", rng.choice(EDGES))
            case _:
                changed[at : at + 8] = rng.randbytes(8)
    return bytes(changed)


def sealed(data: bytes) -> bytes:
    """A frame with its size and its CRC put right."""
    if len(data) < 8:
        return data
    after = struct.pack("<I", len(data)) + data[8:]
    return struct.pack("<I", zlib.crc32(after)) + after


def frames(rng: random.Random, _: Path) -> None:
    data = mutated(rng, frame_at(rng.randrange(EVENTS)))
    event = Event(sealed(data) if rng.random() < 0.8 else data)
    tolerated(lambda: repr(event))
    tolerated(lambda: event.metadata)
    tolerated(lambda: event.body_bytes())
    tolerated(lambda: event.body)


def tolerated(step: Callable[[], object]) -> None:
    """One step whose typed error need not end the others."""
    try:
        step()
    except AlphaPulseError as error:
        str(error)


def blocks(rng: random.Random, _: Path) -> None:
    data = bytearray(mutated(rng, BLOCK))
    if rng.random() < 0.8 and len(data) > 40:
        data[36:40] = struct.pack("<I", len(data))
    assert len(verify_blocks([bytes(data)], CHAIN_SEED, [])) == 3, "an audit answers, always"
    block = Block(bytes(data))
    tolerated(lambda: list(block.events()))
    tolerated(
        lambda: list(Pattern.parse("kind=instrument chain=eip155:1").select(block, 0, len(block)))
    )
    tolerated(lambda: block.prefix(block.stop, CHAIN_SEED))


def packed(rng: random.Random, _: Path) -> None:
    """Bombs too: a few bytes that declare, to us or to the codec, to be far more."""
    data = bytes(rng.choice((b"a", b"ab", rng.randbytes(9)))) * rng.randint(100, 20_000)
    assert len(data) < COMPRESS_FROM_BYTES or unpack(*pack(data, Codec.ZSTD)) == data
    stored, codec = pack(data, rng.choice(list(Codec)))
    stored = mutated(rng, stored) if rng.random() < 0.8 else stored
    if rng.random() < 0.5:
        stored = struct.pack("<I", rng.choice(EDGES)) + stored[4:]
    unpack(stored, rng.randrange(6) if rng.random() < 0.3 else codec)


def messages(rng: random.Random, _: Path) -> None:
    data = mutated(rng, instrument_body(rng.randrange(1 << 60), symbol="ABC").message)
    if rng.random() < 0.8 and len(data) >= 128:
        data = data[:124] + struct.pack("<I", zlib.crc32(data[:124]))
    tolerated(lambda: verify_message(data))
    decode_message(data)


TERMS: Final = (
    "kind=instrument", "class=token,equity", "isin=US*", "venue!=XNAS", "bps>50", 'symbol="a b"',
    "chain=eip155:1", "not severity=critical", "(source=x or source=y)", 'symbol="\\u{202e}"*',
)  # fmt: skip
PIECES: Final = ("(", ")", " not ", " and ", " or ", '"', "*", "\\u{", "=", ">=", ",", "kind")


def patterns(rng: random.Random, path: Path) -> None:
    del path
    text = rng.choice((" ", " and ", " or ")).join(rng.choices(TERMS, k=rng.randint(1, 30)))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(PIECES) + text[at + rng.randrange(3) :]
    if rng.random() < 0.1:
        text = rng.choice(("(", "not ", "((", "kind=a or ")) * rng.randrange(3_000) + text
    if rng.random() < 0.3:
        text = mutated(rng, text.encode()).decode("utf-8", "surrogateescape")
    pattern = Pattern.parse(text)
    assert Pattern.parse(str(pattern)) == pattern
    list(pattern.select(Block(BLOCK), 0, EVENTS))


def read_all(name: str, path: Path, data: bytes) -> list[Refused]:
    refused = []
    importer = FORMATS[name]
    path.write_bytes(data)
    with InputFile(path) as file:
        importer.sniff(path, file.head)
        for row in importer.open(file).rows("source"):
            assert row.place
            if isinstance(row, Refused):
                refused.append(row)
    return refused


VALUES: Final[tuple[object, ...]] = (
    None, True, -1, 1 << 70, 1e300, 0.5, "", "x" * 5_000, "\0", "\ud800", "\u202e", "0x", [], {},
    [[[]]], {"opTokenId": 7}, {"opTokenId": "x" * 500}, "0x" + "0" * 40, "eip155:1",
)  # fmt: skip


def token_lists(rng: random.Random, path: Path) -> None:
    """Fields with values that no one expects, or bytes that are hardly JSON."""
    rows = [dict(row) for row in rng.sample(ROWS, 3)]
    for row in rows:
        row[rng.choice(list(row))] = rng.choice(VALUES)
    document = json.dumps({**LIST, "tokens": rows}).encode()
    if rng.random() < 0.1:
        document = document[: rng.randrange(1, 200)] + rng.choice((b"[", b'{"a":')) * 30_000
    read_all("token-list", path, mutated(rng, document) if rng.random() < 0.5 else document)


CSV: Final = (SAMPLE.parent / "nse_equities.csv").read_bytes().splitlines(keepends=True)


def listings(rng: random.Random, path: Path) -> None:
    read_all("listings-csv", path, mutated(rng, b"".join([CSV[0], *rng.sample(CSV[1:], 5)])))


ISINS: Final = (SAMPLE.parent / "india_isins.csv").read_bytes().splitlines(keepends=True)
LISTS: Final = {
    "ticker-collection": json.loads((SAMPLE.parent / "pytickersymbols_equities.json").read_bytes()),
    "chain-registry": json.loads((SAMPLE.parent / "chain_registry_assets.json").read_bytes()),
    "ccxt-markets": list(
        json.loads((SAMPLE.parent / "ccxt_markets.json").read_bytes())["markets"].values()
    ),
    "ccxt-venues": json.loads(bundled_file("crypto-venues").read_bytes())[20:30],
}
WORDS: Final = {
    "iso-10383": b"".join(bundled_file("mic-list").read_bytes().splitlines(keepends=True)[:6]),
    "hours-csv": b"venue,zone,phase,weekdays,start,end,date,reason,always\n"
    b"XASX,UTC,continuous,mon-fri,10:00,16:00,,,\nXASX,,,,,,2026-12-25,Feast,\nv,,,,,,,,yes\n",
    "fees-csv": b"venue,products,volume_days,valid_from,side,value,volume_from\n"
    b"v,spot swap,30,2026-01-01,maker,0.1,0\nv,spot swap,30,2026-01-01,maker,0.05,10\n",
    "hours-toml": b'venues = ["v"]\nzone = "UTC"\n[[rule]]\nphase = "continuous"\n'
    b'weekdays = "mon-fri"\nstart = "10:00"\nend = "16:00"\n[[day]]\ndate = 2026-12-25\n',
    "fees-toml": b'venues = ["v"]\nvalid_from = 2026-01-01\n[[schedule]]\nvolume_days = 30\n'
    b'[[schedule.line]]\nside = "maker"\nvalue = 0.1\n',
}
"""Files about venues."""


def isins(rng: random.Random, path: Path) -> None:
    read_all("isin-csv", path, mutated(rng, b"".join([ISINS[0], *rng.sample(ISINS[1:], 5)])))


def json_lists(rng: random.Random, path: Path) -> None:
    """As `token_lists`, of the formats that are lists of objects, alone or in a document."""
    name = rng.choice(list(LISTS))
    rows: Any = [dict(row) for row in rng.sample(LISTS[name], 3)]
    for row in rows:
        row[rng.choice(list(row))] = rng.choice(VALUES)
    if name == "ccxt-markets":
        inner = rng.choice([row for row in rows if row.get("limits")] or [{"limits": {}}])
        inner["limits"] = {"amount": {"min": rng.choice(VALUES), "max": rng.choice(VALUES)}}
        rows = {"id": "binance", "precisionMode": rng.choice((None, 2, 3, 4)), "markets": rows}
    document = json.dumps(rows).encode()
    read_all(name, path, mutated(rng, document) if rng.random() < 0.5 else document)


def venue_words(rng: random.Random, path: Path) -> None:
    name = rng.choice(list(WORDS))
    read_all(name, path, mutated(rng, WORDS[name]))


def own_events(rng: random.Random, path: Path) -> None:
    """Frames that their CRC calls whole, with bytes changed anywhere in them."""
    rows = []
    for offset in rng.sample(range(EVENTS), 3):
        frame = bytearray(frame_at(offset))
        for _ in range(rng.randrange(3)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        frame[:4] = zlib.crc32(frame[4:]).to_bytes(4, "little")
        rows.append(json.dumps({"offset": offset, "frame_hex": frame.hex()}))
    data = "\n".join(rows).encode()
    # Lines fail one by one, and never the whole file.
    for row in read_all("events-jsonl", path, mutated(rng, data) if rng.random() < 0.3 else data):
        raise InvalidInput(row.reason)


BLOCK: Final = mixed_block()
SELECTIVE: Final = Pattern.parse("kind=instrument and not chain=eip155:1")
DOORS: Final[tuple[Door, ...]] = (
    frames, blocks, packed, messages, patterns, token_lists, listings, isins,
    json_lists, venue_words, own_events,
)  # fmt: skip


def tried(door: Door, path: Path, wanted: list[int]) -> tuple[int, list[str]]:
    """How many tries a door let pass, and what went wrong at it, by seed."""

    def work(say: Say, _: Hear) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        passed = 0
        for seed in wanted:
            try:
                door(random.Random(seed), path)
                passed += 1
            except AlphaPulseError as error:
                if not (error.doing and str(error)):
                    say(f"{seed}: an error without a word: {error!r}")
            except Exception as error:
                say(f"{seed}: {type(error).__name__}: {str(error)[:200]!r}")
        say(f"passed {passed}")

    with Child(work) as child:
        said = child.rest()
        status = child.wait()
    if status != 0:
        return 0, [*said, f"ended by {status}"]
    return int(said[-1].split()[1]), said[:-1]


def tries(count: int) -> Iterator[int]:
    """As many seeds from one, so that only that one is printed."""
    for first in seeds(1):
        yield first
        rng = random.Random(first)
        yield from (rng.randrange(1 << 32) for _ in range(count - 1))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: str(door.__name__))
def test_only_typed_errors(door: Door, tmp_path: Path, scale: float) -> None:
    wanted = list(tries(max(50, round(TRIES * scale))))
    passed, wrong = tried(door, tmp_path / "file", wanted)
    report(f"door {door.__name__}", wanted, passed=passed, wrong=len(wrong))
    assert not wrong, "\n".join(wrong[:20])
    assert 0 < passed < len(wanted) or len(wanted) == 1, "changes too small or too large to tell"


# Controls: doors as they must not be.


def believes(rng: random.Random, _: Path) -> None:
    """Allocates what it is told."""
    bytearray(rng.choice(EDGES))


def indexes(rng: random.Random, _: Path) -> None:
    """Looks where there may be nothing."""
    mutated(rng, b"12345678")[7]


def dies(rng: random.Random, _: Path) -> None:
    """Takes its process with it, as a SIGSEGV in a codec would."""
    raise SystemExit(rng.randrange(1))


@pytest.mark.parametrize(
    ("door", "says"), [(believes, "MemoryError"), (indexes, "IndexError"), (dies, "ended by")]
)
def test_control_a_bad_door_is_noticed(door: Any, says: str, tmp_path: Path) -> None:
    _, wrong = tried(door, tmp_path / "file", list(tries(100)))
    assert any(says in text for text in wrong), wrong
