"""A few seconds of the soak, so that it works when somebody wants minutes of it."""

from __future__ import annotations

import pytest

from tests.crash.children import seeds

from .__main__ import main
from .slopes import LIMITS, Samples, per_minute
from .soak import misanswered, misreceived

MINUTES = 0.02
"""By default, as `scale` has it; more of it finds more."""


def test_a_short_soak(capsys: pytest.CaptureFixture[str], scale: float) -> None:
    (seed,) = seeds(1)
    code = main(["--minutes", str(MINUTES * scale), "--seed", str(seed), "--pause-ms", "60"])
    told = capsys.readouterr().out
    print(told)
    assert code == 0 and "nothing wrong" in told
    assert f"seed {seed}" in told and " 0 events" not in told


def test_control_writers_that_acknowledge_too_early(capsys: pytest.CaptureFixture[str]) -> None:
    """One kill in ten comes when all that was acknowledged happens to be committed."""
    for seed in seeds(5):
        code = main(["--minutes", "0.004", "--seed", str(seed), "--pause-ms", "0", "--early"])
        told = capsys.readouterr().out
        print(told)
        if "write-and-die: the acknowledged token" in told:
            assert code == 1
            return
    raise AssertionError("it was never noticed")


def test_what_a_subscriber_must_not_do() -> None:
    assert misreceived("s", [0, 2, 5], [0, 2, 5], repeats=False) == []
    assert misreceived("s", [0, 2, 0, 2, 5], [0, 2, 5], repeats=True) == []
    assert "after 2" in misreceived("s", [0, 2, 0, 2, 5], [0, 2, 5], repeats=False)[0]
    for got in ([0, 5], [2, 5], [0, 2], [0, 2, 3, 5], [0, 5, 2]):
        assert misreceived("s", got, [0, 2, 5], repeats=True), got


def test_what_must_not_become_of_a_request() -> None:
    good = {0: [7], 1: [7], 2: [9]}
    assert misanswered([7, 7, 9], good) == []
    assert misanswered([7, 7], good) == [], "the last one was killed before it was recorded"
    for held, problem in (
        ({0: [7], 2: [9]}, "request 1 is not there"),
        ({**good, 1: [7, 12]}, "request 1 was carried out 2 times: [7, 12]"),
        ({**good, 2: [9, 10]}, "request 2 was carried out 2 times: [9, 10]"),
        ({**good, 2: [10]}, "request 2 was answered with 9, not 10"),
        ({**good, 4: [12]}, "request 4 is there, and only 3 were answered"),
    ):
        assert misanswered([7, 7, 9], held) == [problem]


def test_slopes_are_of_the_second_half_and_judged() -> None:
    samples = Samples()
    for at_s in range(20):
        samples.add("a process", "descriptors", at_s, 100 if at_s < 10 else at_s)
    (slope,) = samples.slopes()
    assert slope[:4] == ("a process", "descriptors", 100, 19)
    assert slope.per_minute == pytest.approx(60)
    assert "gains 60 descriptors" in slope.problem
    assert slope._replace(per_minute=LIMITS["descriptors"]).problem == ""
    assert slope._replace(unit="KiB on disk").problem == ""
    assert per_minute([(1.0, 5.0)]) == 0
