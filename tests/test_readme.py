"""The examples of README and of the guides are run, in their order, as a reader would.

Nothing in them may be made up.

Blocks marked `console` hold `$ command` lines and what they print; `...` stands for what differs
from run to run (times, rates, hashes that depend on a home's random log id). Blocks marked
`python` run one after the other in one namespace. Both share one directory, in which `tools` is
the project's own, so the paths of the samples are those of a clone. The table of patterns is
counted in the home that the tour leaves behind.

A command that needs no shell but before or after it runs in this process, which has imported what
a hundred new interpreters would import one after the other; the others show that the installed
command does.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alphapulse.log import EventLog, Pattern
from alphapulse.registry.discovery import discovery
from alphapulse.registry.discovery.folder import Folder
from alphapulse.tools.cli import main
from tests.crash.children import verification_here

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = (
    "registry/INSTRUMENTS.md", "registry/discovery/FEEDS.md", "registry/venues/VENUES.md",
)  # fmt: skip
"""Those with examples. Each is read by itself, in a directory and a namespace of its own."""
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.M | re.S)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
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
    first, then, last = command.rpartition(" && ")
    if then and last.startswith("alphapulse ") and "alphapulse" not in first:
        return _run_in_bash(first, directory, check=True) + _run(last, directory)
    first, pipe, rest = command.partition(" | ")
    if pipe and first.startswith("alphapulse ") and "alphapulse" not in rest:
        ran = _run_here(shlex.split(first)[1:])
        return ran.stderr + _run_in_bash(rest, directory, ran.stdout)
    *before, redirection, name = ["", *words]
    if redirection not in REDIRECTIONS:
        before, redirection = words, ""
    if command.startswith("alphapulse ") and not SHELLS.intersection(before):
        ran = _run_here(shlex.split(command)[1 : -2 if redirection else None])
        if not redirection:
            return ran.output
        (directory / name).write_text(ran.output if redirection == "&>" else ran.stdout)
        return "" if redirection == "&>" else ran.stderr
    return _run_in_bash(command, directory)


def _run_in_bash(command: str, directory: Path, stdin: str = "", *, check: bool = False) -> str:
    """What it prints. check: it must end well."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=_environment(), input=stdin,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=check,
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
        pytest.fail(f"{what}\n--- the page says\n{wanted}\n--- it prints\n{got}")


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


def _read(page: str, directory: Path) -> Counter[str]:
    """Does what a page says, and counts its blocks by their kind."""
    (directory / "tools").symlink_to(ROOT / "tools")
    namespace: dict[str, object] = {"__name__": "readme"}
    kinds = Counter[str]()
    for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        kind, block = match.groups()
        kinds[kind] += 1
        if kind == "python":
            exec(compile(block, f"{page} block {kinds.total()}", "exec"), namespace)
            continue
        for command, output in _steps(block):
            _check(output, _run(command, directory), f"$ {command}")
    return kinds


@pytest.mark.usefixtures("forked_interpreters")
def test_every_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = _read("README.md", tmp_path)
    _check_patterns(tmp_path / "tour")
    assert kinds["console"] >= 5 and kinds["python"] >= 3


@pytest.mark.parametrize("page", GUIDES)
def test_every_guide_does_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file settles in a tenth of the second that the guide tells of, which it does five times."""
    monkeypatch.setattr(discovery, "Folder", lambda path, settle_s: Folder(path, settle_s / 10))
    monkeypatch.chdir(tmp_path)
    kinds = _read(page, tmp_path)
    assert kinds["console"] and kinds["python"]


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    rooms = [*(ROOT / "log").rglob("*.md"), *(ROOT / "registry").rglob("*.md")]
    led_to = set()
    for page in (*ROOT.glob("*.md"), *rooms, ROOT / "benchmarks/README.md"):
        for target, anchor in LINK.findall(_prose(page)):
            wanted = (page.parent / target).resolve() if target else page
            assert wanted.is_file(), f"{page.name} leads to {target}, which is nowhere"
            headings = HEADING.findall(_prose(wanted))
            assert not anchor or anchor in {_anchor(each) for each in headings}, (page, anchor)
            if page.name == "README.md" and page.parent == ROOT:
                led_to.add(wanted)
    missing = {page for page in rooms if page.name != "SOURCES.md"} - led_to
    assert not missing, f"README.md does not lead to {missing}"


def test_every_page_with_examples_is_run() -> None:
    pages = (ROOT / "registry").rglob("*.md")
    with_examples = {page for page in pages if BLOCK.search(page.read_text(encoding="utf-8"))}
    assert with_examples == {ROOT / guide for guide in GUIDES}


def _prose(page: Path) -> str:
    """Without its blocks, whose comments are no headings and whose brackets are no links."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def _anchor(heading: str) -> str:
    """As GitHub names it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
