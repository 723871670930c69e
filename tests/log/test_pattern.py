from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import facets
from alphapulse.log.bodies import AnyBody
from alphapulse.log.errors import PatternError
from alphapulse.log.frame import Event
from alphapulse.log.kinds import AssetClass, Kind, Severity, Status, TradingStatus
from alphapulse.log.numbers import number
from alphapulse.log.pattern import Pattern, facet, where
from alphapulse.log.pattern_tree import Node, Value, all_of, any_of, negate, term
from tests.texts import texts

from .builders import (
    acknowledged_body,
    collision_body,
    event_of_each_kind,
    instrument_body,
    listing_body,
    make_event,
    relation_body,
)
from .pattern_worlds import events, naive, trees

TOKEN = make_event(
    Kind.INSTRUMENT_REGISTERED,
    instrument_body(7, symbol="USDC", chain="eip155:1", currency="USD", isin="US0378331005"),
    entity=7,
    source="lists/a.json",
)
LISTING = make_event(
    Kind.LISTING_ADDED, listing_body(9, instrument=7, venue="binance", symbol="a b"), entity=9
)
COLLISION = make_event(Kind.COLLISION_DETECTED, collision_body(8, holder=7), entity=8)


def matches(text: str, event: Event) -> bool:
    return Pattern.parse(text).matches(event)


def numbered(value: int) -> Event:
    """An event for tests that give it market facets by hand."""
    return make_event(Kind.ALERT_ACKNOWLEDGED, acknowledged_body(value), offset=value)


@given(trees(), events(size_max=6))
def test_matches_is_what_the_tree_means(tree: Node, world: list[Event]) -> None:
    pattern = Pattern(tree)
    for event in world:
        assert pattern.matches(event) is naive(tree, event)


@given(trees(), events(size_max=3))
def test_explain_agrees_with_matches(tree: Node, world: list[Event]) -> None:
    pattern = Pattern(tree)
    for event in world:
        explanation = pattern.explain(event)
        assert explanation.matched is pattern.matches(event)
        assert str(explanation).startswith("yes" if explanation.matched else "no")


@given(trees())
def test_text_parses_back_to_an_equal_pattern(tree: Node) -> None:
    pattern = Pattern(tree)
    again = Pattern.parse(str(pattern))
    assert again == pattern
    assert hash(again) == hash(pattern)
    assert str(again) == str(pattern)
    assert str(pattern).isprintable()


@given(texts(min_size=1, max_size=30), st.booleans())
def test_any_text_survives_as_a_value(text: str, prefix: bool) -> None:
    pattern = Pattern(term("symbol", "=", [Value(text, prefix)]))
    assert Pattern.parse(str(pattern)) == pattern


@given(trees(), trees(), events(size_max=4))
def test_operators_combine_what_matches(a: Node, b: Node, world: list[Event]) -> None:
    left, right = Pattern(a), Pattern(b)
    for event in world:
        assert (left & right).matches(event) is (left.matches(event) and right.matches(event))
        assert (left | right).matches(event) is (left.matches(event) or right.matches(event))
        assert (~left).matches(event) is not left.matches(event)
    assert ~~left == left


