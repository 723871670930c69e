"""Random histories against a model of plain dicts, and at the end an audit that must be clean."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alphapulse.log import Status
from alphapulse.registry import IllegalTransition, Listing, Registry, replay_into
from alphapulse.registry.audit import audit_meaning, audit_views
from alphapulse.registry.check import NEXT
from tests.places import in_memory

from .homes import open_home, rows, token

NUMBERS = st.integers(0, 40)
SOURCES = st.sampled_from(["a", "b"])
SYMBOLS = st.sampled_from(["S", "T", "a symbol that is longer than a message"])
NAMES = st.sampled_from(["", "N", "M"])
VENUES = st.sampled_from(["XETR", "XNAS", "binance"])


class Known:
    """What the model holds of one token: values, and who said each first."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.values: dict[str, Any] = {}
        self.said_by: dict[str, str] = {}
        self.status = Status.ACTIVE
        self.revision = 1
        self.listings: dict[str, int] = {}

    def hear(self, source: str, values: dict[str, Any]) -> list[tuple[str, Any]]:
        """Takes in a registration; the fields and values that it must raise conflicts on."""
        conflicts, changed = [], False
        for field, value in values.items():
            held = self.values.get(field)
            if held == value:
                continue
            if held is not None and (field == "decimals" or self.said_by[field] != source):
                conflicts.append((field, value))
                continue
            self.values[field], self.said_by[field] = value, source
            changed = True
        self.revision += changed
        return conflicts


class Histories(RuleBasedStateMachine):
    """A home with 8-bit ids, so that collisions are common."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=in_memory()))
        self.home = self.folder / "home"
        self.registry: Registry = open_home(self.home, id_bits=8)
        self.known: dict[int, Known] = {}
        self.conflicts: dict[tuple[int, str, Any, str], int] = {}
        self.collisions: set[int] = set()
        self.closed: set[int] = set()

    def teardown(self) -> None:
        try:
            if self.registry.log.head:
                self._audit()
        finally:
            self.registry.close()
            shutil.rmtree(self.folder)

    def _audit(self) -> None:
        log, seen = self.registry.log, rows(self.registry)
        head, chain = log.head, log.chain_head
        assert audit_meaning(log).ok
        assert audit_views(log).ok
        self.registry.close()
        copied = replay_into(self.home, self.folder / "copy", head)
        assert (copied.events, copied.chain_head) == (head, chain)
        with open_home(self.folder / "copy") as copy:
            assert rows(copy) == seen
            for number, known in self.known.items():
                assert copy.resolve(token(number)) == known.id

    @rule(number=NUMBERS, source=SOURCES, symbol=SYMBOLS, name=NAMES,
          decimals=st.sampled_from([None, 6, 18]))  # fmt: skip
    def register(
        self, number: int, source: str, symbol: str, name: str, decimals: int | None
    ) -> None:
        values = {"symbol": symbol, "name": name, "decimals": decimals}
        values = {field: value for field, value in values.items() if value not in ("", None)}
        receipt = self.registry.register(token(number, **values), source=source)
        known = self.known.get(number)
        if known is None:
            assert receipt.outcome in ("new", "collision")
            assert receipt.id not in {each.id for each in self.known.values()}
            known = self.known[number] = Known(receipt.id)
            known.hear(source, values)
            known.revision = 1
            if receipt.outcome == "collision":
                self.collisions.add(receipt.offset + 1)
            return
        before = known.revision
        conflicts = [
            (number, field, value, source) for field, value in known.hear(source, values)
        ]
        fresh = [each for each in conflicts if each not in self.conflicts]
        assert receipt.id == known.id
        assert receipt.outcome == ("amended" if known.revision > before else "unchanged")
        raised = {self.conflicts[each] for each in conflicts if each in self.conflicts}
        assert raised & {*receipt.conflicts} == raised - self.closed  # those still open, again
        new = [offset for offset in receipt.conflicts if offset not in raised]
        self.conflicts.update(zip(fresh, new, strict=True))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), symbol=SYMBOLS, source=SOURCES)
    def amend(self, data: st.DataObject, symbol: str, source: str) -> None:
        known = self._one(data)
        receipt = self.registry.amend(known.id, symbol=symbol, source=source)
        changed = known.values.get("symbol") != symbol
        assert receipt.outcome == ("amended" if changed else "unchanged")
        if changed:
            known.values["symbol"], known.said_by["symbol"] = symbol, source
            known.revision += 1

    @precondition(lambda self: self.known)
    @rule(data=st.data(), status=st.sampled_from(Status))
    def set_status(self, data: st.DataObject, status: Status) -> None:
        known = self._one(data)
        if status is not known.status and status not in NEXT[known.status]:
            with pytest.raises(IllegalTransition):
                self.registry.set_status(known.id, status)
            return
        self.registry.set_status(known.id, status)
        known.revision += status is not known.status
        known.status = status

    @precondition(lambda self: self.known)
    @rule(data=st.data(), venue=VENUES)
    def add_listing(self, data: st.DataObject, venue: str) -> None:
        known = self._one(data)
        receipt = self.registry.add_listing(Listing(instrument=known.id, venue=venue))
        if venue in known.listings:
            assert (receipt.outcome, receipt.id) == ("unchanged", known.listings[venue])
        else:
            known.listings[venue] = receipt.id
            if receipt.outcome == "collision":
                self.collisions.add(receipt.offset + 1)

    @precondition(lambda self: self.conflicts or self.collisions)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(sorted({*self.conflicts.values(), *self.collisions})))
        receipt = self.registry.acknowledge(alert)
        assert receipt.outcome == ("unchanged" if alert in self.closed else "amended")
        self.closed.add(alert)

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = open_home(self.home)
        assert self.registry.views.rebuilt == []

    def _one(self, data: st.DataObject) -> Known:
        return self.known[data.draw(st.sampled_from(sorted(self.known)))]

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        for number, known in self.known.items():
            assert self.registry.resolve(token(number)) == known.id
            facts, record = self.registry.facts(known.id), self.registry.get(known.id)
            assert facts is not None
            assert record is not None
            named = {field: facts.values.get(field) for field in known.values}
            assert named == known.values
            assert (record.revision, record.status) == (known.revision, known.status)
            listings = {each.venue: each.id for each in self.registry.listings(known.id)}
            assert listings == known.listings
        open_alerts = {*self.conflicts.values(), *self.collisions} - self.closed
        assert {event.offset for event, _ in self.registry.alerts()} == open_alerts
        assert self.registry.statistics().instruments == len(self.known)


TestHistories = Histories.TestCase
_SETTINGS = settings.get_profile(settings.get_current_profile_name())
TestHistories.settings = settings(
    _SETTINGS, max_examples=max(5, _SETTINGS.max_examples // 3), stateful_step_count=25
)
