"""The same list gives the same registry: ids in order and view digests, whatever the process.

Children are real interpreters, since PYTHONHASHSEED is read at their start; each makes two homes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alphapulse.registry import Registry, audit, import_file

SAMPLES = Path(__file__).parents[2] / "tools" / "samples"
TOKENS = SAMPLES / "optimism.tokenlist.json"

CHILD = """
import json, sys
from alphapulse.registry import Registry, import_file

for home in sys.argv[1:3]:
    with Registry.open(home, durability="relaxed") as registry:
        for file in sys.argv[3:]:
            import_file(registry, file)
        print(json.dumps({
            "ids": [event.entity for event in registry.read()],
            "kinds": [event.kind_name for event in registry.read()],
            "digests": {name: view.digest.hex()
                        for name, view in registry.statistics().views.items()},
        }))
"""


def children(tmp_path: Path, hash_seeds: list[str], files: list[Path]) -> list[dict[str, Any]]:
    """What each home of each child holds; the children run at the same time."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / f"{n}a"), str(tmp_path / f"{n}b"),
             *map(str, files)],
            env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True,
        )
        for n, seed in enumerate(hash_seeds)
    ]  # fmt: skip
    found = []
    for child in running:
        out, _ = child.communicate(timeout=120)
        assert child.returncode == 0
        found += [json.loads(line) for line in out.splitlines()]
    assert len(found) == 2 * len(hash_seeds)
    return found


def test_whatever_the_hash_seed(tmp_path: Path, scale: float) -> None:
    files = [TOKENS, SAMPLES / "apple_listings.csv", SAMPLES / "nse_equities.csv"]
    hash_seeds = ["0", "1", *("random" for _ in range(max(1, round(scale))))]
    first, *others = children(tmp_path, hash_seeds, files)
    assert first["kinds"].count("instrument.registered") > 1_500
    assert "listing.added" in first["kinds"] and "relation.added" in first["kinds"]
    for other in others:
        assert other == first
    assert all(verdict.ok for verdict in audit(tmp_path / "0a"))


def imported(home: Path, parts: list[list[dict[str, Any]]]) -> dict[str, tuple[int, bytes]]:
    """Rows and digest of each view after importing the parts, one list each."""
    document = json.loads(TOKENS.read_bytes())
    with Registry.open(home, durability="relaxed") as registry:
        for number, part in enumerate(parts):
            file = home.parent / f"{home.name}-{number}.json"
            file.write_text(json.dumps({**document, "tokens": part}))
            import_file(registry, file)
        views = registry.statistics().views
        assert views["alerts"].rows == 0
        return {name: (view.rows, view.digest) for name, view in views.items()}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    tokens: list[dict[str, Any]] = json.loads(TOKENS.read_bytes())["tokens"]
    return tokens


def test_two_halves_in_either_order(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    half = len(rows) // 2
    whole = imported(tmp_path / "whole", [rows])
    assert whole["instruments"][0] == 1_167
    assert imported(tmp_path / "one", [rows[:half], rows[half:]]) == whole
    assert imported(tmp_path / "other", [rows[half:], rows[:half]]) == whole
    assert imported(tmp_path / "twice", [rows[half:], rows, rows[:half]]) == whole


def test_control_a_missing_row_shows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """The digests can differ: one row less, or one letter of one name."""
    few = rows[:50]
    whole = imported(tmp_path / "whole", [few])
    renamed = [{**few[0], "name": few[0]["name"] + "x"}, *few[1:]]
    for name, other in (("less", few[1:]), ("renamed", renamed)):
        found = imported(tmp_path / name, [other])
        assert found["instruments"][1] != whole["instruments"][1]


def test_any_order_of_rows(
    tmp_path: Path, rows: list[dict[str, Any]], scale: float
) -> None:
    """In three parts or four, shuffled, the same list says the same."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    whole = imported(tmp_path / "whole", [rows])
    for number in range(max(1, round(2 * scale))):
        shuffled = rng.sample(rows, len(rows))
        cut = sorted(rng.sample(range(len(rows)), 3))
        parts = [shuffled[a:b] for a, b in zip([0, *cut], [*cut, None], strict=True)]
        assert imported(tmp_path / str(number), parts) == whole
