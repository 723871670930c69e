"""The mark of a log that was found broken: while `home/broken` is there, nobody appends.

A break in the middle of a log shows only to who reads all of it, long after it was opened and in
another process than those who write. The mark makes what they found known to every writer, also to
those that are open, for as long as it takes until a person decides. An audit whose bytes,
continuity or chain fails makes it, and so does a fold that meets the break; an audit that finds all
three good takes it away. A home made by `restore` or `replay --into` has none. Reading goes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from .errors import READ_ONLY, Corrupt
from .home import Home, replace_file, sync_directory
from .times import format_time

if TYPE_CHECKING:
    from .verify import Verdict

OF_THE_LOG: Final = ("bytes", "continuity", "chain")
"""The verdicts that decide whether it is broken: the others leave what was recorded as it was."""
_SIZE_BYTES_MAX: Final = 65_536


class Mark(msgspec.Struct, frozen=True):
    """What `home/broken` says, as JSON."""

    found: str
    """When; RFC 3339."""
    reason: str
    offset: int | None
    """The first bad one, if it has a place."""
    cure: str
    seen: int = 0
    """The head that was seen once, when the log is shorter now."""

    def __str__(self) -> str:
        place = "" if self.offset is None else f" at offset {self.offset}"
        return f"it was found broken{place} on {self.found[:19]}Z: {self.reason}"


def read_mark(home: Home) -> Mark | None:
    """None when there is none. One that cannot be read counts. Cost: 2 µs when there is none."""
    try:
        os.lstat(home.broken)
    except FileNotFoundError:
        return None
    except OSError:
        pass  # whatever it is, it may stand before a mark: opening it says what
    try:
        with open(home.broken, "rb") as file:
            return msgspec.json.decode(file.read(_SIZE_BYTES_MAX), type=Mark)
    except FileNotFoundError:  # lifted since we looked
        return None
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        reason = f"{home.broken} cannot be read: {error}"
        return Mark("an unknown day", reason, None, "run `alphapulse audit`")


def mark_broken(
    home: Home, reason: str, offset: int | None, cure: str, seen: int = 0
) -> None:
    """Over an older mark. Raises OSError where this user may not write."""
    reason = reason.removesuffix(f", {READ_ONLY}")  # whoever reads the mark says so too
    mark = Mark(format_time(time.time_ns()), reason, offset, cure, seen)
    replace_file(home.broken, msgspec.json.format(msgspec.json.encode(mark)) + b"\n")


@contextlib.contextmanager
def marking(home: Home) -> Iterator[None]:
    """Around what reads blocks in order: a break that it meets and raises is marked.

    What the engine below complains of (a cause) may be of the moment, and is left to an audit. A
    mark that is there stays: an audit knows better.
    """
    try:
        yield
    except Corrupt as error:
        offset = error.facts.get("offset")
        known = os.path.lexists(home.broken)
        if isinstance(offset, int) and error.__cause__ is None and not known:
            # Who may not write says it all the same, by raising.
            with contextlib.suppress(OSError):
                mark_broken(home, error.why, offset, error.advice)
        raise


def keep_mark(home: Home, verdicts: Sequence[Verdict], seen: int = 0) -> list[Verdict]:
    """Makes the mark, or takes it away, as the verdicts on the log say; then the verdicts.

    seen: as `Mark.seen`. It is kept because what saw it, a view, follows the log at the next open.
    Where this user may not do so, they say that too: other users go on writing, or go on not to.
    """
    bad = [verdict for verdict in verdicts if verdict.name in OF_THE_LOG and not verdict.ok]
    try:
        if bad:
            worst = min(bad, key=_place)
            reason = f"{worst.name}: {worst.detail}"
            mark_broken(home, reason, worst.first_bad_offset, worst.cure, seen)
        elif os.path.lexists(home.broken):
            home.broken.unlink()
            sync_directory(home.path)
    except OSError as error:
        said = f"{home.broken} could not be {'written' if bad else 'removed'}: {error.strerror}"
        if bad:
            cure = f"; {said}, so nothing stops writers: audit it as its owner"
            return [v if v.ok else v._replace(cure=v.cure + cure) for v in verdicts]
        if not isinstance(error, FileNotFoundError):
            said += "; it stays read-only until its owner audits it"
            return [v._replace(detail=said) if v.name == "chain" else v for v in verdicts]
    return list(verdicts)


def _place(verdict: Verdict) -> float:
    return float("inf") if verdict.first_bad_offset is None else verdict.first_bad_offset
