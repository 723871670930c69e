"""What every test shares: the scale of heavy tests and how random tests are seeded."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

SCALE = float(os.environ.get("ALPHAPULSE_TEST_SCALE", "1"))
"""Multiplies the counts of heavy tests; 1 keeps the whole run under three minutes."""
if not 0 < SCALE < 1e6:
    raise pytest.UsageError(f"ALPHAPULSE_TEST_SCALE={SCALE} must be above 0 (1 is the default)")

# A run that was started in the background ignores Ctrl-C, and so would the children that tests
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start interpreters by the hundred, each of which would compile all sources anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_EXAMPLES = max(10, round(50 * SCALE))
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


def pytest_report_header() -> str:
    profile = settings.get_current_profile_name()
    return f"alphapulse: scale {SCALE:g}, hypothesis profile {profile}"
