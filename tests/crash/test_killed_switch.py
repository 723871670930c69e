"""A process is killed between naming a new generation and telling readers of the old one.

Another process, open all along, must then fold into the generation that is in force and decide on
it, even when a lookup has moved its own readers there first. If it decided on one table and folded
into another, one key would be registered twice and the chain of its entity broken for good.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alphapulse.registry import Registry, Token, audit

pytestmark = pytest.mark.usefixtures("forked_interpreters")

KILLED = """
import os, signal, sys
from alphapulse.projections import table
from alphapulse.registry import Registry, Token
table.TableWriter.supersede = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with Registry.open(sys.argv[1], durability="fsync") as registry:
    if sys.argv[2] == "rebuild":
        registry.rebuild(["instruments"])
    else:
        tokens = (Token(chain="eip155:1", address=f"0x{i + 0x9000:040x}") for i in range(6_000))
        registry.register_many(tokens)
"""


def token(number: int) -> Token:
    return Token(chain="eip155:1", address=f"0x{number:040x}", symbol=f"T{number}")


@pytest.mark.parametrize("switching", ["rebuild", "growth"])
def test_a_killed_switch_beside_a_live_writer(tmp_path: Path, switching: str) -> None:
    home = tmp_path / "home"
    with Registry.open(home) as registry:
        registry.register(token(1))
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, home, switching], capture_output=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        assert registry.resolve(token(2)) is None, "a miss moves the readers to the new generation"
        assert registry.register(token(2)).outcome == "new"
        assert registry.register(token(2)).outcome == "unchanged"
        assert registry.get(registry.resolve(token(2)) or 0) is not None
    assert [verdict.name for verdict in audit(home) if not verdict.ok] == []
