from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import SnapshotBody
from alphapulse.registry.snapshots import Members, flaw, is_short, pack_ids, unpack_ids


def snapshot(number: int, named: int, **said: Any) -> SnapshotBody:
    return SnapshotBody(**{
        "fingerprint": bytes(16), "source": "a", "content_hash": bytes(32), "modified": number,
        "number": number, "named": named, **said,
    })  # fmt: skip


FIRST = snapshot(1, 3, appeared=pack_ids([1, 2, 3]))
SECOND = snapshot(2, 2, gone=pack_ids([3]))


def members(*bodies: SnapshotBody) -> Members:
    found = Members()
    for body in bodies:
        assert flaw(body, found) == ""
        found.fold(body)
    return found


def test_whom_a_source_names() -> None:
    found = members(FIRST, SECOND)
    assert found.named() == {1, 2} and found.names(1) and not found.names(3)
    assert (found.since(3), found.missed(3), found.missed(1), found.missed(9)) == (2, 1, 0, 0)
    assert (found.missing(1), found.missing(2)) == ([3], [])
    short = snapshot(2, 0, modified=3, flaw="short")
    found = members(FIRST, SECOND, short)
    assert (found.number, found.missed(3)) == (2, 1), "a short one counts for none"
    found = members(FIRST, SECOND, snapshot(3, 2, modified=4))
    assert found.missing(2) == [3] and found.missed(3) == 2
    back = members(FIRST, SECOND, snapshot(2, 1, modified=3, flaw="short", appeared=pack_ids([3])))
    assert back.names(3) and back.missing(1) == []


def test_ids() -> None:
    assert unpack_ids(pack_ids((2**64 - 1, 1))) == (1, 2**64 - 1) and pack_ids(()) == b""


@pytest.mark.parametrize("named, before, percent, short", [
    (90, 100, 10, False), (89, 100, 10, True), (1, 2, 0, False), (1, 3, 0, True),
    (0, 1, 100, True), (1, 100, 100, False), (5, 0, 10, False), (0, 0, 10, True),
])  # fmt: skip
def test_what_is_short(named: int, before: int, percent: int, short: bool) -> None:
    assert is_short(named, before, percent) is short


@pytest.mark.parametrize("change, words", [
    ({"gone": b"1234567"}, "cut short"),
    ({"gone": pack_ids([3])[::-1]}, "who was not there"),
    ({"gone": pack_ids([3]) * 2}, "not in order"),
    ({"modified": 1}, "not later"),
    ({"number": 3}, "cannot be snapshot 3"),
    ({"number": 1}, "cannot be snapshot 1"),
    ({"number": 1, "flaw": "short"}, "nobody is gone"),
    ({"appeared": pack_ids([1])}, "who was there"),
    ({"gone": pack_ids([4])}, "who was not there"),
    ({"named": 3}, "its count"),
])  # fmt: skip
def test_a_snapshot_that_cannot_be(change: dict[str, Any], words: str) -> None:
    assert flaw(SECOND, members(FIRST)) == ""
    assert words in flaw(replace(SECOND, **change), members(FIRST))
