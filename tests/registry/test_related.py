"""Which instruments are related: both ways, through others, then and now."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, OffsetOutOfRange, RelationKind, format_time
from alphapulse.registry import (
    Ambiguous,
    Equity,
    Listing,
    Origin,
    Register,
    Registry,
    Relate,
    Related,
    RelationCycle,
    Unit,
    import_file,
)
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.render import event_dict
from tests.crash.children import report, seeds

from .homes import open_home, token, tokens

KINDS = ("same_as", "wraps", "succeeds", "component")
Edge = tuple[int, str, int]


@pytest.fixture
def ids(registry: Registry) -> list[int]:
    """Five, in the order of their fingerprints. Head: 5."""
    made = sorted(registry.register_many(tokens(5)), key=lambda receipt: receipt.fingerprint)
    return [receipt.id for receipt in made]


def edges(found: list[Related]) -> list[tuple[int, str, int, int]]:
    return [(r.instrument, r.relation.name.lower(), r.other, r.depth) for r in found]


def test_both_ways_and_through_others(registry: Registry, ids: list[int]) -> None:
    a, b, c, d, e = ids
    registry.relate(a, "wraps", b, source="x")
    registry.relate(c, "bridged_from", b)
    registry.relate(c, "underlying", d)
    registry.add_to_group(a, "list", "g")
    registry.add_to_group(e, "list", "g")
    first = (a, "wraps", b)
    assert edges(registry.related(a)) == [(*first, 1)]
    assert edges(registry.related(b)) == [(*first, 1), (c, "bridged_from", b, 1)]
    assert edges(registry.related(d, depth=None)) == [
        (c, "underlying", d, 1), (c, "bridged_from", b, 2), (*first, 3)
    ]  # fmt: skip
    assert edges(registry.related(d, depth=2)) == edges(registry.related(d, depth=None))[:2]
    assert edges(registry.related(b, depth=9, relations=["wraps"])) == [(*first, 1)]
    assert registry.related(d, depth=9, relations=["wraps"]) == []
    assert registry.related(e, depth=None) == [], "a group is no link"
    assert registry.siblings(a) == [e]
    assert registry.related(5) == []
    assert registry.related(f"0x{d:016x}") == registry.related(d)
    assert registry.log.event(registry.related(a)[0].offset).source == "x"


def test_a_key_asks_about_all_that_it_means(registry: Registry) -> None:
    one, two, far = (
        registry.register(token(n, symbol=symbol)).id for n, symbol in enumerate("TTU")
    )
    registry.relate(one, "same_as", two)
    registry.relate(two, "wraps", far)
    assert [each.depth for each in registry.related("T")] == [1, 1]
    assert len(registry.related("U")) == 1
    assert registry.related("nobody") == []


def test_it_ends_on_circles(registry: Registry, ids: list[int]) -> None:
    a, b, c, *_ = ids
    for one, other in ((a, b), (b, c), (a, c)):
        registry.relate(one, "same_as", other)
    found = registry.related(a, depth=None)
    assert sorted(each.depth for each in found) == [1, 1, 2]
    assert {each.id for each in registry.joined([a])} == {b, c}
    assert registry.joined([a, b, c]) == []


def test_dates(registry: Registry, ids: list[int]) -> None:
    a, b, c, *_ = ids
    registry.relate(a, "wraps", b, valid_from="2020-01-01", valid_to="2021-01-01")
    registry.relate(b, "wraps", c, valid_from="2020-06-01")
    registry.relate(a, "component", c, valid_from="2250-01-01")

    def at(time: str) -> list[tuple[int, str, int, int]]:
        return edges(registry.related(a, depth=None, valid=time))

    assert at("2019-12-31T23:59:59.999999999Z") == []
    assert at("2020-01-01") == [(a, "wraps", b, 1)]
    assert at("2020-12-31") == [(a, "wraps", b, 1), (b, "wraps", c, 2)]
    assert at("2021-01-01") == [] == edges(registry.related(a, depth=None))
    assert edges(registry.related(b)) == [(b, "wraps", c, 1)]
    assert at("2250-01-02") == [(a, "component", c, 1), (b, "wraps", c, 2)]
    assert len(registry.related(a, depth=None, ended=True)) == 3


def test_as_it_was_known(registry: Registry, ids: list[int]) -> None:
    a, b, *_ = ids
    said = [
        registry.relate(a, "receipt_of", b, ratio="1/2", source="x"),
        registry.relate(a, "receipt_of", b, ratio="1/3", source="x"),
        registry.relate(a, "receipt_of", b, ratio="1/4", source="y"),
        registry.unrelate(a, "receipt_of", b, valid_to=1),
    ]  # fmt: skip
    ratios = [
        [each.ratio for each in registry.related(b, as_of=offset)] for offset in range(4, 9)
    ]
    assert ratios == [[], [(1, 2)], [(1, 3)], [(1, 3)], []]
    (then,) = registry.related(b, as_of=said[2].offset)
    assert then.offset == said[1].offset
    times = [event.recorded for event in registry.read(5)]
    assert times == sorted(set(times))
    (by_time,) = registry.related(b, as_of=format_time(times[1]))
    assert by_time.ratio == (1, 3)
    assert registry.related(b, as_of=format_time(times[3])) == []
    assert [each.ratio for each in registry.related(b, ended=True)] == [(1, 3)]
    with pytest.raises(OffsetOutOfRange):
        registry.related(a, as_of=9)


@pytest.mark.parametrize(
    "bad", [{"depth": 0}, {"depth": -1}, {"depth": True}, {"depth": "1"},
            {"relations": ["grouped"]}, {"relations": ["x"]}, {"valid": "tomorrow"},
            {"as_of": "tomorrow"}],
)  # fmt: skip
def test_what_cannot_be_asked(registry: Registry, ids: list[int], bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        registry.related(ids[0], **bad)


def test_who_is_joined(registry: Registry, ids: list[int]) -> None:
    """What is the same, on either side, and what came after, not before."""
    old, new, newer, twin, other = ids
    registry.relate(new, "succeeds", old)
    registry.relate(newer, "succeeds", new)
    registry.relate(twin, "same_as", new)
    registry.relate(other, "wraps", old)
    joined = [(each.id, each.relation, each.to) for each in registry.joined([old])]
    assert sorted(joined) == sorted([
        (new, RelationKind.SUCCEEDS, old), (newer, RelationKind.SUCCEEDS, new),
        (twin, RelationKind.SAME_AS, new),
    ])  # fmt: skip
    assert [each.id for each in registry.joined([newer])] == []
    assert {each.id for each in registry.joined([twin])} == {new, newer}
    assert registry.joined([old], as_of=4) == []
    assert [each.id for each in registry.joined([old], as_of=5)] == [new]
    registry.unrelate(new, "succeeds", old, valid_to=1)
    assert registry.joined([old]) == []


def test_two_registries_on_the_two_sides_of_an_isin_change(tmp_path: Path) -> None:
    """One knew the company under its old ISIN and symbol, one began after the change."""
    old, new = "US30303M1027", "US5949181045"
    listed: dict[str, Any] = {"venue": "XNAS", "currency": "USD"}
    with open_home(tmp_path / "a") as a, open_home(tmp_path / "b") as b:
        first = a.register(Equity(isin=old, symbol="FB", valid_from="2012")).id
        a.add_listing(
            Listing(instrument=first, symbol="FB", valid_from="2012", valid_to="2022-06", **listed)
        )
        second = b.register(Equity(isin=new, symbol="META", valid_from="2022-06")).id
        b.add_listing(Listing(instrument=second, symbol="META", valid_from="2022-06", **listed))
        lines = [json.dumps(event_dict(event, raw=True)) for event in b.read()]
        (tmp_path / "b.jsonl").write_text("\n".join(lines))
        assert import_file(a, tmp_path / "b.jsonl").new == 2

        def found(key: str, **when: Any) -> list[int]:
            return [match.id for match, _ in a.find(key, **when)]

        for key in (old, "FB", f"0x{first:016x}"):
            assert found(key) == [first]
        apart = a.log.head
        a.relate(second, "same_as", first)
        for keys, order in (((old, "FB", f"0x{first:016x}"), [first, second]),
                            ((new, "META", f"0x{second:016x}"), [second, first])):  # fmt: skip
            for key in keys:
                assert found(key) == found(key, valid="2023") == order
                assert found(key, as_of=apart - 1) == found(key, known=apart - 1) == order[:1]
        for key in (old, "FB", new, f"0x{second:016x}"):  # what it was then, whatever it is called
            assert found(key, valid="2015") == [first], key
            assert found(key, valid="2011") == []
        assert found("META", valid="2015") == [], "nobody had that symbol, so nobody is meant"
        symbols = {each.symbol for id in found(new) for each in a.listings(id)}
        assert symbols == {"FB", "META"}

        a.amend(first, isin=new, valid_from="2022-06")
        record = a.by_isin(new)
        assert record is not None and record.id == second, "the one that had it first"
        assert sorted(found(new)) == sorted(found(old)) == sorted([first, second])
        third = a.register(Equity(isin="GB00BP6MXD84", valid_from="2023-05")).id
        a.amend(third, isin=new, valid_from="2023-06")
        with pytest.raises(Ambiguous):
            a.by_isin(new)
        a.amend(third, isin="GB00BP6MXD84")
        a.unrelate(second, "same_as", first, valid_to="2024")
        with pytest.raises(Ambiguous):
            a.by_isin(new)
        assert a.by_isin(new, valid="2023") == record


# --- against others' graphs ------------------------------------------------------------------


def related_by_hand(of: list[Edge], start: int, depth: int | None) -> dict[Edge, int]:
    """Each edge with its depth, by sweeping over all edges again and again."""
    reached, found, level = {start}, dict[Edge, int](), 0
    while depth is None or level < depth:
        level += 1
        new = [e for e in of if e not in found and (e[0] in reached or e[2] in reached)]
        if not new:
            break
        found.update(dict.fromkeys(new, level))
        reached |= {side for edge in new for side in (edge[0], edge[2])}
    return found


def leads_back(of: list[Edge], edge: Edge) -> bool:
    """Whether the edge would close a circle of its kind, `same_as` aside."""
    start, kind, end = edge
    reached = {end}
    while new := {e[2] for e in of if e[1] == kind and e[0] in reached} - reached:
        reached |= new
    return kind != "same_as" and start in reached


EDGES = st.tuples(st.integers(0, 6), st.sampled_from(KINDS), st.integers(0, 6)).filter(
    lambda edge: edge[0] != edge[2]
)


@settings(max_examples=15)  # each makes a home
@given(
    said=st.lists(EDGES, min_size=4, max_size=25), ended=st.lists(st.integers(0, 24), max_size=5),
    start=st.integers(0, 6), depth=st.sampled_from([1, 2, 3, None]),
)
def test_as_a_model_has_it(
    tmp_path_factory: pytest.TempPathFactory, said: list[Edge], ended: list[int], start: int,
    depth: int | None,
) -> None:  # fmt: skip
    """What is related, and what was at each head; and just what leads back is refused."""
    live: list[Edge] = []
    at_head: dict[int, list[Edge]] = {}
    with open_home(tmp_path_factory.mktemp("model") / "home") as registry:
        made = sorted(registry.register_many(tokens(7)), key=lambda receipt: receipt.fingerprint)
        ids = [receipt.id for receipt in made]
        for one, kind, other in said:
            edge = (min(one, other), kind, max(one, other)) if kind == "same_as" else (
                one, kind, other)  # fmt: skip
            try:
                registry.relate(ids[one], kind, ids[other])
            except RelationCycle:
                assert leads_back(live, edge)
            else:
                assert not leads_back(live, edge)
                live += [edge] if edge not in live else []
            at_head[registry.log.head] = live[:]
        for number in ended:
            if number < len(live):
                one, kind, other = live.pop(number)
                registry.unrelate(ids[one], kind, ids[other], valid_to=1)
                at_head[registry.log.head] = live[:]
        for head, then in at_head.items():
            as_of = None if head == registry.log.head else head - 1
            found = registry.related(ids[start], depth=depth, as_of=as_of)
            shown = {
                (ids.index(each.instrument), each.relation.name.lower(), ids.index(each.other)):
                each.depth for each in found
            }  # fmt: skip
            assert shown == related_by_hand(then, start, depth)
            assert len(found) == len(shown)
        assert audit_meaning(registry.log).ok


def test_a_graph_of_many_circles_against_networkx(tmp_path: Path, scale: float) -> None:
    """100,000 relations at ALPHAPULSE_TEST_SCALE=10 and more."""
    import networkx  # type: ignore[import-untyped]  # no stubs; 11 MB of each fork, were it above

    (seed,) = seeds(1)
    rng, count = random.Random(seed), 100_000 if scale >= 10 else 600
    made = tokens(count // 2)
    prints = [Register.of(each).fingerprint for each in made]
    graph, successors = networkx.MultiGraph(), set()
    with open_home(tmp_path / "home") as registry:
        ids = [receipt.id for receipt in registry.register_many(made)]
        graph.add_nodes_from(ids)  # of some there is no relation
        units: list[Unit] = []
        while len(units) < count:
            one, other = sorted(rng.sample(range(len(ids)), 2))
            kind = rng.choice(("same_as", "same_as", *KINDS))
            if not graph.has_edge(ids[one], ids[other], kind):
                graph.add_edge(ids[one], ids[other], kind)
                if kind == "succeeds":
                    successors.add((ids[other], ids[one]))
                command = Relate.make(prints[one], kind, prints[other])  # never back: one < other
                units.append(Unit((command,), Origin("x")))
        assert all(isinstance(outcome, list) for outcome in registry.execute(units))
        for start in rng.sample(ids, 3):
            for depth in (1, 3, None):
                away = networkx.single_source_shortest_path_length(graph, start, cutoff=depth)
                wanted = {
                    (frozenset((one, other)), kind): 1 + min(away.get(one, count),
                                                             away.get(other, count))
                    for one, other, kind in graph.edges(away, keys=True)
                }  # fmt: skip
                found = {
                    (frozenset((r.instrument, r.other)), r.relation.name.lower()): r.depth
                    for r in registry.related(start, depth=depth)
                }
                limit = count if depth is None else depth
                assert found == {edge: far for edge, far in wanted.items() if far <= limit}
            same = networkx.DiGraph(successors)
            for one, other, kind in graph.edges(keys=True):
                if kind == "same_as":
                    same.add_edges_from([(one, other), (other, one)])
            joined = {each.id for each in registry.joined([start])}
            assert joined == (networkx.descendants(same, start) if start in same else set())
    report("relations against networkx", [seed], relations=count, different=0)
