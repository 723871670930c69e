from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Iterator

import pytest

from alphapulse.log.interrupts import HeldInterrupts, opened, safe_point


class Told(Exception):
    pass


@pytest.fixture
def told() -> Iterator[list[int]]:
    """Handlers of two signals that note their number and raise."""
    numbers: list[int] = []

    def tell(number: int, _: object) -> None:
        numbers.append(number)
        raise Told

    before = {n: signal.signal(n, tell) for n in (signal.SIGINT, signal.SIGTERM)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def held(told: list[int], numbers: list[int], error: Exception | None = None) -> None:
    with HeldInterrupts():
        for number in numbers:
            signal.raise_signal(number)
        assert not told
        if error is not None:
            raise error


def test_a_signal_waits_for_the_end(told: list[int]) -> None:
    with pytest.raises(Told):
        held(told, [signal.SIGINT])
    assert told == [signal.SIGINT]
    with pytest.raises(Told):
        signal.raise_signal(signal.SIGINT)


def test_every_noted_signal_is_delivered_once(told: list[int]) -> None:
    with pytest.raises(Told):
        held(told, [signal.SIGINT, signal.SIGTERM, *[signal.SIGINT] * 2_000])
    assert sorted(told) == [signal.SIGINT, signal.SIGTERM]


def test_a_safe_point_delivers_what_was_noted(told: list[int]) -> None:
    safe_point()
    with HeldInterrupts():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Told):
            safe_point()
        safe_point()
    assert told == [signal.SIGINT]
    with pytest.raises(Told):
        signal.raise_signal(signal.SIGINT)
    assert told == [signal.SIGINT] * 2


def test_within_another_the_outer_one_decides(told: list[int]) -> None:
    def within() -> None:
        with HeldInterrupts():
            held(told, [signal.SIGINT])
            assert not told

    with pytest.raises(Told):
        within()
    assert told == [signal.SIGINT]


def test_an_error_on_its_way_out_is_not_lost(told: list[int]) -> None:
    with pytest.raises(Told) as caught:
        held(told, [signal.SIGINT], KeyError("ours"))
    assert isinstance(caught.value.__context__, KeyError)


def test_another_thread_is_never_interrupted_and_holds_nothing(told: list[int]) -> None:
    def work() -> None:
        with HeldInterrupts():
            entered.set()
            assert left.wait(30)
            safe_point()

    entered, left = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(30)
    with pytest.raises(Told):
        signal.raise_signal(signal.SIGINT)
    left.set()
    thread.join(30)
    assert told == [signal.SIGINT]


def test_handlers_that_are_no_functions_stay() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldInterrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_raises_while_they_are_put_in_place(
    told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes before its own handler is replaced and after another's was."""
    real = _signal.getsignal

    def get(number: int) -> object:
        if number == signal.SIGTERM:
            signal.raise_signal(number)
        return real(number)

    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with monkeypatch.context() as patch:
        patch.setattr("alphapulse.log.interrupts._signal.getsignal", get)
        with pytest.raises(Told), HeldInterrupts():
            raise AssertionError("it was entered")
    assert {n: signal.getsignal(n) for n in handlers} == handlers
    with HeldInterrupts():
        pass
    assert told == [signal.SIGTERM]


def test_a_handler_that_raises_while_they_are_put_back(
    told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes between two of them: every handler is in force again, and stays."""
    real = _signal.signal
    handlers: dict[int, object] = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def put(number: int, handler: object) -> object:
        found = real(number, handler)
        if number in handlers and handler is handlers[number] and len(told) < 3:
            signal.raise_signal(number)
        return found

    def hold() -> None:
        with HeldInterrupts():
            pass

    with monkeypatch.context() as patch:
        patch.setattr("alphapulse.log.interrupts._signal.signal", put)
        with pytest.raises(Told):
            hold()
    assert len(told) == 3
    assert {n: signal.getsignal(n) for n in handlers} == handlers


class Thing:
    def __init__(self) -> None:
        self.closed = False
        signal.raise_signal(signal.SIGTERM)

    def close(self) -> None:
        self.closed = True


def test_what_was_opened_is_closed_when_a_signal_came_meanwhile(told: list[int]) -> None:
    made: list[Thing] = []

    def make() -> Thing:
        made.append(Thing())
        return made[0]

    with pytest.raises(Told):
        opened(make)
    assert [thing.closed for thing in made] == [True]