@given(st.lists(trees(), max_size=4), st.randoms(use_true_random=False))
def test_order_and_nesting_do_not_make_another_pattern(parts: list[Node], random: object) -> None:
    shuffled = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]
    for combine in (all_of, any_of):
        nested = combine([combine(shuffled[:2]), combine(shuffled[2:]), *shuffled[:1]])
        assert Pattern(nested) == Pattern(combine(parts))
        assert str(Pattern(nested)) == str(Pattern(combine(parts)))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", True),
        ("()", True),
        ("not ()", False),
        ("kind=instrument", True),
        ("kind=instrument.registered", True),
        ("kind=instrument.amended", False),
        ("kind=collision,instrument", True),
        ("KIND=x or class=token", None),
        ("class=token chain=eip155:1", True),
        ("class=coin,token and chain=eip155:*", True),
        ("chain=EIP155:1", False),
        ("instrument=0x7", True),
        ("instrument=0x0000000000000008", False),
        ("isin=us*", True),
        ("isin=us0378331005", True),
        ("isin!=US*", False),
        ("isin=*", True),
        ("venue=*", False),
        ("venue!=XNAS", True),
        ("symbol=usdc", False),
        ("currency=usd", True),
        ("status=active", True),
        ("severity>=warning", False),
        ("severity<warning", True),
        ("source=lists/*", True),
        ('source="lists/*"', False),
        ("bps>50", False),
        ("not bps>50", True),
        ("class=coin or class=token and not symbol=X", True),
        ("(class=token or class=coin) symbol=X", False),
        ("not class=coin symbol=X", False),
    ],
)
def test_what_matches_a_token(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(PatternError):
            Pattern.parse(text)
    else:
        assert matches(text, TOKEN) is expected


@pytest.mark.parametrize("text", ["venue=BINANCE", "venue=binance", "venue=BIN*", 'symbol="a b"'])
def test_a_slug_is_found_in_upper_case(text: str) -> None:
    assert matches(text, LISTING)
    assert not matches(text, TOKEN)


def test_a_mic_is_found_as_written_only() -> None:
    listing = make_event(Kind.LISTING_ADDED, listing_body(venue="XETR"))
    assert matches("venue=XETR", listing)
    assert not matches("venue=xetr", listing)


def test_empty_text_is_no_value() -> None:
    listing = make_event(Kind.LISTING_ADDED, listing_body(venue="", symbol=""))
    assert not matches("venue=*", listing)
    assert matches("venue!=* symbol!=*", listing)


def test_the_instrument_facet_sees_every_side() -> None:
    relation = make_event(Kind.RELATION_ADDED, relation_body(3, instrument=5, other=6), entity=3)
    for text in ("instrument=0x5", "instrument=0x6", "instrument=0x9,0x6"):
        assert matches(text, relation)
    assert not matches("instrument=0x3", relation)
    assert matches("instrument=0x7", COLLISION)
    assert matches("instrument=0x8", COLLISION)
    assert matches("instrument=0x7", LISTING)
    assert not matches("instrument=0x9", LISTING)


def test_a_kind_of_a_newer_version_matches_no_known_name() -> None:
    event = make_event(Kind.ALERT_ACKNOWLEDGED)
    event.kind = 999
    assert not matches("kind=alert", event)
    assert matches("kind!=alert", event)
    assert "999" in str(Pattern.parse("kind!=alert").explain(event))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bps>50", {51, 60}),
        ("bps>=50", {50, 51, 60}),
        ("bps<50", {0}),
        ("bps<=50.0", {0, 50}),
        ("bps=50,0", {0, 50}),
        ("bps!=50", {0, 51, 60}),
        ("bps>50.9999999999", {51, 60}),
        ("bps>51.0000000001 or bps<-1e100", {60}),
    ],
)
def test_numbers_compare_exactly(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: set[int]
) -> None:
    # No kind has market facets yet, so an offset stands in for one.
    monkeypatch.setitem(facets._READERS, "bps", lambda event: (event.offset,))
    world = [numbered(value) for value in (0, 50, 51, 60)]
    pattern = Pattern.parse(text)
    assert {event.offset for event in world if pattern.matches(event)} == expected
    for event in world:
        assert pattern.matches(event) is naive(pattern.tree, event)
        assert str(event.offset) in str(pattern.explain(event))


def test_the_header_decides_before_a_body_is_decoded() -> None:
    class Sealed(Event):
        @property
        def body(self) -> AnyBody:
            raise AssertionError("the body was decoded")

    sealed = Sealed(TOKEN.frame)
    assert not matches("source=x symbol=USDC class=token kind=collision", sealed)
    assert matches("symbol=USDC or kind=instrument", sealed)
    assert matches("kind=instrument severity=info", sealed)


def test_explain_shows_each_term_and_what_the_event_has() -> None:
    pattern = Pattern.parse("kind=instrument (chain=eip155:137 or not (isin=DE* or class=token))")
    assert str(pattern.explain(TOKEN)) == "\n".join(
        [
            "no  all of",
            "yes   kind=instrument   the event has instrument.registered",
            "no    any of",
            "no      chain=eip155:137   the event has eip155:1",
            "no      not",
            "yes       any of",
            "yes         class=token   the event has token",
            "no          isin=DE*   the event has US0378331005",
        ]
    )
    terms = Pattern.parse("venue!=X").explain(TOKEN)
    assert str(terms) == "yes venue!=X   the event has no venue"
    sides = Pattern.parse("instrument=0x7").explain(COLLISION).values
    assert sides == ("0x0000000000000008", "0x0000000000000007")
    assert str(Pattern.parse("").explain(TOKEN)) == "yes everything"
    assert str(Pattern.parse("not ()").explain(TOKEN)) == "no  nothing"


def test_explain_escapes_text_of_feeds() -> None:
    event = make_event(Kind.LISTING_ADDED, listing_body(symbol="\x1b[31m\u202e"))
    shown = str(Pattern.parse("symbol=x").explain(event))
    assert shown == r'no  symbol=x   the event has "\u{1b}[31m\u{202e}"'


@pytest.mark.parametrize(
    "typed, text",
    [
        (where(), ""),
        (~where(), "not ()"),
        (
            where(kind="instrument.registered", asset_class=AssetClass.TOKEN, chain="eip155:1"),
            "kind=instrument.registered class=token chain=eip155:1",
        ),
        (where(kind=[Kind.COLLISION_DETECTED, "conflict"]), "kind=conflict,collision.detected"),
        (where(instrument=0x9F3C), "instrument=0x9f3c"),
        (where(status={Status.ACTIVE, Status.HALTED}), "status=halted,active"),
        (where(status=[TradingStatus.DOWN, Status.HALTED]), "status=down,halted"),
        (where(symbol="US*"), 'symbol="US*"'),
        (where(bps=number("1.50")), "bps=1.5"),
        (facet("isin").prefix("US", "de"), "isin=US*,DE*"),
        (facet("venue").prefix(""), "venue=*"),
        (facet("bps") > 50, "bps>50"),
        (facet("bps") >= "50.5", "bps>=50.5"),
        (facet("move_bps") < -3, "move_bps<-3"),
        (facet("move_bps") <= number("0.1"), "move_bps<=0.1"),
        (facet("severity") >= Severity.WARNING, "severity=critical,warning"),
        (~(where(kind="collision") | where(symbol="A")) & where(currency="usd"),
         "not (kind=collision or symbol=A) currency=USD"),
        (~where(kind="collision"), "kind!=collision"),
    ],
)  # fmt: skip
def test_typed_and_text_are_two_spellings(typed: Pattern, text: str) -> None:
    assert typed == Pattern.parse(text)
    assert Pattern.parse(str(typed)) == typed


