"""The disk refuses to write LMDB's meta page, once: LMDB's handle then refuses everything.

A process must go on all the same, with what the file says, and must not blame the data.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

from alphapulse.log import LogFull, SystemRefused, lmdb_store
from alphapulse.log.block import Block
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.registry import Registry, Token, audit
from tests.log.store_contract import block_after
from tests.log.test_lmdb_store import new_store

from .traces import why_no_strace

WORK = """
import sys
from alphapulse.log import AlphaPulseError
from alphapulse.registry import Registry, Token
registry = Registry.open(sys.argv[1])
for number in range(3):
    try:
        token = Token(chain="eip155:1", address=f"0x{number + 1:040x}", symbol="A")
        print(registry.register(token).outcome)
    except AlphaPulseError as error:
        print(type(error).__name__)
    print(sum(1 for _ in registry.read()))
registry.close()
"""


def test_a_process_goes_on_after_it(tmp_path: Path) -> None:
    if reason := why_no_strace():
        pytest.skip(reason)
    home = tmp_path / "home"
    with Registry.open(home) as registry:
        registry.register(Token(chain="eip155:1", address=f"0x{99:040x}"))
    data = str(home / "log" / "data.mdb")
    out = tmp_path / "strace"
    # Each commit writes a page and then the meta page: the fourth write is that of the second.
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", out, "-P", data, "-e", "trace=pwrite64",
         "-e", "inject=pwrite64:error=EIO:when=4", sys.executable, "-c", WORK, home],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.read_text().count("INJECTED") == 1
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["new", "2", "LogFull", "2", "new", "3"]
    assert [verdict.name for verdict in audit(home) if not verdict.ok] == []


PANIC = -30795


def injected(kind: type[lmdb.Error], code: int) -> lmdb.Error:
    error = kind(f"injected: {code}")
    vars(error).update(code=code)
    return error


class Panicking:
    """An environment that refuses everything, as LMDB does, once its write of a meta page failed.

    landed: the file has the new meta page all the same, because only its flush failed.
    """

    def __init__(self, real: lmdb.Environment, landed: bool) -> None:
        self.real = real
        self.landed = landed
        self.panicked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def begin(self, *, write: bool = False, **named: Any) -> Any:
        if self.panicked:
            raise injected(lmdb.PanicError, PANIC)
        txn = self.real.begin(write=write, **named)
        return Failing(self, txn) if write else txn


class Failing:
    def __init__(self, env: Panicking, txn: Any) -> None:
        self.env = env
        self.txn = txn

    def __enter__(self) -> Any:
        return self.txn.__enter__()

    def __exit__(self, *_: object) -> None:
        self.env.panicked = True
        if self.env.landed:
            self.txn.commit()
        else:
            self.txn.abort()
        raise injected(lmdb.DiskError, errno.EIO)


def test_it_is_said_whether_the_append_is_in_the_log(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    block = block_after(store, 3)
    store._env = Panicking(store._env, landed=False)  # type: ignore[assignment]
    with pytest.raises(LogFull):
        store.append(block.data, 0)
    assert store.head().offset == 0
    store._env = Panicking(store._env, landed=True)  # type: ignore[assignment]
    with pytest.raises(SystemRefused, match="it is in the log"):
        store.append(block.data, 0)
    assert store.head().offset == 3
    store.append(block_after(store, 2).data, 3)
    assert [Block(data).count for data in store.blocks(0, 9)] == [3, 2]
    store.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_handle_that_cannot_be_had_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = new_store(tmp_path / "log")
    block = block_after(store, 3)

    def refuse(*_: object, **__: object) -> None:
        raise injected(lmdb.Error, number)

    panicking = Panicking(store._env, landed=False)
    panicking.panicked = True
    store._env = panicking  # type: ignore[assignment]
    with monkeypatch.context() as patched:
        patched.setattr(lmdb_store, "lmdb", SimpleNamespace(**vars(lmdb) | {"open": refuse}))
        for use in (store.head, lambda: store.append(block.data, 0), store.statistics):
            with pytest.raises(SystemRefused):
                use()
    store.append(block.data, 0)
    assert store.head().offset == 3
    store.close()


def test_a_handle_that_stays_in_panic_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "log")
    block = block_after(store, 3)
    panicking = Panicking(store._env, landed=False)
    panicking.panicked = True
    store._env = panicking  # type: ignore[assignment]
    monkeypatch.setattr(LmdbStore, "_reopen", lambda self: None)
    for use in (store.head, lambda: store.append(block.data, 0)):
        with pytest.raises(SystemRefused):
            use()
    store.close()
