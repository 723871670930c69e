"""Lets these tests use what other folders of tests share: `from tests.log.logs import ...`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
