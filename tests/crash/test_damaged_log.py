"""Audits of homes whose log was damaged or tampered with: they fail, name the place, and live.

Damage that ends the process that reads it happens in a child; so the audits with a child of their
own are few, the other ones verify in a fork.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec
import pytest

from alphapulse.log import (
    FORMAT_VERSION,
    NO_PREVIOUS,
    AlphaPulseError,
    Block,
    ChainBroken,
    Columns,
    Corrupt,
    Event,
    FormatTooNew,
    Home,
    Verdict,
    chain_hash,
    encode_block,
    encode_body,
    encode_frame,
    encode_metadata,
)
from alphapulse.registry import Equity, Registry, audit, replay_into

from .children import forked_verification, seeds
from .lists import tokens

pytestmark = pytest.mark.usefixtures("forked_interpreters")

SIZES = (3, 40, 1, 60, 2)
"""Events of each block; blocks of 40 and more stand in pages of their own."""
PAGE_SIZE_BYTES = 4096


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed home, its views removed: they come back by themselves."""
    home, instruments = tmp_path_factory.mktemp("damaged") / "home", tokens(sum(SIZES))
    with Registry.open(home) as registry:
        at = 0
        for size in SIZES:
            registry.register_many(instruments[at : at + size])
            at += size
        assert [block.count for block in registry.log.blocks()] == list(SIZES)
    assert [verdict for verdict in audit(home) if not verdict.ok] == []
    shutil.rmtree(home / "views")
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "home")
    return tmp_path / "home"


def failed(home: Path, *, forked: bool = True) -> dict[str, Verdict]:
    """The verdicts that fail."""
    if forked:
        with forked_verification():
            return {verdict.name: verdict for verdict in audit(home) if not verdict.ok}
    return {verdict.name: verdict for verdict in audit(home) if not verdict.ok}


def stored(home: Path) -> list[bytes]:
    with lmdb.open(str(home / "log"), max_dbs=2, lock=False, readonly=True) as env:
        with env.begin(db=env.open_db(b"blocks", create=False)) as txn:
            return [bytes(value) for _, value in txn.cursor()]


@contextmanager
def raw(home: Path) -> Iterator[lmdb.Transaction]:
    with lmdb.open(str(home / "log"), max_dbs=2, map_size=1 << 30) as env:
        with env.begin(write=True, db=env.open_db(b"blocks", create=False)) as txn:
            yield txn


def put(home: Path, blocks: Sequence[bytes]) -> None:
    """Puts these blocks in the place of those with the same first offset."""
    with raw(home) as txn:
        for data in blocks:
            txn.put(struct.pack(">Q", Block(data).first), data)


def places(home: Path, data: bytes) -> list[int]:
    """Where these bytes stand in data.mdb: the live copy, and older ones LMDB has freed."""
    file, found, at = (home / "log" / "data.mdb").read_bytes(), [], -1
    while (at := file.find(data, at + 1)) >= 0:
        found.append(at)
    return found


def flip(home: Path, data: bytes, bit: int) -> None:
    """Flips one bit of every copy of a block."""
    with open(home / "log" / "data.mdb", "r+b") as file:
        for at in places(home, data):
            file.seek(at + (bit >> 3))
            file.write(bytes([data[bit >> 3] ^ 1 << (bit & 7)]))


def test_any_bit_of_a_live_copy_in_the_file(home: Path, scale: float) -> None:
    blocks = stored(home)
    for seed in seeds(max(4, round(15 * scale**2))):
        rng = random.Random(seed)
        target = Block(rng.choice(blocks))
        index = rng.randrange(target.count)
        start, end = target.frame_bounds(index)
        bit = rng.randrange(start * 8, end * 8)
        assert places(home, target.data)
        flip(home, target.data, bit)
        bad = failed(home)
        assert {"bytes", "chain"} <= bad.keys(), f"seed {seed}"
        assert bad["bytes"].first_bad_offset == target.first + index, f"seed {seed}"
        assert bad["bytes"].cure and bad["bytes"].detail
        flip_back = bytearray(target.data)
        flip_back[bit >> 3] ^= 1 << (bit & 7)
        with open(home / "log" / "data.mdb", "r+b") as file:
            for at in places(home, bytes(flip_back)):
                file.seek(at)
                file.write(target.data)
    assert failed(home) == {}


