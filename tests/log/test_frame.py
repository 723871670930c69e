from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.bodies import Extension, InstrumentBody, Metadata
from alphapulse.log.codec import Codec
from alphapulse.log.errors import Corrupt, FormatTooNew, NotDecodable, TooLarge
from alphapulse.log.frame import (
    FRAME_HEADER,
    FRAME_HEADER_SIZE_BYTES,
    FRAME_SIZE_BYTES_MAX,
    NO_PREVIOUS,
    Event,
    decode_metadata,
    encode_body,
    encode_frame,
    encode_metadata,
)
from alphapulse.log.kinds import INSTRUMENT_KINDS, LISTING_KINDS, SEVERITIES, Kind, Space
from tests.texts import texts

from .builders import (
    TIME,
    body_of,
    instrument_body,
    make_block,
    make_event,
    make_frame,
    space_of,
)
from .logs import flips

U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
METADATA = st.builds(
    Metadata,
    source=texts(max_size=30),
    content_hash=st.binary(max_size=32),
    request_id=texts(max_size=30),
    registry_head=st.integers(-1, (1 << 63) - 1),
)


def reseal(frame: bytes | bytearray) -> bytes:
    """The frame with a right CRC, as somebody would write it who means harm."""
    return crc32(frame[4:]).to_bytes(4, "little") + bytes(frame[4:])


def resealed(frame: bytes, at: int, *values: int) -> bytes:
    changed = bytearray(frame)
    changed[at : at + len(values)] = bytes(values)
    return reseal(changed)


@given(
    st.sampled_from(Kind), U64, I64, U64, st.integers(0, NO_PREVIOUS), U64, METADATA,
    st.sampled_from(Codec), texts(max_size=900),
)  # fmt: skip
def test_what_is_written_is_read(
    kind: Kind, offset: int, valid_from: int, entity: int, previous: int, recorded: int,
    metadata: Metadata, codec: Codec, name: str,
) -> None:  # fmt: skip
    body = body_of(kind, entity)
    if kind in INSTRUMENT_KINDS:
        body = instrument_body(entity, name=name)
    fixed, rest = encode_body(body)
    frame = encode_frame(
        kind=kind, space=space_of(body), offset=offset, recorded=recorded, valid_from=valid_from,
        entity=entity, previous=previous, fixed=fixed, rest=rest,
        metadata=encode_metadata(metadata), codec=codec,
    )  # fmt: skip
    event = Event(b"before " + b"!" + frame + b"after", 8)
    assert (event.kind, event.version, event.space) == (kind, 1, space_of(body))
    assert (event.offset, event.recorded, event.valid_from) == (offset, recorded, valid_from)
    assert event.entity == entity
    assert event.previous == (None if previous == NO_PREVIOUS else previous)
    assert event.body == body and event.metadata == metadata and event.frame == frame
    assert event.severity == SEVERITIES[kind]
    assert event.size == len(frame) and len(frame) % 8 == 0


def test_the_bytes_stand_where_the_format_says() -> None:
    frame = make_frame(Kind.LISTING_ADDED, offset=5, entity=7, valid_from=-2, previous=3)
    assert frame[:4] == crc32(frame[4:]).to_bytes(4, "little")
    assert frame[4:8] == len(frame).to_bytes(4, "little")
    assert frame[8:12] == bytes([Kind.LISTING_ADDED, 0, 1, 0])
    assert frame[13] == Space.LISTING
    assert frame[16:24] == (5).to_bytes(8, "little")
    assert frame[24:32] == TIME.to_bytes(8, "little")
    assert frame[32:40] == (-2).to_bytes(8, "little", signed=True)
    assert frame[40:48] == (7).to_bytes(8, "little")
    assert frame[48:56] == (3).to_bytes(8, "little")
    padding = frame[12] >> 2
    assert padding == Event(frame).padding
    assert frame[len(frame) - padding :] == bytes(padding)


