from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec
import pytest

from alphapulse.log import upcast as module
from alphapulse.log.bodies import AcknowledgedBody
from alphapulse.log.errors import FormatTooNew, NotDecodable
from alphapulse.log.frame import Event
from alphapulse.log.kinds import Kind
from alphapulse.log.upcast import STEPS, VERSIONS, check_steps, check_version, upcast

from .builders import make_frame

KIND = int(Kind.ALERT_ACKNOWLEDGED)


def test_every_kind_has_a_version_and_a_way_to_it() -> None:
    assert VERSIONS.keys() == {int(kind) for kind in Kind}
    check_steps(VERSIONS, STEPS)


def test_a_missing_step_stops_the_import() -> None:
    with pytest.raises(ImportError, match=r"alert.acknowledged .* version 2"):
        check_steps({KIND: 3}, {(KIND, 1): lambda raw: raw})


def test_steps_run_in_order_up_to_the_newest() -> None:
    def said(word: str) -> module.Step:
        return lambda raw: raw | {"said": [*raw.get("said", []), word]}

    steps = {(KIND, 1): said("one"), (KIND, 2): said("two"), (KIND, 3): said("three")}
    versions = {KIND: 4}
    assert upcast(KIND, 1, {}, versions, steps) == {"said": ["one", "two", "three"]}
    assert upcast(KIND, 3, {}, versions, steps) == {"said": ["three"]}
    assert upcast(KIND, 4, {"a": 1}, versions, steps) == {"a": 1}


def test_versions_that_are_not_ours_are_refused() -> None:
    check_version(KIND, 1)
    for kind, version in ((KIND, 2), (KIND, 255), (99, 1)):
        with pytest.raises(FormatTooNew):
            check_version(kind, version)
    with pytest.raises(NotDecodable):
        check_version(KIND, 0)
    with pytest.raises(FormatTooNew):
        upcast(KIND, 5, {}, {KIND: 4}, {})


def version_2_frame(version: int, raw: dict[str, Any]) -> bytes:
    frame = bytearray(make_frame(KIND)[:56])
    body = msgspec.msgpack.encode(raw)
    padding = -len(body) & 7
    frame[4:8] = (56 + len(body) + padding).to_bytes(4, "little")
    frame[10], frame[12] = version, padding << 2
    whole = frame + body + bytes(padding)
    return crc32(whole[4:]).to_bytes(4, "little") + whole[4:]


def test_an_old_frame_is_read_through_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one chain that every path uses: decoding an event whose kind has moved on."""
    monkeypatch.setitem(VERSIONS, KIND, 3)
    monkeypatch.setitem(STEPS, (KIND, 1), lambda raw: {"number": raw["offset"]})
    monkeypatch.setitem(STEPS, (KIND, 2), lambda raw: {"alert": raw["number"], "reason": "old"})
    expected = AcknowledgedBody(alert=7, reason="old")
    assert Event(version_2_frame(1, {"offset": 7})).body == expected
    assert Event(version_2_frame(2, {"number": 7})).body == expected
    assert Event(version_2_frame(3, {"alert": 7, "reason": "old"})).body == expected
    with pytest.raises(FormatTooNew):
        _ = Event(version_2_frame(4, {"alert": 7})).body


def test_an_old_frame_that_is_no_map_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERSIONS, KIND, 2)
    monkeypatch.setitem(STEPS, (KIND, 1), lambda raw: {"alert": "not a number"})
    with pytest.raises(NotDecodable):
        _ = Event(version_2_frame(1, {"offset": 7})).body
