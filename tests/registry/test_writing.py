"""Writing from coroutines: the same commands, the same commits, and a loop that never blocks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import Closed, InvalidInput, LogBusy
from alphapulse.registry import (
    AddToGroup,
    Amend,
    Equity,
    Listing,
    Receipt,
    Register,
    Registry,
    UnknownInstrument,
)
from alphapulse.registry.commands import Command
from alphapulse.registry.held import Origin
from alphapulse.registry.state import State
from alphapulse.registry.writing import AsyncWriting, Writing

from .homes import APPLE, open_home, receipts, token, tokens, unit


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """On a loop of its own, and never for ever."""
    return asyncio.run(asyncio.wait_for(main, 60))


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def test_every_command_can_be_awaited(registry: Registry) -> None:
    async def main() -> list[Receipt]:
        aio = registry.aio
        first = await aio.register(APPLE, source="a")
        listing = await aio.add_listing(Listing(instrument=first.id, venue="XETR"))
        found = [
            first, listing,
            await aio.amend(first.id, symbol="X"),
            await aio.set_status(first.id, "halted"),
            await aio.delist(first.id),
            await aio.end_listing(listing.id, valid_to=20),
            await aio.add_to_group(first.id, "a", "g"),
            await aio.register(Equity(isin=APPLE.isin, decimals=3), source="b"),
            await aio.register(Equity(isin=APPLE.isin, decimals=4), source="b"),
        ]  # fmt: skip
        found.append(await aio.acknowledge(found[-1].offset))
        found += await aio.register_many(tokens(3))
        async for outcome in aio.execute([unit(Register.of(token(7))), unit(Amend(5, {}))]):
            if isinstance(outcome, list):
                found += outcome
            else:
                assert isinstance(outcome, UnknownInstrument)
        return found

    found = run(main())
    assert [receipt.offset for receipt in found] == list(range(len(found)))
    assert registry.log.head == len(found)
    assert all(each.equal for each in registry.rebuild(check=True))


def test_coroutines_have_every_method_that_threads_have() -> None:
    """Both get them from `Writing`; none of them is overridden with another signature."""
    commands = {name for name, _ in inspect.getmembers(Writing, inspect.isfunction)}
    public = {name for name in commands if not name.startswith("_")}
    assert {"register", "register_many", "amend", "acknowledge", "add_to_group"} <= public
    for name in public:
        assert getattr(AsyncWriting, name) is getattr(Registry, name) is getattr(Writing, name)


def test_refusals_are_raised_where_they_are_awaited(registry: Registry) -> None:
    async def main() -> None:
        with pytest.raises(UnknownInstrument):
            await registry.aio.amend(5, symbol="X")
        with pytest.raises(InvalidInput):
            await registry.aio.register(Equity(isin="US0378331006"))
        with pytest.raises(InvalidInput) as caught:
            await registry.aio.register_many([*tokens(2), token(1, decimals=99)])
        assert caught.value.facts["index"] == 2

    run(main())
    assert registry.log.head == 0


def test_coroutines_share_commits_each_with_its_own_answer(registry: Registry) -> None:
    """16 of them, 20 registrations each, one after the other, each with a refusal between."""

    async def work(number: int) -> list[Receipt]:
        found = []
        for each in tokens(20, 100 * number):
            found.append(await registry.aio.register(each, source=f"s{number}"))
            with pytest.raises(UnknownInstrument):
                await registry.aio.amend(number + 1, symbol="X")
        return found

    async def main() -> list[list[Receipt]]:
        return await asyncio.gather(*(work(number) for number in range(16)))

    found = run(main())
    check_shared(registry, found, 16 * 20)


def check_shared(registry: Registry, found: list[list[Receipt]], events: int) -> None:
    """Far fewer commits than events, and every receipt is of its caller's own event."""
    assert registry.log.head == events
    assert registry.log.statistics().blocks <= events / 4
    assert sorted(receipt.offset for each in found for receipt in each) == list(range(events))
    for number, each in enumerate(found):
        for receipt, asked in zip(each, tokens(20, 100 * number), strict=True):
            event = registry.log.event(receipt.offset)
            assert (event.entity, event.source) == (receipt.id, f"s{number}")
            assert receipt.fingerprint == Register.of(asked).fingerprint
            assert registry.get(receipt.id) is not None
    assert all(each.equal for each in registry.rebuild(check=True))


