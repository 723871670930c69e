"""The same list gives the same registry: ids, digests and bytes, whatever the process.

Children are real interpreters, since PYTHONHASHSEED is read at their start: each one makes two
homes, folds a log of ours again, writes golden frames again and goes through a simulated history.
Every Python from 3.11 on that is found here and has our dependencies is asked; interpreters of
environments that are kept elsewhere can be named in ALPHAPULSE_TEST_PYTHONS, separated like PATH:
`.ci/run` makes one for each version that it finds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alphapulse.log import EventLog
from alphapulse.registry import Registry, audit, import_file
from tests.crash.children import report, seeds
from tests.log.logs import GENESIS, ticking

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tools" / "samples"
TOKENS = SAMPLES / "optimism.tokenlist.json"
APPLE = SAMPLES / "apple_listings.csv"
FILES = [TOKENS, APPLE, SAMPLES / "nse_equities.csv"]
GOLDEN = ROOT / "tests" / "golden" / "version1.json"
PYTHONS_NAME = "ALPHAPULSE_TEST_PYTHONS"

PROBE = """
import sys
print("%d.%d" % sys.version_info[:2])
if sys.version_info < (3, 11):
    sys.exit("older than 3.11")
try:
    import blake3, click, cramjam, lmdb, msgspec, stdnum, zstandard
except ImportError as error:
    sys.exit(str(error))
print(sys.implementation.name, sys.version.split()[0], sys.prefix)
"""

CHILD = """
import json, pathlib, platform, sys
from alphapulse.log import (
    Block, Event, Genesis, columns_of, encode_block, encode_body, encode_frame, encode_metadata,
    NO_PREVIOUS, SEVERITIES,
)
from alphapulse.log.codec import Codec
from alphapulse.registry import Registry, import_file
from tests.sim.world import World

place, ours, golden, *files = map(pathlib.Path, sys.argv[1:])

def digests(registry):
    return {name: view.digest.hex() for name, view in registry.statistics().views.items()}

homes = []
for name in "ab":
    with Registry.open(place / name, durability="relaxed") as registry:
        for file in files:
            import_file(registry, file)
        homes.append({
            "ids": [event.entity for event in registry.read()],
            "kinds": [event.kind_name for event in registry.read()],
            "digests": digests(registry),
        })

with Registry.open(ours, mode="r") as registry:
    assert registry.views.rebuilt, "the views were to be made again"
    folded = {"chain": registry.log.chain_head.hex(), "digests": digests(registry)}

def again(row):
    event = Event(bytes.fromhex(row["frame"]))
    fixed, rest = encode_body(event.body)
    frame = encode_frame(
        kind=event.kind, space=event.space, offset=event.offset, recorded=event.recorded,
        valid_from=event.valid_from, entity=event.entity,
        previous=NO_PREVIOUS if event.previous is None else event.previous,
        fixed=fixed, rest=rest, metadata=encode_metadata(event.metadata), codec=Codec.NONE,
    )
    return frame, columns_of(event.kind, SEVERITIES[event.kind], event.entity, event.body)

rows = [row for row in json.loads(golden.read_bytes())["frames"] if row["codec"] == "none"]
frames = [again(row)[0].hex() for row in rows]
print(json.dumps({
    "homes": homes, "folded": folded, "golden": frames == [row["frame"] for row in rows],
    "frames": frames, "hash": hash("alphapulse"),
    "python": sys.implementation.name + "-" + platform.python_version(),
    "trace": World(place / "world", 2026).run(60).hex(),
}))
"""

BY_HASH = """
from alphapulse.projections import instrument_view, listing_view, relation_view, view
from blake3 import blake3
for module in (instrument_view, listing_view, relation_view, view):
    module.blake3 = lambda data: blake3(data + str(hash("alphapulse")).encode())
"""
"""Digests of rows that depend on PYTHONHASHSEED, as those of a fold over a set of texts would."""


class Python(NamedTuple):
    path: str
    minor: str
    """3.12, as it says or, when it cannot, as it is named."""
    says: str
    """Implementation, version and prefix, or why it cannot be used."""
    usable: bool


def pythons() -> list[Python]:
    """This one first, then every other that is found, one for each version and environment."""
    named = [Path(path) for path in os.environ.get(PYTHONS_NAME, "").split(os.pathsep) if path]
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += [Path("/usr/bin"), Path("/usr/local/bin"), *Path("/opt").glob("*/bin")]
    folders += (Path.home() / ".pyenv" / "versions").glob("*/bin")
    candidates = [Path(sys.executable), *named]
    for folder in folders:
        candidates += sorted(folder.glob("python3.1[1-9]"))
        candidates += sorted(folder.glob("python3.[2-9][0-9]"))
    found: dict[str, Python] = {}
    for path in candidates:
        probe = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, env=clean())
        usable = probe.returncode == 0
        minor, _, env = probe.stdout.strip().partition("\n")
        says = env if usable else probe.stderr.strip().partition("\n")[0]
        key = says if usable else os.path.realpath(path)
        minor = minor or path.name.removeprefix("python")
        found.setdefault(key, Python(str(path), minor, says, usable))
    return list(found.values())


def clean(**more: str) -> dict[str, str]:
    """Our environment without what would change an interpreter; `alphapulse` from this tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": f"{ROOT / '.link'}{os.pathsep}{ROOT}", **more}


