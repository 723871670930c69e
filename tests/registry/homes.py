"""Small homes, and instruments to fill them with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from stdnum import isin as _isin

from alphapulse.log import parse_time
from alphapulse.log.clock import RecordingClock
from alphapulse.registry import (
    Currency,
    Equity,
    InstrumentRecord,
    Origin,
    Outcome,
    Receipt,
    Registry,
    Token,
    Unit,
)
from alphapulse.registry.commands import Command

APPLE = Equity(isin="US0378331005", symbol="AAPL", name="Apple Inc.")


def open_home(home: Path, **options: Any) -> Registry:
    """Relaxed, because these tests lose no power, and a flush costs as much as all the rest."""
    return Registry.open(home, **{"durability": "relaxed", **options})


def token(number: int, **fields: Any) -> Token:
    """Another number is another token; they share the symbol unless it is given."""
    return Token(**{"chain": "eip155:1", "address": f"0x{number + 0x10000:040x}", **fields})


def prepare(registry: Registry, name: str) -> None:
    """Registers what the sample of a class is made of."""
    if name == "synthetic":
        registry.register(Currency(code="EUR"))


def tokens(count: int, start: int = 0) -> list[Token]:
    return [token(start + n, symbol=f"T{start + n}") for n in range(count)]


def isin(number: int) -> str:
    stem = f"US{number:09d}"
    return f"{stem}{_isin.calc_check_digit(stem)}"


def record(registry: Registry, id: int) -> InstrumentRecord:
    found = registry.get(id)
    assert found is not None
    return found


def unit(*commands: Command, source: str = "", request_id: str = "") -> Unit:
    return Unit(commands, Origin(source, b"", request_id))


def receipts(outcome: Outcome) -> list[Receipt]:
    assert isinstance(outcome, list), outcome
    return outcome


def rows(registry: Registry) -> dict[str, tuple[bytes, int]]:
    """Digest and row count of each view."""
    return {name: (view.digest, view.rows) for name, view in registry.statistics().views.items()}


@contextmanager
def recorded_at(text: str) -> Iterator[None]:
    """What is written meanwhile is recorded at that time."""
    with mock.patch.object(RecordingClock, "next_time", return_value=parse_time(text)):
        yield