def test_threads_share_durable_commits_each_with_its_own_answer(on_disk: Path) -> None:
    found: list[list[Receipt]] = [[] for _ in range(16)]
    ready = threading.Barrier(16)

    def work(number: int) -> None:
        ready.wait()
        for each in tokens(20, 100 * number):
            found[number].append(registry.register(each, source=f"s{number}"))

    with Registry.open(on_disk / "home") as registry:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check_shared(registry, found, 16 * 20)
        listed = registry.add_listing(Listing(instrument=found[0][0].id, venue="XNAS"))
        durable = {receipt.durable for each in (*found, [listed]) for receipt in each}
        assert durable == {registry.statistics().durable}


def test_one_caller_alone_shares_nothing(registry: Registry) -> None:
    """The control of the two tests above: their commits are fewer because callers share them."""
    for each in tokens(20):
        registry.register(each)
    assert registry.log.statistics().blocks == 20


class Held:
    """Nobody gets the write session until it is left."""

    def __init__(self, registry: Registry) -> None:
        self._lock = registry.log.lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def queued(registry: Registry, count: int) -> Awaitable[None]:
    return until(lambda: len(registry._writer._queue) == count)


@pytest.mark.parametrize("thread_first", [True, False])
def test_threads_and_coroutines_share_one_session(registry: Registry, thread_first: bool) -> None:
    found: list[Receipt] = []
    thread = threading.Thread(target=lambda: found.append(registry.register(token(1))))

    async def main() -> list[Receipt]:
        with Held(registry):
            if thread_first:
                thread.start()
                await queued(registry, 1)
            tasks = [asyncio.create_task(registry.aio.register(token(n))) for n in (2, 3)]
            await queued(registry, 2 + thread_first)
            if not thread_first:
                thread.start()
                await queued(registry, 3)
        return await asyncio.gather(*tasks)

    found += run(main())
    thread.join()
    assert sorted(receipt.offset for receipt in found) == [0, 1, 2]
    assert registry._writer.groups == registry.log.statistics().blocks == 1


def test_the_loop_goes_on_while_a_write_waits(registry: Registry) -> None:
    async def main() -> Receipt:
        with Held(registry):
            task = asyncio.create_task(registry.aio.register(APPLE))
            await queued(registry, 1)
            for _ in range(100):
                await asyncio.sleep(0)
            assert not task.done()
        return await task

    assert run(main()).outcome == "new"


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_a_cancelled_coroutine_withdraws_what_still_waits(
    registry: Registry, cancelled: int
) -> None:
    """The first leads for all, and is not missed when it goes."""

    async def main() -> list[Receipt]:
        with Held(registry):
            tasks = []
            for number in range(3):
                tasks.append(asyncio.create_task(registry.aio.register(token(number))))
                await queued(registry, number + 1)
            tasks[cancelled].cancel()
            await queued(registry, 2)
        with pytest.raises(asyncio.CancelledError):
            await tasks.pop(cancelled)
        return await asyncio.gather(*tasks)

    found = run(main())
    assert sorted(receipt.offset for receipt in found) == [0, 1]
    assert registry.resolve(token(cancelled)) is None
    assert registry.register(token(9)).offset == 2


class Pausing:
    """Is being decided until it is told to go on."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def decide(self, state: State, origin: Origin) -> Receipt:
        self.began.set()
        assert self.go.wait(30)
        return Register.of(APPLE).decide(state, origin)


def test_what_a_group_has_taken_is_written_though_its_coroutine_is_cancelled(
    registry: Registry,
) -> None:
    """And the others of its group get their answers."""
    pausing = Pausing()

    async def main() -> Receipt:
        with Held(registry):
            task = asyncio.create_task(registry._writer.submit_async([unit(pausing)]))
            await queued(registry, 1)
            other = asyncio.create_task(registry.aio.register(token(1)))
            await queued(registry, 2)
        await until(pausing.began.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pausing.go.set()
        return await other

    assert run(main()).offset == 1
    assert registry.resolve(APPLE) is not None


def test_a_loop_that_is_gone_is_in_nobodys_way(registry: Registry) -> None:
    """Its outcome has nowhere to go; another loop's, in the same group, gets there."""
    pausing, found = Pausing(), list[Receipt]()

    async def leave() -> None:
        with Held(registry):
            asyncio.create_task(registry._writer.submit_async([unit(pausing)]))  # noqa: RUF006
            await queued(registry, 1)
            other.start()
            await queued(registry, 2)
        await until(pausing.began.is_set)

    other = threading.Thread(
        target=lambda: found.append(run(registry.aio.register(token(1)))), daemon=True
    )
    run(leave())
    pausing.go.set()
    other.join(30)
    assert [receipt.offset for receipt in found] == [1]


