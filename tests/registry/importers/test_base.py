"""Opening and reading files: what is no file we can read is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry.importers import InputFile
from alphapulse.registry.importers.base import LINE_SIZE_BYTES_MAX, PIECE_SIZE_BYTES, slug


@pytest.mark.parametrize(
    "make, problem",
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: path.touch(), "it is empty"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("missing"), "No such file"),
    ],
    ids=["missing", "directory", "empty", "pipe", "loop", "dangling"],
)
def test_what_is_no_readable_file_is_refused_by_name(
    tmp_path: Path, make: object, problem: str
) -> None:
    path = tmp_path / "given.csv"
    assert callable(make)
    make(path)
    with pytest.raises(InvalidInput, match=problem) as caught:
        InputFile(path)
    assert str(path) in str(caught.value)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(InvalidInput, match="null byte"):
        InputFile("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("isin,mic\n")
    path.chmod(0)
    with pytest.raises(InvalidInput, match="Permission denied"):
        InputFile(path)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with InputFile(tmp_path / "link") as file:
        assert file.read(10) == b"x"


def test_lines_are_physical_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    long = b"x" * (3 * PIECE_SIZE_BYTES + 5)
    path.write_bytes(b"a\n" + long + b"\n\n" + b"y" * LINE_SIZE_BYTES_MAX)
    with InputFile(path) as file:
        lines = list(file.lines(file.content_hash()))
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [line.size_bytes for line in lines] == [2, len(long) + 1, 1, LINE_SIZE_BYTES_MAX]
    assert [line.is_cut for line in lines] == [False, True, False, False]
    assert all(len(line.data) <= LINE_SIZE_BYTES_MAX for line in lines)


def test_the_hash_is_blake3_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(PIECE_SIZE_BYTES + 77)
    (tmp_path / "f").write_bytes(data)
    with InputFile(tmp_path / "f") as file:
        assert file.content_hash() == blake3(data).digest()


def test_a_file_that_is_cut_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"line\n" * 100_000)
    with InputFile(path) as file:
        lines = file.lines(file.content_hash())
        next(lines)
        os.truncate(path, 0)
        with pytest.raises(InvalidInput, match="changed while it was read"):
            list(lines)


def test_slugs() -> None:
    assert slug("Superchain Token List") == "superchain-token-list"
    assert slug("--a__B--") == "a-b"
    assert slug("日本") == ""
    assert len(slug("x" * 500)) == 64