def test_a_flipped_bit_and_a_child_of_its_own(home: Path) -> None:
    target = Block(stored(home)[3])
    start, _ = target.frame_bounds(7)
    flip(home, target.data, (start + 60) * 8)
    bad = failed(home, forked=False)
    assert bad.keys() == {"bytes", "chain", "meaning", "views"}
    assert bad["bytes"].first_bad_offset == target.first + 7
    assert f"--to {target.first + 6} " in bad["bytes"].cure
    assert not (home / "views").exists(), "an audit that fails changes nothing"
    with Registry.open(home.parent / "other") as registry:  # the parent is alive and well
        assert registry.log.head == 0


def test_the_good_prefix_can_be_kept(home: Path) -> None:
    """What the cure says works."""
    target = Block(stored(home)[3])
    start, _ = target.frame_bounds(7)
    flip(home, target.data, (start + 60) * 8)
    with forked_verification():
        kept = home.parent / "kept"
        with pytest.raises(AlphaPulseError):
            replay_into(home, home.parent / "too much", target.first + 8)
        report = replay_into(home, kept, target.first + 7)
    assert report.events == target.first + 7
    assert failed(kept) == {}


def test_the_last_commit_removed(home: Path) -> None:
    """The hash chain of what is left holds; the checkpoint beside it does not."""
    last = Block(stored(home)[-1])
    with raw(home) as txn:
        assert txn.delete(struct.pack(">Q", last.first))
    bad = failed(home, forked=False)
    assert bad.keys() == {"chain", "meaning", "views"}
    assert bad["chain"].first_bad_offset == last.first
    assert str(last.stop) in bad["chain"].detail and "cut" in bad["chain"].detail
    with Registry.open(home) as registry:
        assert registry.statistics().broken
        with pytest.raises(ChainBroken):
            registry.register(Equity(isin="US0378331005", symbol="AAPL"))
        assert registry.resolve(tokens(1)[0]) is not None
        assert registry.resolve(tokens(sum(SIZES))[-1]) is None


def test_the_last_commit_removed_under_views_that_saw_it(home: Path) -> None:
    Registry.open(home).close()
    last = Block(stored(home)[-1])
    with raw(home) as txn:
        txn.delete(struct.pack(">Q", last.first))
    with Registry.open(home) as registry:
        assert registry.log.broken
        assert registry.resolve(tokens(sum(SIZES))[-1]) is None
    assert "chain" in failed(home)


def rewritten(block: Block, index: int, previous_chain: bytes, *, chained: bool) -> Block:
    """The block with the symbol's last letter of one event changed, under valid CRCs."""
    frames = [event.frame for event in block.events()]
    event = block.event(index)
    body = event.instrument_body
    extension = msgspec.structs.replace(body.extension, name="Somebody Else")
    fixed, rest = encode_body(type(body)(body.message, extension))
    frames[index] = encode_frame(
        kind=event.kind, space=event.space, offset=event.offset, recorded=event.recorded,
        valid_from=event.valid_from, entity=event.entity,
        previous=NO_PREVIOUS if event.previous is None else event.previous,
        fixed=fixed, rest=rest, metadata=encode_metadata(event.metadata),
    )  # fmt: skip
    assert Event(frames[index]).instrument_body.extension.name == "Somebody Else"
    data = encode_block(
        block.first, block.time, previous_chain, frames, [columns_at(block, i) for i in
                                                         range(block.count)],
    )  # fmt: skip
    return Block(data if chained else block.chain + data[32:])


def columns_at(block: Block, index: int) -> Columns:
    return Columns(
        block.entities[index], block.instruments[index], block.chains[index], block.venues[index],
        block.kinds[index], block.classes[index], block.severities[index],
    )  # fmt: skip


@pytest.mark.parametrize("how", ["its CRC", "its block's hash", "all hashes to the end"])
def test_an_event_rewritten_under_a_valid_crc(home: Path, how: str) -> None:
    blocks = [Block(data) for data in stored(home)]
    number, index = 1, 5
    new = rewritten(blocks[number], index, blocks[number - 1].chain, chained=how != "its CRC")
    changed = [new]
    if how.startswith("all"):
        for block in blocks[number + 1 :]:
            after = block.data[32:]
            changed.append(Block(chain_hash(changed[-1].chain, after) + after))
    put(home, [block.data for block in changed])
    bad = failed(home)
    assert "bytes" not in bad and "continuity" not in bad and "chain" in bad
    named = bad["chain"].first_bad_offset
    if how == "its CRC":
        assert named == blocks[number].first
    elif how == "its block's hash":
        assert named == blocks[number + 1].first
    else:
        assert named == sum(SIZES) - 1 and "checkpoint" in bad["chain"].detail
        with Registry.open(home) as registry:
            assert registry.log.broken


