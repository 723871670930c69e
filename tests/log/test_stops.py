from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alphapulse.log import stops, verify
from alphapulse.log.errors import Corrupt
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import Home
from alphapulse.log.stops import StopMarker, probe_after_crash, stale_markers
from alphapulse.log.verify import Verdict

from .logs import make_log, python, says

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    make_log(tmp_path / "home", [2]).close()
    return Home(tmp_path / "home")


def markers(home: Home) -> list[str]:
    return sorted(path.name for path in home.run.glob("open.*"))


def test_a_marker_stands_from_open_to_close(home: Home) -> None:
    with EventLog.open(home.path), EventLog.open(home.path):
        names = markers(home)
        assert len(names) == 2
        assert all(name.startswith(f"open.{os.getpid()}.") for name in names)
        assert list(stale_markers(home)) == []
    assert markers(home) == []


def test_a_reader_leaves_no_marker(home: Home) -> None:
    with EventLog.open(home.path, mode="r"):
        assert markers(home) == []


def test_an_orderly_end_without_close_removes_it(home: Home) -> None:
    code = "import sys\nfrom alphapulse.log import EventLog\nlog = EventLog.open(sys.argv[1])\n"
    subprocess.run([sys.executable, "-c", code, home.path], check=True)
    assert markers(home) == []


OPENER = """
    import sys
    from alphapulse.log import EventLog
    log = EventLog.open(sys.argv[1])
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_killed_writer_is_noticed_and_the_log_looked_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, waited_for: bool
) -> None:
    """Also while its parent has not waited for it: a zombie is gone."""
    child = python(OPENER, home.path)
    assert says(child) == "open"
    assert list(stale_markers(home)) == []
    child.kill()
    if waited_for:
        child.communicate()
    else:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert [path.name for path in stale_markers(home)] == markers(home) != []
    looked = []
    verified = verify.verify_in_child

    def count(path: Path, *, last_blocks: int | None = None) -> list[Verdict]:
        looked.append(last_blocks)
        return verified(path, last_blocks=last_blocks)

    monkeypatch.setattr(verify, "verify_in_child", count)
    for _ in range(2):
        with EventLog.open(home.path, mode="r") as log:
            assert log.head == 2
    assert looked == [stops.PROBE_BLOCKS] and markers(home) == []
    child.communicate()


def leave_stale(home: Home) -> Path:
    path = home.run / f"open.{os.getpid()}.1.0"  # our pid, but an older process had it
    path.touch()
    return path


def test_a_reused_pid_is_another_process(home: Home) -> None:
    path = leave_stale(home)
    assert list(stale_markers(home)) == [path]


def test_files_of_other_names_are_no_markers(home: Home) -> None:
    for name in ("open.", "open.x.1.0", "open.1", "writer2"):
        (home.run / name).touch()
    assert list(stale_markers(home)) == []


def test_a_log_damaged_by_the_crash_does_not_open(home: Home) -> None:
    path = leave_stale(home)
    data = home.log / "data.mdb"
    raw = bytearray(data.read_bytes())
    at = raw.rindex(b"APB1") + 200
    raw[at] ^= 1
    data.write_bytes(raw)
    for _ in range(2):
        with pytest.raises(Corrupt, match="after an unclean stop"):
            EventLog.open(home.path)
    assert path.exists()


def test_a_truncated_file_after_a_crash_is_an_error_and_no_signal(home: Home) -> None:
    leave_stale(home)
    os.truncate(home.log / "data.mdb", 8192)
    with pytest.raises(Corrupt, match=r"ended by|unclean"):
        EventLog.open(home.path)


def test_a_clean_home_costs_no_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    probe_after_crash(home)


def test_a_forked_child_does_not_remove_the_parents_marker(home: Home) -> None:
    code = """
        import os, sys
        from alphapulse.log import EventLog
        log = EventLog.open(sys.argv[1])
        pid = os.fork()
        if pid == 0:
            log.close()
            sys.exit(0)
        os.waitpid(pid, 0)
        print(len(list(log.home.run.glob("open.*"))))
        log.close()
    """
    child = python(code, home.path)
    out, complaint = child.communicate(timeout=60)
    assert out == "1\n", complaint
    assert markers(home) == []


def test_a_marker_is_private(home: Home) -> None:
    marker = StopMarker(home)
    (path,) = home.run.glob("open.*")
    assert path.stat().st_mode & 0o777 == 0o600
    marker.remove()
    marker.remove()
    assert not path.exists()
