from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from alphapulse.log import AlphaPulseError, InvalidInput, SystemCalls, SystemRefused


def test_a_refusal_says_what_was_done_why_and_where(tmp_path: Path) -> None:
    with pytest.raises(SystemRefused) as caught, SystemCalls("looking"):
        os.stat(tmp_path / "missing")
    assert isinstance(caught.value, AlphaPulseError)
    assert caught.value.doing == "looking" and caught.value.why == "No such file or directory"
    assert str(caught.value.facts["path"]) == str(tmp_path / "missing")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_too_many_open_files_has_its_own_cure() -> None:
    @SystemCalls("opening")
    def full() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(SystemRefused, match="ulimit -n"):
        full()


@pytest.mark.parametrize("error", [InvalidInput("asking"), MemoryError(), KeyboardInterrupt()])
def test_other_errors_stay_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, SystemCalls("doing"):
        raise error
    assert caught.value is error
