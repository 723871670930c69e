"""Blocks folded into real views: cut off at every store, and events that come twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alphapulse.log import Block, Corrupt, EventLog, Kind
from alphapulse.projections import VIEWS_BY_NAME
from alphapulse.projections.compare import differing
from alphapulse.projections.folding import ROOM_EVENTS, checked_blocks, fold_block, has_room
from alphapulse.projections.table import Table, TableWriter
from alphapulse.projections.view import View
from alphapulse.registry import (
    AddListing,
    AddToGroup,
    Command,
    Listing,
    Origin,
    Register,
    Registry,
    Token,
    Unit,
)

from .table_model import BOOT_ID, CutOff, trip_after

NAMES = ["instruments", "listings", "relations"]


def unit(number: int, symbol: str = "") -> Unit:
    """A token with a listing, and every other in a group."""
    made = Register.of(Token(chain="eip155:1", address=f"0x{number + 1:040x}", symbol=symbol))
    listing = Listing(instrument=0, venue=("XETR", "XNAS")[number % 2], symbol=f"L{number % 3}")
    commands: list[Command] = [made, AddListing.make(listing, of=made.fingerprint)]
    if number % 2:
        commands.append(AddToGroup(made.fingerprint, "a", f"g{number % 4}"))
    return Unit(tuple(commands), Origin("a"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """Three blocks; in the second, amendments stand between first events."""
    home = tmp_path_factory.mktemp("folding") / "home"
    with Registry.open(home, durability="relaxed") as registry:
        for batch in (
            [unit(n) for n in range(4)],
            [unit(4), unit(5, "S"), unit(0, "S"), unit(6, "S"), unit(1, "T"), unit(7)],
            [unit(n, "S") for n in range(8, 11)],
        ):
            assert all(isinstance(outcome, list) for outcome in registry.execute(batch))
    with EventLog.open(home, mode="r") as log:
        yield log


@pytest.fixture(scope="module")
def blocks(log: EventLog) -> list[Block]:
    found = [block for block, _ in checked_blocks(log, 0, log.head)]
    assert len(found) == 3
    kinds = found[1].kinds.tolist()
    assert kinds.index(Kind.INSTRUMENT_AMENDED) < len(kinds) - 1 - kinds[::-1].index(
        Kind.INSTRUMENT_REGISTERED
    )
    return found


def make(path: Path, view: View, log: EventLog, rows: int = 128) -> TableWriter:
    return Table.create(
        path, view.schema, log_id=log.genesis.log_id, generation=1, rows=rows, boot_id=BOOT_ID
    )


def fold(view: View, table: TableWriter, blocks: Sequence[Block], log: EventLog) -> None:
    for block in blocks:
        kinds = Counter(block.kinds.tolist())
        fold_block(view, table, block, table.applied, kinds.keys(), log.event)


def same(one: TableWriter, other: TableWriter) -> bool:
    """Rows, totals, and each posting list in its order."""
    return (
        one.totals == other.totals == other.sum_rows()
        and not differing(one, other)
        and one._cells_used == other._cells_used
        and one._keys_used == other._keys_used
        and all(
            [one.key_of(cell) for cell in one.postings(number, key)]
            == [other.key_of(cell) for cell in cells]
            for number in range(len(one.schema.secondaries))
            for key, cells in other.posting_keys(number)
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_cut_off_at_any_store_and_folded_again(
    log: EventLog, blocks: list[Block], tmp_path: Path, name: str
) -> None:
    view, path = VIEWS_BY_NAME[name], tmp_path / "cut"
    whole = make(tmp_path / "whole", view, log)
    fold(view, whole, blocks, log)
    for stores in itertools.count():
        table = make(path, view, log)
        fold(view, table, blocks[:1], log)
        trip_after(table, stores)
        try:
            fold(view, table, blocks[1:2], log)
        except CutOff:
            was_cut = True
        else:
            was_cut = False
        log_id = log.genesis.log_id
        with TableWriter.open(path, view.schema, log_id, boot_id=BOOT_ID) as again:
            for key, position in list(again.keys()):
                assert again.intact(position), f"after {stores} stores"
                assert again.find(key) == position
            fold(view, again, [block for block in blocks if block.stop > again.applied], log)
            assert same(again, whole), f"after {stores} stores"
        if not was_cut:
            break
    assert stores > 20
    whole.close()


@pytest.mark.parametrize("name", NAMES)
def test_events_that_come_twice_change_nothing(
    log: EventLog, blocks: list[Block], tmp_path: Path, name: str
) -> None:
    """As in a block that is folded again from somewhere within: from the first entity that is
    known the long way is gone."""
    view = VIEWS_BY_NAME[name]
    with make(tmp_path / "once", view, log) as once, make(tmp_path / "twice", view, log) as twice:
        fold(view, once, blocks, log)
        for block in blocks:
            twice.begin(block.stop)
            # The first half of the block, then all of it.
            view.fold_block(Block(block.prefix(block.first + block.count // 2, bytes(32))),
                            block.first, twice, log.event)  # fmt: skip
            view.fold_block(block, block.first, twice, log.event)
            view.fold_block(block, block.first, twice, log.event)
            twice.finish(block.stop)
        assert same(twice, once)


def test_bytes_that_make_no_sense_are_refused(
    log: EventLog, blocks: list[Block], tmp_path: Path
) -> None:
    view = VIEWS_BY_NAME["instruments"]

    data, kinds = bytearray(blocks[0].data), frozenset(blocks[0].kinds.tolist())
    at = data.index(b"\xa7address")
    data[at : at + 8] = b"\xc1" * 8  # what MessagePack never uses
    with make(tmp_path / "view", view, log) as table, pytest.raises(Corrupt) as caught:
        fold_block(view, table, Block(bytes(data)), 0, kinds, log.event)
    assert "cannot be understood" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_room_is_promised_as_far_as_there_is_some(
    tmp_path: Path, log: EventLog, name: str
) -> None:
    view = VIEWS_BY_NAME[name]
    most, each = view.links_per_event
    fit = []
    for count in range(1, 140):
        with make(tmp_path / "one", view, log) as table:
            pending = count if view.dated else 0
            there = table.room_for(
                count, most * count, links_each_index=each * count, pending=pending
            )
            assert has_room(view, table, count) == there
            fit.append(there)
    assert fit[0] and not fit[-1]


def test_room_for_many_is_looked_for_once(
    tmp_path: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    real = TableWriter.room_for

    def noted(self: TableWriter, rows: int, *given: int, **named: int) -> bool:
        looks.append(rows)
        return real(self, rows, *given, **named)

    monkeypatch.setattr(TableWriter, "room_for", noted)
    view = VIEWS_BY_NAME["instruments"]
    with make(tmp_path / "one", view, log, rows=8_192) as table:
        assert all(has_room(view, table, 300) for _ in range(4))
        assert looks == [ROOM_EVENTS, ROOM_EVENTS], "three times 300 of a thousand, and again"
        assert has_room(view, table, ROOM_EVENTS + 1)
        assert looks[2:] == [ROOM_EVENTS + 1]


def test_room_is_looked_for_again_once_another_process_wrote(
    tmp_path: Path, log: EventLog, blocks: Sequence[Block]
) -> None:
    view = VIEWS_BY_NAME["instruments"]
    with make(tmp_path / "one", view, log) as table:
        left = table.events_left = 50
        other = TableWriter.open(
            tmp_path / "one", view.schema, log.genesis.log_id, boot_id=BOOT_ID
        )
        with other:
            fold(view, other, blocks, log)
        table.refresh()
        assert table.events_left < left, "of what it was promised some is gone"
