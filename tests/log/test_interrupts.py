from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from alphapulse.log.interrupts import HeldInterrupts, safe_point


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
        held(told, [signal.SIGINT, signal.SIGTERM, signal.SIGINT])
    assert told == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]


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
    """The one signal comes between the two calls: nothing stays replaced."""
    real = signal.getsignal

    def get(number: int) -> object:
        if number == signal.SIGINT:
            signal.raise_signal(signal.SIGINT)
        return real(number)

    handlers = {n: real(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGINT)}
    with monkeypatch.context() as patch:
        patch.setattr("alphapulse.log.interrupts._signal.getsignal", get)
        with pytest.raises(Told), HeldInterrupts():
            raise AssertionError("it was entered")
    assert {n: real(n) for n in handlers} == handlers
    with HeldInterrupts():
        pass
