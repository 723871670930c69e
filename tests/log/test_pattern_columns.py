from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.bodies import AnyBody
from alphapulse.log.facets import SEVERAL, text_number
from alphapulse.log.frame import Event
from alphapulse.log.kinds import STATUS_WORDS, AssetClass, Kind, Space
from alphapulse.log.pattern import Pattern
from alphapulse.log.pattern_columns import Bounds, full, indexes, mask_bytes, scan_of
from alphapulse.log.pattern_tree import Node

from .builders import (
    acknowledged_body,
    answer_body,
    collision_body,
    conflict_body,
    endorsed_body,
    instrument_body,
    listing_body,
    make_block,
    make_event,
    relation_body,
)
from .pattern_worlds import TWINS, events, naive, trees, venue_world


class Columns:
    """A block of columns alone; unset ones are zero. Reading a frame of it fails."""

    def __init__(self, count: int, **columns: list[int]) -> None:
        self.count = count
        for name, form in (
            ("instruments", "Q"), ("chains", "I"), ("venues", "I"), ("kinds", "H"),
            ("classes", "B"), ("severities", "B"),
        ):  # fmt: skip
            column = memoryview(array(form, columns.get(name, [0] * count)))
            assert len(column) == count
            setattr(self, name, column)

    instruments: memoryview
    chains: memoryview
    venues: memoryview
    kinds: memoryview
    classes: memoryview
    severities: memoryview

    def __len__(self) -> int:
        return self.count

    def event(self, index: int) -> Event:
        raise AssertionError(f"the frame of event {index} was read")

    def events(self, start: int, stop: int) -> Iterator[Event]:
        return self.events_at(range(start, stop))

    def events_at(self, indexes: Sequence[int]) -> Iterator[Event]:
        return map(self.event, indexes)


def bounds_of(text: str, block: Columns) -> tuple[list[int], list[int]]:
    may, must = scan_of(Pattern.parse(text).tree)(block)
    return indexes(may, len(block)), indexes(must, len(block))


@given(trees(), events())
def test_columns_enclose_what_matches(tree: Node, world: list[Event]) -> None:
    block = make_block(world)
    may, must = scan_of(tree)(block)
    matching = {event.offset for event in world if naive(tree, event)}
    assert set(indexes(must, len(block))) <= matching <= set(indexes(may, len(block)))
    if Pattern(tree).exact:
        assert may == must


@given(trees(), events(), st.integers(0, 25), st.none() | st.integers(0, 25))
def test_select_gives_what_matches_in_order(
    tree: Node, world: list[Event], start: int, stop: int | None
) -> None:
    selected = list(Pattern(tree).select(make_block(world), start, stop))
    assert selected == [event for event in world[start:stop] if naive(tree, event)]


@given(st.lists(st.booleans(), max_size=300))
def test_indexes_of_a_mask(flags: list[bool]) -> None:
    mask = int.from_bytes(bytes(flags), "little")
    assert indexes(mask, len(flags)) == [index for index, flag in enumerate(flags) if flag]
    assert list(mask_bytes(mask, len(flags))) == flags


# Small alphabets of bytes make the needle turn up across the borders of numbers.
_SHIFTY = st.sampled_from([0, 1, 1 << 8, 0x0101_0101, 0x0100_0000, 1 << 56, 0x0101_0101_0101_0101])


@given(st.lists(_SHIFTY, min_size=1, max_size=120), _SHIFTY)
def test_numbers_are_found_in_their_place_only(column: list[int], wanted: int) -> None:
    block = Columns(len(column), instruments=column)
    expected = [index for index, number in enumerate(column) if number == wanted]
    assert bounds_of(f"instrument={wanted:#x}", block) == (expected, expected)


def test_rare_bytes_across_two_numbers_are_no_number() -> None:
    # The bytes of 0 and 1 side by side hold those of 256, one byte early.
    column = [5] * 40 + [0, 1, 256, 256, 0, 1, 5]
    assert bounds_of("instrument=0x100", Columns(47, instruments=column)) == ([42, 43], [42, 43])


@pytest.mark.parametrize("every", [2, 7, 8, 9, 100, 2_000])
def test_rare_and_common_numbers(every: int) -> None:
    number = text_number("eip155:1")
    chains = [number if index % every == 0 else 0xFFFF_0000 + index for index in range(1_000)]
    expected = list(range(0, 1_000, every))
    assert bounds_of("chain=eip155:1", Columns(1_000, chains=chains)) == (expected, [])


