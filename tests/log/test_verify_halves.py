"""Helpers are real processes here: whatever becomes of one, the verdicts are those of one process.

Short logs pay for no helper, so what pays is set to nothing, and two CPUs are there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import verify as verify_module
from alphapulse.log import verify_halves
from alphapulse.log.block import Block
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import Home
from alphapulse.log.stops import start_time
from alphapulse.log.verify import Verdict, verify_in_child, verify_store
from alphapulse.log.verify_halves import share

from .logs import draft, make_log, until
from .test_verify import rechain, rewritten, write_blocks

pytestmark = pytest.mark.usefixtures("forked_interpreters")

SIZES = [3, 1, 4, 1, 1, 1, 2, 5]
HEAD = sum(SIZES)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The helper's share begins within the first block, and so with the second."""
    make_log(tmp_path / "home", SIZES, entities=6).close()
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_halves, "EVENTS_MIN", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first offsets of what this process checks the bytes of."""
    found: list[int] = []
    real = verify_module._check_bytes

    def noted(run: Any) -> None:
        found.append(run.first)
        real(run)

    monkeypatch.setattr(verify_module, "_check_bytes", noted)
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Every helper."""
    found: list[subprocess.Popen[str]] = []

    def start(*arguments: Any, **named: Any) -> subprocess.Popen[str]:
        found.append(subprocess.Popen(*arguments, **named))
        return found[-1]

    module = type("module", (), dict(vars(subprocess), Popen=staticmethod(start)))
    monkeypatch.setattr(verify_halves, "subprocess", module)
    return found


def instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Helpers run this first."""
    monkeypatch.setattr(verify_halves, "_CHILD", f"{code}\n{verify_halves._CHILD}")


def without_rates(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict._replace(rate_per_s=0) for verdict in verdicts]


def alone(home: Home) -> list[Verdict]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_module, "share", lambda head: range(0))
        return without_rates(verify_store(home))


def test_a_helper_does_its_share(home: Home, checked: list[int]) -> None:
    verdicts = verify_store(home)
    assert checked == [0]
    assert without_rates(verdicts) == alone(home)
    assert [verdict.checked for verdict in verdicts] == [HEAD] * 3
    assert verdicts[0].rate_per_s > 0


def test_a_run_of_blocks_of_one_across_the_border_is_checked_whole(
    tmp_path: Path, checked: list[int]
) -> None:
    make_log(tmp_path / "home", [1] * 10).close()
    assert share(10) == range(2, 10)
    verdicts = verify_store(Home(tmp_path / "home"))
    assert checked == [0] and [verdict.checked for verdict in verdicts] == [10] * 3


def test_what_is_written_meanwhile_is_checked_here(
    tmp_path: Path, checked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_log(tmp_path / "home", [3, 2, 2]) as log:
        real = verify_halves.share

        def write(head: int) -> range:
            with log.writing() as session:
                session.append(draft(8))
            return real(head)

        monkeypatch.setattr(verify_module, "share", write)
        verdicts = verify_store(Home(tmp_path / "home"))
    assert checked == [0, 7] and [verdict.checked for verdict in verdicts] == [8] * 3


@pytest.mark.parametrize("head,cpus,found", [
    (1_000_000, 2, range(200_000, 1_000_000)), (199_999, 2, range(0)), (1_000_000, 1, range(0)),
])  # fmt: skip
def test_help_that_does_not_pay_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, head: int, cpus: int, found: range
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    assert share(head) == found


def flipped(data: bytes) -> bytes:
    """One bit of the last frame is another."""
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def column_changed(data: bytes) -> bytes:
    """The classes of a block lie."""
    at = Block(data)._starts[6]
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a frame of ours": lambda b: [flipped(b[0]), *b[1:]],
    "a frame of the helper's": lambda b: [*b[:6], flipped(b[6]), b[7]],
    "a column of the helper's": lambda b: [*b[:2], column_changed(b[2]), *b[3:]],
    "a rewritten event": lambda b: [*b[:7], rewritten(b[7], 2)],
    "a block is gone": lambda b: [*b[:3], *b[4:]],
    "a block is cut short": lambda b: [*b[:6], b[6][:-8], b[7]],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_judged_as_by_one_process(home: Home, damage: str) -> None:
    """With right hashes, where that can be, so that it is for the bytes to tell."""
    with EventLog.open(home.path, mode="r") as log:
        blocks = DAMAGE[damage](log.store.blocks(0, HEAD))
    home.checkpoints.unlink()
    write_blocks(home, blocks if damage == "a rewritten event" else rechain(home, blocks))
    verdicts = without_rates(verify_store(home))
    assert verdicts == alone(home)
    assert not all(verdict.ok for verdict in verdicts)


ENDS = {
    "killed": "import os; os.kill(os.getpid(), 9)",
    "refused": "import sys; sys.exit(1)",
    "stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "asleep": "import time; time.sleep(600)",
    "saw less": 'import sys; print(\'{"events": 14, "rate_per_s": 1}\'); sys.exit(0)',
}


@pytest.mark.parametrize("how", ENDS)
def test_without_its_word_all_is_verified_here(
    home: Home, checked: list[int], started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch, how: str,
) -> None:  # fmt: skip
    instead(monkeypatch, ENDS[how])
    if how in ("stopped", "asleep"):  # of which no word will come
        monkeypatch.setattr(verify_halves, "PATIENCE_S", 0.05)
    told: list[int] = []
    assert without_rates(verify_store(home, progress=told.append)) == alone(home)
    assert checked[:2] == [0, 0] and len(checked) > 2, "its share, in a second pass"
    assert told[0] == HEAD, "while it was waited for"
    assert [child.returncode is None for child in started] == [False]


def test_a_process_that_the_system_refuses_is_not_missed(
    home: Home, checked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    module = type("module", (), dict(vars(subprocess), Popen=refuse))
    monkeypatch.setattr(verify_halves, "subprocess", module)
    assert without_rates(verify_store(home)) == alone(home)
    assert checked[0] == 0 and checked.count(0) == 2, "once here, once in `alone`"


def test_whoever_gives_up_leaves_no_helper(
    home: Home, started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, ENDS["asleep"])
    monkeypatch.setattr(verify_module, "PROGRESS_S", 0.0)
    with pytest.raises(ZeroDivisionError):
        verify_store(home, progress=lambda at: print(1 // (at - at)))
    assert [child.returncode for child in started] == [-signal.SIGKILL]


DIES_WITH_A_HELPER = """
import os, signal, sys
from alphapulse.log import Home, verify_halves, verify_store
verify_halves.EVENTS_MIN = 1
os.sched_getaffinity = lambda pid: {0, 1}
verify_halves._CHILD = sys.argv[2] + verify_halves._CHILD
def dies(self, tell):
    print(self._child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
verify_halves.Helper.result = dies
verify_store(Home(sys.argv[1]))
"""
SLOWLY = """
import time
from alphapulse.log import verify
real = verify._check_bytes
def slowly(run):
    time.sleep(0.25)
    real(run)
verify._check_bytes = slowly
verify.SINGLES_MAX = 1
"""


def test_a_helper_does_not_outlive_whom_it_helps(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [1] * 200).close()
    ended = subprocess.run(
        [sys.executable, "-c", DIES_WITH_A_HELPER, tmp_path / "home", SLOWLY],
        capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid = int(ended.stdout)
    until(lambda: not start_time(pid))  # left to itself it would go on for 40 s


HELPED = """
import os
from alphapulse.log import verify_halves
verify_halves.EVENTS_MIN = 1
os.sched_getaffinity = lambda pid: {{0, 1}}
verify_halves._CHILD = "open({path!r}, 'w').close()\\n" + verify_halves._CHILD
"""


def test_the_child_that_verifies_is_helped_too(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helped = HELPED.format(path=str(tmp_path / "helped"))
    monkeypatch.setattr(verify_module, "_CHILD", helped + verify_module._CHILD)
    assert without_rates(verify_in_child(home.path)) == alone(home)
    assert (tmp_path / "helped").exists()
