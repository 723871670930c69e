"""`feed.imported`: decided, checked, remembered, and found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import FeedBody, Kind, Space
from alphapulse.projections.feed_views import find_import, import_keys
from alphapulse.registry import Origin, Receipt, Registry, replay_into
from alphapulse.registry.audit import Remembered, audit_meaning
from alphapulse.registry.check import check
from alphapulse.registry.commands_feeds import RecordImport
from alphapulse.registry.errors import IllegalEvent, RequestReused
from alphapulse.registry.identity import feed_key, fingerprint_of, primary_id
from alphapulse.registry.render import event_dict

from .homes import open_home, receipts, rows, unit


def file(number: int, source: str = "lists", **changes: Any) -> RecordImport:
    """Of another content for another number."""
    counts = {"rows": 7, "new": 4, "unchanged": 2, "amended": 0, "quarantined": 1}
    said = {**counts, "collisions": 0, "conflicts": 3, **changes}
    return RecordImport(source, f"{number}.json", bytes([number]) * 32, "token-list", **said)


def carry_out(registry: Registry, *files: RecordImport, request_id: str = "") -> list[Receipt]:
    (outcome,) = registry.execute([unit(*files, source="lists", request_id=request_id)])
    return receipts(outcome)


def test_an_import_is_recorded_once(registry: Registry) -> None:
    first, second, again, elsewhere = carry_out(
        registry, file(1), file(2), file(1), file(2, source="others")
    )
    assert [r.outcome for r in (first, second, again, elsewhere)] == [
        "new", "new", "unchanged", "unchanged",
    ]  # fmt: skip
    assert (again.offset, elsewhere.offset, elsewhere.id) == (0, 1, first.id)
    assert carry_out(registry, file(1)) == [first._replace(outcome="unchanged")]
    one, two = registry.read()
    assert (one.space, one.entity, one.previous) == (Space.FEED, first.id, None)
    assert (two.entity, two.previous, two.source) == (first.id, 0, "lists")
    assert isinstance(two.body, FeedBody) and two.body.revision == 2
    assert first.id == primary_id(fingerprint_of(feed_key("lists")))
    assert [registry.imported(bytes([n]) * 32) for n in (1, 2, 3)] == [0, 1, None]
    assert audit_meaning(registry.log).ok


def test_patterns_and_json(registry: Registry) -> None:
    carry_out(registry, file(1))
    for pattern, count in (("kind=feed", 1), ("kind=feed.imported source=lists", 1),
                           ("class=token", 0), ("instrument=0x1", 0)):  # fmt: skip
        assert len(list(registry.read(pattern=pattern))) == count
    (event,) = registry.read()
    assert not list(registry.read(pattern=f"instrument={event.entity:#x}"))
    shown = event_dict(event)
    assert (shown["space"], shown["id"]) == ("feed", f"0x{event.entity:016x}")
    assert isinstance(shown["body"], dict)
    assert shown["body"]["content_hash"] == "01" * 32 and shown["body"]["conflicts"] == 3


def test_retries_by_request_id(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as registry:
        first = carry_out(registry, file(1), request_id="r1")
        unchanged = carry_out(registry, file(1), request_id="r2")
        assert unchanged[0].outcome == "unchanged" and registry.log.head == 2
        carry_out(registry, file(2))
    with open_home(tmp_path / "home") as registry:
        assert carry_out(registry, file(1), request_id="r1") == first
        assert carry_out(registry, file(1), request_id="r2") == unchanged
        (outcome,) = registry.execute([unit(file(3), source="lists", request_id="r1")])
        assert isinstance(outcome, RequestReused)
        assert registry.log.head == 3 and audit_meaning(registry.log).ok


def test_feeds_collide_as_all_else_does(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        files = [file(n, source=f"s{n}") for n in range(60)]
        found = [carry_out(registry, each)[0] for each in files]
        collided = [r for r in found if r.outcome == "collision"]
        assert collided and len({r.id for r in found}) == 60
        assert len(registry.alerts()) == len(collided)
        registry.acknowledge(registry.alerts()[0][0].offset)
        carry_out(registry, *(file(100 + n, source=f"s{n}") for n in range(60)))
        assert audit_meaning(registry.log).ok
        assert all(each.equal for each in registry.rebuild(check=True))
        head, seen = registry.log.head, rows(registry)
    replay_into(tmp_path / "home", tmp_path / "copy", head)
    with open_home(tmp_path / "copy") as copy:
        assert rows(copy) == seen and seen["feeds"][1] == 60 and seen["imports"][1] == 120


def test_hashes_that_begin_alike_are_told_apart(registry: Registry) -> None:
    """The keys of the view are 64 bits, which can be made to collide: the record decides."""
    alike = [bytes(31) + bytes([n]) for n in range(3)]
    assert import_keys(alike[0])[:3] == import_keys(alike[1])[:3]
    for number, content_hash in enumerate(alike):
        assert registry.imported(content_hash) is None
        carry_out(registry, file(1)._replace(content_hash=content_hash))
        assert [registry.imported(each) for each in alike[: number + 1]] == [*range(number + 1)]
    table = registry.views.table("imports")
    assert find_import(table, bytes(31) + b"\x09") is None and table.row_count == 3


FINGERPRINT = fingerprint_of(feed_key("lists"))
ID = primary_id(FINGERPRINT)
BODY = FeedBody(
    fingerprint=FINGERPRINT, source="lists", file="a", content_hash=bytes(32), format="f", rows=1,
    new=1,
)  # fmt: skip
NEXT = replace(BODY, content_hash=b"\1" * 32, revision=2)


@pytest.mark.parametrize(
    "body, words",
    [
        (replace(NEXT, source="other"), "do not belong together"),
        (replace(NEXT, content_hash=b"short"), "not 32 bytes"),
        (replace(NEXT, rows=2), "not as many"),
        (replace(NEXT, new=2, unchanged=-1), "not as many"),
        (replace(NEXT, conflicts=-1), "not as many"),
        (replace(NEXT, content_hash=BODY.content_hash), "imported already"),
        (replace(NEXT, revision=3), "revision 3 does not follow 1"),
        (replace(NEXT, counter=1), "not registered"),
    ],
)
def test_illegal_events(body: FeedBody, words: str) -> None:
    state = Remembered(64)
    after = check(state, Kind.FEED_IMPORTED, Space.FEED, ID, None, BODY)
    state.remember(Space.FEED, ID, after._replace(last_offset=0))
    state._imports[BODY.content_hash] = 0
    check(state, Kind.FEED_IMPORTED, Space.FEED, ID, 0, NEXT)  # the control
    with pytest.raises(IllegalEvent, match=words):
        check(state, Kind.FEED_IMPORTED, Space.FEED, ID, 0, body)


def test_an_illegal_first_event() -> None:
    for space, id, body, words in (
        (Space.INSTRUMENT, ID, BODY, "class is unknown"),
        (Space.FEED, ID ^ 1, BODY, "is free"),
        (Space.FEED, ID, replace(BODY, revision=2), "first revision"),
    ):
        with pytest.raises(IllegalEvent, match=words):
            check(Remembered(64), Kind.FEED_IMPORTED, space, id, None, body)


def test_only_the_first_file_of_a_feed_announces_a_collision(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry, registry.rehearsal() as rehearsal:
        state = rehearsal._state
        for number in range(60):
            state.begin_unit()
            receipt = file(number, source=f"s{number}").decide(state, Origin())
            if receipt.outcome == "collision":
                break
        assert receipt.outcome == "collision"
        body = state.event_at(state.head - 1)[0]
        file(100, source=f"s{number}").decide(state, Origin())
        with pytest.raises(IllegalEvent, match="told already"):
            state.emit(Kind.COLLISION_DETECTED, Space.FEED, receipt.id, body, metadata=b"")
