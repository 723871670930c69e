"""Attacks by somebody who can write the file and knows the format: every CRC of theirs is right.

What they can do is bounded by what they must also change. Who deletes, swaps, inserts or rewrites
blocks breaks the chain. Who then computes the chain anew to the end, or only cuts the tail, leaves
a log without a flaw; it contradicts the checkpoints, and nothing else. The controls take out
either guard and count that exactly its attacks then go unseen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from unittest import mock

import pytest

from alphapulse.log import (
    NO_PREVIOUS,
    Block,
    Columns,
    Event,
    Kind,
    Verdict,
    chain_hash,
    encode_block,
    encode_body,
    encode_frame,
)
from alphapulse.log.checkpoints import Checkpoint
from alphapulse.log.verify import verify_blocks
from tests.crash.children import report, seeds
from tests.log.builders import CHAIN_SEED, TIME, columns_of_event, instrument_body, space_of

ATTACKS: Final = 100
BLOCKS_MIN, BLOCKS_MAX = 4, 9


class Log(NamedTuple):
    """Its blocks as stored, and what its checkpoints saw."""

    blocks: list[bytes]
    checkpoints: list[Checkpoint]


def frame(offset: int, entity: int, previous: int, time: int, name: str = "") -> bytes:
    body = instrument_body(entity, name=name)
    fixed, rest = encode_body(body)
    kind = Kind.INSTRUMENT_REGISTERED if previous == NO_PREVIOUS else Kind.INSTRUMENT_AMENDED
    return encode_frame(
        kind=kind, space=space_of(body), offset=offset, recorded=time, valid_from=0,
        entity=entity, previous=previous, fixed=fixed, rest=rest,
    )  # fmt: skip


def block_of(frames: Sequence[bytes], first: int, time: int, chain: bytes) -> bytes:
    columns: list[Columns] = [columns_of_event(Event(data)) for data in frames]
    return encode_block(first, time, chain, frames, columns)


def make_log(rng: random.Random) -> Log:
    """A few commits of one to eight events about new and known entities, noted now and then."""
    blocks, checkpoints, newest = list[bytes](), list[Checkpoint](), dict[int, int]()
    chain, head = CHAIN_SEED, 0
    for number in range(rng.randint(BLOCKS_MIN, BLOCKS_MAX)):
        frames, first, time = [], head, TIME + number
        for _ in range(rng.choice((1, 1, 2, 8))):
            entity = rng.randint(1, 12)
            frames.append(frame(head, entity, newest.get(entity, NO_PREVIOUS), time))
            newest[entity] = head
            head += 1
        blocks.append(block_of(frames, first, time, chain))
        chain = Block(blocks[-1]).chain
        if rng.random() < 0.5:
            checkpoints.append(Checkpoint(head, chain))
    checkpoints.append(Checkpoint(head, chain))  # as on close
    return Log(blocks, checkpoints)


def rechained(blocks: Sequence[bytes], start: int) -> list[bytes]:
    """The blocks with right hashes from this one on."""
    good = list(blocks[:start])
    chain = Block(good[-1]).chain if good else CHAIN_SEED
    for data in blocks[start:]:
        chain = chain_hash(chain, data[32:])
        good.append(chain + data[32:])
    return good


# Attacks. Each gives the blocks that are in the log afterwards.


def delete(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    """Any block but the last: without that it is a cut."""
    at = rng.randrange(len(blocks) - 1)
    return blocks[:at] + blocks[at + 1 :]


def swap(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    one, other = rng.sample(range(len(blocks)), 2)
    changed = list(blocks)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def insert(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    """A block of the attacker's, which follows the one before it in all; not at the end, where it
    would be an append."""
    at = rng.randrange(len(blocks))
    before = Block(blocks[at - 1]) if at else None
    first, time, chain = (
        (before.stop, before.time, before.chain) if before else (0, TIME, CHAIN_SEED)
    )
    new = block_of([frame(first, 1_000, NO_PREVIOUS, time)], first, time, chain)
    return [*blocks[:at], new, *blocks[at:]]


def rewrite(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    """One event says another thing; sizes, CRCs, columns and the hash of its block are right."""
    at = rng.randrange(len(blocks) - 1)
    return [*blocks[:at], rewritten(rng, blocks, at), *blocks[at + 1 :]]


def rewritten(rng: random.Random, blocks: list[bytes], at: int) -> bytes:
    block = Block(blocks[at])
    frames = [event.frame for event in block.events()]
    index = rng.randrange(len(frames))
    old = block.event(index)
    previous = NO_PREVIOUS if old.previous is None else old.previous
    frames[index] = frame(old.offset, old.entity, previous, old.recorded, name="Mallory")
    chain = Block(blocks[at - 1]).chain if at else CHAIN_SEED
    return block_of(frames, block.first, block.time, chain)


def cut(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    return blocks[: rng.randrange(len(blocks))]


def recompute(rng: random.Random, blocks: list[bytes]) -> list[bytes]:
    """One event rewritten, and every hash from there to the end."""
    at = rng.randrange(len(blocks))
    changed = [*blocks[:at], rewritten(rng, blocks, at), *blocks[at + 1 :]]
    return rechained(changed, at)


Attack = Callable[[random.Random, list[bytes]], list[bytes]]
BREAK_THE_CHAIN: Final[tuple[Attack, ...]] = (delete, swap, insert, rewrite)
LEAVE_NO_FLAW: Final[tuple[Attack, ...]] = (cut, recompute)
EVERY: Final = BREAK_THE_CHAIN + LEAVE_NO_FLAW


def attacked(seed: int, attack: Attack, *, checkpoints: bool = True) -> list[Verdict]:
    """The verdicts after one attack on a log that was fine."""
    rng = random.Random(seed)
    log = make_log(rng)
    assert all(verdict.ok for verdict in verify_blocks(log.blocks, CHAIN_SEED, log.checkpoints))
    changed = attack(rng, log.blocks)
    assert changed != log.blocks
    return verify_blocks(changed, CHAIN_SEED, log.checkpoints if checkpoints else [])


def unseen(wanted: Sequence[int], attacks: Sequence[Attack], *, checkpoints: bool) -> Counter[str]:
    """How many attacks of each sort no verdict is about."""
    found = Counter[str]()
    for seed in wanted:
        for attack in attacks:
            verdicts = attacked(seed, attack, checkpoints=checkpoints)
            found[attack.__name__] += all(verdict.ok for verdict in verdicts)
    return found


def test_every_attack_is_found(scale: float) -> None:
    wanted = list(seeds(max(1, round(ATTACKS * scale / len(EVERY)) + 1)))
    counts = Counter[str]()
    for seed in wanted:
        for attack in EVERY:
            verdicts = attacked(seed, attack)
            bytes_, continuity, chained = verdicts
            doing = f"seed {seed} {attack.__name__}: {verdicts}"
            assert not chained.ok and chained.first_bad_offset is not None, doing
            assert chained.detail and chained.cure and bytes_.ok, doing
            if attack in LEAVE_NO_FLAW:
                assert continuity.ok and "checkpoint" in chained.detail, doing
            counts[attack.__name__] += 1
    report("chain attacks", wanted, **counts)


def test_control_without_checkpoints_a_log_without_a_flaw_is_fine() -> None:
    wanted = list(seeds(20))
    left = unseen(wanted, EVERY, checkpoints=False)
    report("chain attacks, control: no checkpoints", wanted, unseen=left.total())
    assert {left[attack.__name__] for attack in LEAVE_NO_FLAW} == {len(wanted)}
    assert {left[attack.__name__] for attack in BREAK_THE_CHAIN} == {0}


def renumbered(blocks: Sequence[bytes]) -> list[bytes]:
    """The same events as one log: offsets, times and links put right, hashes left as they are."""
    good, newest, head, time = list[bytes](), dict[int, int](), 0, 0
    for data in blocks:
        block, frames, first = Block(data), list[bytes](), head
        time = max(time, block.time)
        for event in block.events():
            previous = newest.get(event.entity, NO_PREVIOUS)
            name = event.instrument_body.extension.name
            frames.append(frame(head, event.entity, previous, time, name))
            newest[event.entity] = head
            head += 1
        good.append(block.chain + block_of(frames, first, time, b"")[32:])
    return good


@pytest.mark.parametrize("attack", BREAK_THE_CHAIN, ids=lambda attack: str(attack.__name__))
def test_control_without_the_chain_whoever_puts_all_else_right_goes_unseen(attack: Attack) -> None:
    wanted = list(seeds(10))
    report(f"chain attacks, control: no chain, {attack.__name__}", wanted, unseen=len(wanted))
    for seed in wanted:
        rng = random.Random(seed)
        changed = renumbered(attack(rng, make_log(rng).blocks))
        assert [v.ok for v in verify_blocks(changed, CHAIN_SEED, [])] == [True, True, False]
        with mock.patch("alphapulse.log.verify.chain_hash", return_value=mock.ANY):
            assert all(verdict.ok for verdict in verify_blocks(changed, CHAIN_SEED, []))


@pytest.mark.parametrize("attack", BREAK_THE_CHAIN, ids=lambda attack: str(attack.__name__))
def test_control_a_verifier_of_bytes_alone(attack: Attack) -> None:
    """Every frame of every attack is good by itself: CRCs are no guard against a person."""
    wanted = list(seeds(5))
    report(f"chain attacks, control: bytes alone, {attack.__name__}", wanted, unseen=len(wanted))
    for seed in wanted:
        assert attacked(seed, attack)[0].ok
