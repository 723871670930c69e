"""The README's examples are run, in its order, as a reader would: nothing in it may be made up.

Blocks marked `console` hold `$ command` lines and what they print; `...` stands for what differs
from run to run (times, rates, hashes that depend on a home's random log id). Blocks marked
`python` run one after the other in one namespace. Both share one directory, in which `tools` is
the project's own, so the paths of the samples are those of a clone. The table of patterns is
counted in the home that the tour leaves behind.

A command that needs no shell runs in a fork of this process, which has imported what forty new
interpreters would import one after the other for 0.3 s each; the others start as a reader's do.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from alphapulse.log import EventLog, Pattern
from alphapulse.tools.cli import main
from tests.crash.children import Child, Hear, Say

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.M | re.S)
SHELLS = {"|", "&", "&&", ";", ">", "<"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _steps(block: str) -> list[tuple[str, str]]:
    """(command, output) pairs of a console block; a line that ends in a backslash goes on."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps and steps[-1][0].endswith("\\"):
            steps[-1] = (steps[-1][0][:-1] + line.strip(), [])
        else:
            steps[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in steps]


def _environment() -> dict[str, str]:
    binaries = os.fspath(Path(sys.executable).parent)
    kept = {name: text for name, text in os.environ.items() if name != "ALPHAPULSE_HOME"}
    return {**kept, "PATH": f"{binaries}:{os.environ['PATH']}", "COLUMNS": "100"}


def _run(command: str, directory: Path) -> str:
    words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
    if command.startswith("alphapulse ") and not SHELLS.intersection(words):
        return _run_forked(shlex.split(command)[1:], directory)
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout


def _run_forked(words: list[str], directory: Path) -> str:
    told = directory / "told.txt"

    def work(say: Say, _: Hear) -> None:
        with open(told, "wb") as file, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
        os.environ.update(_environment())
        os.environ.pop("ALPHAPULSE_HOME", None)
        try:
            main(words, prog_name="alphapulse")
        except SystemExit as ended:
            say(f"exit {ended.code}")
        print(end="", flush=True)

    with Child(work) as child:
        assert child.hear().startswith("exit "), f"{words} ended by {child.wait()}"
        assert child.wait() == 0
    return told.read_text(encoding="utf-8")


def _check(wanted: str, got: str, what: str) -> None:
    checker = doctest.OutputChecker()
    if not checker.check_output(wanted.rstrip() + "\n", got.rstrip() + "\n", FLAGS):
        pytest.fail(f"{what}\n--- README says\n{wanted}\n--- it prints\n{got}")


def _check_patterns(home: Path) -> None:
    """Each pattern of the table matches as many events of the tour's home as stands beside it."""
    table = README.partition("| pattern |")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) >= 5
    with EventLog.open(home, mode="r") as log:
        for cell, counts, _ in rows:
            patterns = re.findall(r"`([^`]+)`", cell)
            found = {text: len(list(log.read(0, None, Pattern.parse(text)))) for text in patterns}
            wanted = [int(count) for count in counts.split(",")]
            assert found == dict(zip(patterns, wanted, strict=True))
            assert 0 not in wanted


def test_every_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(main, click.Group)
    for verb in main.list_commands(click.Context(main)):  # loaded here once, not in each fork
        main.get_command(click.Context(main), verb)
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    kinds = []
    for number, match in enumerate(BLOCK.finditer(README), 1):
        kind, block = match.groups()
        kinds.append(kind)
        if kind == "python":
            exec(compile(block, f"README block {number}", "exec"), namespace)
            continue
        for command, output in _steps(block):
            _check(output, _run(command, tmp_path), f"$ {command}")
    _check_patterns(tmp_path / "tour")
    assert kinds.count("console") >= 5
    assert kinds.count("python") >= 3
