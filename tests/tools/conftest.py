"""The command line in this process (`run`) and as the process that users start (`start`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from alphapulse.registry import Equity, Listing, Registry, Token
from alphapulse.tools.cli import main
from tests.crash.children import forked_verification

APPLE = "US0378331005"
MODULE = [sys.executable, "-m", "alphapulse.tools.cli"]


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, str]:
        """The error object: the last line of stderr."""
        found: dict[str, str] = json.loads(self.err.splitlines()[-1])
        assert found.keys() == {"error", "doing", "cure"}
        return found


Run = Callable[..., Ran]


def environment(home: Path) -> dict[str, str]:
    """As a user has it; PYTHONUNBUFFERED would hide a missing flush."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "ALPHAPULSE_HOME": str(home), "TERM": "xterm", "COLUMNS": "80"}


@pytest.fixture(autouse=True)
def _forked() -> Iterator[None]:
    """As tests/registry does; processes that `start` begins verify in a child, as a user's do."""
    with forked_verification():
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    """Runs a verb on `home`, which ALPHAPULSE_HOME names."""

    def run(*words: str, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Ran:
        settings: dict[str, str | None] = {"ALPHAPULSE_HOME": str(home), **(env or {})}
        result = CliRunner(env=settings).invoke(
            main, list(words), input=stdin, prog_name="alphapulse"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def apple(home: Path) -> int:
    """A home with Apple at two venues and USDC on two chains; the id of Apple. Head: 7."""
    with Registry.open(home) as registry:
        id = registry.register(
            Equity(isin=APPLE, symbol="AAPL", name="Apple Inc."), source="first"
        ).id
        registry.add_listing(
            Listing(instrument=id, venue="XNAS", symbol="AAPL", currency="USD", primary=True,
                    valid_from="1980-12-12"),
            source="first",
        )  # fmt: skip
        registry.add_listing(
            Listing(instrument=id, venue="XTKS", currency="JPY", valid_from="1990",
                    valid_to="2004-12"),
            source="first",
        )  # fmt: skip
        for number in (1, 10):
            token = registry.register(
                Token(chain=f"eip155:{number}", address=f"0x{number:040x}", symbol="USDC",
                      decimals=6),
                source="list",
            )  # fmt: skip
            registry.add_to_group(token.id, "list", "usdc")
    return id


@contextmanager
def start(home: Path, *words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command line as a process of its own, which does not outlive the test."""
    process = subprocess.Popen(
        [*MODULE, *words], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **options,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def collide(home: Path) -> Sequence[int]:
    """A home of 8-bit ids with one collision; the ids in order, the last one is the fallback."""
    ids = []
    with Registry.open(home, id_bits=8) as registry:
        for number in range(1, 300):
            receipt = registry.register(
                Token(chain="eip155:1", address=f"0x{number:040x}", symbol=f"T{number}")
            )
            ids.append(receipt.id)
            if receipt.outcome == "collision":
                return ids
    raise AssertionError("300 tokens do not fit 8 bits without a collision")
