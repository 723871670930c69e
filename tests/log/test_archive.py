from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import zstandard
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log import archive
from alphapulse.log.archive import (
    CHUNK,
    HEADER,
    TRAILER,
    Archive,
    encode_chunk,
    encode_end,
    encode_header,
    export_log,
    import_archive,
)
from alphapulse.log.block import chain_hash
from alphapulse.log.broken import mark_broken
from alphapulse.log.codec import zstd_unpack
from alphapulse.log.errors import (
    AlphaPulseError,
    ChainBroken,
    Closed,
    ExportDamaged,
    FormatTooNew,
    HomeExists,
    InvalidInput,
    NotAnExport,
    OffsetOutOfRange,
    SystemRefused,
    TooLarge,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.store import Head

from .logs import make_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [2, 1, 3, 1]) as made:
        yield made


@pytest.fixture
def file(log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of two chunks."""
    monkeypatch.setattr(archive, "CHUNK_SIZE_BYTES_MAX", sum(len(b.data) for b in log.blocks(3)))
    export_log(log, tmp_path / "file")
    return tmp_path / "file"


def refused(path: Path, data: bytes | bytearray, target: Path) -> AlphaPulseError | None:
    """What importing these bytes raises; in no case is there a home then."""
    path.write_bytes(data)
    try:
        import_archive(path, target)
    except AlphaPulseError as error:
        assert not target.exists()
        return error
    return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(sizes=st.lists(st.integers(1, 6), max_size=9), data=st.data())
def test_the_rebuilt_log_is_the_original(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    stop = data.draw(st.none() | st.integers(0, sum(sizes)))
    with pytest.MonkeyPatch.context() as patch, make_log(folder / "home", sizes) as log:
        patch.setattr(archive, "CHUNK_SIZE_BYTES_MAX", data.draw(st.integers(1, 5000)))
        head = log.head if stop is None else stop
        copied = export_log(log, folder / "file", stop)
        assert copied == (head, log.chain_at(head), os.path.getsize(folder / "file"))
        patch.setattr(archive, "CHUNK_SIZE_BYTES_MAX", 1 << 20)  # what readers know
        back = import_archive(folder / "file", folder / "back")
        assert back[:2] == (head, log.chain_at(head))
        with Archive(folder / "file") as file, EventLog.open(folder / "back") as copy:
            assert file.genesis == copy.genesis == log.genesis
            assert (file.head, file.chain_head) == (copy.head, copy.chain_head) == copied[:2]
            assert [e.frame for e in copy.read()] == [e.frame for e in log.read(0, head)]
            blocks = [block.data for block in copy.blocks()]
            assert [block.data for block in file.blocks()] == blocks
            assert blocks[:-1] == [block.data for block in log.blocks(0, head)][:-1]
            for offset in data.draw(st.permutations(range(head))):
                assert file.block_at(offset).data == copy.block(offset).data
            start, end = data.draw(st.integers(0, head)), data.draw(st.integers(0, head))
            assert [b.data for b in file.blocks(start, end)] == [
                b.data for b in copy.blocks(start, end)
            ]
            for offset in (-1, head):
                with pytest.raises(OffsetOutOfRange):
                    file.block_at(offset)


def test_reading_one_block_unpacks_one_chunk(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []

    def unpack(data: bytes, size: int) -> bytes:
        unpacked.append(size)
        return zstd_unpack(data, size)

    monkeypatch.setattr(archive, "zstd_unpack", unpack)
    with Archive(file) as opened:
        assert opened.chunks == 2 and unpacked == []
        assert opened.block_at(4).first == 3 and len(unpacked) == 1
        assert opened.block_at(3).first == 3 and len(unpacked) == 1  # held


def test_the_same_events_give_the_same_bytes_in_a_private_file(
    log: EventLog, tmp_path: Path
) -> None:
    old = os.umask(0)
    try:
        for name in ("a", "b"):
            export_log(log, tmp_path / name)
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_file_is_never_replaced_and_a_failed_export_leaves_none(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InvalidInput, match="a file of that name"):
        export_log(log, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(InvalidInput, match="No such file"):
        export_log(log, tmp_path / "no" / "file")
    with pytest.raises(OffsetOutOfRange):
        export_log(log, tmp_path / "file", log.head + 1)
    monkeypatch.setattr(archive, "UNPACKED_SIZE_BYTES_MAX", 200)
    with pytest.raises(TooLarge, match="backup"):
        export_log(log, tmp_path / "file")
    mark_broken(log.home, "its tail was cut", None, "")
    with pytest.raises(ChainBroken):
        export_log(log, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "there"]


def test_every_changed_byte_is_refused(file: Path, tmp_path: Path) -> None:
    data, kinds = bytearray(file.read_bytes()), set()
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        error = refused(tmp_path / "bad", data, tmp_path / "back")
        assert isinstance(error, ExportDamaged | NotAnExport | FormatTooNew), f"byte {at}: {error}"
        kinds.add(type(error))
        data[at] ^= 1 << at % 8
    assert kinds == {ExportDamaged, NotAnExport, FormatTooNew}
    assert refused(tmp_path / "bad", data, tmp_path / "back") is None


def test_every_changed_byte_control(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: without the checksums there are bytes that nobody would miss."""
    monkeypatch.setattr(archive, "crc32", lambda *_: 0)
    monkeypatch.setattr(Archive, "verify", lambda self: None)
    export_log(log, tmp_path / "weak")
    data = bytearray((tmp_path / "weak").read_bytes())
    data[-TRAILER.size] ^= 1
    assert refused(tmp_path / "bad", data, tmp_path / "back") is None


def test_every_cut_and_every_addition_is_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for size in range(len(data)):
        error = refused(tmp_path / "bad", data[:size], tmp_path / "back")
        assert isinstance(error, ExportDamaged | NotAnExport), f"{size} of {len(data)}: {error}"
    for longer in (data + b"\0", data + data, b"\0" + data):
        assert refused(tmp_path / "bad", longer, tmp_path / "back") is not None


def test_a_bad_chunk_is_named_and_the_others_can_be_read(file: Path, tmp_path: Path) -> None:
    with Archive(file) as opened:
        at = opened._places[1] + CHUNK.size + 9
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    error = refused(tmp_path / "bad", bytes(data), tmp_path / "back")
    assert isinstance(error, ExportDamaged)
    assert (error.facts["chunk"], error.facts["offset"]) == (1, 3)
    with Archive(tmp_path / "bad") as opened:
        assert opened.block_at(2).first == 2
        with pytest.raises(ExportDamaged):
            opened.block_at(3)


def rebuilt(log: EventLog, chunks: list[bytes], firsts: list[int], **changes: Any) -> bytes:
    """A file whose checksums are all right, whatever its parts say."""
    header = encode_header(log.genesis.encode())
    places, at = [], len(header)
    for chunk in chunks:
        places.append(at)
        at += len(chunk)
    body = header + b"".join(chunks)
    head = Head(log.head, log.chain_head, 0)._replace(**changes)
    entries = list(zip(firsts, places, strict=True))
    return body + encode_end(entries, at, head, blake3(body))


def forged_chunk(chunk: bytes, **changes: int) -> bytes:
    header = archive.ChunkHeader._make(CHUNK.unpack_from(chunk)[1:])._replace(**changes)
    start, packed = CHUNK.pack(archive.CHUNK_MAGIC, *header)[:-4], chunk[CHUNK.size :]
    return start + struct.pack("<I", crc32(packed, crc32(start))) + packed


def test_lies_with_right_checksums_are_refused(log: EventLog, tmp_path: Path) -> None:
    """Sizes and counts are held against each other and the caps before anything is unpacked."""
    blocks = [block.data for block in log.blocks()]
    good = encode_chunk(blocks)
    bomb = zstandard.ZstdCompressor().compress(bytes(archive.UNPACKED_SIZE_BYTES_MAX + 1))
    frame = CHUNK.size
    header = "header is not what the index says"
    lies = {
        "over the cap": (forged_chunk(good[:frame] + bomb, packed_size=len(bomb), blocks=1,
                                      size=archive.UNPACKED_SIZE_BYTES_MAX + 1), header),
        "several blocks over theirs": (forged_chunk(good, size=(1 << 20) + 1), header),
        "another unpacked size": (forged_chunk(good, size=len(b"".join(blocks)) - 1), ""),
        "another packed size": (forged_chunk(good, packed_size=5), header),
        "another count of blocks": (forged_chunk(good, blocks=3), "another count"),
        "another count of events": (forged_chunk(good, events=6), header),
        "another first offset": (forged_chunk(good, first=1), header),
        "no zstd": (forged_chunk(good[:frame] + bytes(40), packed_size=40), ""),
        "a gap": (forged_chunk(encode_chunk([blocks[0], blocks[2]]), events=7), "is missing"),
        "a block's size": (encode_chunk([blocks[0][:36] + bytes(4) + blocks[0][40:], *blocks[1:]]),
                           "size is impossible"),
    }  # fmt: skip
    for name, (chunk, why) in lies.items():
        error = refused(tmp_path / "bad", rebuilt(log, [chunk], [0]), tmp_path / "back")
        assert isinstance(error, ExportDamaged), f"{name}: {error}"
        assert error.facts["chunk"] == 0 and why in error.why, f"{name}: {error}"
    for name, firsts, changes in (
        ("does not start at 0", [1], {}), ("past the head", [0, 7], {}), ("falls", [0, 0], {}),
        ("no events but a chunk", [0], {"offset": 0}),
    ):  # fmt: skip
        data = rebuilt(log, [good] * len(firsts), firsts, **changes)
        error = refused(tmp_path / "bad", data, tmp_path / "back")
        assert error is not None and error.why == "its index is impossible", f"{name}: {error}"
    for data in (
        rebuilt(log, [good], [0], offset=8), rebuilt(log, [good], [0], chain=bytes(32)),
    ):  # fmt: skip
        assert isinstance(refused(tmp_path / "bad", data, tmp_path / "back"), ExportDamaged)
    forged = bytearray(blocks[1])
    forged[-1] ^= 1
    data = rebuilt(log, [encode_chunk([blocks[0], bytes(forged), *blocks[2:]])], [0])
    error = refused(tmp_path / "bad", data, tmp_path / "back")
    assert isinstance(error, ChainBroken) and error.facts["offset"] == 2
    assert refused(tmp_path / "bad", rebuilt(log, [good], [0]), tmp_path / "back") is None


def test_what_an_audit_refuses_is_refused_under_a_right_chain(
    log: EventLog, tmp_path: Path
) -> None:
    blocks, chain = [bytearray(block.data) for block in log.blocks()], b""
    start, end = log.block(2).frame_bounds(0)
    blocks[1][(start + end) // 2] ^= 1  # the frame's CRC32 no longer holds
    for block, before in zip(blocks, [log.chain_at(0), *blocks], strict=False):
        chain = chain_hash(bytes(before[:32]), bytes(block[32:]))
        block[:32] = chain
    chunk = encode_chunk([bytes(block) for block in blocks])
    data = rebuilt(log, [chunk], [0], chain=chain)
    error = refused(tmp_path / "bad", data, tmp_path / "back")
    assert isinstance(error, ExportDamaged) and "CRC32 is wrong" in error.why
    assert (error.facts["verdict"], error.facts["offset"]) == ("bytes", 2)


def test_a_wrong_blake3_under_right_crcs_is_refused(log: EventLog, tmp_path: Path) -> None:
    header = encode_header(log.genesis.encode())
    chunk = encode_chunk([block.data for block in log.blocks()])
    head = Head(log.head, log.chain_head, 0)
    end = encode_end([(0, len(header))], len(header) + len(chunk), head, blake3(b"else"))
    error = refused(tmp_path / "bad", header + chunk + end, tmp_path / "back")
    assert error is not None and error.why == "its Blake3 is another"


@pytest.mark.parametrize("start", [HEADER.pack(archive.MAGIC, 0, 0, 60),
                                   HEADER.pack(archive.MAGIC, 1, 9, 60)])  # fmt: skip
def test_a_header_that_no_writer_wrote(log: EventLog, tmp_path: Path, start: bytes) -> None:
    header = start + log.genesis.encode()
    header += struct.pack("<I", crc32(header))
    rest = rebuilt(log, [encode_chunk([b.data for b in log.blocks()])], [0])[len(header) :]
    error = refused(tmp_path / "bad", header + rest, tmp_path / "back")
    assert error is not None and error.why == "its header is impossible"


@pytest.mark.parametrize("limit", ["CHUNKS_MAX", "PACKED_SIZE_BYTES_MAX"])
def test_the_limits_of_index_and_chunks(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Held before anything is read of what they bound."""
    monkeypatch.setattr(archive, limit, 1)
    with pytest.raises(ExportDamaged, match="is impossible"):
        Archive(file)


def test_what_is_no_export_says_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 100)
    (tmp_path / "nothing").touch()
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to
    for name in ("text", "nothing", "missing", "", "pipe"):
        with pytest.raises(NotAnExport):
            Archive(tmp_path / name)


def test_a_newer_file_is_refused_before_anything_else(file: Path, tmp_path: Path) -> None:
    data = HEADER.pack(archive.MAGIC, archive.ARCHIVE_VERSION + 1, 7, 0xFFFFFFFF)
    assert isinstance(refused(tmp_path / "bad", data, tmp_path / "back"), FormatTooNew)


def test_a_home_is_not_replaced(file: Path, log: EventLog) -> None:
    with pytest.raises(HomeExists):
        import_archive(file, log.home.path)
    assert log.head == 7


def test_a_file_that_appears_meanwhile_is_not_replaced(log: EventLog, tmp_path: Path) -> None:
    def meanwhile(*_: int) -> None:
        (tmp_path / "file").write_text("mine")

    with pytest.raises(InvalidInput, match="a file of that name"):
        export_log(log, tmp_path / "file", progress=meanwhile)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home"]


def test_a_file_system_without_links_gets_its_file(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert export_log(log, tmp_path / "file").events == log.head
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home"]


def test_a_file_that_shrinks_while_it_is_read_is_damaged(file: Path) -> None:
    for size in (0, 100, os.path.getsize(file) - TRAILER.size - 1):
        data = file.read_bytes()
        with Archive(file) as opened:
            os.truncate(file, size)
            with pytest.raises(ExportDamaged, match="cut short"):
                opened.verify()
            if size <= 100:
                with pytest.raises(ExportDamaged, match="cut short"):
                    opened.block_at(6)
        file.write_bytes(data)


def test_what_the_system_refuses_is_an_error_of_ours(
    log: EventLog, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with Archive(file) as opened:
        monkeypatch.setattr(os, "pread", refuse)
        for read in (opened.verify, lambda: opened.block_at(0), lambda: list(opened.blocks())):
            with pytest.raises(SystemRefused, match="Input/output"):
                read()
        for work in (Archive, lambda path: import_archive(path, tmp_path / "back")):
            with pytest.raises(SystemRefused, match="Input/output"):
                work(file)
    with pytest.raises(Closed):
        opened.verify()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SystemRefused, match="Input/output"):
        export_log(log, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home"]


def test_closing_again_is_fine(file: Path) -> None:
    opened = Archive(file)
    opened.close()
    opened.close()
