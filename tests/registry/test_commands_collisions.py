"""Collisions of ids, made by homes with few id bits."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from alphapulse.log import CollisionBody, Kind, Space
from alphapulse.projections.table import TableWriter
from alphapulse.registry import (
    AddToGroup,
    IdSpaceFull,
    Listing,
    Receipt,
    Register,
    Registry,
    audit,
    replay_into,
)
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.identity import fallback_id, fingerprint_of, primary_id

from .homes import open_home, receipts, record, rows, token, tokens, unit


def collisions(registry: Registry, space: Space) -> list[tuple[int, CollisionBody]]:
    return [
        (event.offset, event.body)
        for event in registry.read(pattern="kind=collision")
        if event.space == space and isinstance(event.body, CollisionBody)
    ]


def check_collisions(registry: Registry, space: Space, found: list[Receipt]) -> None:
    """Each fallback id has its event and alert right behind its registration, and only those."""
    by_fingerprint = {receipt.fingerprint: receipt for receipt in found}
    assert len({receipt.id for receipt in found}) == len(found)
    assert 0 not in {receipt.id for receipt in found}
    events = collisions(registry, space)
    assert len(events) == sum(receipt.outcome == "collision" for receipt in found) > 0
    for offset, body in events:
        newcomer = by_fingerprint[body.fingerprint]
        assert (newcomer.outcome, newcomer.offset, newcomer.id) == (
            "collision", offset - 1, body.assigned
        )  # fmt: skip
        holder = by_fingerprint[body.holder_fingerprint]
        assert (holder.id, body.holder) == (body.wanted, body.wanted)
        assert holder.offset < newcomer.offset
        assert fingerprint_of(body.key) == body.fingerprint
        assert fingerprint_of(body.holder_key) == body.holder_fingerprint
        bits = registry.log.genesis.id_bits
        assert fallback_id(body.fingerprint, body.counter, bits) == body.assigned
        assert primary_id(body.fingerprint, bits) in (body.wanted, 0)


@pytest.mark.parametrize("id_bits, count", [(8, 120), (10, 300), (12, 600)])
def test_every_key_finds_its_own(tmp_path: Path, id_bits: int, count: int) -> None:
    wanted = tokens(count)
    with open_home(tmp_path / "home", id_bits=id_bits) as registry:
        found = registry.register_many(wanted, source="a")
        check_collisions(registry, Space.INSTRUMENT, found)
        assert {receipt.outcome for receipt in found} == {"new", "collision"}
        assert len(registry.alerts()) == len(collisions(registry, Space.INSTRUMENT))
        for each, receipt in zip(wanted, found, strict=True):
            assert registry.resolve(each) == receipt.id < 1 << id_bits
            assert record(registry, receipt.id).fingerprint == receipt.fingerprint
            assert record(registry, receipt.id).symbol == each.symbol
        again = registry.register_many(reversed(wanted), source="b")
        assert again[::-1] == [r._replace(outcome="unchanged") for r in found]
        assert registry.resolve(token(count + 1)) is None
        assert audit_meaning(registry.log).ok
        assert all(each.equal for each in registry.rebuild(check=True))
        head, seen = registry.log.head, rows(registry)
    replay_into(tmp_path / "home", tmp_path / "copy", head)
    with open_home(tmp_path / "copy") as copy:
        assert [copy.resolve(each) for each in wanted] == [receipt.id for receipt in found]
        assert rows(copy) == seen


def test_listings_and_relations_collide_too(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        owner = registry.register(token(0, symbol="T"))
        listings = [
            registry.add_listing(Listing(instrument=owner.id, venue="XETR", line=n, symbol="T"))
            for n in range(60)
        ]
        relations = [
            receipt
            for outcome in registry.execute(
                unit(AddToGroup(owner.fingerprint, "a", f"g{n}")) for n in range(60)
            )
            for receipt in receipts(outcome)
        ]
        check_collisions(registry, Space.LISTING, listings)
        check_collisions(registry, Space.RELATION, relations)
        assert not collisions(registry, Space.INSTRUMENT)
        assert [each.id for each in registry.listings(owner.id)] == [r.id for r in listings]
        assert [each.line for each in registry.listings(owner.id)] == list(range(60))
        assert registry.groups(owner.id) == [("a", f"g{n}") for n in range(60)]
        for n, receipt in enumerate(listings):
            again = registry.add_listing(Listing(instrument=owner.id, venue="XETR", line=n))
            assert again == receipt._replace(outcome="unchanged")
            assert registry.find_listing(owner.id, "XETR", line=n) == receipt.id
        assert audit_meaning(registry.log).ok
        alerts = {event.offset for event, _ in registry.alerts()}
        assert alerts == {
            offset for space in (Space.LISTING, Space.RELATION)
            for offset, _ in collisions(registry, space)
        }  # fmt: skip
        last = max(alerts)
        registry.acknowledge(last)
        assert {event.offset for event, _ in registry.alerts()} == alerts - {last}


def zero_token(id_bits: int) -> tuple[int, bytes]:
    """A token whose primary id is 0."""
    for number in range(1 << 12):
        fingerprint = Register.of(token(number)).fingerprint
        if primary_id(fingerprint, id_bits) == 0:
            return number, fingerprint
    raise AssertionError("none of 4,096 tokens has an id of 0")


def test_an_id_of_0_is_skipped_without_a_collision(tmp_path: Path) -> None:
    number, fingerprint = zero_token(8)
    with open_home(tmp_path / "home", id_bits=8) as registry:
        receipt = registry.register(token(number, symbol="Z"), request_id="r1")
        assert (receipt.outcome, receipt.id) == ("new", fallback_id(fingerprint, 1, 8))
        assert registry.log.head == 1
        assert registry.alerts() == []
        assert registry.resolve(token(number)) == receipt.id
        assert registry.register(token(number, symbol="Z"), request_id="r1") == receipt
        description = registry.describe(receipt.id)
        assert description is not None
        assert description.body.extension.counter == 1
        assert registry.get(0) is None
    assert all(verdict.ok for verdict in audit(tmp_path / "home"))


def test_a_fallback_id_may_be_anothers_primary_id(tmp_path: Path) -> None:
    """Whoever comes to find it taken collides in turn, and both resolve."""
    with open_home(tmp_path / "home", id_bits=8) as registry:
        found = registry.register_many(tokens(150))
        fallbacks = {receipt.id for receipt in found if receipt.outcome == "collision"}
        on_fallbacks = [
            body for _, body in collisions(registry, Space.INSTRUMENT) if body.holder in fallbacks
        ]
        assert on_fallbacks
        for body in on_fallbacks:
            held = registry.lookup.by_fingerprint(body.fingerprint)
            assert held is not None
            assert held.id == body.assigned


def test_a_full_id_space_refuses_and_changes_nothing(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        found = registry.register_many(tokens(255))
        assert {receipt.id for receipt in found} == set(range(1, 256))
        head = registry.log.head
        with pytest.raises(IdSpaceFull):
            registry.register(token(1_000))
        assert registry.log.head == head
        again = registry.register(token(7, symbol="T7"))
        assert again == found[7]._replace(outcome="unchanged")


def test_a_collision_is_told_to_operators(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry, caplog.at_level(logging.WARNING):
        found = registry.register_many(tokens(60))
        told = [line for line in caplog.records if line.name == "alphapulse"]
        assert len(told) == sum(receipt.outcome == "collision" for receipt in found)
        assert {line.levelno for line in told} == {logging.CRITICAL}
        event = registry.alerts()[0][0]
        assert (event.kind, event.severity) == (Kind.COLLISION_DETECTED, 2)


def test_a_collision_stands_in_the_commit_of_its_registration(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=10) as registry:
        registry.register_many(tokens(900))  # more than a block, collisions included
        assert registry.log.head > 1_000
        for offset, _ in collisions(registry, Space.INSTRUMENT):
            assert registry.log.block(offset).first < offset


def test_the_request_of_a_collision(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        units = [unit(Register.of(each), request_id=str(each.symbol)) for each in tokens(60)]
        first = [receipts(outcome) for outcome in registry.execute(units)]
        assert "collision" in {each[0].outcome for each in first}
        assert [receipts(outcome) for outcome in registry.execute(units)] == first


def test_a_collision_is_in_the_history_of_both(tmp_path: Path) -> None:
    """As `instrument=ID` gives it; a conflict is about nobody else."""
    with open_home(tmp_path / "home", id_bits=8) as registry:
        registry.register_many(tokens(40))
        found = collisions(registry, Space.INSTRUMENT)
        assert len({body.holder for _, body in found}) > 1
        registry.acknowledge(found[0][0])
        for _, body in found:
            for id in (body.holder, body.assigned):
                about = registry.read(pattern=f"instrument=0x{id:x}")
                assert [e.offset for e in registry.history(id)] == [e.offset for e in about]


def test_a_collision_that_a_kill_left_unlinked_is_linked_by_the_next_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is there, and the fold is repeated because it did not end."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with open_home(tmp_path / "home", id_bits=8) as registry:
        registry.register_many(tokens(1))
        with monkeypatch.context() as patched:
            patched.setattr(TableWriter, "link", killed)
            with pytest.raises(Killed):
                registry.register_many(tokens(60, start=1))
    with open_home(tmp_path / "home") as registry:
        found = collisions(registry, Space.INSTRUMENT)
        assert found
        for offset, body in found:
            assert offset in [event.offset for event in registry.history(body.holder)]
        assert all(result.equal for result in registry.rebuild(["alerts"], check=True))
