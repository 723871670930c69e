"""New interpreters without their 0.2 s of imports: a process that has them all forks instead.

Within `forking` a `python -c CODE` or `python -m MODULE` that is started is a fork of the zygote,
a process from before the first test: it has opened no home, so nothing of LMDB is carried across.
What is started is a child of whoever started it, with its own streams, environment and arguments,
and it ends as an interpreter does. Tests of what an interpreter itself does (its flags, its memory,
its hash seed) start real ones, and so do those that are not marked to be within `forking`.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

PR_SET_CHILD_SUBREAPER = 36
"""<linux/prctl.h>: the orphans among our descendants become our children."""
SIZE_BYTES_MAX = 1 << 20
FDS_MAX = 1 << 12
RUN = ("-c", "-m")
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Order(NamedTuple):
    """What to run. words: from -c or -m on."""

    words: list[str]
    directory: str
    environment: dict[str, str]


class Zygote:
    """Forked once, by the process that is to use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        if os.fork() == 0:
            self._socket.close()
            _serve(theirs)
        theirs.close()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SIZE_BYTES_MAX)

    def start(self, order: Order, streams: Sequence[int]) -> int:
        """The pid of the new child. streams: descriptors of its stdin, stdout and stderr."""
        with self._lock:
            _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [json.dumps(order).encode()], list(streams))
                return int(self._socket.recv(20))
            finally:
                _prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _serve(asked: socket.socket) -> None:
    atexit._clear()
    faulthandler.disable()
    mock.patch.stopall()  # what conftest patches, a new interpreter does not
    importlib.reload(warnings)  # what pytest made of it is gone: filters, and who is told
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    while True:
        data, streams, _, _ = socket.recv_fds(asked, SIZE_BYTES_MAX, 3)
        if not data:
            os._exit(0)
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:  # its child is an orphan at once, and so goes to who asked
            us = os.getpid()
            pid = os.fork()
            if pid == 0:
                while os.getppid() == us:  # nothing tells an orphan that it is one
                    time.sleep(0.0002)
                _become(Order(*json.loads(data)), streams)
            os.write(tell, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        asked.send(os.read(told, 20))
        for descriptor in (*streams, told, tell):
            os.close(descriptor)


def _become(order: Order, streams: list[int]) -> None:
    """An interpreter; never returns."""
    for wanted, given in enumerate(streams):
        os.dup2(given, wanted)
    os.closerange(3, FDS_MAX)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.directory)
    os.environ.clear()
    os.environ.update(order.environment)
    own = {
        "stdin": os.fdopen(0, closefd=False), "stdout": os.fdopen(1, "w", closefd=False),
        "stderr": os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False),
    }  # fmt: skip
    vars(sys).update(own, **{f"__{name}__": stream for name, stream in own.items()})
    gc.enable()
    (how, what), sys.argv = order.words[:2], [order.words[0], *order.words[2:]]
    status = 0
    try:
        if how == "-m":
            sys.modules.pop(what, None)  # it is imported already, which runpy warns of
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        status = 1
    _end(status)


def _end(status: int) -> None:
    threading._shutdown()  # type: ignore[attr-defined]  # it waits for threads, as at an exit
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120  # what an interpreter then ends with
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


def _order(command: Any, directory: Any, environment: Any) -> Order | None:
    """None unless it is one of this interpreter that a fork can stand for."""
    if isinstance(command, str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(word) for word in command]
    if words[0] != sys.executable:
        return None
    words = words[1:]
    if words[:1] == ["-P"]:
        words = words[1:]
    if len(words) < 2 or words[0] not in RUN:
        return None
    chosen = {os.fsdecode(k): os.fsdecode(v) for k, v in (environment or os.environ).items()}
    if chosen.get("PYTHONHASHSEED") != os.environ.get("PYTHONHASHSEED"):
        return None
    return Order(words, os.path.abspath(directory or "."), chosen)


@contextmanager
def forking(zygote: Zygote) -> Iterator[None]:
    """Within it `subprocess` has this process's interpreters forked by the zygote."""

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def _execute_child(
            self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any,
            cwd: Any, env: Any, startupinfo: Any, creationflags: Any, shell: Any, *rest: Any,
        ) -> None:  # fmt: skip
            ends, special = rest[:6], [each for each in rest[7:] if each not in (None, -1, False)]
            order = _order(args, cwd, env)
            if executable or preexec_fn or pass_fds or shell or special:
                order = None
            if order is None or os.getpid() != zygote.owner:
                super()._execute_child(  # type: ignore[misc]
                    args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                    creationflags, shell, *rest,
                )  # fmt: skip
                return
            theirs = (ends[0], ends[3], ends[5])
            streams = [own if end == -1 else end for own, end in enumerate(theirs)]
            try:
                self.pid = zygote.start(order, streams)
                self._child_created = True
            finally:
                self._close_pipe_fds(*ends)  # type: ignore[attr-defined]

    with mock.patch.object(subprocess, "Popen", Popen):
        yield