@pytest.mark.parametrize("keep", [0, 1, 4096, 3 * 4096, 0.5, 0.9])
def test_a_truncated_file(home: Path, keep: float) -> None:
    file = home / "log" / "data.mdb"
    size_bytes = file.stat().st_size
    with open(file, "r+b") as opened:
        opened.truncate(int(keep * size_bytes) if isinstance(keep, float) else keep)
    bad = failed(home, forked=keep != 0.5)
    assert {"bytes", "continuity", "chain"} <= bad.keys()
    for verdict in bad.values():
        assert verdict.first_bad_offset is not None and verdict.detail and verdict.cure


def test_each_page_zeroed(home: Path, scale: float) -> None:
    """Zeroed pages end the child by a signal, or are found; those that hold nothing do no harm."""
    file = home / "log" / "data.mdb"
    good = file.read_bytes()
    pages = range(0, len(good), PAGE_SIZE_BYTES)
    step = max(1, round(len(pages) / (12 * scale**2)))
    found = []
    for at in pages[::step]:
        file.write_bytes(good[:at] + bytes(PAGE_SIZE_BYTES) + good[at + PAGE_SIZE_BYTES :])
        bad = failed(home)
        found.append(bool(bad))
        if bad:
            assert all(v.first_bad_offset is not None and v.cure for v in bad.values())
    assert True in found
    file.write_bytes(good)
    assert failed(home) == {}


def test_a_missing_file(home: Path) -> None:
    (home / "log" / "data.mdb").unlink()
    assert {"bytes", "continuity", "chain"} <= failed(home, forked=False).keys()


def test_noise_anywhere_never_ends_the_auditor(home: Path, scale: float) -> None:
    file = home / "log" / "data.mdb"
    good = file.read_bytes()
    for seed in seeds(max(5, round(10 * scale**2))):
        rng, noisy = random.Random(seed), bytearray(good)
        for _ in range(rng.choice((1, 10, 1000))):
            noisy[rng.randrange(len(noisy))] = rng.randrange(256)
        file.write_bytes(noisy)
        with contextlib.suppress(FormatTooNew):  # noise in the genesis record
            failed(home)
        shutil.rmtree(home / "views", ignore_errors=True)


def test_an_unclean_stop_looks_before_it_opens(home: Path) -> None:
    """A damaged file would end this very process; a child finds it, and opening is refused."""
    (home / "run" / "open.999999999.1.0").touch()
    target = Block(stored(home)[3])
    with open(home / "log" / "data.mdb", "r+b") as opened:
        opened.truncate(places(home, target.data)[0] + 100)
    with pytest.raises(Corrupt) as caught:
        Registry.open(home)
    assert "unclean stop" in str(caught.value)


@pytest.mark.parametrize("stale", [False, True])
def test_a_home_of_a_newer_format_is_refused(home: Path, stale: bool) -> None:
    with lmdb.open(str(home / "log"), max_dbs=2, map_size=1 << 30) as env:
        with env.begin(write=True, db=env.open_db(b"meta", create=False)) as txn:
            genesis = msgspec.msgpack.decode(txn.get(b"genesis") or b"")
            genesis |= {"format": FORMAT_VERSION + 1, "novelty": [1, 2]}
            txn.put(b"genesis", msgspec.msgpack.encode(genesis))
    before = (home / "log" / "data.mdb").read_bytes()
    if stale:
        (home / "run" / "open.999999999.1.0").touch()
    for attempt in (
        lambda: Registry.open(home),
        lambda: Registry.open(home, mode="r"),
        lambda: audit(home),
        lambda: replay_into(home, home.parent / "other", 1),
    ):
        with pytest.raises(FormatTooNew) as caught:
            attempt()
        assert "newer version" in str(caught.value) and "upgrade" in str(caught.value)
    assert (home / "log" / "data.mdb").read_bytes() == before
    assert Home(home).exists() and not Home(home.parent / "other").exists()
