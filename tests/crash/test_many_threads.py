"""64 threads that register one thing at a time, durably: they share commits, each gets its receipt.

Nothing is killed here; it stands with the faults because CI prints what it counts.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from alphapulse.registry import Receipt, Registry, Token

from .children import report

THREADS = 64
EACH = 200
"""At ALPHAPULSE_TEST_SCALE=2; a quarter of it by default."""


def token(thread: int, number: int) -> Token:
    return Token(chain="eip155:1", address=f"0x{thread << 32 | number:040x}", symbol=f"T{number}")


def test_64_threads_share_commits(tmp_path: Path, scale: float) -> None:
    each = max(10, min(EACH, round(EACH / 4 * scale**2)))
    got: dict[tuple[int, int], Receipt] = {}
    with Registry.open(tmp_path / "home") as registry:

        def work(thread: int) -> None:
            for number in range(each):
                got[thread, number] = registry.register(token(thread, number))

        began = time.perf_counter()
        work(THREADS)  # alone
        alone_s = time.perf_counter() - began
        blocks = registry.log.statistics().blocks
        assert blocks == each, "alone, each is a commit"
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
        began = time.perf_counter()
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        together_s = time.perf_counter() - began
        commits = registry.log.statistics().blocks - blocks
        events = THREADS * each
        report(
            "64 threads", threads=THREADS, each=each, commits=commits,
            per_s=round(events / together_s), alone_per_s=round(each / alone_s),
        )  # fmt: skip
        assert len(got) == events + each and commits * 4 < events
        for (thread, number), receipt in got.items():
            assert receipt.outcome == "new"
            assert registry.resolve(token(thread, number)) == receipt.id
        assert sorted(receipt.offset for receipt in got.values()) == list(range(events + each))
        found = {event.offset: event.entity for event in registry.read()}
        assert all(found[receipt.offset] == receipt.id for receipt in got.values())
