from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from alphapulse.projections.generations import Generations, supersede_file


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"")


def test_nothing_yet(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    assert generations.current() == {}
    assert generations.stamp() == (0, 0)
    assert generations.found() == ({}, {})
    assert generations.found().next_number("a") == 1


def test_switching_keeps_one_generation_to_go_back_to(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    for number in range(1, 5):
        touch(tmp_path, f"a.{number}")
        assert generations.found().next_number("a") == number + 1
        before = generations.stamp()
        told = generations.switch({"a": number})
        assert generations.stamp() != before
        assert generations.current() == {"a": number}
        assert told == generations.found()
        assert told.files["a"] == ([number - 1, number] if number > 1 else [1])


def test_generations_that_were_never_in_force_are_swept(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    touch(tmp_path, "a.1")
    generations.switch({"a": 1})
    touch(tmp_path, "a.2", "a.3", "a.4", "a.9")
    generations.switch({"a": 4})
    assert generations.found().files["a"] == [1, 4, 9]


def test_views_do_not_touch_each_other(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    touch(tmp_path, "a.1", "ab.1", "a.2", "ab.2", "a.x", "a.2.old")
    generations.switch({"ab": 1})
    generations.switch({"a": 2})
    generations.switch({"ab": 2})
    assert generations.current() == {"a": 2, "ab": 2}
    assert sorted(os.listdir(tmp_path)) == ["CURRENT", "a.2", "a.2.old", "a.x", "ab.1", "ab.2"]
    assert generations.path("a", 2) == os.fspath(tmp_path / "a.2")


def test_several_views_are_switched_at_once(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    touch(tmp_path, "a.1", "b.1", "b.2", "c.7")
    generations.switch({"c": 7})
    found = generations.switch({"a": 1, "b": 2})
    assert found == generations.found()
    assert found == ({"a": 1, "b": 2, "c": 7}, {"a": [1], "b": [2], "c": [7]})
    assert sorted(os.listdir(tmp_path)) == ["CURRENT", "a.1", "b.2", "c.7"]


def test_what_current_says(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_bytes(b"a 3\nb 0\nc x\n\xff 1\nd\ne -1\n\nf 12\n")
    found = Generations(tmp_path).current()
    assert (found["a"], found["f"]) == (3, 12)
    assert not found.keys() & {"b", "c", "d", "e"}


def test_current_is_private(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    touch(tmp_path, "a.1")
    generations.switch({"a": 1})
    assert (tmp_path / "CURRENT").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "CURRENT").read_text() == "a 1\n"


def test_superseding_what_nobody_can_have_mapped(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(bytes(8192))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "socket"))
        for name in ("gone", "link", "directory", "socket"):
            supersede_file(tmp_path / name, 7)
    assert (tmp_path / "real").read_bytes() == bytes(8192)
    supersede_file(tmp_path / "real", 7)
    assert sum((tmp_path / "real").read_bytes()) == 7


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES])
def test_superseding_what_cannot_be_opened_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=os.strerror(number)):
        supersede_file(tmp_path / "a.1", 7)
