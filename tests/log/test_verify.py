from __future__ import annotations

import errno
import os
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import lmdb
import pytest

import alphapulse.log.verify as verify_module
from alphapulse.log.block import Block, chain_hash, encode_block
from alphapulse.log.checkpoints import Checkpoint
from alphapulse.log.errors import (
    AlphaPulseError,
    ChainBroken,
    Corrupt,
    HomeUnsupported,
    NotDecodable,
    SystemRefused,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import NO_PREVIOUS, Event, encode_body, encode_frame
from alphapulse.log.home import Home
from alphapulse.log.kinds import Kind, Space
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.log.verify import Verdict, cure_at, verify_blocks, verify_in_child, verify_store
from tests.crash.children import verify_in_fork

from .builders import TIME, columns_of_event, instrument_body, space_of
from .logs import draft, fill, make_log

pytestmark = pytest.mark.usefixtures("forked_interpreters")

SIZES = [3, 1, 4, 2]
HEAD = sum(SIZES)
PAGE = 4096
BRANCH, LEAF = 1, 2
"""Flags of LMDB's pages."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A closed log of four blocks whose events of six entities name each other."""
    make_log(tmp_path / "home", SIZES, entities=6).close()
    return Home(tmp_path / "home")


def blocks_of(home: Home) -> list[bytes]:
    with EventLog.open(home.path, mode="r") as log:
        return log.store.blocks(0, HEAD + 1)


def write_blocks(home: Home, blocks: list[bytes]) -> None:
    """Behind the log's back: these blocks and no others."""
    with lmdb.open(str(home.log), max_dbs=2) as env:
        db = env.open_db(b"blocks")
        with env.begin(write=True, db=db) as txn:
            txn.drop(db, delete=False)
            for data in blocks:
                txn.put(data[40:48][::-1], data)


def rechain(home: Home, blocks: list[bytes]) -> list[bytes]:
    """The blocks with right hashes from the genesis record on."""
    with EventLog.open(home.path, mode="r") as log:
        chain = log.chain_at(0)
    good = []
    for data in blocks:
        chain = chain_hash(chain, data[32:])
        good.append(chain + data[32:])
    return good


def rewritten(data: bytes, index: int) -> bytes:
    """The block with another symbol in one event, every CRC right, the old chain."""
    block = Block(data)
    events = list(block.events())
    old = events[index]
    fixed, rest = encode_body(instrument_body(old.entity, symbol="FORGED"))
    events[index] = Event(encode_frame(
        kind=old.kind, space=old.space, offset=old.offset, recorded=old.recorded, valid_from=0,
        entity=old.entity, previous=NO_PREVIOUS if old.previous is None else old.previous,
        fixed=fixed, rest=rest,
    ))  # fmt: skip
    frames, columns = [e.frame for e in events], [columns_of_event(e) for e in events]
    return data[:32] + encode_block(block.first, block.time, b"", frames, columns)[32:]


def by_name(verdicts: list[Verdict]) -> dict[str, Verdict]:
    assert [verdict.name for verdict in verdicts] == ["bytes", "continuity", "chain"]
    for verdict in verdicts:
        assert verdict.ok or (verdict.detail and verdict.cure)
    return {verdict.name: verdict for verdict in verdicts}


def fine(verdicts: list[Verdict]) -> bool:
    return all(verdict.ok for verdict in verdicts)


def test_a_good_log_is_fine_in_process_and_in_a_child(home: Home) -> None:
    for verdicts in (verify_store(home), verify_in_child(home.path)):
        assert fine(verdicts)
        assert [verdict.checked for verdict in verdicts] == [HEAD] * 3
        assert by_name(verdicts)["chain"].first_bad_offset is None


def test_an_empty_log_is_fine(tmp_path: Path) -> None:
    make_log(tmp_path / "home").close()
    assert fine(verify_store(Home(tmp_path / "home")))
    assert fine(verify_in_child(tmp_path / "home", last_blocks=3))


@pytest.mark.parametrize("count,checked", [(1, 2), (2, 6), (3, 7), (4, HEAD), (99, HEAD)])
def test_only_the_newest_blocks(home: Home, count: int, checked: int) -> None:
    verdicts = verify_store(home, last_blocks=count)
    assert fine(verdicts) and {verdict.checked for verdict in verdicts} == {checked}


def test_the_newest_blocks_are_held_to_the_block_before_them(home: Home) -> None:
    blocks = blocks_of(home)
    write_blocks(home, [*blocks[:3], bytes([blocks[3][0] ^ 1]) + blocks[3][1:]])
    found = by_name(verify_store(home, last_blocks=1))
    assert not found["chain"].ok and found["chain"].first_bad_offset == HEAD - 2


def test_a_rewritten_event_under_a_right_crc_is_found_by_the_chain(home: Home) -> None:
    blocks = blocks_of(home)
    write_blocks(home, [*blocks[:2], rewritten(blocks[2], 1), blocks[3]])
    found = by_name(verify_store(home))
    assert found["bytes"].ok and found["continuity"].ok
    assert not found["chain"].ok
    assert found["chain"].first_bad_offset == 4, "the first of the block, whose hash covers all"
    assert "replay --to 3" in found["chain"].cure


def test_a_recomputed_chain_is_found_by_a_checkpoint(home: Home) -> None:
    blocks = blocks_of(home)
    write_blocks(home, rechain(home, [*blocks[:2], rewritten(blocks[2], 1), blocks[3]]))
    found = by_name(verify_store(home))
    assert found["bytes"].ok and found["continuity"].ok
    assert not found["chain"].ok and "rewritten" in found["chain"].detail
    assert found["chain"].first_bad_offset == HEAD - 1
    with EventLog.open(home.path) as log:
        assert "not what a checkpoint saw" in log.broken
        assert [event.offset for event in log.read()] == list(range(HEAD)), "reading goes on"
        with pytest.raises(ChainBroken, match="read-only"):
            log.writing().__enter__()
        log.lock.acquire(0)  # the refused session let go of it
        log.lock.release()


def test_a_cut_tail_is_found_by_a_checkpoint(home: Home) -> None:
    write_blocks(home, blocks_of(home)[:3])
    found = by_name(verify_store(home))
    assert found["bytes"].ok and found["continuity"].ok
    assert not found["chain"].ok and "tail was cut" in found["chain"].detail
    assert found["chain"].first_bad_offset == HEAD - 2
    with EventLog.open(home.path) as log:
        assert f"ends at {HEAD - 2}" in log.broken
        with pytest.raises(ChainBroken):
            log.writing().__enter__()
    home.checkpoints.unlink()
    assert fine(verify_store(home)), "nothing else knows of the tail"


@pytest.mark.parametrize("gone", [1, 2])
@pytest.mark.parametrize("kept", [True, False], ids=["checkpoints", "none"])
def test_a_cut_beginning_is_found_with_and_without_checkpoints(
    home: Home, gone: int, kept: bool
) -> None:
    blocks = blocks_of(home)
    if not kept:
        home.checkpoints.unlink()
    write_blocks(home, blocks[gone:])
    found = by_name(verify_store(home))
    assert not found["continuity"].ok and not found["chain"].ok
    assert found["continuity"].first_bad_offset == found["chain"].first_bad_offset == 0
    assert "is the first that is there" in found["continuity"].detail
    assert (found["bytes"].ok, found["bytes"].checked) == (True, HEAD - sum(SIZES[:gone]))
    last = bytearray(blocks[3])
    last[-50] ^= 1
    write_blocks(home, [*blocks[gone:3], bytes(last)])
    assert by_name(verify_store(home))["bytes"].first_bad_offset == HEAD - 1, "checked all the same"


def test_a_log_without_checkpoints_says_that_a_cut_tail_would_not_show(home: Home) -> None:
    assert [verdict.detail for verdict in verify_store(home)] == ["", "", ""]
    home.checkpoints.unlink()
    found = by_name(verify_in_child(home.path))
    assert found["chain"].ok and "no checkpoint" in found["chain"].detail
    home.checkpoints.write_text("12 ab")
    assert by_name(verify_store(home))["chain"].detail == found["chain"].detail
    write_blocks(home, [])
    assert [verdict.detail for verdict in verify_store(home)] == ["", "", ""], "there is no tail"


def test_a_log_cut_to_nothing_is_found_by_a_checkpoint(home: Home) -> None:
    write_blocks(home, [])
    chain = by_name(verify_store(home))["chain"]
    assert not chain.ok and chain.first_bad_offset == 0 and "backup" in chain.cure


def test_old_checkpoints_are_held_against_the_log_too(home: Home) -> None:
    blocks = [Block(data) for data in blocks_of(home)]
    seed, data = _seed(home), [block.data for block in blocks]
    good = [Checkpoint(block.stop, block.chain) for block in blocks]
    assert fine(verify_blocks(data, seed, good))
    for bad in (
        Checkpoint(4, blocks[0].chain), Checkpoint(2, blocks[0].chain), Checkpoint(HEAD + 1, seed)
    ):  # fmt: skip
        chain = by_name(verify_blocks(data, seed, [*good, bad]))["chain"]
        assert not chain.ok and chain.first_bad_offset == min(bad.head - 1, HEAD)
    assert fine(verify_blocks(data[1:], blocks[0].chain, good, first=3))


def _seed(home: Home) -> bytes:
    with EventLog.open(home.path, mode="r") as log:
        return log.chain_at(0)


@pytest.mark.parametrize(
    "text, line",
    [
        (b"{0}rubbish\n{1}", 2), (b"{0}{1}-4 abc t\n", 3), (b"5 gg t\n{0}{1}", 1),
        (b"7\xff\n{0}{1}", 1), (b"{0}{1}" + bytes(range(200)), 3),
        (b"{0}4 ab\n\n{1}6 " + b"0" * 64 + b" 2025-1", 0), (b"{0}{1}\xffno line", 3),
        (b"\xff" * 200, 1), (b"{0}{1}17", 0),
        (b"3 00\0\0\0\n{0}\0\0\n{1}", 0),
    ],
)  # fmt: skip
def test_a_line_that_nobody_wrote_fails_the_chain_and_a_cut_one_does_not(
    home: Home, text: bytes, line: int
) -> None:
    """Of a line, a crash leaves the beginning, and zeros where the rest did not reach the disk."""
    last = home.checkpoints.read_bytes().splitlines(keepends=True)[-1]
    home.checkpoints.write_bytes(text.replace(b"{0}", last).replace(b"{1}", last))
    assert fine(verify_store(home, last_blocks=2)), "it keeps nobody from opening the log"
    verdicts = verify_store(home)
    assert fine(verdicts[:2]) and verdicts[2].ok == (not line)
    if line:
        assert f"line {line} of {home.checkpoints} is no checkpoint" in verdicts[2].detail
        assert f"--to {HEAD - 1} " in verdicts[2].cure


def test_a_missing_a_doubled_and_a_swapped_block_are_found(home: Home) -> None:
    a, b, c, d = blocks_of(home)
    seed = _seed(home)
    for blocks, at in (([a, c, d], 3), ([a, b, b, c, d], 4), ([b, a, c, d], 0), ([a, b, d], 4)):
        found = by_name(verify_blocks(blocks, seed, []))
        assert not found["continuity"].ok and found["continuity"].first_bad_offset == at
        assert not found["chain"].ok and found["chain"].first_bad_offset == at
        assert found["bytes"].ok


def chained(home: Home, blocks: list[bytes]) -> dict[str, Verdict]:
    """Verdicts on blocks whose chain was computed anew, so that only other checks can object."""
    return by_name(verify_blocks(rechain(home, blocks), _seed(home), []))


def reframed(data: bytes, index: int, **changes: int) -> bytes:
    """The block with header fields of one frame changed, and its CRC right."""
    block = Block(data)
    frames, columns = [], []
    for at, event in enumerate(block.events()):
        fields = {
            "kind": event.kind, "space": event.space, "offset": event.offset,
            "recorded": event.recorded, "valid_from": 0, "entity": event.entity,
            "previous": NO_PREVIOUS if event.previous is None else event.previous,
        }  # fmt: skip
        fixed, rest = encode_body(event.body)
        if at == index:
            fields |= changes
        frames.append(encode_frame(**fields, fixed=fixed, rest=rest))
        columns.append(columns_of_event(Event(frames[-1])))
    return encode_block(block.first, block.time, b"", frames, columns)


def test_a_wrong_link_to_the_previous_event_is_found(home: Home) -> None:
    blocks = blocks_of(home)
    assert Block(blocks[3]).event(0).previous == 2
    for wrong in (NO_PREVIOUS, 1, 7, 8):
        found = chained(home, [*blocks[:3], reframed(blocks[3], 0, previous=wrong)])
        assert not found["continuity"].ok and found["continuity"].first_bad_offset == 8
        assert found["bytes"].ok and found["chain"].ok
    found = chained(home, [reframed(blocks[0], 2, previous=0), *blocks[1:]])
    assert found["continuity"].first_bad_offset == 2


def test_a_frame_with_another_offset_or_time_is_found(home: Home) -> None:
    blocks = blocks_of(home)
    for changes in ({"offset": 9}, {"recorded": TIME}):
        found = chained(home, [blocks[0], blocks[1], reframed(blocks[2], 3, **changes), blocks[3]])
        assert not found["continuity"].ok and found["continuity"].first_bad_offset == 7


def test_a_time_that_goes_back_is_found(home: Home) -> None:
    with EventLog.open(home.path, mode="r") as log:
        chain = log.chain_at(0)
    blocks = []
    for first, recorded in ((0, TIME), (1, TIME + 5), (2, TIME + 4)):
        fixed, rest = encode_body(body := instrument_body(first + 1))
        event = Event(encode_frame(
            kind=Kind.INSTRUMENT_REGISTERED, space=space_of(body), offset=first,
            recorded=recorded, valid_from=0, entity=first + 1, previous=NO_PREVIOUS,
            fixed=fixed, rest=rest,
        ))  # fmt: skip
        columns = [columns_of_event(event)]
        blocks.append(encode_block(first, recorded, chain, [event.frame], columns))
        chain = blocks[-1][:32]
    found = by_name(verify_blocks(blocks, _seed(home), []))
    assert not found["continuity"].ok and found["continuity"].first_bad_offset == 2
    assert found["bytes"].ok and found["chain"].ok


def test_an_unknown_space_is_found(home: Home) -> None:
    blocks = blocks_of(home)
    found = chained(home, [reframed(blocks[0], 1, space=max(Space) + 1), *blocks[1:]])
    assert not found["bytes"].ok and found["bytes"].first_bad_offset == 1


@pytest.mark.parametrize("flag", [1, 2, 0x20, 0x40, 0x80])
def test_flags_that_no_writer_sets_are_found(home: Home, flag: int) -> None:
    blocks = blocks_of(home)
    block = Block(blocks[1])
    frame = bytearray(block.event(0).frame)
    frame[12] |= flag
    sealed = crc32(frame[4:]).to_bytes(4, "little") + bytes(frame[4:])
    columns = [columns_of_event(Event(sealed))]
    data = encode_block(block.first, block.time, b"", [sealed], columns)
    found = chained(home, [blocks[0], data, *blocks[2:]])
    assert not found["bytes"].ok and found["bytes"].first_bad_offset == 3
    assert found["chain"].ok


def test_bytes_after_the_last_frame_are_found(home: Home) -> None:
    blocks = blocks_of(home)
    longer = bytearray(blocks[3] + bytes(8))
    longer[36:40] = len(longer).to_bytes(4, "little")
    found = chained(home, [*blocks[:3], bytes(longer)])
    assert not found["bytes"].ok and found["bytes"].first_bad_offset == HEAD - 1
    assert "after the last frame" in found["bytes"].detail


def test_the_cure_names_the_last_good_offset() -> None:
    assert "--to 6 " in cure_at(7)
    assert "backup" in cure_at(0) and "backup" in cure_at(None)


def test_progress_is_told_through_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_log(tmp_path / "home", [1000] * 3) as log:
        data = log.store.blocks(0, 3000)
        seed = log.chain_at(0)
    monkeypatch.setattr("alphapulse.log.verify.PROGRESS_EVENTS", 1000)
    told: list[int] = []
    verify_blocks(data, seed, [], progress=told.append)
    assert told == [1000, 2000, 3000]


def where(home: Home, needle: bytes) -> list[int]:
    """Every place of these bytes in the LMDB file; freed pages may hold old copies."""
    raw, found, at = (home.log / "data.mdb").read_bytes(), [], -1
    while (at := raw.find(needle, at + 1)) >= 0:
        found.append(at)
    return found


def patch(home: Home, changes: dict[int, bytes]) -> None:
    with open(home.log / "data.mdb", "r+b") as file:
        for at, data in changes.items():
            file.seek(at)
            file.write(data)


def test_flipped_bits_in_the_file_are_found_by_the_child(home: Home) -> None:
    """One at random in each block's live copy; the parent only ever gets verdicts. A fork looks at
    them, and a real child at the first."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    good = (home.log / "data.mdb").read_bytes()
    for data in blocks_of(home):
        places = where(home, data[:64])
        assert places
        at, bit = source.randrange(64, len(data)), 1 << source.randrange(8)
        patch(home, {place + at: bytes([data[at] ^ bit]) for place in places})
        look = verify_in_fork if Block(data).first else verify_in_child
        verdicts = look(home.path)
        assert not fine(verdicts), f"byte {at} bit {bit}"
        bad = next(v for v in verdicts if not v.ok).first_bad_offset
        block = Block(data)
        assert bad is not None and block.first <= bad < block.stop
        (home.log / "data.mdb").write_bytes(good)
    assert fine(verify_in_fork(home.path))


def keys_in(raw: bytes) -> Iterator[tuple[int, int]]:
    """(flags of its page, place) of each key of eight bytes in an LMDB file, of freed pages too.

    A page has its flags at 10, the end of its list of nodes at 12 and that list from 16 on; a node
    has its key's size at 6, and then the key.
    """
    for page in range(2 * PAGE, len(raw), PAGE):
        flags, end = struct.unpack_from("<HH", raw, page + 10)
        if flags not in (BRANCH, LEAF) or not 16 <= end <= PAGE:
            continue  # the rest of a block that has pages of its own
        for (node,) in struct.iter_unpack("<H", raw[page + 16 : page + end]):
            if raw[page + node + 6 : page + node + 8] == bytes([8, 0]):
                yield flags, page + node + 8


def read_by_offset(home: Home, stop: int) -> list[bytes | None]:
    store = LmdbStore.open(home.log)
    try:
        return [store.frame_at(offset) for offset in range(stop)]
    finally:
        store.close()


def test_a_changed_key_is_found_though_every_block_is_as_it_was(
    tmp_path: Path, scale: float
) -> None:
    """Of a block, or of a branch on the way there: what is asked for by its offset is not found."""
    count = 60
    make_log(tmp_path / "home", [1] * count).close()
    home = Home(tmp_path / "home")
    good, frames = (home.log / "data.mdb").read_bytes(), read_by_offset(home, count)
    lost = Counter[int]()
    keys = list(keys_in(good))
    step = max(1, round(12 / scale**2))
    for flags, place in [*keys[::step], *(key for key in keys if key[0] == BRANCH)]:
        patch(home, {place + 6: bytes([good[place + 6] ^ 1])})
        continuity = by_name(verify_store(home))["continuity"]
        if read_by_offset(home, count) != frames:
            assert not continuity.ok and "does not lead to it" in continuity.detail
            lost[flags] += 1
        patch(home, {place + 6: good[place + 6 : place + 7]})
    assert lost[LEAF] >= len(keys) // 2 // step and lost[BRANCH] >= 3
    assert fine(verify_store(home))


def test_a_key_of_another_size_is_a_verdict(home: Home) -> None:
    """It is no offset, which reading says in an error of ours."""
    good, found = (home.log / "data.mdb").read_bytes(), 0
    for _, place in keys_in(good):
        patch(home, {place - 2: bytes([7])})
        try:
            reads_well = read_all(home) == list(range(HEAD))
        except (Corrupt, NotDecodable):
            reads_well = False
        if not reads_well:
            assert not fine(verify_in_child(home.path))
            found += 1
        patch(home, {place - 2: bytes([8])})
    assert found >= len(SIZES) - 1 and fine(verify_store(home))


def read_all(home: Home) -> list[int]:
    with EventLog.open(home.path, mode="r") as log:
        return [event.offset for event in log.read()]


@pytest.mark.parametrize("kept", [0, 1, PAGE, 2 * PAGE, 3 * PAGE + 100])
def test_a_truncated_file_ends_the_child_at_most(home: Home, kept: int) -> None:
    os.truncate(home.log / "data.mdb", kept)
    verdicts = verify_in_child(home.path)
    assert not fine(verdicts)
    by_name(verdicts)


def test_every_zeroed_page_ends_the_child_at_most(home: Home) -> None:
    """Seen by a fork, which is cheap; the first page that is missed by a real child too."""
    good = (home.log / "data.mdb").read_bytes()
    expected = verify_in_child(home.path)
    bad = 0
    for page in range(2, len(good) // PAGE):
        patch(home, {page * PAGE: bytes(PAGE)})
        verdicts = verify_in_fork(home.path)
        if not fine(verdicts) and not bad:
            verdicts = verify_in_child(home.path)
        by_name(verdicts)
        bad += not fine(verdicts)
        if fine(verdicts):  # a page that no longer belongs to anything
            assert [v.checked for v in verdicts] == [v.checked for v in expected]
        (home.log / "data.mdb").write_bytes(good)
    assert bad >= 2


def test_a_missing_home_is_a_verdict_of_the_child(tmp_path: Path) -> None:
    verdicts = verify_in_child(tmp_path / "none")
    assert not fine(verdicts) and "ended by exit 1" in verdicts[0].detail


FAILS = """import lmdb
def refuse(*_, **__):
    error = lmdb.Error("refused")
    error.code, error.reason = {code}, "refused"
    raise error
lmdb.open = refuse
"""


@pytest.mark.parametrize("code, kind", [
    (errno.EACCES, HomeUnsupported), (errno.EROFS, HomeUnsupported), (errno.EMFILE, SystemRefused),
])  # fmt: skip
def test_what_the_system_refuses_the_child_is_no_damage(
    home: Home, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[AlphaPulseError]
) -> None:
    monkeypatch.setattr(
        "alphapulse.log.verify._CHILD", FAILS.format(code=code) + verify_module._CHILD
    )
    with pytest.raises(kind, match="verifying"):
        verify_in_child(home.path)


def test_checkpoints_that_cannot_be_read_are_no_damage(home: Home) -> None:
    home.checkpoints.unlink()
    home.checkpoints.mkdir()
    with pytest.raises(SystemRefused, match="Is a directory"):
        verify_in_child(home.path)


def test_a_child_that_complains_at_length_is_not_stopped_by_that(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = "import sys; sys.stderr.write('x' * 200_000)\n"
    monkeypatch.setattr("alphapulse.log.verify._CHILD", loud + verify_module._CHILD)
    assert fine(verify_in_child(home.path, stalled_s=3))


TELLS = """import time
for at in {times}: print('{{"progress": 7}}', flush=True); time.sleep({s})
"""


def test_a_child_that_stalls_is_ended_and_that_is_the_verdict(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.log.verify._CHILD", TELLS.format(times=[1], s=60))
    told: list[int] = []
    # Its first word is given all the time that is named; the next one, which never comes, less.
    after_s, real = iter([1.5, 0.1]), threading.Timer
    monkeypatch.setattr("alphapulse.log.watch.Timer", lambda _, do: real(next(after_s), do))
    began = time.monotonic()
    verdicts = verify_in_child(home.path, progress=told.append, stalled_s=1.5)
    assert time.monotonic() - began < 30 and told == [7]
    for verdict in by_name(verdicts).values():
        assert not verdict.ok and (verdict.checked, verdict.first_bad_offset) == (7, 7)
        assert "told nothing for 1.5 s" in verdict.detail and "--to 6" in verdict.cure


def test_a_child_that_is_slow_but_tells_progress_is_waited_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = TELLS.format(times=[1] * 4, s=0.4)
    monkeypatch.setattr("alphapulse.log.verify._CHILD", slow + verify_module._CHILD)
    assert fine(verify_in_child(home.path, stalled_s=1.3)), "which all of it takes longer than"


def test_whoever_gives_up_does_not_wait_for_the_child(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.log.verify._CHILD", TELLS.format(times=[1], s=60))
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        verify_in_child(home.path, progress=lambda at: print(1 // (at - 7)))
    assert time.monotonic() - began < 30


def test_progress_is_told_by_time_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphapulse.log.verify.PROGRESS_S", 0.0)
    told: list[int] = []
    assert fine(verify_store(home, progress=told.append))
    assert told == [3, 4, 8, 10]


def test_a_log_being_written_can_be_verified(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", [2]) as log, log.writing() as session:
        session.append(draft(3))
        assert fine(verify_in_child(tmp_path / "home"))
        session.commit()
        log.checkpoint()
        assert fine(verify_in_child(tmp_path / "home"))
        assert log.head == 3
    with EventLog.open(tmp_path / "home") as log:
        fill(log, [1])
