"""What LMDB or the system below it refuses, as errors of ours."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

import lmdb

from .errors import Corrupt, HomeUnsupported, LogFull, SystemRefused
from .refusals import refused

DISK_REFUSED: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def unreadable(doing: str, error: lmdb.Error) -> Corrupt | SystemRefused:
    # Of the handle, or of the system (LMDB's own numbers are below 0): no word about the data.
    if isinstance(error, lmdb.PanicError) or (error.code or 0) > 0:
        return SystemRefused(doing, problem=str(error))
    return Corrupt(doing, problem=str(error))


def nobody_writes(path: Path, refusal: HomeUnsupported) -> bool:
    """Whether a log that we may not write is safe from others too: a read-only file system, or
    no file of it that anybody has the right to write."""
    cause = refusal.__cause__
    if isinstance(cause, lmdb.Error) and cause.code == errno.EROFS:
        return True
    try:
        return not any(each.stat().st_mode & 0o222 for each in (path, *path.iterdir()))
    except OSError:  # we may not even look
        return False


class Refusals:
    """Around what writes: what LMDB or the system refuses leaves it as an error of ours."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, lmdb.Error):
            # LMDB reports a write that the disk took only in part as EIO.
            if isinstance(error, lmdb.DiskError) or error.code in DISK_REFUSED:
                raise LogFull(self._doing, problem=f"the disk refused: {error}") from error
            raise unreadable(self._doing, error) from error
        if isinstance(error, OSError):
            raise refused(self._doing, error) from error
