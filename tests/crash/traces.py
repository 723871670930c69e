"""What a process did to its files, from an strace of it, and what a power cut may leave of that.

`read_trace` makes steps of the calls; `Trace.cut` draws one of the states that the disk may be in
when the power goes at a moment. The model is that of ALICE (Pillai and others, OSDI 2014), with
what POSIX promises and nothing more:

* Changes of a file are on the disk once an `fsync` or `fdatasync` of it returned, a write through
  an O_DSYNC descriptor once it returned. Of all other changes any subset may be there, whatever
  their order, and a write in part: each sector of 512 bytes is there or not. Where nothing was
  written there are zeros.
* Changes of names in a directory are there once an `fsync` of that very directory returned. Of the
  later ones the first few may be there: file systems with a journal keep their order.
* The call that runs when the power goes has promised nothing yet.

Writes through a mapping are no calls and cannot be seen, so a file that is mapped for writing is
zeros here; `Trace.mapped` names those files, so that a test can refuse to trust them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

SECTOR_SIZE_BYTES: Final = 512
ROOT: Final = 0
"""The directory that was traced; it is there and durable from the start."""
MARKS: Final = "/dev/null"
"""What the traced process writes there is a `Mark`."""
_OPENING: Final = ("openat", "open", "creat", "close", "dup", "dup2", "dup3", "fcntl")
_CHANGING: Final = ("lseek", "write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate")
_SYNCING: Final = ("fsync", "fdatasync")
_NAMING: Final = ("mkdir", "rename", "unlink", "unlinkat")
_REFUSED: Final = (
    "pwritev2", "truncate", "sendfile", "copy_file_range", "sync", "syncfs", "sync_file_range",
    "mkdirat", "renameat", "renameat2", "rmdir", "link", "linkat", "symlink", "symlinkat",
)  # fmt: skip
"""Nobody here calls them. They have no meaning in the model, so a call that succeeds is refused."""
_CALLS: Final = (*_OPENING, *_CHANGING, *_SYNCING, *_NAMING, *_REFUSED, "mmap")
_LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class Write(NamedTuple):
    node: int
    offset: int
    data: bytes
    durable: bool


class Resize(NamedTuple):
    node: int
    size: int


class Allocate(NamedTuple):
    node: int
    size: int
    """At least so many bytes; what is there stays."""


class Rename(NamedTuple):
    """Names of a directory that change in one step; None: the name is gone."""

    node: int
    names: dict[str, int | None]


class Sync(NamedTuple):
    node: int


class Mark(NamedTuple):
    text: str


Change = Write | Resize | Allocate | Rename
Step = Change | Sync | Mark


@lru_cache(maxsize=1)
def why_no_strace() -> str:
    """Why processes cannot be traced here; empty when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed (Debian: apt-get install strace)"
    tried = subprocess.run(_command("/dev/null", "true"), capture_output=True, text=True)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def _command(out: str, *traced: str) -> list[str]:
    # -y would mix paths into the arguments; -xx leaves no comma or quote inside of a string.
    return [
        "strace", "-f", "--seccomp-bpf", "-qq", "-o", out, "-xx", "-s", str(1 << 22),
        "-e", f"trace={','.join(_CALLS)}", "-e", "signal=none", *traced,
    ]  # fmt: skip


def trace(root: Path, out: Path, command: Sequence[str]) -> Trace:
    """Runs `command` under strace; what it does below `root`, an empty directory."""
    assert not any(root.iterdir())
    subprocess.run(_command(str(out), *command), check=True)
    return read_trace(out, root)


class Trace(NamedTuple):
    steps: list[Step]
    directories: set[int]
    mapped: set[str]
    """Paths of files that were mapped for writing."""

    def marked(self, moment: int) -> str | None:
        """The newest mark before the step number `moment`."""
        marks = (step.text for step in reversed(self.steps[:moment]) if isinstance(step, Mark))
        return next(marks, None)

    def end(self) -> Disk:
        """The disk when every call ran and all of it got there: what the process saw."""
        changes: dict[int, list[Change]] = defaultdict(list)
        for step in self.steps:
            if not isinstance(step, Sync | Mark):
                changes[step.node].append(step)
        return self._disk(changes, {node: len(made) for node, made in changes.items()})

    def cut(self, moment: int, rng: random.Random, *, syncs_count: bool = True) -> Disk:
        """A state of the disk when the power goes while step number `moment` runs.

        syncs_count: False for a disk that lies about files, though not about names.
        """
        changes: dict[int, list[Change]] = defaultdict(list)
        durable: dict[int, int] = defaultdict(int)
        for step in self.steps[:moment]:
            if isinstance(step, Sync):
                if syncs_count or step.node in self.directories:
                    durable[step.node] = len(changes[step.node])
            elif isinstance(step, Write):
                changes[step.node].append(step._replace(durable=step.durable and syncs_count))
            elif not isinstance(step, Mark):
                changes[step.node].append(step)
        for step in self.steps[moment : moment + 1]:
            if isinstance(step, Write):
                changes[step.node].append(step._replace(durable=False))
            elif not isinstance(step, Sync | Mark):
                changes[step.node].append(step)
        return self._disk(changes, durable, rng)

    def _disk(
        self, changes: dict[int, list[Change]], durable: dict[int, int],
        rng: random.Random | None = None,
    ) -> Disk:  # fmt: skip
        """durable: how many of the first changes of a node are there for sure."""
        rng = rng or random.Random(0)
        kept = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        names, files = {}, {}
        for node, made in changes.items():
            if node in self.directories:
                names[node] = _names(made[: rng.randint(durable[node], len(made))])
            else:
                files[node] = _contents(made, durable[node], kept, rng)
        return Disk(names, files, self.directories)


