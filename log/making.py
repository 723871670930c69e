"""A new log appears by rename: it is built beside its place, made durable, and only then renamed.

So a home is whole or not there, wherever a crash comes, also when a whole log is copied into it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from .errors import InvalidInput
from .home import BUILDING, Genesis, Home, publish_log, sweep_unfinished
from .lmdb_store import LmdbStore
from .refusals import SystemCalls


def require_outside(path: str | os.PathLike[str], doing: str) -> None:
    """Raises InvalidInput for a copy within a home, or a backup: it would go where that goes."""
    for outer in Path(os.path.realpath(path)).parents:
        if os.path.isfile(outer / "log" / "data.mdb"):  # a `log/` alone is in many places: /var
            raise InvalidInput(
                doing, problem="it lies within a home or backup, and would be lost with it",
                within=outer, cure="name a place outside of it",
            )  # fmt: skip


@contextlib.contextmanager
def new_log(home: Home, genesis: Genesis, *, beside: Collection[str] = ()) -> Iterator[LmdbStore]:
    """A store to fill. When the body ends well it becomes the log of `home`, else nothing does.

    beside: names that may already be in the directory. Raises HomeExists, HomeUnsupported.
    """
    with SystemCalls(f"making the home {home.path}"):
        home.require_room(beside)
        home.is_durable()
        made = not home.path.exists()
        home.make_directories()
        home.path.chmod(0o700)
        sweep_unfinished(home)
        building = home.path / f"{BUILDING}{os.getpid()}-{os.urandom(4).hex()}"
        try:
            store = LmdbStore.create(building, genesis)
            try:
                yield store
            finally:
                store.close()
            publish_log(home, building)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            if made and not home.exists():  # else another process was first
                home.remove_directories()
            raise
