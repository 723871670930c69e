"""Child processes to kill, stop and interrupt, and a cheap way to look at a home.

Children are forked: nothing of a registry is open in the parent then, and a new interpreter costs
0.4 s, which sixty rounds cannot afford. They leave by `os._exit`, so nothing of them is tidied up
that they did not tidy up themselves.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest import mock

from alphapulse.log import Home, Verdict, cure_at, verify_in_child, verify_store
from alphapulse.log.lmdb_store import is_open_here
from alphapulse.registry import audit

Say = Callable[[str], None]
Hear = Callable[[], str]
SEED_NAME = "ALPHAPULSE_TEST_SEED"
FORK_LIMIT_S = 20
FORK_LIMIT_CPU_S = 5
"""A million events take two."""


def seeds(count: int) -> Iterator[int]:
    """New ones each time, each printed; only the one in the environment, if there is one.

    In CI they are the same ones each time, so that the verdict on a commit does not change.
    """
    given = os.environ.get(SEED_NAME)
    source = random.Random(2026) if os.environ.get("CI") == "true" else random.SystemRandom()
    for _ in range(1 if given else count):
        seed = int(given) if given else source.randrange(1 << 32)
        print(f"{SEED_NAME}={seed}")
        yield seed


def report(row: str, wanted: Sequence[int] = (), **counts: object) -> None:
    """The line of a fault test in the table of faults: its counts, and the first of its seeds."""
    found = [f"{name}={value}" for name, value in counts.items()]
    if wanted:
        found.append(f"seeds={len(wanted)} from {SEED_NAME}={wanted[0]}")
    print(f"faults: {row}: {' '.join(found)}")


class Child:
    """A forked child that runs `work(say, hear)`; lines go both ways. Reap it with `wait`.

    A context manager that kills what is still there, so that a failed test leaves no process.
    """

    def __init__(self, work: Callable[[Say, Hear], None]) -> None:
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(from_child)
            os.close(to_child)
            _run(work, to_parent, from_parent)
        os.close(to_parent)
        os.close(from_parent)
        self._lines = os.fdopen(from_child, "r", encoding="utf-8")
        self._to_child = to_child
        self._status: int | None = None

    def hear(self) -> str:
        """Its next line; empty when it is gone."""
        return self._lines.readline().rstrip("\n")

    def rest(self) -> list[str]:
        """All its lines up to its end; one that a kill cut short is left out."""
        return [line[:-1] for line in self._lines if line.endswith("\n")]

    def say(self, line: str) -> None:
        os.write(self._to_child, f"{line}\n".encode())

    def send(self, number: int) -> None:
        assert self._status is None
        os.kill(self.pid, number)

    def is_running(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is None

    def wait(self) -> int:
        """Its exit status, negative for a signal."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._lines.close()
        os.close(self._to_child)


def _run(work: Callable[[Say, Hear], None], out: int, into: int) -> None:
    faulthandler.disable()  # children that are meant to crash
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lines = os.fdopen(into, "r", encoding="utf-8")
    status = 1

    def say(line: str) -> None:
        os.write(out, f"{line}\n".encode())

    try:
        work(say, lambda: lines.readline().rstrip("\n"))
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def killed(work: Callable[[Say, Hear], None], after_s: float | None) -> tuple[list[str], bool]:
    """The lines of a child that kills itself or is killed after so long, and whether it was.

    One that is not killed says "complete" when it is done; that line is not among them.
    """
    with Child(work) as child:
        if after_s is not None:
            time.sleep(after_s)
            child.send(signal.SIGKILL)
        lines = child.rest()
        status = child.wait()
    assert status in (0, -signal.SIGKILL), status
    assert (status == 0) <= ("complete" in lines)
    return [line for line in lines if line != "complete"], status != 0


@contextmanager
def small_tables() -> Iterator[None]:
    """So that kills meet views that grow."""
    with (
        mock.patch("alphapulse.projections.engine.ROWS_MIN", 16),
        mock.patch("alphapulse.projections.engine.GROWTH_FACTOR", 1),
    ):
        yield


def verify_in_fork(
    home: Path, *, last_blocks: int | None = None, progress: Callable[[int], None] | None = None
) -> list[Verdict]:
    """`verify_in_child` with a fork for the new interpreter, and 5 s of a core or 20 s in all: on
    some noise LMDB goes round in a circle of pages for ever.

    Of a home that this process has open a forked child could not read the log: that is verified
    as users do it.
    """
    if is_open_here(Home(home).log):
        return verify_in_child(home, last_blocks=last_blocks, progress=progress)

    def work(say: Say, _: Hear) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (FORK_LIMIT_CPU_S, FORK_LIMIT_CPU_S))
        for verdict in verify_store(Home(home), last_blocks=last_blocks):
            say(json.dumps(verdict._asdict()))

    with Child(work) as child:
        limit = threading.Timer(FORK_LIMIT_S, child.send, (signal.SIGKILL,))
        limit.start()
        try:
            verdicts = [Verdict(**json.loads(line)) for line in child.rest()]
        finally:
            limit.cancel()
        status = child.wait()
    if status == 0 and len(verdicts) == 3:
        return verdicts
    return [
        Verdict(name, False, 0, 0, 0, f"the child ended with {status}", cure_at(0))
        for name in ("bytes", "continuity", "chain")
    ]


def verify_here(home: Path, *, last_blocks: int | None = None, **_: object) -> list[Verdict]:
    """`verify_in_child` without one; of a home that this process has open, with one."""
    if is_open_here(Home(home).log):
        return verify_in_child(home, last_blocks=last_blocks)
    return verify_store(Home(home), last_blocks=last_blocks)


@contextmanager
def _verification(by: Callable[..., list[Verdict]]) -> Iterator[None]:
    with (
        mock.patch("alphapulse.log.verify.verify_in_child", by),
        mock.patch("alphapulse.log.backup.verify_in_child", by),
        # By module: the package's name for it is the function.
        mock.patch.object(sys.modules["alphapulse.registry.audit"], "verify_in_child", by),
    ):
        yield


def forked_verification() -> AbstractContextManager[None]:
    """Within it audits, backups and first opens after a kill verify in a fork."""
    return _verification(verify_in_fork)


def verification_here() -> AbstractContextManager[None]:
    """Within it they verify in this process, at a fifth of the cost: for homes whose writers were
    killed, but whose files nobody damaged. Should one be so damaged that its reader dies of a
    signal, the test fails by that."""
    return _verification(verify_here)


def complaints(home: Path, *, forked: bool = False) -> list[str]:
    """What an audit finds wrong; empty for a good home, whose log nobody damaged by hand.

    forked: a fork verifies, with its limits of time, for a log whose file may be torn: reading that
    is a SIGBUS, or never ends.
    """
    with forked_verification() if forked else verification_here():
        return [f"{v.name}: {v.detail}" for v in audit(home) if not v.ok]


def kill_self_after(calls: int) -> None:
    """SIGKILL at this process's nth call or return, of Python or C: a seed replays the moment.

    Calls of threads that are started later count too; they are never quite the same again.
    """
    left = calls

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    sys.setprofile(count)
