"""House rules that no linter knows. Each failure names the file, the line and the rule."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("log", "projections", "registry", "tools")
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 100
# Test folders that cut across the rooms, so their files mirror no module.
FREE_TEST_FOLDERS = ("crash", "fuzz", "golden", "sim", "soak")
FREE_TEST_FILES = ("test_tidy.py", "test_readme.py")
MACHINE_PATH = re.compile(rb"(?<![\w.])/(?:work|root|tmp/dev)(?:/|\b)")


def _files() -> list[Path]:
    """Every file that is tracked or would be added by `git add .`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = sorted({ROOT / name for name in listing.decode().split("\0") if name})
    return [path for path in paths if path.is_file() and not path.is_symlink()]


FILES = _files()
MODULES = [path for path in FILES if path.suffix == ".py"]
PACKAGES = [path.parent for path in MODULES if path.name == "__init__.py"]


def _show(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


class _Syntax(NamedTuple):
    functions: list[tuple[int, str, int]]
    """Line, name and length in lines."""
    imports: list[tuple[int, str]]
    """Line and module, the absolute ones."""


@cache
def _syntax(path: Path) -> _Syntax:
    """Of statements alone: neither a function nor an import stands within an expression."""
    found = _Syntax([], [])
    left: list[ast.AST] = [ast.parse(path.read_bytes(), filename=str(path))]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found.functions.append((node.lineno, node.name, lines))
        elif isinstance(node, ast.Import):
            found.imports.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.imports.append((node.lineno, node.module))
        for field in ("body", "orelse", "handlers", "finalbody", "cases"):
            inner = getattr(node, field, None)
            left += inner if isinstance(inner, list) else ()
    return found


def test_the_walk_sees_the_tree() -> None:
    assert {_room(path) for path in MODULES} >= {*ROOMS, "tests"}


def test_modules_are_short() -> None:
    lengths = {_show(path): len(path.read_text().splitlines()) for path in MODULES}
    long = {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX}
    assert not long, f"split by idea, at most {MODULE_LINES_MAX} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{_show(path)}:{line} {name}": lines
        for path in MODULES
        for line, name, lines in _syntax(path).functions
        if lines > FUNCTION_LINES_MAX
    }
    assert not long, f"at most {FUNCTION_LINES_MAX} lines: {long}"


def test_lines_are_short() -> None:
    long = [
        f"{_show(path)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_LENGTH_MAX
    ]
    assert not long, f"at most {LINE_LENGTH_MAX} characters: {long}"


def test_rooms_are_imported_by_their_installed_names() -> None:
    bare = [
        f"{_show(path)}:{line} {name}"
        for path in MODULES
        for line, name in _syntax(path).imports
        if name.split(".")[0] in ROOMS
    ]
    assert not bare, f"write alphapulse.<room>, the bare name exists only in a checkout: {bare}"


def _package_name(folder: Path) -> str:
    return ".".join(("alphapulse", *folder.relative_to(ROOT).parts))


def test_every_package_is_installed() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {_package_name(folder) for folder in PACKAGES if _room(folder) in ROOMS}
    listed = set(setup["packages"])
    assert on_disk == listed, (
        "pyproject.toml [tool.setuptools] packages:"
        f" add {sorted(on_disk - listed)}, remove {sorted(listed - on_disk)}"
    )


def test_every_folder_of_code_is_a_package() -> None:
    code = {path.parent for path in MODULES if _room(path) in ROOMS}
    assert code == {folder for folder in PACKAGES if _room(folder) in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_typed_and_linked(room: str) -> None:
    assert (ROOT / room / "py.typed").is_file()
    link = ROOT / ".link" / "alphapulse" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room


def test_alphapulse_stays_a_namespace() -> None:
    assert not (ROOT / ".link" / "alphapulse" / "__init__.py").exists()
    assert not (ROOT / "__init__.py").exists()


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    leaks = [
        f"{_show(path)}:{number}"
        for path in FILES
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not leaks, f"a path of somebody's machine: {leaks}"


def _mirrors(test: Path) -> bool:
    """`tests/log/test_frame.py` and `test_frame_flips.py` mirror `log/frame.py`."""
    inside = test.relative_to(ROOT / "tests")
    if not inside.name.startswith("test_"):
        return True  # conftest.py and helpers: pytest collects nothing from them
    if len(inside.parts) == 1:
        return inside.name in FREE_TEST_FILES
    if inside.parts[0] in FREE_TEST_FOLDERS:
        return True
    stem, folder = inside.stem.removeprefix("test_"), ROOT / inside.parent
    names = {path.stem for path in MODULES if path.parent == folder}
    names |= {path.name for path in PACKAGES if path.parent == folder or path == folder}
    return any(stem == name or stem.startswith(f"{name}_") for name in names)


def test_tests_mirror_the_rooms() -> None:
    tests = [path for path in MODULES if _room(path) == "tests"]
    stray = [_show(path) for path in tests if not _mirrors(path)]
    free = ", ".join(f"tests/{folder}/" for folder in FREE_TEST_FOLDERS)
    assert not stray, f"name a test after its module, or put it into {free}: {stray}"


def test_every_sample_names_its_source() -> None:
    samples = ROOT / "tools" / "samples"
    sources = (samples / "SOURCES.md").read_text()
    names = {path.name for path in FILES if path.parent == samples} - {"SOURCES.md"}
    assert names
    unnamed = [name for name in sorted(names) if f"| `{name}` |" not in sources]
    assert not unnamed, f"tools/samples/SOURCES.md has no row for: {unnamed}"


def test_readme_documents_every_verb() -> None:
    from alphapulse.tools.cli import main

    assert isinstance(main, click.Group)
    verbs = main.list_commands(click.Context(main))
    assert "demo" in verbs
    readme = (ROOT / "README.md").read_text()
    missing = [v for v in verbs if not re.search(rf"(?:`|alphapulse ){re.escape(v)}\b", readme)]
    assert not missing, f"README.md says nothing about: {missing}"


def test_format_documents_every_kind() -> None:
    from alphapulse.log import KINDS_BY_NAME

    text = (ROOT / "log" / "FORMAT.md").read_text()
    missing = [name for name in KINDS_BY_NAME if f"`{name}`" not in text]
    assert not missing, f"log/FORMAT.md says nothing about: {missing}"
