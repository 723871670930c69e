from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import facets
from alphapulse.log import index as index_module
from alphapulse.log.bodies import AnyBody
from alphapulse.log.errors import FormatTooNew, NotDecodable
from alphapulse.log.frame import Event
from alphapulse.log.index import IndexStatistics, PatternIndex
from alphapulse.log.kinds import STATUS_WORDS, Kind
from alphapulse.log.pattern import Matcher, Pattern
from alphapulse.log.pattern_filing import COMBINATIONS_MAX, CONJUNCTIONS_MAX, FAMILIES
from alphapulse.log.pattern_tree import Node

from .builders import (
    collision_body,
    event_of_each_kind,
    instrument_body,
    listing_body,
    make_event,
    relation_body,
)
from .pattern_worlds import events, trees, venue_world


def index_of(*texts: str) -> PatternIndex[str]:
    index: PatternIndex[str] = PatternIndex()
    for text in texts:
        index.add(text, Pattern.parse(text))
    return index


def assert_bare(index: PatternIndex[Any]) -> None:
    """Nothing is left of patterns that were discarded."""
    assert index.statistics()._replace(kept=0) == IndexStatistics(0, 0, 0, 0, 0)
    assert all(
        tree.rare.is_empty and tree.common.is_empty and not tree.overlapping
        for tree in index._trees
    )


def matching(texts: list[str], world: Iterable[Event]) -> list[list[str]]:
    """For each event the sorted texts that match it, asked one by one."""
    patterns = {text: Pattern.parse(text) for text in sorted(texts)}
    return [[text for text, pattern in patterns.items() if pattern.matches(e)] for e in world]


def token(symbol: str = "", venue: str = "", chain: str = "", isin: str = "") -> Event:
    body = instrument_body(7, symbol=symbol, venue=venue, chain=chain, isin=isin, currency="USD")
    return make_event(Kind.INSTRUMENT_REGISTERED, body, entity=7)


def _some_numbers(event: Event) -> tuple[int, ...]:
    """No kind has market facets yet: some events get none, one or two."""
    return (event.offset, 5 - event.offset)[: event.offset % 3]


@contextmanager
def market_facets() -> Iterator[None]:
    with mock.patch.dict(facets._READERS, {"bps": _some_numbers, "move_bps": _some_numbers}):
        yield


def hold_against_each_pattern(
    index: PatternIndex[int], patterns: dict[int, Pattern], world: list[Event]
) -> None:
    for event in world:
        expected = [key for key, pattern in patterns.items() if pattern.matches(event)]
        assert sorted(index.keys(event)) == sorted(expected), event


@given(st.lists(st.tuples(st.integers(0, 8), st.none() | trees()), max_size=20), events())
def test_keys_are_those_whose_pattern_matches(
    changes: list[tuple[int, Node | None]], world: list[Event]
) -> None:
    index: PatternIndex[int] = PatternIndex()
    patterns: dict[int, Pattern] = {}
    with market_facets():
        for key, tree in changes:
            if tree is None:
                patterns.pop(key, None)
                index.discard(key)
            else:
                patterns[key] = Pattern(tree)
                index.add(key, patterns[key])
            assert len(index) == len(patterns)
            hold_against_each_pattern(index, patterns, world[-3:])
        hold_against_each_pattern(index, patterns, world * 2)
    for key in range(9):
        index.discard(key)
    assert_bare(index)


@pytest.mark.parametrize(
    "text",
    ["class=token or symbol=AB", "symbol=A,A*,AB*", "instrument=0x5", "instrument=0x5,0x6",
     "not (symbol=B venue=X)", "symbol=* or symbol=AB", "bps>0", "bps=1,4", "bps<9 or bps>0"],
)  # fmt: skip
def test_a_key_comes_once_however_often_it_is_met(text: str) -> None:
    index = index_of(text)
    world = [
        token(symbol="AB"), make_event(Kind.RELATION_ADDED, relation_body(instrument=5, other=6)),
        make_event(Kind.COLLISION_DETECTED, collision_body(5, holder=5)),
    ]  # fmt: skip
    with mock.patch.dict(facets._READERS, {"bps": lambda event: (1, 4, 1)}):
        found = [index.keys(event) for event in world]
        assert found == matching([text], world)
        assert [text] in found


