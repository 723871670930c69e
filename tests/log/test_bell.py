from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log import bell as bells
from alphapulse.log.bell import Bell, Ringer
from alphapulse.log.home import Home
from alphapulse.log.stops import start_time

from .logs import fill, make_log, python, says, until

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make_directories()
    return made


@pytest.fixture
def bell(home: Home) -> Iterator[Bell]:
    with contextlib.closing(Bell(home)) as made:
        made.clear()
        yield made


@pytest.fixture
def ringer(home: Home) -> Iterator[Ringer]:
    with contextlib.closing(Ringer(home)) as made:
        yield made


def names(home: Home) -> list[str]:
    return sorted(os.listdir(home.run))


def test_a_ring_wakes_every_bell_once(home: Home, ringer: Ringer) -> None:
    made = [Bell(home) for _ in range(3)]
    assert all(each.wait(0) for each in made), "a new one rings: look first"
    for each in made:
        each.clear()
    assert not any(each.wait(0) for each in made)
    for _ in range(2):
        ringer.ring()
        ringer.ring()
        assert all(each.wait(60) for each in made)
        for each in made:
            each.clear()
        assert not any(each.wait(0) for each in made)
    for each in made:
        each.close()
        each.close()
    assert names(home) == []
    ringer.ring()
    assert list(ringer) == []


def test_its_name_says_whose_it_is(home: Home, bell: Bell) -> None:
    (name,) = names(home)
    assert name.startswith(f"bell.{os.getpid()}.{start_time(os.getpid())}.")
    assert (home.run / name).stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_made_leaves_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "rename", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PermissionError):
        Bell(home)
    assert names(home) == [] and len(os.listdir("/proc/self/fd")) == before


def test_a_full_bell_blocks_nobody(home: Home, bell: Bell, ringer: Ringer) -> None:
    fcntl.fcntl(bell.fileno(), fcntl.F_SETPIPE_SZ, 4_096)
    for _ in range(4_096 + 10):
        ringer.ring()
    assert bell.wait(0) and list(ringer) == names(home)
    # Control: with a descriptor that waits, the writer hangs until somebody reads.
    (file,) = ringer._bells.values()
    os.set_blocking(file, True)
    hanging = threading.Thread(target=ringer.ring)
    hanging.start()
    hanging.join(0.1)
    assert hanging.is_alive()
    bell.clear()
    hanging.join()


