from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log.checkpoints import Checkpoint, Checkpoints

from .builders import TIME

ONE, TWO = bytes(range(32)), bytes(range(32, 64))


def test_lines_are_those_of_the_format(tmp_path: Path) -> None:
    points = Checkpoints(tmp_path / "checkpoints")
    assert points.last() is None and list(points) == []
    points.note(3, ONE, TIME)
    assert (tmp_path / "checkpoints").read_text() == (
        f"3 {ONE.hex()} 2025-11-24T16:00:00.000000000Z\n"
    )
    assert points.last() == Checkpoint(3, ONE) and list(points) == [Checkpoint(3, ONE)]


def test_at_most_one_a_second_but_at_once_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("alphapulse.log.checkpoints.time.monotonic", lambda: now[0])
    points = Checkpoints(tmp_path / "checkpoints")
    for head, later in ((1, 0), (2, 0.5), (3, 0.49), (4, 0.01), (5, 0.3)):
        now[0] += later
        points.note(head, ONE, TIME)
    points.note(6, TWO, TIME, now=True)
    points.note(6, TWO, TIME, now=True)
    assert [point.head for point in points] == [1, 4, 6]


def test_an_empty_log_has_no_checkpoint(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "checkpoints").note(0, ONE, 0, now=True)
    assert not (tmp_path / "checkpoints").exists()


def test_lines_that_were_cut_or_damaged_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    path.write_bytes(
        f"1 {ONE.hex()} t\nrubbish\n-4 {ONE.hex()} t\n5 {ONE.hex()[:-2]} t\n".encode()
        + f"6 {'g' * 64} t\n".encode()
        + f"7 {TWO.hex()} t\n\xff\xfe \xff \xff\n8 {ONE.hex()}\n9 {ONE.hex()} t".encode("latin-1")
    )
    points = Checkpoints(path)
    assert list(points) == [Checkpoint(1, ONE), Checkpoint(7, TWO)]
    assert points.last() == Checkpoint(7, TWO)


@pytest.mark.parametrize("kept", range(1, 99))
def test_a_cut_line_never_becomes_part_of_the_next(tmp_path: Path, kept: int) -> None:
    """`1` cut from a line and `23 …` after it must not read as a checkpoint at 123."""
    path = tmp_path / "checkpoints"
    Checkpoints(path).note(17, ONE, TIME)
    path.write_bytes(path.read_bytes()[:kept])
    Checkpoints(path).note(23, TWO, TIME)
    assert set(Checkpoints(path)) <= {Checkpoint(17, ONE), Checkpoint(23, TWO)}
    assert Checkpoints(path).last() == Checkpoint(23, TWO)


def test_the_last_of_many_is_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    points = Checkpoints(path)
    for head in range(1, 200):
        points.note(head, ONE, TIME, now=True)
    assert points.last() == Checkpoint(199, ONE)
    assert len(list(points)) == 199
    path.write_bytes(path.read_bytes() + b"x" * 300)
    assert points.last() == Checkpoint(199, ONE)


def test_what_a_crash_leaves_is_not_strange_and_says_nothing_false(tmp_path: Path) -> None:
    """Sectors that did not reach the disk are zeros, wherever in the lines they begin and end."""
    path = tmp_path / "checkpoints"
    points = Checkpoints(path)
    true = {Checkpoint(head, ONE) for head in (12_345, 67_890, 99_999)}
    for point in sorted(true):
        points.note(point.head, ONE, TIME, now=True)
    whole = path.read_bytes()
    for start in range(0, len(whole), 2):
        for stop in range(start + 1, len(whole) + 1, 17):
            path.write_bytes(whole[:start] + bytes(stop - start) + whole[stop:])
            assert points.strange() == "" and set(points) <= true
    path.write_bytes(b"\0what nobody wrote\n" + whole)
    assert "line 1" in points.strange()
