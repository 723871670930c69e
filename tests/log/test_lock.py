from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alphapulse.log.errors import Closed, LogBusy, SystemRefused
from alphapulse.log.lock import Holding, WriterLock

from .logs import finish, python, says, until

pytestmark = pytest.mark.usefixtures("forked_interpreters")

HOLDER = """
    import sys
    from pathlib import Path
    from alphapulse.log.lock import WriterLock
    lock = WriterLock(Path(sys.argv[1]))
    lock.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[WriterLock]:
    made = WriterLock(tmp_path / "writer")
    yield made
    made.close()


def test_it_is_free_held_and_free_again(lock: WriterLock, tmp_path: Path) -> None:
    other = WriterLock(tmp_path / "writer")
    assert lock.holder_pid() == 0
    lock.acquire()
    assert (tmp_path / "writer").read_bytes() == f"{os.getpid():<20}\n".encode()
    assert other.try_hold() is None
    lock.release()
    other.acquire(0)
    assert other.holder_pid() == os.getpid()
    other.release()
    other.close()


def test_a_thread_of_this_process_is_named_as_such(lock: WriterLock) -> None:
    lock.acquire()
    with pytest.raises(LogBusy, match="another thread of this process") as caught:
        lock.acquire(0.01)
    assert caught.value.facts["holder_pid"] == os.getpid()
    lock.release()
    lock.acquire(0)
    lock.release()


def test_a_stopped_holder_is_named_after_the_wait(lock: WriterLock, tmp_path: Path) -> None:
    child = python(HOLDER, tmp_path / "writer")
    assert says(child) == "held"
    with pytest.raises(LogBusy) as caught:
        lock.acquire(0.05)
    assert caught.value.facts["holder_pid"] == child.pid
    child.send_signal(signal.SIGSTOP)
    try:
        until(lambda: "State:\tT" in Path(f"/proc/{child.pid}/status").read_text())
        with pytest.raises(LogBusy, match="stopped") as caught:
            lock.acquire(0.05)
        assert caught.value.facts["holder_pid"] == child.pid
        assert caught.value.facts["waited_s"] == 0.05
        assert str(child.pid) in str(caught.value)
    finally:
        child.send_signal(signal.SIGCONT)
    finish(child)
    lock.acquire(5)
    lock.release()


def test_a_dead_holder_holds_nothing(lock: WriterLock, tmp_path: Path) -> None:
    child = python(HOLDER, tmp_path / "writer")
    assert says(child) == "held"
    child.kill()
    child.communicate()
    lock.acquire(5)
    assert lock.holder_pid() == os.getpid()
    lock.release()


def test_who_waits_gets_it_when_it_is_released(lock: WriterLock, tmp_path: Path) -> None:
    child = python(HOLDER, tmp_path / "writer")
    assert says(child) == "held"
    got = threading.Event()

    def wait() -> None:
        lock.acquire(30)
        got.set()
        lock.release()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not got.wait(0.05)
    finish(child)
    waiter.join()
    assert got.is_set()


def test_only_one_of_many_threads_holds_it(lock: WriterLock) -> None:
    inside, seen = [0], []

    def work() -> None:
        for _ in range(50):
            lock.acquire(30)
            inside[0] += 1
            seen.append(inside[0])
            inside[0] -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 200


FORKING = """
    import os, sys
    from pathlib import Path
    from alphapulse.log.errors import ForkedProcess, LogBusy
    from alphapulse.log.lock import WriterLock
    path = Path(sys.argv[1])
    lock = WriterLock(path)
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        try:
            lock.acquire(0)
        except ForkedProcess:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert WriterLock(path).try_hold() is None, "the child let go of the parent's lock"
    print("fine")
"""


def test_a_forked_child_cannot_touch_the_parents_lock(tmp_path: Path) -> None:
    assert finish(python(FORKING, tmp_path / "writer")) == "fine\n"


def assert_free(lock: WriterLock, path: Path) -> None:
    """Another handle gets the lock, and then this one."""
    other = WriterLock(path)
    other.acquire(0)
    other.release()
    other.close()
    lock.acquire(0)
    lock.release()


def test_a_pid_that_cannot_be_written_leaves_the_lock_free(
    lock: WriterLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        with pytest.raises(SystemRefused, match="No space"):
            lock.acquire()
    assert_free(lock, tmp_path / "writer")


def test_a_closed_lock_says_so(lock: WriterLock) -> None:
    assert lock.close()
    assert not lock.close()
    for use in (lock.acquire, lock.try_hold, lock.holder_pid):
        with pytest.raises(Closed):
            use()


def test_closing_waits_for_the_thread_that_holds_it(lock: WriterLock, tmp_path: Path) -> None:
    lock.acquire()
    other = WriterLock(tmp_path / "writer")
    with ThreadPoolExecutor(1) as another:
        with pytest.raises(LogBusy, match="another thread"):
            another.submit(lock.close, 0.01).result()
        assert other.try_hold() is None, "the holder still holds it"
        closing = another.submit(lock.close)
        lock.release()
        assert closing.result(30)
    other.acquire(0)
    other.release()
    other.close()


def test_a_release_lets_go_when_an_interrupt_cuts_it_short(
    lock: WriterLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def interrupted(file: int, operation: int) -> None:
        flock(file, operation)
        raise KeyboardInterrupt

    lock.acquire()
    with monkeypatch.context() as patch:
        patch.setattr("alphapulse.log.lock.fcntl.flock", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.release()
    assert_free(lock, tmp_path / "writer")


def test_only_its_holder_releases_it_and_again_does_nothing(lock: WriterLock) -> None:
    lock.acquire()
    with ThreadPoolExecutor(1) as another:
        another.submit(lock.release).result()
        assert another.submit(lock.try_hold).result() is None
    lock.release()
    lock.release()
    lock.acquire(0)
    lock.release()


def test_its_own_thread_closes_it_at_once(lock: WriterLock, tmp_path: Path) -> None:
    lock.acquire()
    assert lock.close(0)
    other = WriterLock(tmp_path / "writer")
    other.acquire(0)
    other.close()


@pytest.mark.parametrize("use", [WriterLock.acquire, WriterLock.hold])
@pytest.mark.parametrize("step", [fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN])
def test_a_signal_at_a_step_leaves_nobody_holding_it(
    lock: WriterLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int,
    use: Callable[[WriterLock], Holding | None],
) -> None:  # fmt: skip
    """It is told when taking or giving back is done, and then the lock is free."""
    flock = fcntl.flock

    def signalled(file: int, operation: int) -> None:
        if operation == step:
            signal.raise_signal(signal.SIGINT)
        flock(file, operation)

    def take_and_give_back() -> None:
        held = use(lock)
        (held or lock).release()

    with monkeypatch.context() as patch:
        patch.setattr("alphapulse.log.lock.fcntl.flock", signalled)
        with pytest.raises(KeyboardInterrupt):
            take_and_give_back()
    assert_free(lock, tmp_path / "writer")


def test_who_waits_for_another_process_can_be_interrupted(lock: WriterLock, tmp_path: Path) -> None:
    other = WriterLock(tmp_path / "writer")
    main = threading.get_ident()
    with other.hold():
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            lock.acquire(30)
    assert time.monotonic() - began < 20
    assert_free(lock, tmp_path / "writer")
    other.close()


def test_a_hold_that_nobody_has_any_more_is_let_go(lock: WriterLock, tmp_path: Path) -> None:
    holding = lock.hold()
    assert lock.is_mine
    del holding
    assert_free(lock, tmp_path / "writer")
