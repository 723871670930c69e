"""One more process that checks the bytes of most of a long log, while the rest is verified here.

The idea: *what a helper says counts only when all is well*. Chain and continuity go from block to
block and take one process; whether bytes are right asks each block alone, and costs more than the
other two together. When the helper finds its blocks good, and the verdicts made here are good too,
then so are all. In any other case, whatever became of the helper, everything is verified again
here alone: so what is wrong is named, and how, by one process that went from the start. A helper
that is killed, refused or stuck costs time and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from .home import Home

EVENTS_MIN: Final = 200_000
"""A log for which a process of its own pays: starting one takes as long as 40,000 events."""
OURS: Final = 0.2
"""Of the bytes, so that both processes are done at about the same time."""
PATIENCE_S: Final = 5.0
"""How long it may take longer than what was done here took; and how often the wait is told."""
_CHILD: Final = (
    "import sys; from alphapulse.log import verify_halves;"
    " sys.exit(verify_halves.main(sys.argv[1:]))"
)


class Checked(NamedTuple):
    """What a helper says of blocks that are good."""

    events: int
    rate_per_s: int


def share(head: int) -> range:
    """The events whose bytes are a helper's to check; none when help does not pay."""
    if head < EVENTS_MIN or len(os.sched_getaffinity(0)) < 2:
        return range(0)
    return range(int(head * OURS), head)


_NOTHING: Final = Checked(0, 0)


class Helper:
    """A process that checks the bytes of the blocks that begin within `offsets`, which are none
    when the system refused a process.

    A context manager: leaving it kills the process if it still runs.
    """

    def __init__(self, home: Path, offsets: range) -> None:
        self.offsets = offsets
        self._began = monotonic()
        self._child: subprocess.Popen[str] | None = None
        command = [
            sys.executable, "-P", "-c", _CHILD, os.fspath(home), str(offsets.start),
            str(offsets.stop), str(os.getpid()),
        ]  # fmt: skip
        try:
            # What it complains of is met here too.
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        except OSError:
            self.offsets = range(0)

    def result(self, tell: Callable[[], object]) -> Checked | None:
        """Waits for its word that all is good; None when it has none. tell: called meanwhile."""
        if self._child is None:
            return _NOTHING
        patience_until = monotonic() + (monotonic() - self._began) + PATIENCE_S
        while monotonic() < patience_until:
            tell()
            try:
                said, _ = self._child.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue
            return _checked(said) if self._child.returncode == 0 else None
        return None

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


def _checked(said: str) -> Checked | None:
    """None for what is no word of a helper: one that was killed seems to have ended well where
    SIGCHLD is ignored."""
    try:
        return msgspec.json.decode(said, type=Checked)
    except msgspec.MsgspecError:
        return None


# In the helper


def main(arguments: list[str]) -> int:
    """home, the offsets' start and stop, pid of whom it helps."""
    from .verify import verify_bytes  # which imports this module

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for whom we help, who ends us
    home, start, stop, helped = arguments

    def end_alone() -> None:
        if os.getppid() != int(helped):
            sys.exit(1)

    verdict = verify_bytes(Home(home), range(int(start), int(stop)), end_alone)
    if not verdict.ok:
        return 1
    print(json.dumps(Checked(verdict.checked, verdict.rate_per_s)))
    return 0
