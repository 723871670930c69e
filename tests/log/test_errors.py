from __future__ import annotations

import inspect
import json
import pickle

import pytest

import alphapulse.log as door
from alphapulse.log import errors
from alphapulse.log.errors import AlphaPulseError, ChainBroken, Corrupt, LogFull, NotDecodable

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, AlphaPulseError)
]


def test_a_message_says_doing_facts_and_cure() -> None:
    error = LogFull("appending 12 events", free_bytes=5, reserve_bytes=9)
    assert str(error) == (
        "appending 12 events: there is not enough free disk space; nothing was written, reading "
        "goes on [free_bytes=5, reserve_bytes=9] (free disk space; appends resume by "
        "themselves)"
    )
    assert str(NotDecodable("reading", problem="it is odd", cure="look")) == (
        "reading: it is odd (look)"
    )


def test_as_json_has_error_doing_and_cure() -> None:
    said = Corrupt("reading a frame", problem="bits differ", offset=3).as_json()
    assert json.loads(json.dumps(said)) == {
        "error": "Corrupt: bits differ [offset=3]", "doing": "reading a frame", "cure": Corrupt.cure
    }  # fmt: skip
    assert Corrupt("x").as_json()["error"] == f"Corrupt: {Corrupt.problem}"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_problem_and_a_cure_of_its_own_and_is_at_the_door(
    kind: type[AlphaPulseError],
) -> None:
    if kind is not AlphaPulseError:
        assert "problem" in vars(kind)
        assert kind.cure != AlphaPulseError.cure
    assert getattr(door, kind.__name__) is kind
    error = kind("doing it", fact=1)
    assert "doing it" in str(error) and "fact=1" in str(error)


def test_families() -> None:
    assert issubclass(ChainBroken, Corrupt)
    assert issubclass(errors.InvalidInput, ValueError) and issubclass(NotDecodable, ValueError)
    assert issubclass(errors.OffsetOutOfRange, LookupError)


def test_errors_cross_process_borders() -> None:
    error = LogFull("appending", problem="why", cure="how", free_bytes=5)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.facts == error.facts
