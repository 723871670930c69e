"""An exported log: one file that goes anywhere, from which the log is rebuilt bit for bit.

    header | chunk | chunk | ... | index | trailer

A chunk holds whole blocks, as many as fit 1 MiB or one larger one, packed with zstd. The index
says where each chunk starts, so one event is read without unpacking the rest. The trailer, at the
very end, says where the index is and how the log ends, and holds the Blake3 of all before it: a
file without a trailer was cut. Every part has a CRC32 too, which names the chunk that is bad.
Nothing is believed before its checksum, and nothing unpacked whose size was not declared, within
the cap, and repeated by the zstd frame. FORMAT.md has the bytes.

The functions turn bytes into parts and back; only `export_log` and `Archive` touch a file.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from zlib import crc32

from blake3 import blake3

from .block import BLOCK_HEADER, BLOCK_HEADER_SIZE_BYTES, Block, chain_hash
from .closing import Closing
from .codec import zstd_unpack
from .copying import (
    Accept,
    Copied,
    Progress,
    check_accepted,
    check_stop,
    check_unbroken,
    checked_blocks,
    copy_blocks,
)
from .errors import (
    Closed,
    ExportDamaged,
    FormatTooNew,
    HomeUnsupported,
    InvalidInput,
    NotAnExport,
    NotDecodable,
    OffsetOutOfRange,
    TooLarge,
)
from .eventlog import EventLog
from .home import Genesis, Home, decode_genesis, sync_directory
from .lmdb_store import LmdbStore
from .making import new_log, require_outside
from .refusals import SystemCalls, refused
from .store import Head
from .verify import all_blocks, verify_blocks

ARCHIVE_VERSION: Final = 1
MAGIC: Final = b"APLOG\r\n\x1a"
"""With a line end in it, because a transfer as text changes that."""
END_MAGIC: Final = b"APLOGEND"
CHUNK_MAGIC: Final = b"APC1"
CHUNK_SIZE_BYTES_MAX: Final = 1 << 20
"""Unpacked, of a chunk of several blocks."""
UNPACKED_SIZE_BYTES_MAX: Final = 64 << 20
"""Unpacked, of a chunk of one block: no commit comes near."""
GENESIS_SIZE_BYTES_MAX: Final = 4096
PACKED_SIZE_BYTES_MAX: Final = UNPACKED_SIZE_BYTES_MAX + (UNPACKED_SIZE_BYTES_MAX >> 8) + 512
"""What does not shrink grows by less than this, says zstd."""
CHUNKS_MAX: Final = 1 << 20
LEVEL: Final = 3
TAKEN: Final = "there is a file of that name"
HEADER: Final = struct.Struct("<8sHHI")
CHUNK: Final = struct.Struct("<4sIIIQII")
ENTRY: Final = struct.Struct("<QQ")
TRAILER: Final = struct.Struct("<32s32sQQII8s")
_CRC: Final = struct.Struct("<I")
for _struct, _size in ((HEADER, 16), (CHUNK, 32), (ENTRY, 16), (TRAILER, 96)):
    if _struct.size != _size:
        raise ImportError(f"{_struct.format} is {_struct.size} bytes, FORMAT.md says {_size}")


class ChunkHeader(NamedTuple):
    packed_size: int
    size: int
    blocks: int
    first: int
    events: int
    crc: int


class Trailer(NamedTuple):
    digest: bytes
    """Blake3 of all bytes before the trailer."""
    chain_head: bytes
    head: int
    index_at: int
    chunks: int
    crc: int
    """CRC32 of the index and of the trailer up to here."""


def encode_header(genesis: bytes) -> bytes:
    data = HEADER.pack(MAGIC, ARCHIVE_VERSION, 0, len(genesis)) + genesis
    return data + _CRC.pack(crc32(data))


def encode_chunk(blocks: Sequence[bytes]) -> bytes:
    """Raises TooLarge for a block that no reader would unpack."""
    import zstandard  # here, for a quicker start

    raw = b"".join(blocks)
    first = BLOCK_HEADER.unpack_from(blocks[0])[3]
    if len(raw) > UNPACKED_SIZE_BYTES_MAX:
        raise TooLarge(
            "exporting a block", first_offset=first, size_bytes=len(raw),
            size_bytes_max=UNPACKED_SIZE_BYTES_MAX, cure="use `alphapulse backup` for this log",
        )  # fmt: skip
    events = sum(BLOCK_HEADER.unpack_from(block)[5] for block in blocks)
    packed = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(raw)
    header = CHUNK.pack(CHUNK_MAGIC, len(packed), len(raw), len(blocks), first, events, 0)[:-4]
    return header + _CRC.pack(crc32(packed, crc32(header))) + packed


def encode_end(
    entries: Sequence[tuple[int, int]], index_at: int, head: Head, digest_before: blake3
) -> bytes:
    """Index and trailer. entries: first offset and place of each chunk. Raises TooLarge."""
    if len(entries) > CHUNKS_MAX:
        raise TooLarge("exporting", chunks=len(entries), chunks_max=CHUNKS_MAX)
    index = b"".join(ENTRY.pack(*entry) for entry in entries)
    digest = digest_before.update(index).digest()
    data = TRAILER.pack(digest, head.chain, head.offset, index_at, len(entries), 0, END_MAGIC)
    return index + data[:-12] + _CRC.pack(crc32(data[:-12], crc32(index))) + END_MAGIC


def chunked(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The blocks of each chunk."""
    chunk: list[bytes] = []
    size_bytes = 0
    for data in blocks:
        if chunk and size_bytes + len(data) > CHUNK_SIZE_BYTES_MAX:
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(data)
        size_bytes += len(data)
    if chunk:
        yield chunk


