"""A home is the one directory that holds a registry: its layout, making it, refusing bad places.

    home/log/         LMDB: blocks, meta                 the record
    home/views/       derived, may be deleted at any time
    home/cursors/     one small file for each named cursor
    home/checkpoints  append-only text: head, chain head, time
    home/broken       only after an audit found the log broken: what it found
    home/quarantine/  rows that importers refused, with their reasons
    home/market/      a small home of its own: what is kept for days only   transient
    home/run/         locks of who writes and who restores, markers of open writers, doorbells

Directories are 0700 and files 0600. `log/` appears by rename once its genesis record is durable,
so a half-made home cannot exist: a directory with a `log/` is a home, one without is not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from .errors import FormatTooNew, HomeExists, HomeMissing, HomeUnsupported, InvalidInput
from .refusals import SystemCalls

FORMAT_VERSION: Final = 1
BUILDING: Final = "log.building-"
"""Begins the name of a log directory that is being made; the pid of its maker follows."""
MARKET: Final = "market"
"""Where a home has its market log."""
UNFINISHED_AGE_S: Final = 60
LOG_GONE: Final = "its log is gone: `log/` is missing, beside the checkpoints of what was in it"
CURE_LOG_GONE: Final = (
    "put `log/` back, or bring the registry back with `alphapulse restore BACKUP`; to begin anew, "
    "name another directory"
)
ID_BITS_MIN: Final = 8
ID_BITS_MAX: Final = 64
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ocfs2",
     "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "beegfs"}
)  # fmt: skip
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


class Genesis(msgspec.Struct, frozen=True):
    """The first record of a log; its hash seeds the chain. A replayed home keeps it unchanged."""

    format: int
    log_id: bytes
    """16 random bytes: which log this is. Views carry it, so a foreign view is noticed."""
    id_bits: int
    """Ids keep this many low bits; 64 but for tests of collisions."""
    created: int
    """ns since 1970 UTC."""

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


def decode_genesis(data: bytes, path: Path) -> Genesis:
    """Raises FormatTooNew for a home of a later version, before anything else is looked at."""
    try:
        format_version = msgspec.msgpack.decode(data)["format"]
        if format_version > FORMAT_VERSION:
            raise FormatTooNew(
                f"opening {path}", format=format_version, newest_known=FORMAT_VERSION
            )
        genesis = msgspec.msgpack.decode(data, type=Genesis)
        if format_version < 1 or not ID_BITS_MIN <= genesis.id_bits <= ID_BITS_MAX:
            raise TypeError(f"format {format_version}, id_bits {genesis.id_bits}")
        return genesis
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise HomeUnsupported(
            f"opening {path}", problem=f"its genesis record cannot be read: {error}",
            cure="restore it from a backup",
        ) from error  # fmt: skip


class Home:
    """Paths of one home. Making one touches nothing on disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        self.log = self.path / "log"
        self.views = self.path / "views"
        self.cursors = self.path / "cursors"
        self.quarantine = self.path / "quarantine"
        self.checkpoints = self.path / "checkpoints"
        self.broken = self.path / "broken"
        self.run = self.path / "run"
        self.writer_lock = self.run / "writer"
        self.directories: tuple[Path, ...] = (
            self.path, self.views, self.cursors, self.quarantine, self.run,
        )  # fmt: skip
        """Made beside `log/`, the home itself first."""

    def cursor_shown(self, name: str) -> str:
        """What a person types for a cursor of this home."""
        return name

    def offset_shown(self, offset: int) -> int | str:
        """What a person reads and types for an offset of this home's log."""
        return offset

    def exists(self) -> bool:
        with SystemCalls(f"looking for the home {self.path}"):
            return self.log.is_dir()

    def require(self) -> None:
        """Raises HomeMissing unless this is a home, HomeUnsupported when it is a part of one."""
        above = self.path.parent
        if self.path.name == MARKET and type(self) is Home and (above / "log/data.mdb").is_file():
            raise HomeUnsupported(
                f"opening {self.path}", problem="it is the market log of a home",
                cure=f"name the home: {above}",
            )  # fmt: skip
        if not self.exists():
            doing = f"opening {self.path}"
            with SystemCalls(doing):
                lost = self.checkpoints.is_file()  # written after a commit, and never before
            if lost:
                raise HomeMissing(doing, problem=LOG_GONE, cure=CURE_LOG_GONE)
            raise HomeMissing(doing)

    def make_directories(self) -> None:
        """Makes what is missing around `log/`. Raises HomeUnsupported where that cannot be."""
        if all(map(os.path.isdir, self.directories)):
            return
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            for directory in self.directories:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in missing:  # else a power cut may take a whole home by its name
                sync_directory(directory.parent)
        except OSError as error:
            raise HomeUnsupported(
                f"making the home {self.path}", problem=error.strerror or str(error),
                cure="name a directory that this user may write",
            ) from error  # fmt: skip

    def remove_directories(self) -> None:
        """Takes back `make_directories`: removes those of them that are empty."""
        for directory in (*self.directories[1:], self.path):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def require_room(self, beside: Collection[str] = ()) -> None:
        """Raises HomeExists unless the directory is missing, empty, or a home being made.

        beside: names of files that may be in it too, whole or as a kill left them.
        """
        if self.exists():
            raise HomeExists(f"making the home {self.path}")
        try:
            names = {path.name for path in self.path.iterdir()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise HomeUnsupported(
                f"making the home {self.path}", problem=error.strerror or str(error)
            ) from error
        ours = {"views", "cursors", "quarantine", "run", *beside}
        unfinished = (BUILDING, *(f".{name}." for name in beside))
        others = sorted(n for n in names - ours if not n.startswith(unfinished))
        if self.checkpoints.name in others:
            raise HomeExists(
                f"making the home {self.path}", problem=LOG_GONE, cure=CURE_LOG_GONE
            )
        if others:
            raise HomeExists(
                f"making the home {self.path}", problem="the directory holds other things",
                found=", ".join(others[:3]),
            )  # fmt: skip

    def file_system(self) -> str:
        """The type of the file system that holds (or would hold) this home, like `ext4`."""
        existing = self.path
        while not existing.exists():
            existing = existing.parent
        device = os.stat(existing).st_dev
        wanted = f" {os.major(device)}:{os.minor(device)} ".encode()
        with open("/proc/self/mountinfo", "rb") as mounts:
            for line in mounts:
                if wanted in line:
                    before, _, after = line.partition(b" - ")
                    if before.split(maxsplit=3)[2] == wanted.strip():
                        return after.split(maxsplit=1)[0].decode("utf-8", "replace")
        return "unknown"

    def is_durable(self) -> bool:
        """False on memory file systems, where a receipt must not say durable.

        Raises HomeUnsupported on network file systems: LMDB needs one machine's shared memory.
        """
        kind = self.file_system()
        if kind in _NETWORK:
            raise HomeUnsupported(
                f"opening {self.path}", problem=f"{kind} is a network file system", file_system=kind
            )
        return kind not in _MEMORY


def new_genesis(id_bits: int) -> Genesis:
    if not ID_BITS_MIN <= id_bits <= ID_BITS_MAX:
        raise InvalidInput(
            "making a home", problem=f"id_bits must be {ID_BITS_MIN} to {ID_BITS_MAX}",
            id_bits=id_bits,
        )  # fmt: skip
    return Genesis(FORMAT_VERSION, os.urandom(16), id_bits, time.time_ns())


def sync_directory(path: Path) -> None:
    """Makes renames and new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a small file whole or not at all: beside it, synced, renamed. Mode 0600."""
    building = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(building, flags, 0o600), "wb", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "the disk took only a part", os.fspath(path))
            os.fsync(file.fileno())
        os.rename(building, path)
    except BaseException:
        building.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def publish_log(home: Home, building: Path) -> None:
    """Renames a complete log directory into place.

    Raises HomeExists if another was first, HomeUnsupported if the file system refuses.
    """
    doing = f"making the home {home.path}"
    try:
        sync_directory(building)
        os.rename(building, home.log)
        sync_directory(home.path)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)  # what stays is swept by a later `create`
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise HomeExists(doing) from error
        raise HomeUnsupported(doing, problem=error.strerror or str(error)) from error


def sweep_unfinished(home: Home) -> None:
    """Removes `log.building-PID-*` of processes that died while they made this home."""
    for path in home.path.glob(f"{BUILDING}*"):
        pid = path.name.removeprefix(BUILDING).partition("-")[0]
        # A living process of another container looks dead from here, but builds for no minute.
        with contextlib.suppress(FileNotFoundError):  # whoever made it was faster
            old = time.time() - path.stat().st_mtime > UNFINISHED_AGE_S
            if old and not os.path.exists(f"/proc/{pid}"):
                shutil.rmtree(path)
