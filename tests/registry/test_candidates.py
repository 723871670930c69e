"""What makes two instruments look alike, and which pairs are found among many."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import (
    Bond,
    Coin,
    Crowd,
    Equity,
    Etf,
    Evidence,
    Index,
    Registry,
    SpotPair,
)
from alphapulse.registry import candidate_finder as finder
from alphapulse.registry.candidates import evidence_of, score_of, side_of
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import fingerprint_of, primary_id
from alphapulse.registry.instruments import AnyInstrument
from alphapulse.registry.readers import facts_of
from tests.crash.children import seeds

from .homes import isin, open_home, token

LEI, OTHER_LEI = "HWUPKR0MPOU8FGXBT394", "5493006MHB84DD0ZWV18"


def evidence(one: AnyInstrument, other: AnyInstrument) -> Evidence | None:
    sides = []
    for instrument in (one, other):
        facts = facts_of(instrument)
        fingerprint = fingerprint_of(facts.key)
        side = side_of(body_of(facts, id=primary_id(fingerprint), fingerprint=fingerprint))
        if side is None:
            return None
        sides.append(side)
    found = evidence_of(*sides)
    assert found == evidence_of(*reversed(sides))
    return found


def share(number: int, **fields: Any) -> Equity:
    return Equity(isin=isin(number), **fields)


@pytest.mark.parametrize(
    "one, other, score, agree, differ",
    [
        (token(1, symbol="USDC", name="USD Coin", decimals=6),
         token(2, symbol="usdc", name="USD COIN", decimals=6), 6, "decimals name symbol", ""),
        (token(1, symbol="USDC"), token(2, symbol="USDC", chain="eip155:10"), 2, "symbol", "chain"),
        (token(1, symbol="CAT", name="Cat", decimals=18),
         token(2, symbol="CAT", name="Caterpillar", decimals=9), 0, "symbol", "decimals name"),
        (token(1, symbol="FPI", name="Frax Price Index"),
         token(2, symbol="fpi", name="Frax Price Index Share"), 1, "symbol", "name"),
        (token(1, name="Wrapped Ether"), token(2, name="WRAPPED-ETHER"), 3, "name", ""),
        (token(1, symbol="ETH"), Coin(chain="eip155:10", symbol="ETH", decimals=18), 1, "symbol",
         "chain class"),
        (share(1, name="Apple Inc. Common Stock"), share(2, name="APPLE"), 3, "name", "isin"),
        (share(1, name="Nestlé S.A."), share(2, name="NESTLÉ SA ADR"), 3, "name", "isin"),
        (share(1, lei=LEI), share(2, lei=LEI), 4, "lei", "isin"),
        (share(1, lei=LEI, name="Apple"), share(2, lei=OTHER_LEI, name="Apple"), -1, "name",
         "isin lei"),
        (share(1, symbol="T", currency="USD"), Etf(isin=isin(2), symbol="T", currency="CAD"), 1,
         "symbol", "class currency isin"),
        (share(1, sedol="2046251"), share(2, sedol="2046251"), 8, "sedol", "isin"),
        (Index(administrator="spdji", code="SPX", symbol="SPX"),
         Index(administrator="reseller", code="US500", symbol="SPX"), 2, "symbol", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_makes_two_look_alike(
    one: AnyInstrument, other: AnyInstrument, score: int, agree: str, differ: str
) -> None:
    found = evidence(one, other)
    assert found is not None
    assert (found.score, list(found.agree), list(found.differ)) == (
        score, agree.split(), differ.split(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "one, other",
    [
        (token(1, symbol="AAPL", name="Apple"), share(1, symbol="AAPL", name="Apple")),
        (token(1, symbol="A", decimals=18), token(2, symbol="B", decimals=18)),
        (Bond(isin=isin(1), lei=LEI), Bond(isin=isin(2), lei=LEI)),
        (SpotPair(venue="binance", market="spot", native_id="BTCUSDT", symbol="BTCUSDT"),
         SpotPair(venue="bybit", market="spot", native_id="BTCUSDT", symbol="BTCUSDT")),
        (token(1, symbol="USDC"), token(1, symbol="USDC")),
        (token(1), token(2)),
    ],
)  # fmt: skip
def test_what_does_not(one: AnyInstrument, other: AnyInstrument) -> None:
    assert evidence(one, other) is None


def test_the_words_of_both_sides_are_told_in_the_order_of_fingerprints() -> None:
    one, other = token(1, symbol="X", name="One"), token(2, symbol="x", name="Two")
    first = min((one, other), key=lambda each: fingerprint_of(facts_of(each).key))
    found = evidence(one, other)
    assert found is not None and found.agree == {"symbol": "x"}
    assert found.differ == {"name": ("One", "Two") if first is one else ("Two", "One")}


def pairs(registry: Registry, **options: Any) -> set[tuple[int, int]]:
    return {(pair.a, pair.b) for pair in registry.look_alikes(**options).pairs}


def test_an_isin_that_was_taken_over(registry: Registry) -> None:
    """Two feeds that started on the two sides of a change of ISIN."""
    old, new = registry.register_many([share(1, name="Old Name"), share(2, name="New Name")])
    assert not pairs(registry)
    registry.amend(old.id, isin=isin(2))
    (found,) = registry.look_alikes().pairs
    assert {found.a, found.b} == {old.id, new.id}
    assert found.evidence == Evidence({"isin": isin(2)}, found.evidence.differ, 7)


def test_what_is_related_or_was_grouped_is_not_found(registry: Registry) -> None:
    made = registry.register_many([token(n, symbol="USDC", decimals=6) for n in range(6)])
    a, b, c, d, e, f = (receipt.id for receipt in made)
    assert len(pairs(registry)) == 5  # as many as connect six
    registry.relate(a, "bridged_from", b)
    registry.relate(b, "same_as", c)
    for id in (d, e):
        registry.add_to_group(id, "lists", "usdc")
    found = pairs(registry)
    assert len(found) == 2 and {a, b, c, d, e}.isdisjoint([f]) and any(f in pair for pair in found)
    registry.relate(a, "component", f)  # a basket is not like what is in it
    registry.relate(a, "underlying", d)
    assert pairs(registry) == found


def test_the_strongest_first_and_only_so_many(registry: Registry) -> None:
    registry.register_many([
        token(1, symbol="A", name="Same"), token(2, symbol="A", name="Same"),
        token(3, symbol="B"), token(4, symbol="B"), token(5, symbol="C", decimals=1),
        token(6, symbol="C", decimals=2), share(1, name="Same", symbol="A"),
    ])  # fmt: skip
    found = registry.look_alikes()
    assert [pair.evidence.score for pair in found.pairs] == [5, 2] and found.compared == 7
    assert [p.evidence.score for p in registry.look_alikes(score_min=1).pairs] == [5, 2, 1]
    one = registry.look_alikes(most=1)
    assert (one.pairs, one.more) == (found.pairs[:1], 1)
    assert registry.look_alikes(score_min=6) == (found._replace(pairs=[]))


def test_a_crowd_is_told_and_not_paired(registry: Registry, monkeypatch: Any) -> None:
    monkeypatch.setattr(finder, "GROUP_MAX", 3)
    registry.register_many([
        *(token(n, symbol="CAT", name="cat" if n < 2 else "") for n in range(5)),
        *(token(10 + n, symbol="DOG") for n in range(3)),
    ])  # fmt: skip
    found = registry.look_alikes()
    assert found.crowds == [Crowd("symbol", "cat", 5)]
    assert [sorted(pair.evidence.agree) for pair in found.pairs] == [
        ["name", "symbol"], ["symbol"], ["symbol"],
    ]  # fmt: skip
    assert {pair.evidence.agree["symbol"] for pair in found.pairs[1:]} == {"dog"}


def test_progress_and_an_empty_registry(registry: Registry) -> None:
    told: list[int] = []
    empty = registry.look_alikes(progress=told.append)
    assert empty == finder.LookAlikes([], 0, [], 0) and told == []
    registry.register(token(1))
    registry.look_alikes(progress=told.append)
    assert told == [0]


_JOINED = 1_000


def brute_force(registry: Registry, joined: set[frozenset[int]]) -> int:
    """Total score of the best forest over all pairs, by Prim's rule: no groups, no Kruskal."""
    sides = {}
    for id in {event.entity for event in registry.read(pattern="kind=instrument")}:
        match = registry.describe(id)
        assert match is not None
        sides[id] = side_of(match.body)
    weights: dict[tuple[int, int], int] = {}
    for one, other in combinations(sorted(sides), 2):
        a, b = sides[one], sides[other]
        assert a is not None and b is not None
        if frozenset((one, other)) in joined:
            weights[one, other] = _JOINED
        elif evidence_of(a, b) and score_of(a.compared, b.compared) >= 2:
            weights[one, other] = score_of(a.compared, b.compared)
    total, left = 0, set(sides)
    while left:
        inside = {left.pop()}
        while reach := [
            (weight, pair) for pair, weight in weights.items() if len(inside & {*pair}) == 1
        ]:
            weight, pair = max(reach)
            total += weight
            inside |= {*pair}
        left -= inside
    return total


def test_the_best_forest_is_found(tmp_path: Path) -> None:
    """Against every pair compared with every other."""
    for seed in seeds(3):
        random_ = random.Random(seed)
        with open_home(tmp_path / str(seed)) as registry:
            made = registry.register_many([
                token(
                    n, symbol=random_.choice(["A", "B", "c", "C", ""]),
                    name=random_.choice(["Some Coin", "some-coin", "Other", ""]),
                    decimals=random_.choice([6, 18, None]),
                )
                for n in random_.sample(range(10_000), 25)
            ])  # fmt: skip
            joined = set()
            for _ in range(5):
                one, other = random_.sample([receipt.id for receipt in made], 2)
                registry.relate(one, "same_as", other)
                joined.add(frozenset((one, other)))
            found = registry.look_alikes().pairs
            scores = [pair.evidence.score for pair in found]
            assert sum(scores) == brute_force(registry, joined) % _JOINED, seed
            assert scores == sorted(scores, reverse=True)
            registry.propose(found)
            assert not registry.look_alikes().pairs, seed


def test_a_state_that_is_none(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="use one of proposed, confirmed, refused"):
        registry.candidates(states=["open"])