def decode_chunk(header: ChunkHeader, packed: bytes) -> list[Block]:
    """The blocks of a chunk whose checksum was right. Raises NotDecodable."""
    doing = "unpacking a chunk"
    raw = zstd_unpack(packed, header.size)
    blocks: list[Block] = []
    at, offset = 0, header.first
    while at < len(raw):
        size = int.from_bytes(raw[at + 36 : at + 40], "little")
        if not BLOCK_HEADER_SIZE_BYTES <= size <= len(raw) - at:
            raise NotDecodable(doing, problem="a block's size is impossible", size_bytes=size)
        block = Block(raw[at : at + size])
        if block.first != offset:
            raise NotDecodable(doing, problem="a block is missing", block=block.first)
        blocks.append(block)
        at, offset = at + size, block.stop
    if (len(blocks), offset - header.first) != (header.blocks, header.events):
        raise NotDecodable(doing, problem="it holds another count than it says")
    return blocks


@SystemCalls("exporting a log")
def export_log(
    log: EventLog, file: str | os.PathLike[str], stop: int | None = None, *,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Writes the events before `stop` (default: the head now) into a new file, mode 0600.

    It appears whole and synced, and not over another. The same events give the same bytes, from
    the same zstd. Raises InvalidInput when there is a file of that name or it is within a home,
    OffsetOutOfRange, Corrupt or ChainBroken when the log is not what was written.
    Cost: 3 µs an event.
    """
    path = Path(os.path.abspath(file))
    doing = f"exporting to {path}"
    require_outside(path, doing)
    check_unbroken(log, doing)
    stop = log.head if stop is None else stop
    check_stop(log, stop)
    if path.exists():
        raise InvalidInput(doing, problem=TAKEN, cure="name a new file")
    building = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidInput(
            doing, problem=error.strerror or str(error), cure="name a file in a directory that "
            "is there and may be written",
        ) from error  # fmt: skip
    try:
        with open(descriptor, "wb") as out:
            head, size_bytes = _write(log, out, stop, progress)
            out.flush()
            os.fsync(out.fileno())
        _publish(building, path)
    except FileExistsError as error:
        raise InvalidInput(doing, problem=TAKEN, cure="name a new file") from error
    finally:
        building.unlink(missing_ok=True)
    sync_directory(path.parent)
    return Copied(head.offset, head.chain, size_bytes)


def _publish(building: Path, path: Path) -> None:
    """Gives the file its name. Raises FileExistsError: a rename would replace what is there."""
    try:
        os.link(building, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        os.rename(building, path)  # a file system without links, like FAT


def _write(
    log: EventLog, out: BinaryIO, stop: int, progress: Progress | None
) -> tuple[Head, int]:
    hasher, at, entries = blake3(), 0, list[tuple[int, int]]()
    genesis = log.genesis.encode()
    head = Head(0, chain_hash(b"", genesis), 0)

    def write(data: bytes) -> int:
        hasher.update(data)
        out.write(data)
        return len(data)

    at += write(encode_header(genesis))
    for blocks in chunked(checked_blocks(log, head, stop)):
        entries.append((head.offset, at))
        at += write(encode_chunk(blocks))
        last = Block(blocks[-1])
        head = Head(last.stop, last.chain, last.time)
        if progress is not None:
            progress(head.offset, stop)
    end = encode_end(entries, at, head, hasher)
    out.write(end)
    return head, at + len(end)


class Archive(Closing):
    """An exported log to read from: its genesis, its head, any block. A context manager.

    Opening reads header, index and trailer; `verify` reads all. Every chunk is checked when it is
    read. Raises NotAnExport, FormatTooNew, SystemRefused, ExportDamaged naming chunk and offset.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self._path = Path(os.path.abspath(file))
        try:
            # Without waiting, as opening a FIFO would, before it is seen to be no file.
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._no_export(error.strerror or str(error)) from error
        try:
            state = os.fstat(self._file)
            if not stat.S_ISREG(state.st_mode):
                raise self._no_export("it is no file")
            self.size_bytes = state.st_size
            self.genesis, self._chunks_at = self._read_header()
            self._trailer = self._read_trailer()
            self._firsts, self._places = self._read_index()
        except BaseException:
            os.close(self._file)
            raise
        self._unpacked: tuple[int, list[Block]] = (-1, [])
        """The chunk that was read last, for whoever reads on in it."""

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def head(self) -> int:
        return self._trailer.head

    @property
    def chain_head(self) -> bytes:
        return self._trailer.chain_head

    @property
    def chunks(self) -> int:
        return len(self._firsts)

    def verify(self, progress: Progress | None = None) -> None:
        """Checks every byte, unpacking nothing. Cost: about that of reading the file."""
        hasher = blake3(self._read(0, self._chunks_at))
        for number in range(self.chunks):
            header, packed = self._read_chunk(number)
            hasher.update(CHUNK.pack(CHUNK_MAGIC, *header)).update(packed)
            if progress is not None:
                progress(header.first + header.events, self.head)
        end = self.size_bytes - TRAILER.size
        hasher.update(self._read(self._trailer.index_at, end - self._trailer.index_at))
        if hasher.digest() != self._trailer.digest:
            raise self._damaged("its Blake3 is another")

    def block_at(self, offset: int) -> Block:
        """The block that holds an offset; unpacks one chunk. Raises OffsetOutOfRange."""
        if not 0 <= offset < self.head:
            raise OffsetOutOfRange(f"reading {self._path}", offset=offset, head=self.head)
        blocks = self._blocks_of(bisect_right(self._firsts, offset) - 1)
        return blocks[bisect_right([block.first for block in blocks], offset) - 1]

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks that hold offsets start to stop; the first and last may reach beyond them."""
        stop = self.head if stop is None else min(stop, self.head)
        if start >= stop:
            return
        for number in range(bisect_right(self._firsts, start) - 1, self.chunks):
            if self._firsts[number] >= stop:
                return
            for block in self._blocks_of(number):
                if block.stop > start and block.first < stop:
                    yield block

    def _blocks_of(self, number: int) -> list[Block]:
        held, blocks = self._unpacked
        if held != number:
            header, packed = self._read_chunk(number)
            try:
                blocks = decode_chunk(header, packed)
            except (NotDecodable, TooLarge) as error:
                raise self._damaged(error.why, number) from error
            self._unpacked = (number, blocks)
        return blocks

    def _read(self, at: int, size_bytes: int) -> bytes:
        if self._file < 0:
            raise Closed(f"reading {self._path}", cure="open the file again")
        try:
            data = os.pread(self._file, size_bytes, at)
        except OSError as error:
            raise refused(f"reading {self._path}", error) from error
        if len(data) != size_bytes:
            raise self._damaged("it was cut short")
        return data

    def _read_chunk(self, number: int) -> tuple[ChunkHeader, bytes]:
        """A chunk's header and packed bytes, its checksum right and its place as the index says."""
        at, end = self._places[number], self._places[number + 1]
        stop = self._firsts[number + 1] if number + 1 < self.chunks else self.head
        data = self._read(at, end - at)
        magic, *fields = CHUNK.unpack_from(data)
        header, packed = ChunkHeader._make(fields), data[CHUNK.size :]
        if magic != CHUNK_MAGIC or crc32(packed, crc32(data[: CHUNK.size - 4])) != header.crc:
            raise self._damaged("a chunk's CRC32 is wrong", number)
        cap = UNPACKED_SIZE_BYTES_MAX if header.blocks == 1 else CHUNK_SIZE_BYTES_MAX
        declared = (header.packed_size, header.first, header.first + header.events)
        if declared != (len(packed), self._firsts[number], stop) or header.size > cap:
            raise self._damaged("a chunk's header is not what the index says", number)
        return header, packed

    def _read_header(self) -> tuple[Genesis, int]:
        size_bytes_max = HEADER.size + GENESIS_SIZE_BYTES_MAX + _CRC.size
        data = self._read(0, min(size_bytes_max, self.size_bytes))
        if not data.startswith(MAGIC) or len(data) < HEADER.size:
            raise self._no_export("it does not begin like one")
        _, version, zero, size = HEADER.unpack_from(data)
        if version > ARCHIVE_VERSION:
            raise FormatTooNew(
                f"reading {self._path}", format=version, newest_known=ARCHIVE_VERSION
            )
        end = HEADER.size + size
        if version == 0 or zero or size > GENESIS_SIZE_BYTES_MAX or len(data) < end + _CRC.size:
            raise self._damaged("its header is impossible")
        if _CRC.unpack_from(data, end)[0] != crc32(data[:end]):
            raise self._damaged("its header's CRC32 is wrong")
        try:
            return decode_genesis(data[HEADER.size : end], self._path), end + _CRC.size
        except HomeUnsupported as error:
            raise self._damaged(error.why) from error

    def _read_trailer(self) -> Trailer:
        at = self.size_bytes - TRAILER.size
        if at < self._chunks_at:
            raise self._damaged("it was cut short")
        *fields, magic = TRAILER.unpack(self._read(at, TRAILER.size))
        trailer = Trailer._make(fields)
        if magic != END_MAGIC:
            raise self._damaged("it was cut short: there is no trailer at its end")
        if trailer.chunks > CHUNKS_MAX or trailer.index_at + trailer.chunks * ENTRY.size != at:
            raise self._damaged("its trailer is impossible")
        return trailer

    def _read_index(self) -> tuple[list[int], list[int]]:
        """First offset of each chunk; place of each chunk and of what comes after the last."""
        trailer = self._trailer
        index = self._read(trailer.index_at, trailer.chunks * ENTRY.size)
        before_crc = TRAILER.pack(*trailer, END_MAGIC)[:-12]
        if crc32(before_crc, crc32(index)) != trailer.crc:
            raise self._damaged("the CRC32 of its index and trailer is wrong")
        entries = list(ENTRY.iter_unpack(index))
        firsts = [first for first, _ in entries]
        places = [place for _, place in entries] + [trailer.index_at]
        ends = [*firsts, trailer.head]
        if (
            ends[0] != 0 or places[0] != self._chunks_at
            or any(a >= b for a, b in pairwise(ends))
            or any(
                not 0 <= b - a - CHUNK.size <= PACKED_SIZE_BYTES_MAX for a, b in pairwise(places)
            )
        ):  # fmt: skip
            raise self._damaged("its index is impossible")
        return firsts, places

    def _damaged(self, problem: str, chunk: int | None = None) -> ExportDamaged:
        error = ExportDamaged(f"reading {self._path}", problem=problem)
        if chunk is not None:
            error.facts |= {"chunk": chunk, "offset": self._firsts[chunk]}
        return error

    def _no_export(self, problem: str) -> NotAnExport:
        return NotAnExport(f"reading {self._path}", problem=problem)

    def close(self) -> None:
        """Again is fine."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@SystemCalls("importing a log")
def import_archive(
    file: str | os.PathLike[str], target: str | os.PathLike[str], *,
    progress: Progress | None = None, accept: Accept | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` with the log of an exported file, after every byte was checked.

    The file's first, and then the bytes, continuity and chain of every event as an audit does,
    since whoever makes a file can make its checksums and its chain too. What events mean is for
    `accept` to judge. Raises NotAnExport, FormatTooNew, ExportDamaged, ChainBroken, HomeExists,
    LogFull, and what `accept` does; then there is no home.
    """
    doing = f"importing {os.path.abspath(file)}"
    with Archive(file) as archive:
        Home(target).require_room()
        archive.verify()
        with new_log(Home(target), archive.genesis) as store:
            head = copy_blocks(archive, store, archive.head, progress=progress)
            if head.chain != archive.chain_head:
                raise ExportDamaged(doing, problem="its chain ends elsewhere")
            _check_new(store, doing)
            check_accepted(store, archive.name, accept)
            return Copied(head.offset, head.chain, store.statistics().size_bytes)


def _check_new(store: LmdbStore, doing: str) -> None:
    """Raises ExportDamaged, with the first verdict of an audit that fails."""
    for verdict in verify_blocks(all_blocks(store), chain_hash(b"", store.genesis.encode()), ()):
        if not verdict.ok:
            raise ExportDamaged(
                doing, problem=verdict.detail, verdict=verdict.name,
                offset=verdict.first_bad_offset,
            )  # fmt: skip