OWNER = """
    import sys
    from alphapulse.log.bell import Bell
    from alphapulse.log.home import Home
    bell = Bell(Home(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("known", [False, True])
def test_the_bell_of_a_killed_process_is_removed_by_the_next_commit(
    tmp_path: Path, known: bool
) -> None:
    """Whether the writer had rung it before, or finds it left behind."""
    with make_log(tmp_path / "home") as log, python(OWNER, log.home.path) as child:
        says(child)
        (name,) = (each for each in names(log.home) if each.startswith("bell."))
        if known:
            fill(log, [1])
            assert name in names(log.home)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert name in names(log.home)
        fill(log, [1])
        assert name not in names(log.home)


def test_a_half_made_bell_is_removed_when_its_maker_is_gone(home: Home, ringer: Ringer) -> None:
    pid = os.getpid()
    mine, gone = f".bell.{pid}.{start_time(pid)}.9", f".bell.{pid}.1.9"
    for name in (mine, gone):
        os.mkfifo(home.run / name)
    ringer.ring()
    assert names(home) == [mine]


def test_what_only_looks_like_a_bell_is_left_alone(home: Home, ringer: Ringer) -> None:
    (home.run / "bell.1.2.3").write_bytes(b"text")
    os.mkfifo(home.path / "fifo")
    (home.run / "bell.1.2.4").symlink_to(home.path / "fifo")
    ringer.ring()
    assert list(ringer) == []
    assert (home.run / "bell.1.2.3").read_bytes() == b"text"
    assert len(names(home)) == 2


def settle(home: Home) -> None:
    """As if the directory had not changed for an hour."""
    hour_ago = home.run.stat().st_mtime_ns - 3_600 * 10**9
    os.utime(home.run, ns=(hour_ago, hour_ago))


def test_a_listing_is_kept_while_the_directory_does_not_change(
    home: Home, bell: Bell, ringer: Ringer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = 0
    real = os.listdir

    def listdir(path: str) -> list[str]:
        nonlocal listings
        listings += 1
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    settle(home)
    for _ in range(5):
        ringer.ring()
    assert listings == 1
    second = Bell(home)
    second.clear()
    settle(home)
    ringer.ring()
    assert listings == 2 and second.wait(0)
    second.close()


@pytest.mark.parametrize("settled_ns", [bells._SETTLED_NS, -(10**18)])
def test_a_bell_made_within_the_same_tick_of_the_clock_is_found(
    home: Home, bell: Bell, ringer: Ringer, monkeypatch: pytest.MonkeyPatch, settled_ns: int
) -> None:
    """Control: a listing that is trusted at once does not show it."""
    monkeypatch.setattr(bells, "_SETTLED_NS", settled_ns)
    ringer.ring()
    tick_ns = home.run.stat().st_mtime_ns
    second = Bell(home)
    second.clear()
    os.utime(home.run, ns=(tick_ns, tick_ns))
    ringer.ring()
    assert second.wait(0) == (settled_ns > 0)
    second.close()


def test_a_writer_holds_a_bounded_number_of_descriptors(
    home: Home, ringer: Ringer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "BELLS_MAX", 2)
    made = [Bell(home) for _ in range(4)]
    for _ in range(3):
        ringer.ring()
    rung = list(ringer)
    assert len(rung) == 2
    for each in made[:3]:
        each.close()
    made[3].clear()
    ringer.ring()
    assert list(ringer) == names(home) and made[3].wait(0)
    made[3].close()


def test_ringing_never_raises(home: Home, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(Ringer(home)) as ringer:
        ringer.ring()
        with monkeypatch.context() as patch:

            def exhausted(*_: object) -> int:
                raise OSError(24, "too many open files")

            patch.setattr(os, "open", exhausted)
            bell.clear()
            ringer._listed_at_ns = -1
            ringer.ring()
            assert bell.wait(0), "those already known are rung"
        bell.close()
        home.run.rmdir()
        ringer.ring()


def test_a_forked_child_neither_rings_nor_removes(home: Home, bell: Bell, ringer: Ringer) -> None:
    ringer.ring()
    bell.clear()
    pid = os.fork()
    if not pid:
        ringer.ring()
        ringer.close()
        bell.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not bell.wait(0) and len(names(home)) == 1
    ringer.ring()
    assert bell.wait(0)


FORKER = """
    import os, sys
    from alphapulse.log.bell import Bell
    from alphapulse.log.home import Home
    bell = Bell(Home(sys.argv[1]))
    if os.fork():
        print("ready", flush=True)
        os.kill(os.getpid(), 9)
    sys.stdin.readline()
"""


def test_one_that_is_closed_touches_no_descriptor_of_others(home: Home, tmp_path: Path) -> None:
    """As a forked child's, which was closed without a word: its number is used again."""
    made = Bell(home)
    number = made.fileno()
    made.close()
    with open(tmp_path / "other", "w+b", buffering=0) as other:
        other.write(b"theirs")
        other.seek(0)
        if other.fileno() != number:
            os.dup2(other.fileno(), number)
        made.ring()
        made.clear()
        assert made.wait(0), "look again, which says what is wrong"
        assert other.tell() == 0 and other.read() == b"theirs"
        if other.fileno() != number:
            os.close(number)


def test_the_bell_of_a_dead_parent_does_not_live_on_in_a_child(home: Home, ringer: Ringer) -> None:
    with python(FORKER, home.path) as parent:
        says(parent)
        parent.wait()

        def removed() -> bool:
            ringer.ring()
            return names(home) == []

        until(removed)
        assert parent.stdin is not None
        parent.stdin.close()