@pytest.mark.parametrize("kind", [Kind.INSTRUMENT_AMENDED, Kind.LISTING_ADDED])
def test_any_flipped_bit_is_refused_naming_the_offset(kind: Kind) -> None:
    """Through a block, since the frame's own offset may be what is flipped."""
    first = make_event(Kind.ALERT_ACKNOWLEDGED, offset=40)
    block = make_block([first, make_event(kind, offset=41, source="a")], first=40)
    start, end = block.frame_bounds(1)
    for bit, frame in flips(block.data[start:end]):
        damaged = type(block)(block.data[:start] + frame + block.data[end:])
        assert damaged.event(0) == first
        with pytest.raises((Corrupt, NotDecodable)) as caught:
            damaged.event(1)
        assert caught.value.facts["offset"] == 41, f"bit {bit}"


def test_a_frame_alone_with_a_flipped_bit_is_refused() -> None:
    for bit, frame in flips(make_frame(Kind.INSTRUMENT_REGISTERED)):
        with pytest.raises((Corrupt, NotDecodable)):
            pytest.fail(f"bit {bit}: {Event(frame)}")


def test_a_frame_cut_anywhere_is_refused() -> None:
    frame = make_frame(Kind.CONFLICT_DETECTED)
    for size in range(len(frame)):
        with pytest.raises(NotDecodable):
            Event(frame[:size])


@pytest.mark.parametrize("size", [0, 8, 48, 57, 60, 1 << 31, (1 << 32) - 8])
def test_an_impossible_size_is_refused(size: int) -> None:
    frame = make_frame(Kind.CONFLICT_DETECTED)
    with pytest.raises(NotDecodable, match="size is impossible"):
        Event(resealed(frame, 4, *size.to_bytes(4, "little")))


def test_the_crc_can_be_left_to_a_caller_who_checked_the_block() -> None:
    frame = bytearray(make_frame(Kind.CONFLICT_DETECTED))
    frame[0] ^= 1
    assert Event(bytes(frame), verify=False).kind == Kind.CONFLICT_DETECTED
    with pytest.raises(Corrupt, match="conflict"):
        Event(bytes(frame))


def test_a_newer_version_and_an_unknown_kind_are_refused_as_too_new() -> None:
    frame = make_frame(Kind.LISTING_ADDED, offset=9)
    newer = Event(resealed(frame, 10, 2))
    with pytest.raises(FormatTooNew, match="listing"):
        _ = newer.body
    unknown = Event(resealed(frame, 8, 99))
    assert unknown.kind_name == "99" and unknown.offset == 9
    with pytest.raises(FormatTooNew, match="99"):
        _ = unknown.body
    with pytest.raises(NotDecodable):
        _ = Event(resealed(frame, 10, 0)).body


def test_an_unknown_codec_is_refused() -> None:
    event = Event(resealed(make_frame(Kind.LISTING_ADDED), 11, 4))
    with pytest.raises(NotDecodable, match="codec=4"):
        _ = event.body


def test_parts_longer_than_their_frame_are_refused() -> None:
    frame = make_frame(Kind.INSTRUMENT_REGISTERED)
    for metadata_size in (len(frame) - 55, len(frame), 0xFFFF):
        event = Event(resealed(frame, 14, *metadata_size.to_bytes(2, "little")))
        with pytest.raises(NotDecodable):
            event.body_bytes()
        with pytest.raises(NotDecodable):
            _ = event.metadata
    short = Event(resealed(make_frame(Kind.ALERT_ACKNOWLEDGED), 8, Kind.INSTRUMENT_AMENDED))
    with pytest.raises(NotDecodable, match="longer than its frame"):
        _ = short.body


@pytest.mark.parametrize(
    "rest", [b"", b"\xc1", b"\x81\xa1", b"\x80", b"\x93\x01\x02\x03", b"\x81\xa3key\x01", b"\xff"]
)
def test_a_body_that_is_no_such_map_is_refused(rest: bytes) -> None:
    fixed, _ = encode_body(instrument_body())
    event = Event(raw_frame(fixed, rest))
    with pytest.raises(NotDecodable) as caught:
        _ = event.body
    assert caught.value.facts["offset"] == 3


