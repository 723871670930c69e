from __future__ import annotations

from alphapulse.projections.history import DATA_KINDS, backwards, state_before
from alphapulse.registry import Equity, Registry, Token

ISIN = "US0378331005"


def test_an_entitys_past(registry: Registry) -> None:
    id = registry.register(Equity(isin=ISIN, symbol="A"), source="a").id
    registry.register(Token(chain="eip155:1", address="0x" + "1" * 40))
    registry.amend(id, symbol="B")
    registry.register(Equity(isin=ISIN, symbol="C"), source="b")
    registry.acknowledge(3)
    registry.delist(id)
    table = registry.views.table("instruments")
    last = table.last_offset(table.find(id))
    assert [event.offset for event in backwards(registry.log, last)] == [5, 4, 3, 2, 0]
    assert [event.offset for event in backwards(registry.log, 3)] == [3, 2, 0]
    found = [state_before(registry.log, last, stop) for stop in range(8)]
    # Conflicts and acknowledgements say nothing of the state.
    assert [None if e is None else e.offset for e in found] == [None, 0, 0, 2, 2, 2, 5, 5]
    assert {event.kind in DATA_KINDS for event in found if event is not None} == {True}