def test_canonical_text() -> None:
    pattern = Pattern.parse(
        'isin!=US* AND ((symbol="a b" or kind=collision)) Not severity>=warning isin!="US"*'
    )
    assert str(pattern) == ('severity!=critical,warning isin!=US* (kind=collision or symbol="a b")')
    assert repr(pattern) == f"Pattern.parse({str(pattern)!r})"


@pytest.mark.parametrize(
    "make, problem",
    [
        (lambda: where(chian="x"), "did you mean chain?"),
        (lambda: where(klass="token"), "did you mean class?"),
        (lambda: facet("ISIN"), "did you mean isin?"),
        (lambda: where(kind=Status.ACTIVE), "kind takes no Status"),
        (lambda: where(kind=1), "kind takes no int"),
        (lambda: where(instrument=-1), "instrument takes no int"),
        (lambda: where(instrument=1 << 64), "is no id"),
        (lambda: where(instrument=True), "instrument takes no bool"),
        (lambda: where(bps=True), "bps takes no bool"),
        (lambda: where(bps="nan"), "not decimal text"),
        (lambda: where(symbol=[]), "symbol needs a value"),
        (lambda: where(symbol=""), "symbol needs a value"),
        (lambda: where(symbol="\ud800"), "not Unicode text"),
        (lambda: facet("kind").prefix("coll"), "leave out the star"),
        (lambda: facet("symbol") > "A", "symbol has no order"),
        (lambda: facet("severity") > Severity.CRITICAL, "no severity is >critical"),
    ],
)
def test_typed_mistakes_are_named(make: object, problem: str) -> None:
    with pytest.raises(PatternError) as caught:
        make()  # type: ignore[operator]  # parametrize gives object
    assert problem in str(caught.value)


def test_typed_patterns_have_the_limits_of_text() -> None:
    with pytest.raises(PatternError, match="too long"):
        where(symbol=[f"SYMBOL{n}" for n in range(500)])
    pattern = where(symbol="A")
    for level in range(32):
        pattern = ~(pattern & where(symbol=f"S{level}"))
    assert Pattern.parse(str(pattern)) == pattern
    with pytest.raises(PatternError, match="nests too deeply"):
        ~(pattern & where(symbol="B"))
    pattern = where(symbol="A")
    for level in range(64):
        pattern = (pattern | where(symbol=f"S{level}")) & where(source=f"T{level}")
    assert Pattern.parse(str(pattern)) == pattern
    with pytest.raises(PatternError, match="nests too deeply"):
        (pattern | where(symbol="B")) & where(symbol="C")
    pattern = ~(facet("bps") > 5)
    for level in range(31):
        pattern = ~(pattern & where(symbol=f"S{level}"))
    with pytest.raises(PatternError, match="nests too deeply"):
        ~(pattern & where(symbol="B"))


def test_patterns_are_values() -> None:
    pattern = Pattern.parse("symbol=A or kind=collision")
    same = Pattern.parse("kind=collision or symbol=A")
    assert {pattern: 1}[same] == 1
    assert pattern != Pattern.parse("symbol=A")
    assert pattern != "symbol=A"
    assert pickle.loads(pickle.dumps(pattern)) == copy.deepcopy(pattern) == pattern
    assert [held.facet for held in pattern.terms()] == ["kind", "symbol"]


def test_a_pattern_is_no_condition() -> None:
    with pytest.raises(TypeError, match="combine with"):
        bool(where(symbol="A") and where(symbol="B"))
    with pytest.raises(TypeError, match="combine with"):
        assert 1 < facet("bps") < 5
    with pytest.raises(TypeError):
        where(symbol="A") & "symbol=B"  # type: ignore[operator]  # the mistake under test
    with pytest.raises(TypeError):
        where(symbol="A") | "symbol=B"  # type: ignore[operator]  # the mistake under test


def test_every_kind_has_an_answer_for_every_facet() -> None:
    for event in event_of_each_kind():
        for name in facets.FACETS:
            value = {"bps": "1", "move_bps": "1", "instrument": "0x1", "isin": "US0378331005",
                     "kind": "alert", "class": "token", "status": "active",
                     "severity": "info"}.get(name, "x")  # fmt: skip
            pattern = Pattern(term(name, "=", [Value(value)]))
            assert pattern.matches(event) is not Pattern(negate(pattern.tree)).matches(event)
