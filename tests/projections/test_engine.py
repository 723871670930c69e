"""The engine on real homes: whatever happened to a view file, the views are the log's again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from alphapulse.log import Closed, EventLog, InstrumentRecord, InvalidInput, SystemRefused
from alphapulse.projections import SUPERSEDED, VIEWS, ViewFull, Views, ViewState
from alphapulse.projections.engine import ROWS_MIN
from alphapulse.projections.layout import IN_PROGRESS
from alphapulse.projections.table import TableWriter
from alphapulse.registry import Equity, Listing, Origin, Register, Registry, Token, Unit

NAMES = [view.schema.name for view in VIEWS]


def token(number: int, **fields: Any) -> Token:
    return Token(**{"chain": "eip155:1", "address": f"0x{number + 1:040x}", **fields})


def fill(registry: Registry, count: int = 3) -> list[int]:
    """Something in every view."""
    units = [Unit((Register.of(token(n, symbol=f"T{n}")),), Origin("a", b"", f"r{n}"))
             for n in range(count)]  # fmt: skip
    ids = [outcome[0].id for outcome in registry.execute(units) if isinstance(outcome, list)]
    registry.add_listing(Listing(instrument=ids[0], venue="XETR", symbol="L"), source="a")
    registry.add_to_group(ids[0], "a", "g")
    registry.register(token(0, symbol="U"), source="b")
    return ids


def states(registry: Registry) -> dict[str, ViewState]:
    return registry.views.states()


def files(home: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {name: [] for name in NAMES}
    for path in (home / "views").iterdir():
        name, _, number = path.name.partition(".")
        if number.isdigit():
            found[name].append(int(number))
    return {name: sorted(numbers) for name, numbers in found.items()}


def current(home: Path) -> dict[str, int]:
    lines = (home / "views" / "CURRENT").read_text().splitlines()
    return {name: int(number) for name, number in (line.split() for line in lines)}


def open_home(home: Path, mode: Literal["r", "rw"] = "rw") -> Registry:
    return Registry.open(home, mode=mode, durability="relaxed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_home(tmp_path / "home") as registry:
        fill(registry)
    return tmp_path / "home"


def whole(home: Path) -> dict[str, ViewState]:
    """What the views say, once they were found equal to a fresh fold of the log."""
    with open_home(home) as registry:
        for rebuilt in registry.rebuild(check=True):
            assert rebuilt.equal, rebuilt
        assert {state.lag_events for state in states(registry).values()} == {0}
        assert len(registry.alerts()) == 1
        return states(registry)


# --- following the log -----------------------------------------------------------------------


def test_views_follow_each_commit(registry: Registry) -> None:
    assert set(states(registry)) == set(NAMES)
    ids = fill(registry)
    found = states(registry)
    assert {name: state.rows for name, state in found.items()} == {
        "instruments": 3, "listings": 1, "relations": 1, "alerts": 1, "requests": 3,
        "feeds": 0, "imports": 0, "candidates": 0, "proposals": 0, "venues": 0,
    }  # fmt: skip
    assert {state.offset for state in found.values()} == {registry.log.head} == {6}
    position = registry.views.table("instruments").find(ids[2])
    assert InstrumentRecord(registry.views.table("instruments").arena, position).symbol == "T2"


def test_a_clean_home_is_not_rebuilt(home: Path) -> None:
    before = files(home)
    with open_home(home) as registry:
        assert registry.views.rebuilt == []
    assert files(home) == before == {name: [1] for name in NAMES}


def test_views_that_lag_are_advanced_by_the_next_opener(home: Path) -> None:
    before = whole(home)
    saved = home.parent / "saved"
    shutil.copytree(home / "views", saved)
    with open_home(home) as registry:
        id = registry.register(token(77, symbol="LATE")).id
        after = states(registry)
    shutil.rmtree(home / "views")
    shutil.copytree(saved, home / "views")
    with open_home(home) as registry:
        assert registry.views.rebuilt == []
        assert registry.get(id) is not None
        assert states(registry) == after != before


# --- files that cannot be used ---------------------------------------------------------------


def _cut(path: Path, home: Path) -> None:
    os.truncate(path, 1_000)


def _half(path: Path, home: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path, home: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(20)
        byte = file.read(1)
        file.seek(20)
        file.write(bytes([byte[0] ^ 1]))


def _foreign(path: Path, home: Path) -> None:
    with open_home(home.parent / "other") as registry:
        fill(registry, 9)
    shutil.copy(home.parent / "other" / "views" / path.name, path)


def _another_view(path: Path, home: Path) -> None:
    other = "listings.1" if path.name != "listings.1" else "alerts.1"
    shutil.copy(path.with_name(other), path)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda path, home: path.unlink(),
    "empty": lambda path, home: os.truncate(path, 0),
    "cut in the header": _cut,
    "cut in half": _half,
    "a bit of the header": _flip,
    "zeroes": lambda path, home: path.write_bytes(bytes(path.stat().st_size)),
    "of another log": _foreign,
    "another view": _another_view,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_view_that_cannot_be_used_is_rebuilt_unasked(home: Path, damage: str) -> None:
    before = whole(home)
    for name in NAMES:
        kept = home / "views" / f"{name}.1"
        if damage == "another view" and name == "alerts":
            kept.with_name("listings.1").write_bytes(b"")  # spent: it is rebuilt as well
        DAMAGE[damage](kept, home)
    with open_home(home) as registry:
        assert sorted(registry.views.rebuilt) == sorted(NAMES)
    assert whole(home) == before


@pytest.mark.parametrize("name", NAMES)
def test_only_the_damaged_view_is_rebuilt(home: Path, name: str) -> None:
    before = whole(home)
    (home / "views" / f"{name}.1").unlink()
    with open_home(home) as registry:
        assert registry.views.rebuilt == [name]
        assert states(registry) == before
    assert set(current(home)) == set(NAMES)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"instruments 99\n", b"instruments\n", b"instruments 1 2\nlist"]
)
def test_a_damaged_current_is_made_again(home: Path, text: bytes) -> None:
    before = whole(home)
    (home / "views" / "CURRENT").write_bytes(text)
    assert whole(home) == before
    assert set(current(home)) == set(NAMES)


def test_all_views_may_be_deleted(home: Path) -> None:
    before = whole(home)
    shutil.rmtree(home / "views")
    assert whole(home) == before


def test_a_view_of_an_older_version_is_rebuilt(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole(home)
    view = VIEWS[0]
    newer = type(view.schema)(view.schema.name, view.schema.version + 1, view.schema.secondaries)
    monkeypatch.setattr(type(view), "schema", newer)
    with open_home(home) as registry:
        assert registry.views.rebuilt == ["instruments"]
        assert states(registry) == before


def test_a_view_that_saw_more_than_the_log_has_is_rebuilt(home: Path) -> None:
    """The log was restored from an older copy; the checkpoint went with it."""
    for name in ("log", "checkpoints"):
        source = home / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, home.parent / f"saved-{name}")
    before = whole(home)
    with open_home(home) as registry:
        lost = registry.register(token(50)).id
    shutil.rmtree(home / "log")
    shutil.copytree(home.parent / "saved-log", home / "log")
    shutil.copy(home.parent / "saved-checkpoints", home / "checkpoints")
    with open_home(home) as registry:
        assert sorted(registry.views.rebuilt) == sorted(NAMES)
        assert registry.get(lost) is None
        assert states(registry) == before


def test_a_view_left_dirty_by_another_boot_is_rebuilt(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole(home)
    registry = open_home(home)
    registry.register(token(0))  # changes nothing, but opens; then one that makes views dirty
    registry.register(token(60))
    registry.log.close()  # the views were never marked clean
    monkeypatch.setattr("alphapulse.projections.engine.this_boot", lambda: bytes(16))
    with open_home(home) as again:
        assert sorted(again.views.rebuilt) == sorted(NAMES)
        assert states(again)["instruments"].rows == before["instruments"].rows + 1


# --- folds that were cut off -----------------------------------------------------------------


@pytest.mark.parametrize("where", ["begin", "insert_all", "link_all", "finish"])
def test_an_interrupted_fold_is_folded_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The commit is in the log; the view was left in the middle of it."""
    whole(home)
    real = getattr(TableWriter, where)
    registry = open_home(home)
    left = [2 if where == "link_all" else 1]

    def breaks(self: TableWriter, *arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(self, *arguments, **more)

    monkeypatch.setattr(TableWriter, where, breaks)
    with pytest.raises(KeyboardInterrupt):
        registry.register_many([token(n, symbol=f"N{n}") for n in range(20, 24)], source="a")
    monkeypatch.undo()
    assert registry.log.head == 10
    known = registry.register(token(21, symbol="N21"), source="a")
    assert known.outcome == "unchanged"
    found = states(registry)
    assert found["instruments"].rows == 7
    registry.close()
    assert whole(home) == found


def test_a_missing_superseded_word_is_made_good(home: Path) -> None:
    """A process was killed between the switch of CURRENT and the word in the old file."""
    reader = open_home(home, mode="r")
    held = reader.views.table("instruments")
    with open_home(home) as registry:
        registry.rebuild(["instruments"])
    assert (held.words[SUPERSEDED], held.generation) == (2, 1)
    forget_superseded(home, reader.views._boot_id)
    assert held.words[SUPERSEDED] == 0
    with open_home(home):
        assert held.words[SUPERSEDED] == 2
    assert reader.views.table("instruments").generation == 2
    reader.close()


def forget_superseded(home: Path, boot_id: bytes) -> None:
    """In the first file of the instruments."""
    path = home / "views" / "instruments.1"
    with EventLog.open(home, mode="r", durability="relaxed") as log:
        writer = TableWriter.open(path, VIEWS[0].schema, log.genesis.log_id, boot_id=boot_id)
        writer.words[SUPERSEDED] = 0
        writer.close()


def test_an_old_file_that_cannot_be_opened_is_not_passed_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a reader that has it mapped would never learn of the new one."""
    reader = open_home(home, mode="r")
    held = reader.views.table("instruments")
    with open_home(home) as registry:
        registry.rebuild(["instruments"])
    forget_superseded(home, reader.views._boot_id)
    real = os.open

    def no_descriptor_left(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if os.fspath(path).endswith("instruments.1") and flags & os.O_RDWR:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", no_descriptor_left)
        with pytest.raises(SystemRefused):
            open_home(home)
    assert held.words[SUPERSEDED] == 0
    with open_home(home) as registry:
        assert held.words[SUPERSEDED] == 2
        registry.register(token(77))
        assert reader.resolve(token(77)) is not None
    reader.close()


# --- growing ---------------------------------------------------------------------------------


def test_growing_through_generations_keeps_readers_working(tmp_path: Path) -> None:
    home, ids = tmp_path / "home", []
    with open_home(home) as registry, open_home(home, mode="r") as reader:
        for start in range(0, 9 * 300, 300):
            batch = [token(n, symbol=f"T{n}") for n in range(start, start + 300)]
            ids += [receipt.id for receipt in registry.register_many(batch)]
            for number in (0, start // 2, start, len(ids) - 1):
                found = reader.get(ids[number])
                assert found is not None
                assert found.symbol == f"T{number}"
        generation = current(home)["instruments"]
        assert generation >= 3
        assert files(home)["instruments"] == [generation - 1, generation]
        assert reader.views.table("instruments").generation == generation
        assert [reader.get(id) is not None for id in ids].count(False) == 0
        held = states(registry)["instruments"]
        assert (held.rows, held.lag_events) == (9 * 300, 0)
        (rebuilt,) = registry.rebuild(["instruments"], check=True)
        assert rebuilt.equal
        assert files(home)["instruments"] == [generation - 1, generation]


def test_a_record_stays_good_while_its_view_grows(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as registry:
        id = registry.register(token(0, symbol="T0")).id
        record = registry.get(id)
        registry.rebuild()
        registry.amend(id, symbol="NEW")
        registry.rebuild()
        now = registry.get(id)
        assert record is not None
        assert now is not None
        assert (record.symbol, now.symbol) == ("T0", "NEW")


def test_a_view_grows_while_it_is_rebuilt(tmp_path: Path) -> None:
    """Others register all the while, so many that the live view is replaced in between."""
    with open_home(tmp_path / "home") as registry:
        registry.register_many([token(n) for n in range(ROWS_MIN - 100)])
        more = iter([[token(n) for n in range(3_000, 5_500)]])

        def meanwhile(view: str, done: int, total: int) -> None:
            for batch in more:
                registry.register_many(batch)

        (rebuilt,) = registry.rebuild(["instruments"], progress=meanwhile)
        assert rebuilt.equal
        assert states(registry)["instruments"].rows == ROWS_MIN - 100 + 2_500
        assert registry.register(token(9_999)).outcome == "new"
        assert len(files(tmp_path / "home")["instruments"]) == 2
    whole_rows = {}
    with open_home(tmp_path / "home") as registry:
        assert registry.views.rebuilt == []
        whole_rows = {r.view: r.equal for r in registry.rebuild(check=True)}
    assert set(whole_rows.values()) == {True}


def test_many_request_ids_leave_no_file_behind(tmp_path: Path) -> None:
    """The requests view is built small, since hardly any event has an id, and grows."""
    with open_home(tmp_path / "home") as registry:
        units = [Unit((Register.of(token(n)),), Origin("a", b"", f"r{n}")) for n in range(3_000)]
        assert all(isinstance(outcome, list) for outcome in registry.execute(units))
        before = files(tmp_path / "home")
        assert all(each.equal for each in registry.rebuild(check=True))
        assert files(tmp_path / "home") == before
        assert states(registry)["requests"].rows == 3_000


def test_no_space_leaves_the_old_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with open_home(home) as registry:
        first = registry.register_many([token(n) for n in range(1_000)])
        kept, head = files(home), registry.log.head

        def full(descriptor: int, offset: int, size: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(os, "posix_fallocate", full)
        while head < 50_000:
            before = states(registry)
            more = [Register.of(token(n)) for n in range(head, head + 1_000)]
            outcomes = list(registry.execute(Unit((each,), Origin()) for each in more))
            if not isinstance(outcomes[0], list):
                break
            head = registry.log.head
        assert {type(outcome) for outcome in outcomes} == {ViewFull}
        with pytest.raises(ViewFull):
            registry.rebuild(["listings"])
        assert registry.log.head == head
        assert (states(registry), files(home)) == (before, kept)
        assert registry.get(first[7].id) is not None
        assert registry.register(token(head)).outcome == "new"  # there is room for one more
        monkeypatch.undo()
        registry.register_many([token(n) for n in range(head, head + 1_000)])
        assert states(registry)["instruments"].rows == head + 1_000
        assert all(each.equal for each in registry.rebuild(check=True))


def test_a_growth_that_cannot_be_named_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.projections.engine.ROWS_MIN", 16)
    with open_home(tmp_path / "home") as registry:
        registry.register_many([token(n) for n in range(20)])
        kept = files(tmp_path / "home")

        def refuse(descriptor: int, data: bytes) -> int:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("alphapulse.projections.generations._write_durably", refuse)
            with pytest.raises(SystemRefused):
                registry.register_many([token(n) for n in range(20, 400)])
        assert files(tmp_path / "home") == kept
        registry.register_many([token(n) for n in range(20, 400)])
        assert states(registry)["instruments"].rows == 400


# --- rebuilding by hand ----------------------------------------------------------------------


def test_rebuilding_puts_a_new_generation_in_force(home: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with open_home(home) as registry, open_home(home, mode="r") as reader:
        before = states(registry)
        results = registry.rebuild(progress=lambda *each: seen.append(each))
        assert [(r.view, r.equal, r.events, r.differing) for r in results] == [
            (name, True, 6, []) for name in NAMES
        ]
        assert states(registry) == states(reader) == before
        assert [view for view, done, total in seen if done == total == 6] == NAMES
        assert current(home) == dict.fromkeys(NAMES, 2)
        registry.rebuild(["alerts"])
        assert files(home)["alerts"] == [2, 3]  # one to go back to, and no more
        assert files(home)["listings"] == [1, 2]
        with pytest.raises(InvalidInput, match="field views: "):
            registry.rebuild(["nonsense"])


def test_checking_changes_nothing_and_names_what_differs(home: Path) -> None:
    with open_home(home) as registry:
        id = registry.register(Equity(isin="US0378331005", symbol="AAPL")).id
        table = registry.views._writers["instruments"]
        kept = files(home), current(home)
        position = table.find(id)
        table.begin(registry.log.head + 1)
        table.put(
            id, table.payload(position)[:108] + b"FAKE" + bytes(16), last_offset=6, data_offset=6,
            row_digest=5,
        )  # fmt: skip
        table.finish(registry.log.head)
        table.words[IN_PROGRESS] = registry.log.head
        found = {each.view: each for each in registry.rebuild(check=True)}
        assert [name for name, each in found.items() if not each.equal] == ["instruments"]
        assert found["instruments"].differing == [id]
        assert (files(home), current(home)) == kept
        (mended,) = registry.rebuild(["instruments"])
        assert not mended.equal
        record = registry.get(id)
        assert record is not None
        assert record.symbol == "AAPL"
    whole(home)


def test_a_view_as_it_was(home: Path) -> None:
    with open_home(home) as registry:
        then = registry.views.build_as_of("instruments", 2)
        assert (then.row_count, then.applied, then.totals.applied) == (2, 2, 2)
        path = Path(then.path)
        then.close()
        path.unlink()
        assert states(registry)["instruments"].rows == 3


def test_views_of_a_closed_log_do_not_come_back(home: Path) -> None:
    with EventLog.open(home, mode="r", durability="relaxed") as log:
        views = Views(log)
        views.close()
        views.close()
        with pytest.raises(Closed):
            views.table("instruments").find(1)
