from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log.cursors import Cursors
from alphapulse.log.errors import InvalidInput
from alphapulse.log.frame import Event

from .logs import fill, make_log


def test_a_coroutine_function_is_no_handler_for_threads(tmp_path: Path) -> None:
    """Nobody would await it, and its events would count as handled."""

    async def handler(event: Event) -> None:
        raise RuntimeError

    with make_log(tmp_path / "home") as log:
        fill(log, [3])
        with log.subscribe("", "beginning", cursor="a") as events:
            with pytest.raises(InvalidInput, match="ahandle"):
                events.handle(handler, stop_when_caught_up=True)
        assert Cursors(log.home).read("a").offset == 0
        with log.subscribe("", cursor="a") as events:
            assert events.handle(lambda event: None, stop_when_caught_up=True) == 3
