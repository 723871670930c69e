"""`instrument.seen`: proposed once, or registered at once; confirmed, refused, or overtaken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alphapulse.log import Answered, InvalidInput, Kind, ProposalBody
from alphapulse.registry import Receipt, Registry, Token, UnknownProposal, facts_of
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.render import body_dict, event_dict

from .homes import open_home, rows, token

USDX = token(1, symbol="USDX", decimals=6, name="Dollar X")


def state_of(registry: Registry) -> ProposalBody:
    (event,) = registry.proposals(answered=True)
    assert isinstance(event.body, ProposalBody)
    return event.body


def sound(registry: Registry) -> bool:
    return audit_meaning(registry.log).ok and all(v.equal for v in registry.rebuild(check=True))


def test_it_is_proposed_once_and_not_registered(registry: Registry) -> None:
    first = registry.seen(USDX, source="collector")
    again = registry.seen(token(1, symbol="OTHER"), source="another")
    assert (first.outcome, again.outcome) == ("proposed", "unchanged")
    assert again == first._replace(outcome="unchanged") and registry.log.head == 1
    assert registry.resolve(USDX) is None
    (event,) = registry.proposals()
    assert (event.kind, event.entity, event.source) == (
        Kind.INSTRUMENT_SEEN, first.id, "collector",
    )  # fmt: skip
    body = state_of(registry)
    assert body.facts == facts_of(USDX).values and body.policy == ""
    shown = body_dict(body)
    assert (shown["proposed"], shown["answered"], shown["status"]) == ("register", "open", None)
    assert shown["facts"] == body.facts and shown["instrument"] is None
    assert sound(registry)


@pytest.mark.parametrize("pattern", [
    "kind=instrument.seen chain=eip155:1", "symbol=USDX", "class=token kind=instrument",
    "source=collector", "kind=instrument.seen not venue=XNAS",
])  # fmt: skip
def test_subscribers_hear_of_it_by_its_facts(registry: Registry, pattern: str) -> None:
    live = registry.subscribe(pattern)
    registry.register(token(9, symbol="X"), source="lists")
    receipt = registry.seen(USDX, source="collector")
    heard = next(event for event in live if event.kind == Kind.INSTRUMENT_SEEN)
    assert heard.offset == receipt.offset
    found = [e.offset for e in registry.read(pattern=pattern) if e.kind == Kind.INSTRUMENT_SEEN]
    assert found == [receipt.offset]


def test_a_person_confirms_it_as_the_word_of_who_saw_it(registry: Registry) -> None:
    proposal = registry.seen(USDX, source="collector").id
    receipt = registry.confirm_proposal(proposal, request_id="r")
    assert receipt.outcome == "new" and registry.resolve(USDX) == receipt.id
    assert registry.confirm_proposal(proposal, request_id="r") == receipt
    assert registry.confirm_proposal(proposal).outcome == "unchanged"
    said, confirmed = registry.read(1)
    assert (said.kind, said.source) == (Kind.INSTRUMENT_REGISTERED, "collector")
    assert (confirmed.kind, confirmed.source) == (Kind.PROPOSAL_CONFIRMED, "operator")
    assert registry.facts(receipt.id) == facts_of(USDX)
    assert state_of(registry).instrument == receipt.id and registry.proposals() == []
    assert registry.seen(USDX).id == receipt.id, "it is known by now"
    assert registry.register(token(1, symbol="USDY"), source="collector").outcome == "amended"
    assert sound(registry)


def test_what_is_refused_is_not_proposed_again_unless_its_key_changes(registry: Registry) -> None:
    proposal = registry.seen(USDX, source="collector").id
    registry.refuse_proposal(proposal, reason="a scam")
    head = registry.log.head
    assert registry.seen(USDX, source="other").outcome == "unchanged"
    assert registry.seen(USDX, policy="auto").outcome == "unchanged", "whatever the policy"
    assert (registry.log.head, registry.proposals()) == (head, [])
    assert state_of(registry).reason == "a scam"
    assert registry.seen(token(2, symbol="USDX")).outcome == "proposed"
    assert registry.confirm_proposal(proposal).outcome == "new", "a person may think again"
    with pytest.raises(InvalidInput, match="was confirmed"):
        registry.refuse_proposal(proposal)
    assert sound(registry)


def test_who_registers_it_by_other_ways_confirms_it(registry: Registry) -> None:
    registry.seen(USDX, source="collector")
    receipt = registry.register(USDX, source="lists", request_id="r")
    assert registry.register(USDX, source="lists", request_id="r") == receipt
    assert receipt.outcome == "new" and state_of(registry).answered == Answered.CONFIRMED
    assert [event.source for event in registry.read(1)] == ["lists", "lists"]
    assert sound(registry)


def test_auto_registers_at_once_and_says_so(registry: Registry) -> None:
    receipt = registry.seen(USDX, policy="auto", source="collector", request_id="r")
    assert receipt.outcome == "new" and registry.resolve(USDX) == receipt.id
    assert registry.seen(USDX, policy="auto", source="collector", request_id="r") == receipt
    assert [event.kind for event in registry.read()] == [
        Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_SEEN,
    ]  # fmt: skip
    body = state_of(registry)
    assert (body.policy, body.instrument, registry.proposals()) == ("auto", receipt.id, [])
    assert registry.seen(USDX, policy="auto").outcome == "unchanged"
    assert sound(registry)


def test_who_is_trusted_is_not_kept_waiting(registry: Registry) -> None:
    registry.seen(USDX, source="collector")
    receipt = registry.seen(USDX, source="exchange", policy="auto")
    assert receipt.outcome == "new" and registry.proposals() == []
    assert [(event.kind_name, event.source) for event in registry.read(1)] == [
        ("instrument.registered", "exchange"), ("proposal.confirmed", "exchange"),
    ]  # fmt: skip
    assert sound(registry)


def test_the_rules_say_whose_word_is_enough(registry: Registry) -> None:
    registry.state_rules(seen={"good": "auto", "new": "propose"})
    assert registry.sources.rules().seen == {"good": "auto"}
    assert registry.seen(token(1), source="good").outcome == "new"
    assert registry.seen(token(2), source="new").outcome == "proposed"
    assert registry.seen(token(3), source="good", policy="propose").outcome == "proposed"
    assert registry.state_rules(seen={"good": "auto"}).outcome == "unchanged"
    registry.state_rules(precedence=["good"])
    assert registry.sources.rules().seen == {"good": "auto"}, "what is not said stays"
    registry.state_rules(seen={})
    assert registry.seen(token(4), source="good").outcome == "proposed"
    assert sound(registry)


def test_retries_of_what_changed_nothing(registry: Registry) -> None:
    first = registry.seen(USDX, source="collector")
    retried = [registry.seen(USDX, source="collector", request_id="r") for _ in range(2)]
    assert retried == [first._replace(outcome="unchanged")] * 2 and registry.log.head == 2
    assert sound(registry)


def test_what_is_wrong_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="no such policy"):
        registry.seen(USDX, policy="ask")
    with pytest.raises(InvalidInput, match="address"):
        registry.seen(Token(chain="eip155:1", address="0x1"))
    with pytest.raises(UnknownProposal):
        registry.confirm_proposal(7)
    with pytest.raises(InvalidInput, match="stands in it twice"):
        registry.state_rules(precedence=["a", "b", "a"])
    with pytest.raises(InvalidInput, match="no such policy"):
        registry.state_rules(seen={"a": "maybe"})
    assert registry.log.head == 0


def test_it_survives_a_restart_and_ids_that_collide(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        first = [registry.seen(token(n), source="collector") for n in range(80)]
        assert len({receipt.id for receipt in first}) == 80
        assert "collision.detected" in {event.kind_name for event in registry.read()}
        assert [event_dict(event)["space"] for event in registry.proposals()] == ["proposal"] * 80
    with open_home(tmp_path / "home") as registry:
        assert [registry.seen(token(n)).id for n in range(80)] == [r.id for r in first]
        assert sound(registry)


def test_homes_that_hear_in_another_order_have_equal_proposals(tmp_path: Path) -> None:
    seen = []
    for order in ((1, 2), (2, 1)):
        with open_home(tmp_path / str(order)) as registry:
            for number in order:
                registry.seen(token(number), source=f"source {number}")
                registry.seen(token(1), source=f"another {number}")
            seen.append(rows(registry)["proposals"])
    assert seen[0] == seen[1] and seen[0][1] == 2


def test_coroutines(registry: Registry) -> None:
    async def see() -> Receipt:
        return await registry.aio.seen(USDX, source="collector")

    assert asyncio.run(see()).outcome == "proposed"
