"""Other questions and ways out, beside proposals."""

from __future__ import annotations

import json
from pathlib import Path

from alphapulse.registry import Registry, import_file
from alphapulse.registry.render import event_dict

from .homes import open_home, token


def filled(registry: Registry) -> int:
    registry.seen(token(1, symbol="OPEN"), source="collector")
    registry.state_rules(precedence=["a", "b"])
    proposal = registry.seen(token(2, symbol="YES"), source="collector").id
    return registry.confirm_proposal(proposal).id


def test_history_shows_what_led_to_an_instrument(registry: Registry) -> None:
    id = filled(registry)
    kinds = [event.kind_name for event in registry.history(id)]
    assert kinds == ["instrument.seen", "instrument.registered", "proposal.confirmed"]
    assert {each.field for each in registry.blame(id)} >= {"symbol", "status"}


def test_what_is_proposed_is_no_change_of_what_is_known(registry: Registry) -> None:
    id = filled(registry)
    changes = list(registry.diff(0, registry.log.head - 1))
    assert {change.id for change in changes} == {id}
    assert list(registry.diff(0, registry.log.head - 1, [id])) == changes


def test_events_are_carried_over_without_proposals(registry: Registry, tmp_path: Path) -> None:
    id = filled(registry)
    file = tmp_path / "events.jsonl"
    lines = [json.dumps(event_dict(event, raw=True)) for event in registry.read()]
    file.write_text("\n".join(lines))
    with open_home(tmp_path / "other") as other:
        report = import_file(other, file)
        assert (report.new, report.quarantined) == (1, 0)
        assert [match.id for match in other.lookup.by_symbol("YES")] == [id]
        assert other.proposals() == []
