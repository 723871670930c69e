"""Underlying, legs, tokens and components: what instruments' own fields say, as relations."""

from __future__ import annotations

import pytest

from alphapulse.log import RelationKind
from alphapulse.registry import (
    Coin,
    Currency,
    DexPool,
    FxPair,
    Index,
    Option,
    Perpetual,
    Registry,
    SpotPair,
    Synthetic,
)
from alphapulse.registry.render import related_dict

from .homes import APPLE, isin, token
from .homes import APPLE as SHARE

FACTORY = "0x" + "f" * 40
Said = tuple[int, str, str, int, int]


def said(registry: Registry, key: int, **options: object) -> set[Said]:
    found = registry.related(key, **options)  # type: ignore[arg-type]
    shown = {(r.instrument, r.relation.name.lower(), r.field, r.other, r.depth) for r in found}
    assert len(shown) == len(found), "each once"
    return shown


def pool(number: int, *tokens: str) -> DexPool:
    return DexPool(chain="eip155:1", factory=FACTORY, address=f"0x{number:040x}",
                   tokens=" ".join(tokens))  # fmt: skip


def test_underlying_both_ways_and_through_others(registry: Registry) -> None:
    index = registry.register(Index(administrator="stoxx", code="SX5E")).id
    future = registry.register(Perpetual(
        venue="x", native_id="P", settlement="EUR", underlying=index)).id  # fmt: skip
    option = registry.register(Option(
        venue="x", root="R", maturity="2030-12-20", strike=5, right="call", style="european",
        underlying=future)).id  # fmt: skip
    first = (future, "underlying", "underlying", index)
    second = (option, "underlying", "underlying", future)
    assert said(registry, index) == {(*first, 1)}
    assert said(registry, future) == {(*first, 1), (*second, 1)}
    assert said(registry, index, depth=None) == {(*first, 1), (*second, 2)}
    assert said(registry, option, depth=2) == {(*second, 1), (*first, 2)}
    assert said(registry, option, depth=2, relations=["wraps"]) == set()
    assert said(registry, option, relations=["underlying"]) == {(*second, 1)}
    (link,) = registry.related(index)
    assert related_dict(link, "desk")["field"] == "underlying" and link.id == 0


def test_an_amendment_changes_it_and_the_past_stays(registry: Registry) -> None:
    one, two = (registry.register(Index(administrator="a", code=c)).id for c in "XY")
    future = registry.register(
        Perpetual(venue="x", native_id="P", settlement="EUR", underlying=one,
                  valid_from="2020-01-01")).id  # fmt: skip
    amended = registry.amend(future, underlying=two, valid_from="2022-01-01")
    assert (said(registry, one), len(said(registry, two))) == (set(), 1)
    assert len(said(registry, one, as_of=amended.offset - 1)) == 1
    assert len(said(registry, one, valid="2021-01-01")) == 1
    assert said(registry, two, valid="2021-01-01") == set()
    assert said(registry, one, valid="2019-01-01") == set()
    assert len(said(registry, two, ended=True)) == 1
    registry.amend(future, underlying=77)
    assert said(registry, future) == {(future, "underlying", "underlying", 77, 1)}
    assert said(registry, 77) == said(registry, future), "it need not be registered"


def test_currencies_of_a_pair(registry: Registry) -> None:
    pair = registry.register(FxPair(base="EUR", quote="USD")).id
    assert said(registry, pair) == set()
    euro, dollar = (registry.register(Currency(code=code)).id for code in ("EUR", "USD"))
    registry.register(SpotPair(venue="b", native_id="EURUSD", base="EUR", quote="USD"))
    base, quote = (pair, "component", "base", euro), (pair, "component", "quote", dollar)
    assert said(registry, pair) == {(*base, 1), (*quote, 1)}
    assert said(registry, euro) == {(*base, 1)}, "the codes of a venue name no currency"
    assert said(registry, dollar, depth=2) == {(*quote, 1), (*base, 2)}


def test_tokens_of_pools_however_many(registry: Registry) -> None:
    tokens = [token(number) for number in range(1, 5)]
    ids = [receipt.id for receipt in registry.register_many(tokens)]
    ether = registry.register(Coin(chain="eip155:1")).id
    zero = "0x" + "0" * 40
    two = registry.register(pool(1, tokens[0].address, zero)).id
    four = registry.register(pool(2, *(each.address.upper().replace("X", "x", 1)
                                       for each in tokens))).id  # fmt: skip
    registry.register(pool(3, "0x" + "9" * 40))
    registry.register(token(1, chain="eip155:10"))
    assert said(registry, two) == {
        (two, "component", "tokens", ids[0], 1), (two, "component", "tokens", ether, 1)
    }  # fmt: skip
    assert said(registry, ether) == {(two, "component", "tokens", ether, 1)}
    assert said(registry, ids[0]) == {
        (two, "component", "tokens", ids[0], 1), (four, "component", "tokens", ids[0], 1)
    }  # fmt: skip
    assert said(registry, four) == {(four, "component", "tokens", id, 1) for id in ids}
    assert [each.equal for each in registry.rebuild(["instruments"], check=True)] == [True]
    again = said(registry, ids[3])
    registry.rebuild(["instruments"])
    assert said(registry, ids[3]) == again == {(four, "component", "tokens", ids[3], 1)}
    assert len(said(registry, ids[0])) == 2 and len(said(registry, ether)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_components_of_synthetics(registry: Registry, count: int) -> None:
    shares = [registry.register(type(SHARE)(isin=isin(n))).id for n in range(count)]
    formula = " + ".join(f"0x{id:016x}" for id in shares)
    basket = registry.register(Synthetic(owner="desk", name="B", formula=formula)).id
    other = registry.register(Synthetic(owner="desk", name="C", formula=f"2 * 0x{basket:016x}")).id
    assert said(registry, shares[-1]) == {(basket, "component", "formula", shares[-1], 1)}
    assert len(said(registry, basket)) == count + 1
    found = registry.related(other, depth=None)
    assert [each.relation for each in found] == [RelationKind.COMPONENT] * (count + 1)
    registry.amend(basket, formula=f"0x{registry.register(APPLE).id:016x}")
    assert said(registry, shares[-1]) == set()
