"""New homes from what was written before: another home's prefix, a backup, an exported log.

Each gets its log from `alphapulse.log`, whole or not at all, with the genesis record, the bytes
and so the chain of the original. Before it appears, the meaning of every event is checked as an
audit does, so a new home is clean, or there is none. Then its views are folded from it, so their
digests agree too.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from alphapulse.log import (
    AlphaPulseError,
    BlockSource,
    Copied,
    Corrupt,
    EventLog,
    ExportDamaged,
    copy_prefix,
    import_archive,
    restore_log,
)
from alphapulse.log.copying import Accept, Progress
from alphapulse.projections import Views
from alphapulse.projections.generations import Generations

from .audit import audit_meaning


def replay_into(
    source: str | os.PathLike[str], target: str | os.PathLike[str], stop: int, *,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` with the events of the home `source` before offset `stop`.

    It is how the good part of a damaged home is kept, and how a question about the past becomes a
    registry of its own. progress: of copying, then of checking. Raises HomeExists, OffsetOutOfRange
    when the source is shorter, and Corrupt or ChainBroken, naming the offset, when something before
    `stop` is not what was written, or nothing that could be decided.
    Cost: copying, a rebuild of the views, and as much again for the meaning.
    """
    doing, cure = f"copying {source} into {target}", "copy less: `--to {last}`, `fork --at {last}`"
    with EventLog.open(source, mode="r") as log:
        accept = _meaning(doing, Corrupt, cure, progress)
        copied = copy_prefix(log, target, stop, progress=progress, accept=accept)
    _make_views(target)
    return copied


def restore(
    backup: str | os.PathLike[str], target: str | os.PathLike[str], to: int | str | None = None,
    *, progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` from a backup, up to and including `to`; see `restore_log`.

    Raises Corrupt too for an event that could not be decided. Progress and cost as `replay_into`,
    and an audit of the backup.
    """
    cure = (
        "restore what is before it: `restore {source} --to {last}`; to keep all of it, go on with "
        "a copy of that directory, which is a home too, or with another backup"
    )
    accept = _meaning(f"restoring {backup}", Corrupt, cure, progress)
    copied = restore_log(backup, target, to, progress=progress, accept=accept)
    _make_views(target)
    return copied


def import_log(
    file: str | os.PathLike[str], target: str | os.PathLike[str], *,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` from an exported log; see `import_archive`.

    Raises ExportDamaged too for an event that could not be decided. Progress and cost as
    `replay_into`.
    """
    cure = "export it again where it comes from, without that: `export FILE --to {last}`"
    accept = _meaning(f"importing {os.path.abspath(file)}", ExportDamaged, cure, progress)
    copied = import_archive(file, target, progress=progress, accept=accept)
    _make_views(target)
    return copied


def _meaning(
    doing: str, error: Callable[..., AlphaPulseError], cure: str, progress: Progress | None
) -> Accept:
    """Refuses a log whose meaning an audit would fail. cure: when there are events before it."""

    def accept(log: BlockSource) -> None:
        head = log.head
        tell = None if progress is None else lambda done: progress(done, head)
        verdict = audit_meaning(log, progress=tell)
        if not verdict.ok:
            bad = verdict.first_bad_offset
            raise error(
                doing, problem=f"{verdict.detail}; no home was made", verdict=verdict.name,
                offset=bad,
                cure=cure.format(source=log.name, last=bad - 1) if bad else "take another one",
            )  # fmt: skip

    return accept


def _make_views(home: str | os.PathLike[str]) -> None:
    try:
        with EventLog.open(home) as log:
            # Views that a lost log left behind may have seen more of it than was brought back.
            Generations(log.home.views).forget()
            Views(log).close()
    except AlphaPulseError as error:  # no space: the log, which is the home, is whole
        error.advice = (
            f"{error.advice}; the home is made all the same, and whoever opens it makes its views"
        )
        raise