def test_a_prefix_needs_some_text() -> None:
    block = Columns(6, venues=[0, 1, 1 << 8, 1 << 16, 1 << 24, 0])
    assert bounds_of("venue=X*", block) == ([1, 2, 3, 4], [])
    assert bounds_of("venue!=X*", block) == ([0, 1, 2, 3, 4, 5], [0, 5])


def test_kinds_of_newer_versions_are_not_taken_for_ours() -> None:
    block = Columns(4, kinds=[1, 256 + 1, 2, 1])
    assert bounds_of("kind=instrument.registered", block) == ([0, 3], [0, 3])
    assert bounds_of("isin=US*", block) == ([0, 2, 3], [])


@pytest.mark.parametrize(
    "text, may, must",
    [
        ("kind=instrument", [0, 1, 2], [0, 1, 2]),
        ("kind!=instrument", [3, 4, 5], [3, 4, 5]),
        ("class=token,coin", [0, 3], [0, 3]),
        ("severity>=warning", [4, 5], [4, 5]),
        ("instrument=0x7", [0, 3, 4], [0]),
        ("instrument!=0x7", [1, 2, 3, 4, 5], [1, 2, 5]),
        ("instrument=0xffffffffffffffff", [3, 4], []),
        ("status=active", [0, 1, 2], []),
        ("symbol=A kind=instrument.registered", [0], []),
        ("source=A", [0, 1, 2, 3, 4, 5], []),
        ("source!=A", [0, 1, 2, 3, 4, 5], []),
        ("bps>1", [0, 1, 2, 3, 4, 5], []),
        ("isin=US* or kind=conflict", [0, 1, 2, 5], [5]),
        ("not (isin=US* or kind=conflict)", [0, 1, 2, 3, 4], [3, 4]),
        ("not (instrument=0x7 class=token,coin)", [1, 2, 3, 4, 5], [1, 2, 4, 5]),
        ("", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ("not ()", [], []),
    ],
)
def test_what_columns_may_and_must(text: str, may: list[int], must: list[int]) -> None:
    block = Columns(
        6, kinds=[1, 2, 3, 32, 48, 49], severities=[0, 0, 0, 0, 2, 1],
        classes=[int(c) for c in (AssetClass.TOKEN, 3, 4, AssetClass.COIN, 5, 6)],
        instruments=[7, 8, 9, SEVERAL, SEVERAL, 0],
    )  # fmt: skip
    assert bounds_of(text, block) == (may, must)
    assert Pattern.parse(text).candidates(block) == may


def test_text_with_one_number_is_told_apart_by_the_frame() -> None:
    assert text_number(TWINS[0]) == text_number(TWINS[1])
    world = [
        make_event(Kind.INSTRUMENT_REGISTERED, instrument_body(chain=chain), offset=offset)
        for offset, chain in enumerate([*TWINS, "eip155:1"])
    ]
    block = make_block(world)
    pattern = Pattern.parse(f"chain={TWINS[0]}")
    assert pattern.candidates(block) == [0, 1]
    assert [event.offset for event in pattern.select(block)] == [0]
    assert [event.offset for event in (~pattern).select(block)] == [1, 2]


@pytest.mark.parametrize("text", ["symbol=AAPL", "currency=USD", "status=active", "venue=XNAS"])
def test_listings_are_selected_like_instruments(text: str) -> None:
    body = instrument_body(symbol="AAPL", currency="USD", venue="XNAS")
    block = make_block([
        make_event(Kind.LISTING_ADDED, listing_body(), offset=0),
        make_event(Kind.INSTRUMENT_AMENDED, body, offset=1),
        make_event(Kind.LISTING_ENDED, listing_body(), offset=2),
    ])  # fmt: skip
    assert [event.offset for event in Pattern.parse(text).select(block)] == [0, 1, 2]


def test_venues_are_selected_by_currency_and_status() -> None:
    world = venue_world()
    block = make_block(world)
    for text in ("currency=USD", *(f"status={word}" for word in STATUS_WORDS)):
        pattern = Pattern.parse(text)
        found = [event.offset for event in pattern.select(block)]
        assert found == [event.offset for event in world if pattern.matches(event)] != []


def test_every_side_of_a_relation_is_selected() -> None:
    block = make_block([
        make_event(Kind.RELATION_ADDED, relation_body(instrument=5, other=6), offset=0),
        make_event(Kind.RELATION_ADDED, relation_body(instrument=6), offset=1),
        make_event(Kind.COLLISION_DETECTED, collision_body(7, holder=6), offset=2),
        make_event(Kind.COLLISION_DETECTED, collision_body(7, holder=5), offset=3),
        make_event(Kind.LISTING_ADDED, listing_body(instrument=6), offset=4, entity=9),
    ])  # fmt: skip
    selected = Pattern.parse("instrument=0x6").select(block)
    assert [event.offset for event in selected] == [0, 1, 2, 4]


@pytest.mark.parametrize("space", [Space.INSTRUMENT, Space.VENUE, Space.FEED])
def test_only_in_the_space_of_instruments_is_an_entity_one(space: Space) -> None:
    """An alert about a venue, or an answer, is about no instrument of that id."""
    bodies: dict[Kind, AnyBody] = {
        Kind.COLLISION_DETECTED: collision_body(5, holder=6),
        Kind.CONFLICT_DETECTED: conflict_body(),
        Kind.ALERT_ACKNOWLEDGED: acknowledged_body(), Kind.REQUEST_ANSWERED: answer_body(),
        Kind.WORD_ENDORSED: endorsed_body(),
    }  # fmt: skip
    events = [
        make_event(kind, body, offset=offset, entity=5, space=space)
        for offset, (kind, body) in enumerate(bodies.items())
    ]
    block, every = make_block(events), list(range(len(events)))
    about = every if space == Space.INSTRUMENT else []
    for text, wanted in (
        ("instrument=0x5", about), ("not instrument=0x5", [n for n in every if n not in about])
    ):
        pattern = Pattern.parse(text)
        assert [event.offset for event in pattern.select(block)] == wanted
        assert [event.offset for event in events if pattern.matches(event)] == wanted


@pytest.mark.parametrize(
    "text, exact", [("kind=collision class!=token severity>info", True), ("", True),
                    ("kind=collision chain=x", False), ("not (class=token or isin=US*)", False)]
)  # fmt: skip
def test_exact(text: str, exact: bool) -> None:
    assert Pattern.parse(text).exact is exact


def test_what_the_columns_decide_is_not_decoded() -> None:
    class Sealed(Event):
        @property
        def body(self) -> None:  # type: ignore[override]  # it always raises
            raise AssertionError("the body was decoded")

    class Block(Columns):
        def event(self, index: int) -> Event:
            return Sealed(make_event(Kind.LISTING_ADDED, offset=index).frame)

    block = Block(4, kinds=[16, 16, 48, 17], classes=[3, 1, 3, 3], instruments=[1, 1, SEVERAL, 2])
    for text, offsets in (("kind=listing class=equity", [0, 3]), ("instrument=0x2", [3])):
        selected = Pattern.parse(text).select(block, 0 if "kind" in text else 3)
        assert [event.offset for event in selected] == offsets
    with pytest.raises(AssertionError, match="was decoded"):
        list(Pattern.parse("instrument=0x2").select(block))


def test_frames_that_cannot_match_are_not_read() -> None:
    block = Columns(3, kinds=[16, 1, 48])
    assert list(Pattern.parse("kind=conflict").select(block)) == []
    assert list(Pattern.parse("kind=collision or isin=US*").select(block, 0, 1)) == []
    with pytest.raises(AssertionError, match="event 1 was read"):
        list(Pattern.parse("isin=US*").select(block))


def test_an_and_that_cannot_hold_reads_no_further_column() -> None:
    class OnlyKinds(Columns):
        @property
        def instruments(self) -> memoryview:
            raise AssertionError("the instruments were read")

        @instruments.setter
        def instruments(self, column: memoryview) -> None: ...

    pattern = Pattern.parse("instrument=0x1 kind=conflict")
    assert pattern.candidates(OnlyKinds(2, kinds=[1, 16])) == []
    with pytest.raises(AssertionError, match="were read"):
        pattern.candidates(OnlyKinds(2, kinds=[1, 49]))


def test_bounds_of_a_block_of_one() -> None:
    assert scan_of(Pattern.parse("").tree)(Columns(1)) == Bounds(full(1), full(1)) == (1, 1)