def test_no_coroutine_waits_longer_than_said(tmp_path: Path) -> None:
    """The one that leads fails in the session, those behind it by their own time."""

    async def main() -> list[object]:
        with Held(registry):
            calls = (registry.aio.register(token(n)) for n in range(3))
            return list(await asyncio.gather(*calls, return_exceptions=True))

    with open_home(tmp_path / "home", wait_s=0.05) as registry:
        assert [type(outcome) for outcome in run(main())] == [LogBusy] * 3
        assert run(registry.aio.register(APPLE)).offset == 0


def test_who_comes_while_a_group_is_carried_out_waits_no_longer_either(tmp_path: Path) -> None:
    pausing = Pausing()

    async def main() -> None:
        task = asyncio.create_task(registry._writer.submit_async([unit(pausing)]))
        await until(pausing.began.is_set)
        behind = [asyncio.create_task(registry.aio.register(token(n))) for n in range(3)]
        for each in behind:
            with pytest.raises(LogBusy):
                await each
        pausing.go.set()
        assert isinstance((await task)[0], list)

    with open_home(tmp_path / "home", wait_s=0.05) as registry:
        run(main())


class Mistake:
    def decide(self, state: State, origin: Origin) -> Receipt:
        raise TypeError("a mistake")


class Fatal:
    def decide(self, state: State, origin: Origin) -> Receipt:
        raise SystemExit


@pytest.mark.parametrize("command, error", [(Mistake(), TypeError), (Fatal(), Closed)])
def test_a_mistake_is_raised_where_it_is_awaited(
    registry: Registry, command: Command, error: type[Exception]
) -> None:
    async def main() -> None:
        outcomes = await registry._writer.submit_async([unit(command)])
        for outcome in outcomes:
            assert isinstance(outcome, Exception)
            raise outcome

    with pytest.raises(error):
        run(main())
    assert run(registry.aio.register(APPLE)).offset == 0


def test_what_fails_outside_of_all_units_is_told_to_the_leader(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(head: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(registry.views, "catch_up_locked", failing)
    with pytest.raises(ZeroDivisionError):
        run(registry.aio.register(APPLE))
    with pytest.raises(ZeroDivisionError):
        registry.register(APPLE)
    monkeypatch.undo()
    assert registry.register(APPLE).offset == 0


def test_closing_waits_for_coroutines_and_refuses_them_after(registry: Registry) -> None:
    async def main() -> Receipt:
        with Held(registry):
            task = asyncio.create_task(registry.aio.register(APPLE))
            await queued(registry, 1)
        registry.close()
        return await task

    assert run(main()).offset == 0
    with pytest.raises(Closed):
        run(registry.aio.register(APPLE))
    assert not [t for t in threading.enumerate() if t.name.startswith("alphapulse-writer")]


def test_many_at_once_in_one_session(registry: Registry) -> None:
    async def main() -> list[Receipt]:
        new = [Register.of(each) for each in tokens(1_100)]
        units = [unit(each, AddToGroup(each.fingerprint, "a", "g")) for each in new[:2]]
        assert [len(receipts(o)) async for o in registry.aio.execute(units)] == [2, 2]
        return await registry.aio.register_many(tokens(1_100))

    found = run(main())
    assert [receipt.outcome for receipt in found[:3]] == ["unchanged", "unchanged", "new"]
    assert [block.count for block in registry.log.blocks()] == [4, 998, 100]
