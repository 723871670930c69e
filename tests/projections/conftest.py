from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A new home. Relaxed, because no test here loses power."""
    with Registry.open(tmp_path / "home", durability="relaxed") as registry:
        yield registry
