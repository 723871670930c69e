"""Lets these tests use what other folders of tests share: `from tests.log.logs import ...`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.places import in_memory  # found by the line above


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: no disk is the subject here."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as directory:
        yield Path(directory)
