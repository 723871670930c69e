"""`python -m tests.soak --minutes N [--seed S]`: exit 1 when anything was wrong."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .slopes import LIMITS, MINUTES_JUDGED
from .soak import Report, Soak


def show(report: Report, minutes: float) -> None:
    print(
        f"{report.events} events in {minutes:g} minutes, {report.kills} kills, "
        f"{report.received} events received, {report.backed_up} backed up"
    )
    print(f"\n{'':20}  {'':12} {'first':>10} {'last':>10} {'a minute':>10}")
    for what, unit, first, last, per_minute in report.slopes:
        print(f"{what:20}  {unit:12} {first:10.0f} {last:10.0f} {per_minute:+10.1f}")
    limits = ", ".join(f"{unit} {limit:g}" for unit, limit in LIMITS.items())
    judged = (
        "judged" if minutes >= MINUTES_JUDGED else f"not judged below {MINUTES_JUDGED:g} minute"
    )
    print(f"limits a minute: {limits} ({judged})\n")
    for problem in report.wrong:
        print(f"WRONG: {problem}")
    print(f"{len(report.wrong)} things wrong" if report.wrong else "nothing wrong")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--pause-ms", type=float, default=20.0, help="between writes of a thread")
    parser.add_argument(
        "--early", action="store_true", help="acknowledge before the commit, which must be found"
    )
    given = parser.parse_args(arguments)
    print(f"soak: seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="alphapulse-soak-") as directory:
        soak = Soak(Path(directory), given.seed, pause_s=given.pause_ms / 1000, early=given.early)
        report = soak.run(given.minutes)
    show(report, given.minutes)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
