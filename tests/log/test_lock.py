from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alphapulse.log.errors import Closed, LogBusy, SystemRefused
from alphapulse.log.lock import WriterLock

from .logs import finish, python, says, until

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
    assert not other.try_acquire()
    lock.release()
    assert other.try_acquire()
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
    assert not WriterLock(path).try_acquire(), "the child let go of the parent's lock"
    print("fine")
"""


def test_a_forked_child_cannot_touch_the_parents_lock(tmp_path: Path) -> None:
    assert finish(python(FORKING, tmp_path / "writer")) == "fine\n"


def assert_free(lock: WriterLock, path: Path) -> None:
    """Another handle gets the lock, and then this one."""
    other = WriterLock(path)
    assert other.try_acquire()
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
    for use in (lock.acquire, lock.try_acquire, lock.holder_pid):
        with pytest.raises(Closed):
            use()


def test_closing_waits_for_the_thread_that_holds_it(lock: WriterLock, tmp_path: Path) -> None:
    lock.acquire()
    with pytest.raises(LogBusy, match="another thread"):
        lock.close(0.01)
    other = WriterLock(tmp_path / "writer")
    assert not other.try_acquire(), "the holder still holds it"
    closing = threading.Thread(target=lock.close)
    closing.start()
    lock.release()
    closing.join(30)
    assert not closing.is_alive()
    assert other.try_acquire()
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
        assert not another.submit(lock.try_acquire).result()
    lock.release()
    lock.release()
    lock.acquire(0)
    lock.release()
