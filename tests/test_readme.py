"""The README's examples are run, in its order, as a reader would: nothing in it may be made up.

Blocks marked `console` hold `$ command` lines and what they print; `...` stands for what differs
from run to run (times, rates, hashes that depend on a home's random log id). Blocks marked
`python` run one after the other in one namespace. Both share one directory, in which `tools` is
the project's own, so the paths of the samples are those of a clone. The table of patterns is
counted in the home that the tour leaves behind.

A command that needs no shell runs in this process, which has imported what a hundred new
interpreters would import one after the other; the others show that the installed command does.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alphapulse.log import EventLog, Pattern
from alphapulse.tools.cli import main
from tests.crash.children import verification_here

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.M | re.S)
SHELLS = {"|", "&", "&&", ";", ">", "<"}
REDIRECTIONS = {">", "&>"}
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
    if ";" in words and "&" not in words:
        return "".join(_run(part, directory) for part in command.split("; "))
    *before, redirection, name = ["", *words]
    if redirection not in REDIRECTIONS:
        before, redirection = words, ""
    if command.startswith("alphapulse ") and not SHELLS.intersection(before):
        ran = _run_here(shlex.split(command)[1 : -2 if redirection else None])
        if not redirection:
            return ran.output
        (directory / name).write_text(ran.output if redirection == "&>" else ran.stdout)
        return "" if redirection == "&>" else ran.stderr
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout


def _run_here(words: list[str]) -> Result:
    environment = {**dict.fromkeys(os.environ), **_environment()}
    with verification_here():
        result = CliRunner(env=environment).invoke(main, words, prog_name="alphapulse")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


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
