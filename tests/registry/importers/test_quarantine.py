"""The quarantine file: complete or absent, private, and safe to look at."""

from __future__ import annotations

import json
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry.importers import Quarantine
from alphapulse.registry.importers.quarantine import ROW_SIZE_BYTES_MAX, default_path


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_kept_when_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    with Quarantine(path) as quarantine:
        quarantine.add("f.json", "tokens[1]", "bad", {"symbol": "A", "n": Decimal("1.50")})
        quarantine.add("f.csv", "line 3", "worse", "a,b\u202e")
        assert not path.exists()
    assert rows_of(path) == [
        {"file": "f.json", "place": "tokens[1]", "reason": "bad",
         "row": {"symbol": "A", "n": "1.50"}},
        {"file": "f.csv", "place": "line 3", "reason": "worse", "row": "a,b\u202e"},
    ]  # fmt: skip
    assert path.read_bytes().isascii()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q.jsonl"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_interrupted_import_leaves_the_file_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    before = '{"file": "before"}\n'
    path.write_text(before)

    def interrupted() -> None:
        with Quarantine(path) as quarantine:
            quarantine.add("f", "line 1", "bad", "x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    with pytest.raises(InvalidInput, match="another file has that name"):
        Quarantine.named(path)
    assert path.read_text() == "precious"
    path.write_text("")
    with Quarantine.named(path) as quarantine:
        quarantine.add("f", "line 1", "bad", "x")
    with Quarantine.named(path) as quarantine:
        quarantine.add("f", "line 2", "bad", "x")
    assert "line 2" in path.read_text()


@pytest.mark.parametrize("whole", [True, False])
def test_a_huge_row_is_shortened(tmp_path: Path, whole: bool) -> None:
    path, symbol = tmp_path / "q.jsonl", "s" * 10_000_000
    row = symbol if whole else {"symbol": symbol}
    with Quarantine(path) as quarantine:
        quarantine.add("f", "line 1", "too long", row)
    assert path.stat().st_size < ROW_SIZE_BYTES_MAX
    assert str(rows_of(path)[0]["row"]).endswith("s…")


@pytest.mark.parametrize("name", [".", "missing/q.jsonl"])
def test_a_place_where_no_file_can_be_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="directory"):
        Quarantine(tmp_path / name)


def test_a_failing_write_is_an_error_and_not_a_lost_row(tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    quarantine = Quarantine(place / "q.jsonl")
    place.rmdir()
    with pytest.raises(InvalidInput, match="writing the quarantine"):
        quarantine.add("f", "line 1", "bad", "x")


def test_the_default_place_names_file_and_content(tmp_path: Path) -> None:
    path = default_path(tmp_path, Path("a/tokens.json"), bytes(range(32)))
    assert path == tmp_path / "tokens.json-00010203.jsonl"
    long = default_path(tmp_path, Path("ü" * 120), bytes(32))
    with Quarantine(long) as quarantine:
        quarantine.add("f", "line 1", "bad", "x")
    assert long.is_file()
