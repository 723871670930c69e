"""View files torn, cut, missing, foreign, of another version: made again from the log, unasked."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock
from zlib import crc32

import pytest

from alphapulse.log import AlphaPulseError, Home
from alphapulse.log.eventlog import Mode
from alphapulse.projections import VIEWS_BY_NAME
from alphapulse.projections.layout import (
    APPLIED,
    ARENA_NEXT,
    CRC,
    IN_PROGRESS,
    STATIC,
    STATIC_SIZE_BYTES,
    WORD_SIZE_BYTES,
)
from alphapulse.projections.table import TableWriter
from alphapulse.registry import Registry, audit

from .children import complaints, forked_verification, seeds
from .lists import tokens

COUNT = 60


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("views") / "home"
    with Registry.open(home, durability="relaxed") as registry:
        registry.register_many(tokens(COUNT))
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "home")
    return tmp_path / "home"


def is_good(home: Path, mode: Mode = "rw") -> list[str]:
    """Everything is found and the audit is content; says which views were made again."""
    with forked_verification(), Registry.open(home, mode=mode) as registry:
        for token in tokens(COUNT):
            id = registry.resolve(token)
            assert id is not None and registry.get(id) is not None
        rebuilt = list(registry.views.rebuilt)
    assert complaints(home) == []
    with Registry.open(home) as registry:
        assert registry.views.rebuilt == [], "it is made again once"
    return rebuilt


def instruments_file(home: Path) -> Path:
    (path,) = (home / "views").glob("instruments.*")
    return path


def set_word(path: Path, number: int, value: int) -> None:
    with open(path, "r+b") as file:
        file.seek(number * WORD_SIZE_BYTES)
        file.write(value.to_bytes(WORD_SIZE_BYTES, "little"))


def get_word(path: Path, number: int) -> int:
    start = number * WORD_SIZE_BYTES
    return int.from_bytes(path.read_bytes()[start : start + WORD_SIZE_BYTES], "little")


def restamp(path: Path, **changes: object) -> None:
    """Changes fields of the static header under a valid CRC."""
    names = ("magic", "layout", "version", "name", "digest", "log_id")
    data = path.read_bytes()
    fields = list(STATIC.unpack_from(data))
    for name, value in changes.items():
        fields[names.index(name)] = value
    head = STATIC.pack(*fields)
    head = head[: -CRC.size] + CRC.pack(crc32(head[: -CRC.size]))
    path.write_bytes(head + data[STATIC_SIZE_BYTES:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(4096))


def half_a_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


def noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(len(path.read_bytes())))


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    real = path.parent.parent / "elsewhere"
    path.rename(real)
    path.symlink_to(real)


def older_version(path: Path) -> None:
    restamp(path, version=0)


def newer_version(path: Path) -> None:
    restamp(path, version=99)


def other_layout(path: Path) -> None:
    restamp(path, layout=99)


def foreign(path: Path) -> None:
    restamp(path, log_id=bytes(16))


def another_view(path: Path) -> None:
    other = next(path.parent.glob("listings.*"))
    shutil.copy(other, path)


def other_indexes(path: Path) -> None:
    restamp(path, digest=bytes(16))


def header_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[70] ^= 4
    path.write_bytes(data)


def counters(path: Path) -> None:
    set_word(path, ARENA_NEXT, 1 << 40)


def seen_too_much(path: Path) -> None:
    set_word(path, APPLIED, COUNT + 5)
    set_word(path, IN_PROGRESS, COUNT + 5)


WAYS: tuple[Callable[[Path], None], ...] = (
    Path.unlink, cut, grown, half_a_header, emptied, zeroed, noise, a_directory, a_link,
    older_version, newer_version, other_layout, foreign, another_view, other_indexes, header_bit,
    counters, seen_too_much,
)  # fmt: skip


@pytest.mark.parametrize("spoil", WAYS, ids=[way.__name__ for way in WAYS])
def test_a_spoilt_file_is_made_again(home: Path, spoil: Callable[[Path], None]) -> None:
    spoil(instruments_file(home))
    assert is_good(home) == ["instruments"]


@pytest.mark.parametrize("spoil", [cut, Path.unlink, foreign], ids=["cut", "missing", "foreign"])
def test_a_reader_makes_it_again_too(home: Path, spoil: Callable[[Path], None]) -> None:
    spoil(instruments_file(home))
    assert is_good(home, "r") == ["instruments"]


@pytest.mark.parametrize(
    "text",
    [
        None, b"", bytes(100), b"instruments\n", b"instruments 0\n", b"instruments 77\n",
        b"instruments -1\n", b"instruments 99999999999999999999999\n", b"\xff\xfe garbage \n",
        "instruments ٣\n".encode(), b"listings 1\ninstruments 1", b"../../etc 1\n",
    ],
)  # fmt: skip
def test_a_damaged_current(home: Path, text: bytes | None) -> None:
    current = home / "views" / "CURRENT"
    if text is None:
        current.unlink()
    else:
        current.write_bytes(text)
    is_good(home)


def test_no_views_at_all(home: Path) -> None:
    shutil.rmtree(home / "views")
    assert is_good(home) == list(VIEWS_BY_NAME)


def test_views_that_came_with_a_later_version(home: Path) -> None:
    """A home that was made before them gets them, and only them, when it is opened."""
    current = home / "views" / "CURRENT"
    kept = [line for line in current.read_text().splitlines() if "feeds" not in line]
    assert len(kept) == len(VIEWS_BY_NAME) - 1
    current.write_text("".join(f"{line}\n" for line in kept))
    for path in (home / "views").glob("feeds.*"):
        path.unlink()
    assert is_good(home) == ["feeds"]


def test_views_of_another_home(home: Path, tmp_path: Path) -> None:
    with Registry.open(tmp_path / "other", durability="relaxed") as registry:
        registry.register_many(reversed(tokens(COUNT)))
    shutil.rmtree(home / "views")
    shutil.copytree(tmp_path / "other" / "views", home / "views")
    assert is_good(home) == list(VIEWS_BY_NAME)


def test_views_of_an_earlier_moment(home: Path, tmp_path: Path) -> None:
    """A copy that is behind is brought forward, not made again."""
    shutil.copytree(home / "views", tmp_path / "earlier")
    with Registry.open(home, durability="relaxed") as registry:
        later = registry.register_many(tokens(COUNT + 20))[-1]
    shutil.rmtree(home / "views")
    shutil.copytree(tmp_path / "earlier", home / "views")
    with Registry.open(home) as registry:
        assert registry.get(later.id) is not None and registry.views.rebuilt == []
    assert complaints(home) == []


def test_a_file_left_dirty_in_another_boot_is_made_again(home: Path) -> None:
    with (
        mock.patch("alphapulse.projections.engine.this_boot", return_value=b"the boot before."),
        mock.patch.object(TableWriter, "mark_clean", return_value=None),
        Registry.open(home, durability="relaxed") as registry,
    ):
        registry.register_many(tokens(COUNT + 1))
    # Only a view that was written since is dirty; one that was closed cleanly is as good as ever.
    assert "instruments" in is_good(home)


def test_any_bit_of_a_view_file(home: Path, scale: float) -> None:
    """Nothing wrong is served in silence: it is made again, or nothing changed, or the audit says
    so, and a rebuild puts it right."""
    path, outcomes = instruments_file(home), set()
    good = path.read_bytes()
    used = get_word(path, ARENA_NEXT)
    for seed in seeds(max(6, round(8 * scale))):
        rng = random.Random(seed)
        shutil.rmtree(home / "views")
        (home / "views").mkdir()
        (home / "views" / "CURRENT").write_text("instruments 1\n")
        data = bytearray(good)
        # Half of them in the records in use, the others in the header and the indexes.
        records = used - COUNT * 192
        bit = rng.randrange(records * 8 if rng.random() < 0.5 else 0, used * 8)
        data[bit >> 3] ^= 1 << (bit & 7)
        path.write_bytes(data)
        wrong = complaints(home)
        with Registry.open(home) as registry:
            try:
                same = all(registry.resolve(token) is not None for token in tokens(COUNT))
            except AlphaPulseError:  # a word that leads out of the log or the file
                same = False
            outcomes.add(bool(wrong))
            assert same or wrong, f"seed {seed}, bit {bit}"
            registry.rebuild()
            assert all(registry.resolve(token) is not None for token in tokens(COUNT))
        assert complaints(home) == []
    assert True in outcomes


def test_an_audit_notices_a_damaged_record(home: Path) -> None:
    """Its totals are as they were; the record itself is not."""
    path = instruments_file(home)
    data = bytearray(path.read_bytes())
    data[get_word(path, ARENA_NEXT) - 192 + 110] ^= 1  # a letter of the last symbol
    path.write_bytes(data)
    assert [v.name for v in audit(home) if not v.ok] == ["views"]
    with Registry.open(home) as registry:
        registry.rebuild()
    assert complaints(home) == []


def test_leftovers_of_killed_processes_are_harmless(home: Path) -> None:
    views = Home(home).views
    (views / "CURRENT.4242").write_text("instr")
    (views / "instruments.9").write_bytes(b"half a file")
    (views / "instruments.notes").write_text("not ours")
    assert is_good(home) == []
    with Registry.open(home) as registry:
        registry.rebuild()
        assert registry.views.table("instruments").generation == 10
    assert (views / "instruments.notes").exists()
    assert not (views / "instruments.9").exists()
