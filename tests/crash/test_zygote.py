"""What the zygote forks does as a new interpreter does, so tests may take the one for the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("forked_interpreters")

CODES = (
    "print('out'); import sys; print('err', file=sys.stderr); print(sys.argv, sys.stdin.read())",
    "import os; print(os.getcwd(), os.environ['HERE'], 'HOME' in os.environ, os.getppid())",
    "import sys; sys.exit(3)",
    "import sys; sys.exit('a reason')",
    "1 / 0",
    "raise KeyboardInterrupt",
    "import os; os.kill(os.getpid(), 9)",
    "import signal; print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))",
    "import threading, time; threading.Thread(target=lambda: (time.sleep(.01), print(1))).start()",
    "import atexit; atexit.register(print, 'at exit')",
    "import os; print(sorted(os.listdir('/proc/self/fd'))[:3], __name__)",
    "import warnings; warnings.warn('w', DeprecationWarning); warnings.warn('w', ResourceWarning)",
    "from alphapulse.projections import engine; print(engine.ROWS_MIN)",
    "import gc; print(gc.isenabled())",
)


@pytest.mark.parametrize("code", CODES)
def test_it_ends_and_says_the_same(tmp_path: Path, code: str) -> None:
    def run(*flags: str) -> tuple[int, str, list[str]]:
        done = subprocess.run(
            [sys.executable, *flags, "-c", code, "one", "two"], input="given", text=True,
            capture_output=True, cwd=tmp_path, env={"HERE": "set"}, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.splitlines()[-1:]

    assert run() == run("-s"), "-s is not for the zygote"


def test_it_is_a_child_that_can_be_killed_and_that_knows_all_modules() -> None:
    code = "import sys; print('hypothesis' in sys.modules, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "True\n"
        assert child.poll() is None
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" in status
        child.terminate()
        assert child.wait(60) == -signal.SIGTERM
