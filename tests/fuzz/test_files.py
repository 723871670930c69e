"""Flipped bits, truncations and zeroed pages anywhere in a log's file, through `audit`.

The whole command runs in a child, with the child of its own that looks at the file first. So three
processes: that innermost one may end by a signal, the auditor may not, and neither may we. What is
fine is decided apart from it: a file is as good as before if the record reads back bit for bit,
since pages that hold nothing any more may be damaged without harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import lmdb
import pytest
from click.testing import CliRunner

from alphapulse.log import Home, Verdict, verify_store
from alphapulse.registry import Registry
from alphapulse.tools.cli import main
from tests.crash.children import SEED_NAME, Child, Hear, Say, forked_verification, report, seeds
from tests.crash.lists import tokens
from tests.places import in_memory

PAGE_SIZE_BYTES: Final = 4096
DAMAGES: Final = 60
SIZES: Final = (3, 40, 1, 60, 2, 30)
"""Events of each commit: blocks within a page, and such that have pages of their own."""
PARTS: Final = 3
CONTROLS: Final = 40
UNREADABLE: Final = "unreadable"
NAMES: Final = ["bytes", "continuity", "chain", "meaning", "views"]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A closed home without views; each audit that gets so far makes them anew."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as directory:
        home, instruments = Path(directory) / "home", tokens(sum(SIZES))
        with Registry.open(home, durability="relaxed") as registry:
            for size in SIZES:
                registry.register_many([instruments.pop() for _ in range(size)])
        shutil.rmtree(home / "views")
        yield home


class Answer(NamedTuple):
    """What `alphapulse audit --json` came to. status: of its process, negative for a signal."""

    status: int
    code: int = -1
    verdicts: tuple[dict[str, Any], ...] = ()
    complaint: str = ""

    @property
    def fine(self) -> bool:
        return self.code == 0


def read_back(home: Path) -> str:
    """A digest of every key and value of the log; who asks may die of it."""
    found = hashlib.sha256()
    with (
        suppress(lmdb.Error),
        lmdb.open(str(home / "log"), max_dbs=2, lock=False, readonly=True) as env,
    ):
        for name in (b"meta", b"blocks"):
            with env.begin(db=env.open_db(name, create=False)) as txn:
                for key, value in txn.cursor():
                    found.update(b"%d %d " % (len(key), len(value)) + key + value)
        return found.hexdigest()
    return UNREADABLE


def audit_and_say(home: Path, say: Say) -> None:
    """The command in a child of ours, its verifier in a child of that."""
    with forked_verification():
        result = CliRunner().invoke(main, ["--home", str(home), "audit", "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # untyped: the command line shows all others itself
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    say(json.dumps([result.exit_code, verdicts, result.stderr]))


def looked_at(home: Path, files: Sequence[bytes]) -> Iterator[tuple[str, Answer]]:
    """Of the home with each of these files: what is read back, and what an audit says.

    By one child, and a new one for what is left when it died, which it may do of reading back.
    """
    file, done = home / "log" / "data.mdb", 0

    def look(say: Say, _: Hear) -> None:
        for data in files[done:]:
            file.write_bytes(data)
            say(read_back(home))
            audit_and_say(home, say)

    while done < len(files):
        lines, status = said_by(look)
        for record, verdicts in zip(lines[::2], lines[1::2], strict=False):
            done += 1
            yield record, answer_of([verdicts], 0)
        if status:
            assert done < len(files), "it died after all was done"
            done += 1
            yield (lines[-1], Answer(status)) if len(lines) % 2 else (UNREADABLE, audited(home))


def audited(home: Path) -> Answer:
    return answer_of(*said_by(lambda say, _: audit_and_say(home, say)))


def said_by(work: Callable[[Say, Hear], None]) -> tuple[list[str], int]:
    with Child(work) as child:
        return child.rest(), child.wait()


def answer_of(lines: list[str], status: int) -> Answer:
    if not lines:
        return Answer(status)
    code, verdicts, complaint = json.loads(lines[0])
    return Answer(status, code, tuple(verdicts), complaint)


def flipped(rng: random.Random, good: bytes) -> bytes:
    """One bit, anywhere."""
    damaged = bytearray(good)
    damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncated(rng: random.Random, good: bytes) -> bytes:
    """Cut anywhere, or where a page ends."""
    size_bytes = rng.randrange(len(good))
    return good[: size_bytes - size_bytes % PAGE_SIZE_BYTES if rng.random() < 0.5 else size_bytes]


def zeroed(rng: random.Random, good: bytes) -> bytes:
    """One page."""
    at = rng.randrange(len(good) // PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES
    return good[:at] + bytes(PAGE_SIZE_BYTES) + good[at + PAGE_SIZE_BYTES :]


Kind = Callable[[random.Random, bytes], bytes]
KINDS: Final[tuple[Kind, ...]] = (flipped, truncated, zeroed)


def wrong_about(answer: Answer, *, same: bool) -> str:
    """What an audit may not do; empty when it did not. same: whether the record reads the same."""
    if answer.status != 0:
        return f"the auditor ended by {answer.status}"
    if answer.fine:
        return "" if same else "it was fine with changed data"
    if answer.code not in (1, 2):
        return f"exit {answer.code}: {answer.complaint}"
    if answer.code == 2 or not answer.verdicts:
        return "" if answer.complaint else f"exit {answer.code} without a word"
    if [verdict["verdict"] for verdict in answer.verdicts] != NAMES:
        return f"other verdicts: {answer.verdicts}"
    bad = [verdict for verdict in answer.verdicts if not verdict["ok"]]
    named = bad and all(v["cure"] and v["first_bad_offset"] is not None for v in bad)
    return "" if named else f"a verdict without place or cure: {answer.verdicts}"


def damage(
    home: Path, wanted: Iterable[int], kinds: Sequence[Kind] = KINDS
) -> tuple[Counter[str], list[str]]:
    """One damage for each seed: how often each kind was found, and what went wrong."""
    wanted, file, counts, wrong = list(wanted), home / "log" / "data.mdb", Counter[str](), []
    good, used = file.read_bytes(), [kinds[seed % len(kinds)] for seed in wanted]
    damaged = [kind(random.Random(seed), good) for seed, kind in zip(wanted, used, strict=True)]
    (record, answer), *seen = looked_at(home, [good, *damaged])
    assert answer.fine and record != UNREADABLE
    for seed, kind, (found, answer) in zip(wanted, used, seen, strict=True):
        counts[f"{kind.__name__}_{'harmless' if answer.fine else 'found'}"] += 1
        if problem := wrong_about(answer, same=found == record):
            wrong.append(f"{SEED_NAME}={seed} {kind.__name__}: {problem}")
    file.write_bytes(good)
    return counts, wrong


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_files(home: Path, part: int, scale: float) -> None:
    """60 damages in all parts together; the seed says of which kind."""
    wanted = list(seeds(max(len(KINDS), round(DAMAGES / PARTS * scale))))
    counts, wrong = damage(home, wanted)
    report(f"damaged files, part {part}", wanted, **counts)
    assert not wrong, "\n".join(wrong)
    assert SEED_NAME in os.environ or any(name.endswith("found") for name in counts)
    assert audited(home).fine, "the file is as it was, and so is the verdict"


def first_wrong(home: Path, kind: Kind) -> str:
    """What the first damage that a broken auditor does not stand says."""
    for seed in seeds(CONTROLS):
        _, wrong = damage(home, [seed], [kind])
        if wrong:
            return wrong[0]
    return "nothing"


def test_control_an_auditor_that_compares_nothing(home: Path) -> None:
    """One that takes for what was written all that it can read, as long as the offsets go on."""
    judges = sys.modules["alphapulse.registry.audit"]  # by module: the package's is the function
    with (
        mock.patch("alphapulse.log.verify.chain_hash", return_value=mock.ANY),
        mock.patch("alphapulse.log.verify._check_bytes"),
        mock.patch.object(judges, "audit_meaning", return_value=Verdict("meaning", True, 1, 1)),
        mock.patch.object(judges, "audit_views", return_value=Verdict("views", True, 1, 1)),
    ):
        says = first_wrong(home, flipped)
    report("damaged files, control: compares nothing", found=says)
    assert "fine with changed data" in says


def test_control_an_auditor_without_a_child(home: Path) -> None:
    """One that reads the file itself, whatever its size, and ends by the signal it finds there."""

    def verify_here(home: Path, **_: object) -> list[Verdict]:
        return verify_store(Home(home))

    with mock.patch("alphapulse.log.lmdb_store.LmdbStore._check_size"):
        _, wrong = damage(home, seeds(3), [truncated])
        assert not wrong, "with its child it stands that"
        with mock.patch("tests.crash.children.verify_in_fork", verify_here):
            says = first_wrong(home, truncated)
    report("damaged files, control: no child", found=says)
    assert f"the auditor ended by -{signal.SIGBUS:d}" in says


def test_a_real_child_of_the_command_line(home: Path) -> None:
    """As a person calls it: a new interpreter, which starts another to look at the file."""
    file = home / "log" / "data.mdb"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    command = [sys.executable, "-m", "alphapulse.tools.cli", "--home", str(home), "audit", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        file.write_bytes(good)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert [verdict["verdict"] for verdict in verdicts if not verdict["ok"]] == NAMES