def _names(changes: list[Change]) -> dict[str, int]:
    names: dict[str, int] = {}
    for change in changes:
        assert isinstance(change, Rename)
        for name, node in change.names.items():
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node
    return names


class Contents:
    """Of a file: its bytes up to the last one written, and its size."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0

    def write(self, offset: int, data: bytes) -> None:
        if len(self.data) < offset:
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self.size = max(self.size, len(self.data))

    def resize(self, size: int) -> None:
        del self.data[size:]
        self.size = size


def _contents(changes: list[Change], durable: int, kept: float, rng: random.Random) -> Contents:
    """Of the changes the first `durable` and some of the others; each of those with odds `kept`."""
    file = Contents()
    for number, change in enumerate(changes):
        sure = number < durable or (isinstance(change, Write) and change.durable)
        if not sure and rng.random() >= kept:
            continue
        if isinstance(change, Resize):
            file.resize(change.size)
        elif isinstance(change, Allocate):
            file.size = max(file.size, change.size)
        elif isinstance(change, Write):
            torn = not sure and rng.random() < 0.3
            for offset, data in _sectors(change) if torn else [(change.offset, change.data)]:
                if not torn or rng.random() < 0.5:
                    file.write(offset, data)
    return file


def _sectors(write: Write) -> Iterator[tuple[int, bytes]]:
    """A write in pieces that never cross the border of a sector."""
    at, end = write.offset, write.offset + len(write.data)
    while at < end:
        stop = min(end, (at // SECTOR_SIZE_BYTES + 1) * SECTOR_SIZE_BYTES)
        yield at, write.data[at - write.offset : stop - write.offset]
        at = stop


class Disk(NamedTuple):
    """What is found when the power is back. A name may point to a node that has no contents."""

    names: dict[int, dict[str, int]]
    files: dict[int, Contents]
    directories: set[int]

    def write(self, into: Path, node: int = ROOT) -> None:
        """Makes it as the directory `into`."""
        into.mkdir()
        for name, child in self.names.get(node, {}).items():
            if child in self.directories:
                self.write(into / name, child)
                continue
            file = self.files.get(child, Contents())
            (into / name).write_bytes(file.data)
            if file.size > len(file.data):
                os.truncate(into / name, file.size)


def read_trace(path: Path, root: Path) -> Trace:
    """The steps of a traced process below `root`. Raises ValueError where the model ends."""
    reader = _Reader(root)
    with open(path, encoding="ascii") as lines:
        for line in lines:
            reader.line(line)
    return Trace(reader.steps, reader.directories, reader.mapped)


class _Opened:
    """One descriptor below the root, or one of the marks."""

    def __init__(self, node: int, path: str, flags: str) -> None:
        self.node = node
        self.path = path
        self.appends = "O_APPEND" in flags
        self.durable = "O_DSYNC" in flags or "O_SYNC" in flags
        self.at = 0


class _Reader:
    """Follows descriptors and names, call after call."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self.steps: list[Step] = []
        self.directories = {ROOT}
        self.mapped: set[str] = set()
        self._nodes: dict[str, int] = {"": ROOT}
        """By path below the root, as the running process sees it."""
        self._made = 1
        self._sizes: dict[int, int] = {}
        self._opened: dict[int, _Opened] = {}
        self._pid = ""

    def line(self, line: str) -> None:
        found = _LINE.match(line)
        if found is None:
            if "<unfinished" in line:
                raise ValueError(f"threads at once are not in the model: {line[:200]}")
            return  # an exit, or a call that never returned
        pid, call, arguments, result = found.groups()
        self._pid = self._pid or pid
        if pid != self._pid:
            raise ValueError("only one process is in the model")
        if result in ("?", "-1"):
            return
        self._call(call, arguments, result)

    def _call(self, call: str, arguments: str, result: str) -> None:
        if call == "mmap":
            self._map(arguments)
        elif call in ("open", "openat", "creat"):
            self._open(call, arguments, int(result))
        elif call in _NAMING:
            self._name(call, arguments)
        elif call in _REFUSED:
            raise ValueError(f"a call that is not in the model: {call}({arguments[:200]})")
        elif (opened := self._opened.get(int(arguments.split(",")[0]))) is None:
            return
        elif call == "close":
            del self._opened[int(arguments)]
        elif call in ("dup", "dup2", "dup3") or (call == "fcntl" and "F_DUPFD" in arguments):
            self._opened[int(result)] = opened
        elif call in _SYNCING:
            self.steps.append(Sync(opened.node))
        elif call == "lseek":
            opened.at = int(result)
        elif call in _CHANGING:
            self._change(call, opened, arguments, int(result))

    def _change(self, call: str, opened: _Opened, arguments: str, result: int) -> None:
        node, size = opened.node, self._sizes.get(opened.node, 0)
        if call == "ftruncate":
            self._sizes[node] = int(arguments.split(", ")[1])
            self.steps.append(Resize(node, self._sizes[node]))
        elif call == "fallocate":
            _, mode, offset, length = arguments.split(", ")
            if mode != "0":
                raise ValueError(f"fallocate with flags is not in the model: {mode}")
            self._sizes[node] = max(size, int(offset) + int(length))
            self.steps.append(Allocate(node, self._sizes[node]))
        else:
            data = b"".join(_texts(arguments))[:result]
            if opened.path == MARKS:
                self.steps.append(Mark(data.decode()))
                return
            placed = call.startswith("pwrite")
            at = int(arguments.rsplit(", ", 1)[1]) if placed else opened.at
            at = size if opened.appends else at
            if not placed:
                opened.at = at + result
            self._sizes[node] = max(size, at + result)
            self.steps.append(Write(node, at, data, opened.durable))

    def _map(self, arguments: str) -> None:
        _, _, protection, flags, descriptor, _ = arguments.split(", ")
        opened = self._opened.get(int(descriptor))
        if opened is not None and "PROT_WRITE" in protection and "MAP_SHARED" in flags:
            self.mapped.add(opened.path)

    def _open(self, call: str, arguments: str, descriptor: int) -> None:
        path = self._below_root(arguments, ("AT_FDCWD" not in arguments) and call == "openat")
        self._opened.pop(descriptor, None)  # whose close was missed, as at exec
        if path is None:
            if _text(arguments) == MARKS:
                self._opened[descriptor] = _Opened(-1, MARKS, arguments)
            return
        flags = "O_CREAT|O_TRUNC" if call == "creat" else arguments
        if path not in self._nodes:
            self._make(path)
        elif "O_TRUNC" in flags:
            self.steps.append(Resize(self._nodes[path], 0))
            self._sizes[self._nodes[path]] = 0
        self._opened[descriptor] = _Opened(self._nodes[path], path, flags)

    def _make(self, path: str) -> int:
        node = self._nodes[path] = self._made
        self._made += 1
        directory, name = _split(path)
        self.steps.append(Rename(self._nodes[directory], {name: node}))
        return node

    def _name(self, call: str, arguments: str) -> None:
        path = self._below_root(arguments, call == "unlinkat" and "AT_FDCWD" not in arguments)
        if path is None:
            return
        directory, name = _split(path)
        if call == "mkdir":
            self.directories.add(self._make(path))
        elif call == "rename":
            target = _texts(arguments)[1].decode().removeprefix(self._root)
            into, new = _split(target)
            if into != directory:
                raise ValueError(f"a rename to another directory is not in the model: {target}")
            names: dict[str, int | None] = {name: None, new: self._nodes[path]}
            self.steps.append(Rename(self._nodes[directory], names))
            self._move(path, target)
        else:
            self.steps.append(Rename(self._nodes[directory], {name: None}))
            del self._nodes[path]

    def _move(self, path: str, target: str) -> None:
        for old in [old for old in self._nodes if f"{old}/".startswith(f"{path}/")]:
            self._nodes[target + old[len(path) :]] = self._nodes.pop(old)

    def _below_root(self, arguments: str, relative: bool) -> str | None:
        """The path that a call names; None when it is elsewhere."""
        path = _text(arguments)
        if relative:
            directory = self._opened.get(int(arguments.split(",")[0]))
            return None if directory is None else f"{directory.path}/{path}".lstrip("/")
        if f"{path}/" == self._root:
            return ""
        return path.removeprefix(self._root) if path.startswith(self._root) else None


def _split(path: str) -> tuple[str, str]:
    directory, _, name = path.rpartition("/")
    return directory, name


def _text(arguments: str) -> str:
    return _texts(arguments)[0].decode()


def _texts(arguments: str) -> list[bytes]:
    """The strings among the arguments of a call."""
    found = []
    for digits, cut in _TEXT.findall(arguments):
        if cut:
            raise ValueError(f"strace cut a string short: {arguments[:200]}")
        found.append(bytes.fromhex(digits.replace("\\x", "")))
    return found