def raw_frame(fixed: bytes, rest: bytes, metadata: bytes = b"") -> bytes:
    return encode_frame(
        kind=Kind.INSTRUMENT_REGISTERED, space=1, offset=3, recorded=TIME, valid_from=0, entity=1,
        previous=NO_PREVIOUS, fixed=fixed, rest=rest, metadata=metadata,
    )  # fmt: skip


def test_metadata_that_is_no_map_is_refused() -> None:
    for metadata in (b"\xc1", b"\x92\x01\x02", b"\x81\xa6source\x01", b"\x81\xa6source\xa1\xff"):
        with pytest.raises(NotDecodable):
            decode_metadata(metadata)
        with pytest.raises(NotDecodable):
            _ = Event(raw_frame(*encode_body(instrument_body()), metadata)).metadata


def test_no_metadata_costs_no_byte() -> None:
    assert encode_metadata(None) == encode_metadata(Metadata()) == b""
    assert decode_metadata(b"") == Metadata()
    event = make_event(Kind.LISTING_ADDED)
    assert event.metadata_size == 0 and event.source == ""
    assert make_event(Kind.LISTING_ADDED, source="x").source == "x"


def test_what_is_too_large_is_not_written() -> None:
    with pytest.raises(TooLarge):
        encode_metadata(Metadata(source="x" * 70_000))
    huge = Extension(key=b"x" * FRAME_SIZE_BYTES_MAX)
    fixed, rest = encode_body(InstrumentBody(bytes(128), huge))
    with pytest.raises(TooLarge):
        raw_frame(fixed, rest)
    noise = crc32(b"").to_bytes(4, "big") + bytes(range(256)) * 4096
    room = FRAME_SIZE_BYTES_MAX - FRAME_HEADER_SIZE_BYTES
    fits = encode_frame(
        kind=16, space=2, offset=0, recorded=0, valid_from=0, entity=1, previous=0, fixed=b"",
        rest=noise[:room], codec=Codec.NONE,
    )  # fmt: skip
    assert len(fits) == FRAME_SIZE_BYTES_MAX and Event(fits).size == FRAME_SIZE_BYTES_MAX
    with pytest.raises(TooLarge):
        encode_frame(
            kind=16, space=2, offset=0, recorded=0, valid_from=0, entity=1, previous=0, fixed=b"",
            rest=noise[: room + 1], codec=Codec.NONE,
        )  # fmt: skip


def test_a_long_body_is_packed_and_a_short_one_is_not() -> None:
    short, long = instrument_body(name="n" * 300), instrument_body(name="n" * 600)
    assert make_event(Kind.INSTRUMENT_AMENDED, short).codec == Codec.NONE
    packed = make_event(Kind.INSTRUMENT_AMENDED, long)
    assert packed.codec == Codec.ZSTD and packed.size < 300
    assert packed.body == long
    assert packed.message_view() == long.message


def test_unknown_fields_of_a_map_are_passed_over() -> None:
    body = instrument_body(name="x")
    fixed, rest = encode_body(body)
    assert rest[0] & 0xF0 == 0x80
    more = bytes([rest[0] + 1]) + rest[1:] + b"\xa5later\x93\x01\x02\x03"
    assert Event(raw_frame(fixed, more)).body == body


def test_events_know_what_they_are() -> None:
    for kind in Kind:
        event = make_event(kind, offset=6, entity=255)
        assert event.is_instrument == (kind in INSTRUMENT_KINDS)
        assert event.is_listing == (kind in LISTING_KINDS)
        assert event.kind_name in repr(event) and "0x00000000000000ff" in repr(event)
        if event.is_instrument:
            assert event.instrument_body.message == bytes(event.message_view())
        else:
            with pytest.raises(TypeError):
                _ = event.instrument_body
        assert event == make_event(kind, offset=6, entity=255)
        assert hash(event) == hash(make_event(kind, offset=6, entity=255))
        assert event != make_event(kind, offset=7, entity=255) and event != "event"


def test_the_header_is_56_bytes() -> None:
    assert FRAME_HEADER.size == FRAME_HEADER_SIZE_BYTES == 56
