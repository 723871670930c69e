"""New homes from what was written before: another home's prefix, a backup, an exported log.

Each gets its log from `alphapulse.log`, whole or not at all, with the genesis record, the bytes
and so the chain of the original; then its views are folded from it, so their digests agree too.
"""

from __future__ import annotations

import os

from alphapulse.log import Copied, EventLog, copy_prefix, import_archive, restore_log
from alphapulse.log.copying import Progress
from alphapulse.projections import Views
from alphapulse.projections.generations import Generations


def replay_into(
    source: str | os.PathLike[str], target: str | os.PathLike[str], stop: int, *,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` with the events of the home `source` before offset `stop`.

    It is how the good part of a damaged home is kept, and how a question about the past becomes a
    registry of its own. Raises HomeExists, OffsetOutOfRange when the source is shorter, and
    Corrupt or ChainBroken, naming the offset, when something before `stop` is not what was written.
    """
    with EventLog.open(source, mode="r") as log:
        copied = copy_prefix(log, target, stop, progress=progress)
    _make_views(target)
    return copied


def restore(
    backup: str | os.PathLike[str], target: str | os.PathLike[str], to: int | str | None = None,
    *, progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` from a backup, up to and including `to`; see `restore_log`."""
    copied = restore_log(backup, target, to, progress=progress)
    _make_views(target)
    return copied


def import_log(
    file: str | os.PathLike[str], target: str | os.PathLike[str], *,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` from an exported log; see `import_archive`."""
    copied = import_archive(file, target, progress=progress)
    _make_views(target)
    return copied


def _make_views(home: str | os.PathLike[str]) -> None:
    with EventLog.open(home) as log:
        # Views that a lost log left behind may have seen more of it than was brought back.
        Generations(log.home.views).forget()
        Views(log).close()
