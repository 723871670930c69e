"""One root for every error, and the errors of the ground floor.

A message says what was being done, the facts, and the cure. Bytes from disk, sockets and feeds
raise these; asserts are for our own mistakes only. `as_json` is the form that `--json` prints.
"""

from __future__ import annotations

from typing import ClassVar, Final

READ_ONLY: Final = "so the registry is read-only until a person decides"


class AlphaPulseError(Exception):
    """Root of all errors of this package.

    doing: the action that failed, in words (`"appending 12 events"`).
    facts: what a reader needs to judge it; they are printed as `name=value`.
    problem, cure: default to the class's; give them where the instance knows better.
    """

    problem: ClassVar[str] = "it failed"
    cure: ClassVar[str] = "see the message"

    def __init__(
        self, doing: str, *, problem: str | None = None, cure: str | None = None, **facts: object
    ) -> None:
        self.doing = doing
        self.facts = facts
        self.why = problem if problem is not None else self.problem
        self.advice = cure if cure is not None else self.cure
        super().__init__(doing)

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.doing}: {self.why}{f' [{facts}]' if facts else ''} ({self.advice})"

    def as_json(self) -> dict[str, str]:
        facts = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return {
            "error": f"{type(self).__name__}: {self.why}{f' [{facts}]' if facts else ''}",
            "doing": self.doing,
            "cure": self.advice,
        }


class InvalidInput(AlphaPulseError, ValueError):
    problem = "the input is not valid"
    cure = "correct the value and try again"


class HomeMissing(AlphaPulseError):
    problem = "there is no registry home here"
    cure = "make one with `alphapulse init`, or name another with --home"


class HomeExists(AlphaPulseError):
    problem = "there is already a registry home here"
    cure = "choose an empty or missing directory"


class HomeUnsupported(AlphaPulseError):
    problem = "this directory cannot hold a registry"
    cure = "use a directory on a local file system"


class FormatTooNew(AlphaPulseError):
    problem = "it was written by a newer version of this software"
    cure = "upgrade alphapulse; nothing was changed"


class Corrupt(AlphaPulseError):
    problem = "the bytes are not what was written"
    cure = "run `alphapulse audit`; `replay --to LAST_GOOD --into DIR` keeps the good prefix"


class ChainBroken(Corrupt):
    problem = f"the hash chain does not hold, {READ_ONLY}"


class NotDecodable(AlphaPulseError, ValueError):
    problem = "the bytes do not follow the format"
    cure = "see log/FORMAT.md; if they came from a log, run `alphapulse audit`"


class TooLarge(AlphaPulseError, ValueError):
    problem = "it is larger than the format allows"
    cure = "split it or shorten it"


class HeadMoved(AlphaPulseError):
    problem = "another writer appended first"
    cure = "catch up and decide again"


class LogFull(AlphaPulseError):
    problem = "there is not enough free disk space; nothing was written, reading goes on"
    cure = "free disk space; appends resume by themselves"


class SystemRefused(AlphaPulseError):
    problem = "the operating system refused"
    cure = "mend what it complains of, then try again"


class LogBusy(AlphaPulseError):
    problem = "another process holds the write session"
    cure = "wait for it, or look at why that process does not go on (it may be stopped)"


class TooManyReaders(AlphaPulseError):
    problem = "all reader slots of the log are taken"
    cure = "close readers that are not used; slots of dead processes were already freed"


class Closed(AlphaPulseError):
    problem = "it is closed"
    cure = "open it again"


class ForkedProcess(AlphaPulseError):
    problem = "it was opened before a fork, and a forked child must not use it"
    cure = "use the multiprocessing start method 'spawn', or open it only after the fork"


class ReadOnly(AlphaPulseError):
    problem = "it was opened for reading only"
    cure = 'open it with mode="rw"'


class ClockOff(AlphaPulseError):
    problem = "the system clock cannot be trusted, and a recorded time stays for ever"
    cure = "set the clock, then try again; nothing was written"


class NotABackup(AlphaPulseError):
    problem = "this is not a backup"
    cure = "name a directory that `alphapulse backup` wrote"


class NotAnExport(AlphaPulseError, ValueError):
    problem = "this is not an exported log"
    cure = "name a file that `alphapulse export` wrote"


class ExportDamaged(Corrupt):
    problem = "the exported log is not what was written; no home was made"
    cure = "copy the file again, compare its size, or export the log again"


class OffsetOutOfRange(AlphaPulseError, LookupError):
    problem = "there is no event at this offset"
    cure = "offsets go from 0 to head-1; `alphapulse stats` shows the head"


class NoLongerKept(OffsetOutOfRange):
    problem = "it is older than what is kept"
    cure = "start at the beginning, which is the oldest event that is kept"


class PatternError(AlphaPulseError, ValueError):
    problem = "the pattern cannot be read"
    cure = "write facet=value terms joined by and, or, not; see README, Patterns"


class CursorMissing(AlphaPulseError, LookupError):
    problem = "there is no cursor of this name"
    cure = "see `alphapulse cursors`; subscribing with a new name makes one"


class CursorBusy(AlphaPulseError):
    problem = "a living subscriber holds this cursor"
    cure = "stop that process (it may itself be stopped), or take another cursor"


class CursorPaused(AlphaPulseError):
    problem = "its handler failed, and the cursor is paused until a person decides"
    cure = "`alphapulse cursors reset NAME` tries that event again"


class CursorMismatch(InvalidInput):
    problem = "the cursor belongs to another pattern"
    cure = "subscribe with its pattern, take another name, or `alphapulse cursors delete NAME`"


class CursorForeign(AlphaPulseError):
    problem = "the cursor's position is none of this log"
    cure = "give it one: `alphapulse cursors reset NAME --to beginning|now|OFFSET|TIME`"


class CursorDamaged(Corrupt):
    problem = "the cursor's file is not what was written"
    cure = "give it a position: `alphapulse cursors reset NAME --to beginning|now|OFFSET|TIME`"


class CursorNotSaved(AlphaPulseError):
    problem = "the cursor's position cannot be saved; events since the last one saved come again"
    cure = "free disk space, or mend the rights of home/cursors"


class HandlerFailed(AlphaPulseError):
    problem = "the handler of events raised"
    cure = "mend the handler, then `alphapulse cursors reset NAME` tries that event again"
