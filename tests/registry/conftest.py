from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.registry import Registry
from tests.crash.children import forked_verification


@pytest.fixture(autouse=True)
def _forked() -> Iterator[None]:
    """tests/log tests the child that verifies; here a fork saves a new interpreter each time."""
    with forked_verification():
        yield


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A new home. Relaxed, because no test here loses power."""
    with Registry.open(tmp_path / "home", durability="relaxed") as registry:
        yield registry
