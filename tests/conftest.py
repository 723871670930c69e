"""What every test shares: the scale of heavy tests, how random tests are seeded, and places.

It also lets tests use what other folders of tests share (`from tests.log.logs import ...`), and
the tests of `benchmarks`, which is not installed, import it from the checkout.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

# At the end, so that the rooms' folders hide nothing of that name that is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.places import in_memory  # found by the line above
from tests.zygote import Zygote, forking

SCALE = float(os.environ.get("ALPHAPULSE_TEST_SCALE", "1"))
"""Multiplies the counts of heavy tests; 1 keeps the whole run under three minutes."""
if not 0 < SCALE < 1e6:
    raise pytest.UsageError(f"ALPHAPULSE_TEST_SCALE={SCALE} must be above 0 (1 is the default)")

gc.disable()  # until all tests are collected: nearly everything that is made till then stays

# A run that was started in the background ignores Ctrl-C, and so would the children that tests
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start interpreters by the hundred, each of which would compile all sources anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_EXAMPLES = max(10, round(13 * SCALE**3))
"""Of each test of hypothesis; `.ci/run` runs 104, at scale 2."""
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


# New views have room for 2,048 rows, 4.5 MB of zeros for each home of a few events that a test
# makes. With less of it they also grow where a test has more rows.
mock.patch("alphapulse.projections.engine.ROWS_MIN", 256).start()


@pytest.fixture(scope="session")
def scale() -> float:
    """ALPHAPULSE_TEST_SCALE, 1 unless set: `rounds = max(1, round(60 * scale))`."""
    return SCALE


ON_DISK = {
    "test_readme.py",
    "benchmarks/test_log.py",
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



LONGEST = (
    "test_two_processes_feed_the_same_tokens_at_once", "test_kill_9_of_clients_that_share_commits",
    "test_kill_9_while_importing", "test_the_log_is_the_list",
    "test_a_healthy_subscriber_beside_stalled_killed_and_slow_ones",
    "test_every_example_does_what_it_says", "test_threads_that_come_and_go_are_each_given_exactly",
    "TestTableMachine", "TestHistories", "test_every_bit", "test_every_history_converges",
)  # fmt: skip
"""Two seconds and more each: one that is begun last is waited for by all workers but one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    is_long = re.compile("|".join(LONGEST)).search
    items.sort(key=lambda item: (not is_long(item.nodeid), item.path))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Every other worker begins at the other end. In a new checkout each rewrites the assertions of
    half of the modules, and finds the others' as bytecode; in one order all would rewrite all."""
    report = yield
    backwards = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[-1] in "13579"
    if backwards and isinstance(collector, pytest.Directory):
        report.result.reverse()
    return report


ZYGOTE: list[Zygote] = []
"""At most one, of the process that runs tests."""


@pytest.fixture
def forked_interpreters() -> Iterator[None]:
    """For tests whose new interpreters have nothing to show but what they run."""
    with forking(*ZYGOTE):
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there by now stays to the end: no collection of garbage looks at it again, nor copies
    its pages in a forked child. And nothing is open yet, as a zygote must have it."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)  # tests make much garbage, and little of it in cycles
    if any("forked_interpreters" in getattr(item, "fixturenames", ()) for item in session.items):
        ZYGOTE.append(Zygote())
