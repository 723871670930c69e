from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry.discovery.folder import (
    Folder,
    is_passed_over,
    open_within,
    usable_directories,
)


def names(folder: Folder) -> list[str]:
    directory = folder.look()
    assert directory is not None
    os.close(directory)
    return sorted(each.name for each in folder.candidates)


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "a.csv.part", "a.csv~"])
def test_unfinished_names_are_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "directory").mkdir()
    assert is_passed_over(name)
    assert names(Folder(tmp_path, 0)) == ["a.csv"]


def test_what_is_done_is_a_candidate_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x")
    folder = Folder(tmp_path, 0)
    assert names(folder) == ["a.csv"]
    folder.candidates[0].done = True
    assert names(folder) == []
    before = file.stat()
    file.write_text("y")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # the inode's change still tells
    assert names(folder) == ["a.csv"]
    file.unlink()
    assert names(folder) == []


def test_a_file_is_complete_once_it_stays_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x")
    folder = Folder(tmp_path, settle_s=60)
    names(folder)
    (young,) = folder.candidates
    assert young.ready_at_s > time.monotonic() + 50
    names(folder)
    assert folder.candidates == [young], "it is the same, and its time goes on"
    file.write_text("more")
    names(folder)
    assert folder.candidates[0].ready_at_s > young.ready_at_s
    with mock.patch("time.time_ns", return_value=time.time_ns() + 61 * 10**9):
        set_ahead = Folder(tmp_path, settle_s=60)
        names(set_ahead)
    assert set_ahead.candidates[0].ready_at_s > time.monotonic() + 50, "only the clock is later"
    with mock.patch("time.time_ns", return_value=time.time_ns() + 121 * 10**9):
        old = Folder(tmp_path, settle_s=60)
        names(old)
    assert old.candidates[0].ready_at_s <= time.monotonic()


def test_what_is_opened_is_what_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    folder = Folder(tmp_path, 0)
    directory = folder.look()
    assert directory is not None
    (candidate,) = folder.candidates
    opened = open_within(directory, candidate)
    assert opened is not None
    os.close(opened)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "a.csv").unlink()
    assert open_within(directory, candidate) is None
    (tmp_path / "a.csv").symlink_to("secret")
    assert open_within(directory, candidate) is None
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv").write_text("x")
    assert open_within(directory, candidate) is None, "another file of that name"
    (tmp_path / "a.csv").unlink()
    os.mkfifo(tmp_path / "a.csv")
    assert open_within(directory, candidate) is None, "and it does not wait for a writer"
    os.close(directory)


def test_files_that_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "theirs").write_text("x")
    folder = Folder(tmp_path, 0)
    with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
        names(folder)
    found = {each.name: each.trouble for each in folder.candidates}
    assert found.pop("theirs").startswith(f"it belongs to user {os.geteuid()}, not")
    assert found == {"link": "it is a symbolic link", "pipe": "it is not a regular file"}


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(116, "Stale file handle")])
def test_a_directory_that_fails_in_the_middle_is_not_there(
    tmp_path: Path, error: OSError
) -> None:
    """One that may be listed and not entered, or whose server is gone, ends no watching."""
    (tmp_path / "a.csv").write_text("x")
    folder = Folder(tmp_path, 0)
    before = len(os.listdir("/proc/self/fd"))
    with mock.patch("os.scandir", side_effect=error):
        assert folder.look() is None
    assert str(error.strerror) in folder.trouble and folder.key is None
    assert len(os.listdir("/proc/self/fd")) == before
    assert names(folder) == ["a.csv"]


def test_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("a")
    assert usable_directories([tmp_path / "a", str(tmp_path / "a")]) == [tmp_path / "a"]
    for name, why in (("none", "No such file"), ("file", "Not a directory"),
                      ("link", "links are not followed")):  # fmt: skip
        with pytest.raises(InvalidInput, match=why):
            usable_directories([tmp_path / name])
    with pytest.raises(InvalidInput, match="no directory is named"):
        usable_directories([])
