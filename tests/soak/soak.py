"""Everything mixed for some minutes, kills included; then everything is compared.

Some processes live from the beginning to the end, and their memory and descriptors are sampled.
Others are killed -9 at random moments and started again. At the end the log is audited, what was
acknowledged must be there once, what subscribers received must be the log, and nothing that lives
long may keep growing.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from alphapulse.log import AnswerBody, Home, MarketHome, MarketLog, verify_store
from alphapulse.registry import Registry
from tests.crash.children import Child, complaints

from . import roles
from .roles import MIX, PATTERN, Place, token, whole_lines
from .slopes import MINUTES_JUDGED, Samples, Slope

WRITERS: Final = ("write-in-threads", "write-in-coroutines", "write-and-die")
MIXER: Final = "mix-and-die"
SUBSCRIBERS: Final = ("subscribe", "subscribe-and-die")
ROLES: Final[dict[str, roles.Role]] = {
    "write-in-threads": roles.write_in_threads,
    "write-in-coroutines": roles.write_in_coroutines,
    "write-and-die": roles.write_in_threads,
    "mix-and-die": roles.mix,
    "read": roles.read,
    "subscribe": roles.subscribe,
    "subscribe-and-die": roles.subscribe,
    "back-up": roles.back_up,
}
MORTAL: Final = tuple(name for name in ROLES if name.endswith("die"))
SAMPLES: Final = 60
"""In a whole run, but at most four a second."""
STOP_S: Final = 120.0


class Report(NamedTuple):
    events: int
    kills: int
    received: int
    backed_up: int
    slopes: list[Slope]
    wrong: list[str]


class Soak:
    """One run in a directory of its own. early: acknowledge before the commit, the control."""

    def __init__(
        self, directory: Path, seed: int, *, pause_s: float = 0.02, early: bool = False
    ) -> None:
        self.home = directory / "home"
        self._rng = random.Random(seed)
        self._pause_s = pause_s
        self._early = early
        self._lives = Counter[str]()
        self._children: dict[str, Child] = {}
        self._samples = Samples()
        self._wrong: list[str] = []
        self._kills = 0

    def run(self, minutes: float) -> Report:
        """Cost: that time, and some seconds to stop and to compare."""
        Registry.open(self.home).close()
        try:
            for name in ROLES:
                self._start(name)
            self._mix(minutes * 60)
            for name in MORTAL:  # at least once, however short the run
                self._kill(name)
            self._stop((*WRITERS, MIXER))
            self._stop(tuple(self._children))  # subscribers have the writers' last words to hear
        finally:
            for child in self._children.values():
                child.__exit__()
        return self._compared(judged=minutes >= MINUTES_JUDGED)

    def _start(self, name: str) -> None:
        place = Place(
            self.home, name, list(ROLES).index(name), self._lives[name],
            self._rng.randrange(1 << 32), self._pause_s, self._early,
        )  # fmt: skip
        self._lives[name] += 1
        child = self._children[name] = Child(lambda say, _: roles.run(ROLES[name], place, say))
        first = child.hear()
        if first != "ready":
            self._wrong.append(f"{name} did not start: {first}")

    def _mix(self, seconds: float) -> None:
        began, every_s = time.monotonic(), max(0.25, seconds / SAMPLES)
        next_kill_s = self._until_kill()
        while (at_s := time.monotonic() - began) < seconds:
            self._sample(at_s)
            if at_s >= next_kill_s:
                self._kill(self._rng.choice(MORTAL))
                next_kill_s = at_s + self._until_kill()
            time.sleep(every_s)

    def _until_kill(self) -> float:
        return self._rng.uniform(0.5, 3.0)

    def _kill(self, name: str) -> None:
        child = self._children[name]
        child.send(signal.SIGKILL)
        self._hear_out(name, -signal.SIGKILL)
        self._kills += 1
        self._start(name)

    def _hear_out(self, name: str, status: int) -> None:
        """Takes what a process said besides, and how it ended."""
        child = self._children.pop(name)
        with child:
            self._wrong += [line for line in child.rest() if line.startswith("wrong")]
            ended = child.wait()
        if ended != status:
            self._wrong.append(f"{name} ended by {ended}")

    def _stop(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._children[name].send(signal.SIGTERM)
        for name in names:
            self._hear_out(name, 0)

    def _sample(self, at_s: float) -> None:
        for name, child in self._children.items():
            if name not in MORTAL:
                self._samples.process(name, child.pid, at_s)
        self._samples.files("log", [self.home / "log" / "data.mdb"], at_s)
        self._samples.files("views", (self.home / "views").glob("*"), at_s)

    def _compared(self, *, judged: bool) -> Report:
        wrong = self._wrong + complaints(self.home)
        with Registry.open(self.home, mode="r") as registry:
            events = registry.log.head
            for name in WRITERS:
                acknowledged = whole_lines(self._record(name))
                if not acknowledged:
                    wrong.append(f"{name} wrote nothing")
                wrong += [
                    f"{name}: the acknowledged token {number} is not there"
                    for number in acknowledged
                    if registry.resolve(token(number)) is None
                ]
            wrong += self._check_mixed(registry)
            offsets = [event.offset for event in registry.read(pattern=PATTERN)]
            if len(offsets) != len({e.entity for e in registry.read(pattern=PATTERN)}):
                wrong.append("a token was registered twice")
        received = 0
        for name in SUBSCRIBERS:
            got = whole_lines(self._record(name))
            received += len(got)
            wrong += misreceived(name, got, offsets, repeats=name in MORTAL)
        backed_up = self._check_backup(wrong)
        slopes = self._samples.slopes()
        if judged:
            wrong += [slope.problem for slope in slopes if slope.problem]
        return Report(events, self._kills, received, backed_up, slopes, wrong)

    def _record(self, name: str) -> Path:
        return self.home.parent / f"{name}.record"

    def _check_mixed(self, registry: Registry) -> list[str]:
        """What was answered is there, once; and so are the samples, which no power cut took."""
        held: dict[int, list[int]] = {}
        for event in registry.read():
            prefix, _, number = event.metadata.request_id.partition("/")
            if prefix == MIX:
                body = event.body
                answer = body.answer if isinstance(body, AnswerBody) else event.offset
                held.setdefault(int(number), []).append(answer)
        answers = whole_lines(self._record(MIXER))
        wrong = [] if answers else [f"{MIXER} said nothing"]
        wrong += misanswered(answers, held)
        with MarketLog.of(self.home, mode="r") as market:
            head = market.head
        sampled = whole_lines(self._record(MIXER).with_suffix(".samples"))
        if not sampled or sampled[-1] >= head:
            wrong.append(f"the market log ends at {head}, sampled was {sampled[-1:]}")
        verdicts = verify_store(MarketHome(self.home))
        return wrong + [f"market: {verdict.detail}" for verdict in verdicts if not verdict.ok]

    def _check_backup(self, wrong: list[str]) -> int:
        """The events of the backup; none when the run was too short for one."""
        place = Home(self.home.parent / "backup")
        if not place.exists():
            return 0
        verdicts = verify_store(place)
        wrong += [f"backup: {verdict.detail}" for verdict in verdicts if not verdict.ok]
        return min(verdict.checked for verdict in verdicts)


def misanswered(answers: list[int], held: dict[int, list[int]]) -> list[str]:
    """What is wrong with requests of which each leads to one event.

    answers: the offset that each was answered with, by its number. held: for each event that the
    log has of a request the offset to answer it with; the last request may be there without anybody
    having heard of it, because a kill came between.
    """
    wrong = [
        f"request {number} is not there" for number in range(len(answers)) if number not in held
    ]
    for number, offsets in held.items():
        if len(offsets) > 1:
            wrong.append(f"request {number} was carried out {len(offsets)} times: {offsets}")
        elif number > len(answers):
            wrong.append(f"request {number} is there, and only {len(answers)} were answered")
        elif number < len(answers) and offsets != [answers[number]]:
            wrong.append(f"request {number} was answered with {answers[number]}, not {offsets[0]}")
    return wrong


def misreceived(name: str, got: list[int], offsets: list[int], *, repeats: bool) -> list[str]:
    """What is wrong with what a subscriber received of the events at these offsets.

    repeats: whether it was killed: then events may come again, from an earlier one on.
    """
    seen, fresh = -1, []
    for offset in got:
        if offset > seen:
            fresh.append(offset)
            seen = offset
        elif not repeats:
            return [f"{name} received offset {offset} after {seen}"]
    if fresh == offsets:
        return []
    missing = sorted(set(offsets) - set(fresh))
    return [f"{name} received {len(fresh)} of {len(offsets)} events, missing {missing[:5]}"]