def test_a_status_is_told_by_its_word_whoever_has_it() -> None:
    texts = ["currency=USD", *(f"status={word}" for word in STATUS_WORDS)]
    world = venue_world()
    found = [index_of(*texts).keys(event) for event in world]
    assert [sorted(keys) for keys in found] == matching(texts, world)
    assert found[:2] == [["currency=USD"], ["status=open"]]
    assert sum("status=halted" in keys for keys in found) == 3


def test_no_text_does_not_start_with_the_empty_prefix() -> None:
    index = index_of("symbol=*", "venue=*", "currency=USD")
    assert index.keys(make_event(Kind.LISTING_ADDED, listing_body(symbol="", venue=""))) == [
        "currency=USD"
    ]


def test_bounds_come_and_go() -> None:
    texts = [f"bps{how}{n}" for how in (">", ">=", "<", "<=", "=", "!=") for n in range(-2, 12, 2)]
    index = index_of(*texts)
    world = [make_event(Kind.ALERT_ACKNOWLEDGED, offset=n) for n in range(12)]
    # The smallest value is neither the first nor the last, nor is the largest.
    values = {"bps": lambda event: (event.offset, event.offset + 2, event.offset - 2, event.offset)}
    with mock.patch.dict(facets._READERS, values):
        while texts:
            assert [sorted(index.keys(event)) for event in world] == matching(texts, world)
            index.discard(texts.pop(len(texts) // 2))


def test_what_is_found_follows_each_change() -> None:
    texts = ["symbol=A", "symbol=A*", "symbol=AB*", "symbol=* class=token", "symbol!=A", ""]
    index = index_of()
    world = [token(symbol="A"), token(symbol="ABC"), token()]
    for change in (index.add, lambda key, _: index.discard(key)):
        for text in texts:
            for key in (text, text + " "):
                change(key, Pattern.parse(text))
                found = [sorted(index.keys(event)) for event in world]
                assert found == matching(list(index._patterns), world)


def test_a_key_has_one_pattern() -> None:
    index: PatternIndex[str] = PatternIndex()
    for text in ("class=coin", "class=token", "class=token"):
        index.add("mine", Pattern.parse(text))
    assert (len(index), index.keys(token())) == (1, ["mine"])
    index.discard("nobody's")
    index.discard("mine")
    assert (len(index), index.keys(token())) == (0, [])


@pytest.mark.parametrize("how", ["{}", "not ({})"])
def test_what_would_unfold_without_end_is_asked_instead(how: str) -> None:
    pairs = " ".join(f"(symbol=A{n} or currency=B{n % 9})" for n in range(60))
    lists = " ".join(
        f"{facet}={','.join(f'v{n}' for n in range(100))}" for facet in ("symbol", "venue", "chain")
    )
    ors = " or ".join(f"symbol=a{n}" for n in range(CONJUNCTIONS_MAX + 1))
    texts = [how.format(text) for text in (pairs, lists, ors)]
    assert index_of(texts[-1]).statistics().filings == len(FAMILIES)
    index = index_of(*texts)
    assert index.statistics().filings <= 3 * 3 * max(CONJUNCTIONS_MAX, 100 * COMBINATIONS_MAX)
    world = [
        token(symbol="v7", venue="v8", chain="v9"), token(symbol="v7", venue="v8", chain="v"),
        token(symbol="v7", venue="v", chain="v9"), token(symbol="a3"), token(symbol="A3"),
        make_event(Kind.LISTING_ADDED, listing_body(symbol="v7", venue="v8")),
        *event_of_each_kind(),
    ]  # fmt: skip
    assert [sorted(index.keys(event)) for event in world] == matching(texts, world)
    for text in texts:
        index.discard(text)
    assert_bare(index)


def test_patterns_that_want_something_rare_are_never_asked_of_other_events() -> None:
    texts = [
        text
        for n in range(50)
        for text in (
            f"isin=US{n:010} status!=delisted", f"symbol=S{n}* and not venue=XNAS",
            f"chain=eip155:{n},x:{n} (class=token or class=coin)", f"kind=listing venue=V{n}",
            f"instrument={n + 1:#x} severity<critical", f"bps>{n} source=S{n}",
            f"move_bps<{n} or source=T{n}",
        )
    ]  # fmt: skip
    asked: list[Event] = []

    def counted(tree: Node) -> Matcher:
        def ask(event: Event) -> bool:
            asked.append(event)
            return Pattern(tree).matches(event)

        return ask

    with mock.patch("alphapulse.log.index.matcher_of", counted):
        index = index_of(*texts)
    assert index.statistics().checked > 100
    assert index.statistics().unguarded == 0
    world = [*event_of_each_kind(), token(symbol="S1", isin="US0000000001", chain="eip155:2")]
    expected = matching(texts, world)
    for event, texts_of_event in zip(world, expected, strict=True):
        asked.clear()
        assert sorted(index.keys(event)) == texts_of_event
    assert len(asked) == 2  # what is not delisted, and not at XNAS


def test_equal_questions_are_asked_once() -> None:
    index: PatternIndex[int] = PatternIndex()
    for key in range(100):
        index.add(key, Pattern.parse("class=token venue!=XNAS"))
    (rests,) = (node.rests for node in index._trees[0].common.tables[0][1].values())
    assert rests is not None
    assert len(rests) == 1
    assert sorted(index.keys(token())) == list(range(100))
    assert index.keys(token(venue="XNAS")) == []


def test_events_with_the_same_common_facets_share_one_walk() -> None:
    asked: list[str] = []

    def noted(tree: Node) -> Matcher:
        def ask(event: Event) -> bool:
            asked.append(str(tree))
            return Pattern(tree).matches(event)

        return ask

    texts = ["class=token venue!=XNAS", "class=token symbol!=A", "symbol=B venue!=XNAS"]
    with mock.patch("alphapulse.log.index.matcher_of", noted):
        index = index_of(*texts)
    world = [token(symbol=symbol, venue="XETR") for symbol in "ABA"]
    assert [sorted(index.keys(event)) for event in world] == matching(texts, world)
    assert sorted(asked) == ["symbol!=A"] * 3 + ["venue!=XNAS"] * 2
    assert index.statistics().kept == 1
    assert sorted(index.keys(token(symbol="C", venue="XNAS"))) == [texts[1]]
    assert index.statistics().kept == 2
    index.add("instrument", Pattern.parse("instrument=0x7 class=token"))
    assert index.statistics().kept == 2  # what begins with a rare facet leaves it as it is
    index.add("common", Pattern.parse("status=active"))
    assert index.statistics().kept == 0
    assert sorted(index.keys(world[0])) == ["class=token venue!=XNAS", "common", "instrument"]
    index.discard("common")
    assert index.statistics().kept == 0
    assert sorted(index.keys(world[0])) == ["class=token venue!=XNAS", "instrument"]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"chain=x:{n}" for n in range(30)]
    for asked, kept_max in (([], 9), ([f"class=token symbol!=S{n}" for n in range(100)], 3)):
        texts += asked
        index = index_of(*texts)
        monkeypatch.setattr(index_module, "KEPT_SIZE_BYTES_MAX", 10_000)
        world = [token(chain=f"x:{n}", symbol="S1") for n in range(30)] * 2
        kept = []
        for event, expected in zip(world, matching(texts, world), strict=True):
            assert sorted(index.keys(event)) == expected
            kept.append(index.statistics().kept)
        assert max(kept) == max(kept[30:]) == kept_max


@pytest.mark.parametrize(
    "texts",
    [["class=token bps>0", "chain=x bps=1,4"], ["symbol=A class=token currency=USD venue=X*"],
     ["symbol=A class=token bps=1", "symbol=A class=token currency=USD bps=1 move_bps>0"],
     ["venue=binance", "instrument=0x7 venue=binance class=token"], ["venue=XNAS"],
     ["venue=binance"]],
)  # fmt: skip
def test_facets_are_combined_in_every_order(texts: list[str]) -> None:
    world = [
        token(symbol=symbol, venue=venue, chain=chain)
        for symbol in "AB" for venue in ("XNAS", "binance") for chain in "xy"
    ]  # fmt: skip
    for bps in ((), (4,), (4, 1)):
        values = mock.Mock(return_value=bps)
        with mock.patch.dict(facets._READERS, {"bps": values, "move_bps": values}):
            index = index_of(*texts)
            found = [sorted(index.keys(event)) for event in world]
            assert found == matching(texts, world)
    assert set(texts) == {text for each in found for text in each}


def test_the_message_is_read_without_decoding_the_body() -> None:
    class Sealed(Event):
        @property
        def body(self) -> AnyBody:
            raise AssertionError("the body was decoded")

    sealed = Sealed(token(symbol="A", isin="US0378331005", venue="XNAS").frame)
    texts = ["symbol=A", "isin=US0378331005", "isin=US*", "venue=XNAS", "currency=USD",
             "class=token", "status=active", "instrument=0x7", "kind=instrument", ""]  # fmt: skip
    index = index_of(*texts, "kind=listing venue=X", "chain=x kind=listing")
    assert sorted(index.keys(sealed)) == sorted(texts)
    with pytest.raises(AssertionError, match="was decoded"):
        index_of("chain=x").keys(sealed)


def test_a_long_symbol_is_read_whole() -> None:
    index = index_of("symbol=LongerThanSixteenBytes", "symbol=LongerThanSixteenB*", "symbol=Longe*")
    assert len(index.keys(token(symbol="LongerThanSixteenBytes"))) == 3
    assert index.keys(token(symbol="LongerThanSixtee")) == ["symbol=Longe*"]


def test_a_message_that_is_cut_short_is_not_read_beyond_its_end() -> None:
    whole = token()
    cut = Event(whole.frame + token().frame, verify=False)
    cut.size = 64
    with pytest.raises(NotDecodable):
        index_of("class=token").keys(cut)


def test_kinds_of_newer_versions_are_matched_by_their_header() -> None:
    event = make_event(Kind.ALERT_ACKNOWLEDGED)
    event.kind = 999
    index = index_of(
        "", "kind!=collision", "not kind=alert severity=info", "kind=alert", "not ()",
        "kind=relation,collision,conflict,alert",
    )  # fmt: skip
    assert sorted(index.keys(event)) == ["", "kind!=collision", "not kind=alert severity=info"]
    known = make_event(Kind.COLLISION_DETECTED)
    assert sorted(index.keys(known)) == ["", "kind=relation,collision,conflict,alert"]
    refusing = index_of("kind!=collision", "kind!=instrument.amended", "kind!=instrument")
    assert sorted(refusing.keys(token())) == ["kind!=collision", "kind!=instrument.amended"]
    index.add("class", Pattern.parse("class=token"))
    with pytest.raises(FormatTooNew):
        index.keys(event)


def test_statistics_count_what_is_filed() -> None:
    assert index_of(
        "kind=instrument chain=X", "class=token or isin=US*", "venue!=X"
    ).statistics() == (
        IndexStatistics(patterns=3, filings=3 + 7 + 5, checked=4, unguarded=4, kept=0)
    )