def children(
    tmp_path: Path, asked: list[tuple[str, str]], files: list[Path] = FILES, broken: str = ""
) -> Iterator[dict[str, Any]]:
    """What each (interpreter, hash seed) says; two run at a time. broken: code they run first."""
    ours = tmp_path / "ours"
    EventLog.create(ours, genesis=GENESIS)
    log = EventLog.open(ours, durability="relaxed", clock=ticking())
    with Registry(log, wait_s=10) as registry:
        for file in files:
            import_file(registry, file)
    for path in (ours / "views").iterdir():
        path.unlink()
    running = []
    for number, (python, hash_seed) in enumerate(asked):
        place = tmp_path / str(number)
        shutil.copytree(ours, place / "ours")
        command = [python, "-c", broken + CHILD, *map(str, (place, place / "ours", GOLDEN, *files))]
        running.append(subprocess.Popen(
            command, env=clean(PYTHONHASHSEED=hash_seed), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ))  # fmt: skip
        if len(running) == 2:
            yield from map(said, running)
            running.clear()
    yield from map(said, running)


def said(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, complaint = child.communicate(timeout=240)
    assert child.returncode == 0, complaint
    found: dict[str, Any] = json.loads(out)
    return found


def test_whatever_the_hash_seed_and_the_python(tmp_path: Path, scale: float) -> None:
    asked = [(sys.executable, seed) for seed in ("0", "1")]
    asked += [(sys.executable, "random")] * max(0, round(scale) - 1)
    found = pythons()
    compared = {python.minor for python in found if python.usable}
    for python in found:
        print(f"{'asked' if python.usable else 'passed over'}: {python.path}: {python.says}")
        if python.usable and python.path != sys.executable:
            asked.append((python.path, "random"))
    missed = {python.minor: python.says for python in found if python.minor not in compared}
    for minor, why in missed.items():
        report("determinism, passed over", python=minor, why=why)
    everyone = list(children(tmp_path, asked))
    hashes = {each.pop("hash") for each in everyone}
    versions = dict.fromkeys(each.pop("python") for each in everyone)
    assert len(hashes) == len(everyone), "the seeds must have made a difference"
    first, *others = everyone
    home = first["homes"][0]
    assert home["kinds"].count("instrument.registered") > 1_500
    assert "listing.added" in home["kinds"] and "relation.added" in home["kinds"]
    assert first["golden"] and len(first["frames"]) > 5
    assert first["folded"]["digests"] == home["digests"]
    assert first["homes"][1] == home
    for other in others:
        assert other == first
    assert all(verdict.ok for verdict in audit(tmp_path / "0" / "a"))
    report("determinism", homes=2 * len(everyone), hash_seeds=len(hashes),
           pythons=",".join(versions), different=0)  # fmt: skip


def test_control_a_fold_that_depends_on_the_hash_seed(tmp_path: Path) -> None:
    asked = [(sys.executable, seed) for seed in ("0", "1")]
    first, other = children(tmp_path, asked, [APPLE], BY_HASH)
    assert first["homes"][0]["ids"] == other["homes"][0]["ids"]
    differ = [
        name for name, digest in first["folded"]["digests"].items()
        if digest != other["folded"]["digests"][name]
    ]  # fmt: skip
    assert "instruments" in differ and first["homes"] != other["homes"]
    report("determinism, control: digests by hash seed", different=",".join(differ))


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


def test_any_order_of_rows(tmp_path: Path, rows: list[dict[str, Any]], scale: float) -> None:
    """In three parts or four, shuffled, the same list says the same."""
    whole = imported(tmp_path / "whole", [rows])
    wanted = list(seeds(max(1, round(scale**2))))
    for number, seed in enumerate(wanted):
        rng = random.Random(seed)
        shuffled = rng.sample(rows, len(rows))
        cut = sorted(rng.sample(range(len(rows)), 3))
        parts = [shuffled[a:b] for a, b in zip([0, *cut], [*cut, None], strict=True)]
        assert imported(tmp_path / str(number), parts) == whole
    report("any order of rows", wanted, orders=len(wanted), different=0)
