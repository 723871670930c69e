"""What every test shares: the scale of heavy tests, how random tests are seeded, and places.

It also lets tests use what other folders of tests share (`from tests.log.logs import ...`), and
the tests of `benchmarks`, which is not installed, import it from the checkout.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# At the end, so that the rooms' folders hide nothing of that name that is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.places import in_memory  # found by the line above

SCALE = float(os.environ.get("ALPHAPULSE_TEST_SCALE", "1"))
"""Multiplies the counts of heavy tests; 1 keeps the whole run under three minutes."""
if not 0 < SCALE < 1e6:
    raise pytest.UsageError(f"ALPHAPULSE_TEST_SCALE={SCALE} must be above 0 (1 is the default)")

# A run that was started in the background ignores Ctrl-C, and so would the children that tests
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start interpreters by the hundred, each of which would compile all sources anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_EXAMPLES = max(10, round(100 * SCALE))
# Deadlines are off because a timed assertion is a flaky test. print_blob: a failure prints the
# @reproduce_failure line that replays it.
settings.register_profile(
    "local",
    max_examples=_EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# In CI the examples follow from the code alone, so the verdict on a commit never changes; new
# examples are found on developers' machines and by a larger scale.
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


@pytest.fixture(scope="session")
def scale() -> float:
    """ALPHAPULSE_TEST_SCALE, 1 unless set: `rounds = max(1, round(60 * scale))`."""
    return SCALE


ON_DISK = {
    "test_readme.py",
    *(f"benchmarks/test_{name}.py" for name in ("benchmarks", "log")),
    *(f"crash/test_{name}.py" for name in (
        "cursor_sink", "disk_full", "failed_meta_write", "kill_group", "nth_call", "subscribers",
    )),
    *(f"log/test_{name}.py" for name in (
        "eventlog", "home", "live", "lmdb_store", "lock", "session",
    )),
}  # fmt: skip
"""Tests of what a disk does, or of durable commits, which no home in memory has."""


@pytest.fixture
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("on-disk")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """In memory, but for tests of the disk: a third of the run would be syncs and unlinks."""
    if request.path.relative_to(Path(__file__).parent).as_posix() in ON_DISK:
        yield request.getfixturevalue("on_disk")
        return
    with tempfile.TemporaryDirectory(dir=in_memory()) as directory:
        yield Path(directory)


def pytest_report_header() -> str:
    profile = settings.get_current_profile_name()
    return f"alphapulse: scale {SCALE:g}, hypothesis profile {profile}"
