"""A request id makes a retry safe: whatever happened since, it gets its first receipt again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import InvalidInput, Kind, Status
from alphapulse.registry import (
    Acknowledge,
    AddListing,
    AddToGroup,
    Amend,
    EndListing,
    Equity,
    Listing,
    Origin,
    Receipt,
    Register,
    Registry,
    RequestReused,
    SetStatus,
    Unit,
    audit,
)
from alphapulse.registry.commands import Command

from .homes import APPLE, open_home, receipts, record, token, tokens, unit

pytestmark = pytest.mark.usefixtures("forked_interpreters")

Work = Callable[[Registry, int, int], Command]
"""From a registry, an instrument's id and its listing's id to a command that changes something."""


def _fingerprint(registry: Registry, id: int) -> bytes:
    return record(registry, id).fingerprint


COMMANDS: dict[str, Work] = {
    "register": lambda r, id, listing: Register.of(token(5, symbol="N")),
    "register again": lambda r, id, listing: Register.of(Equity(isin=APPLE.isin, symbol="AAPX")),
    "register everything": lambda r, id, listing: Register.of(
        Equity(isin=APPLE.isin, symbol="AAPX", decimals=7, status="halted")
    ),
    "register in an old conflict": lambda r, id, listing: Register.of(
        Equity(isin=APPLE.isin, symbol="AAPX", decimals=8, status="pending")
    ),
    "register in vain": lambda r, id, listing: Register.of(Equity(isin=APPLE.isin, decimals=7)),
    "amend": lambda r, id, listing: Amend(id, {"symbol": "AAPX"}),
    "status": lambda r, id, listing: SetStatus(id, Status.HALTED),
    "list": lambda r, id, listing: AddListing.make(Listing(instrument=id, venue="XFRA")),
    "list again": lambda r, id, listing: AddListing.make(
        Listing(instrument=id, venue="XETR", symbol="APX")
    ),
    "end": lambda r, id, listing: EndListing(listing, 20),
    "group": lambda r, id, listing: AddToGroup(_fingerprint(r, id), "a", "g"),
    "acknowledge": lambda r, id, listing: Acknowledge(2, "seen"),
}
HEAD = 6
"""Of the home that `prepare` makes."""
CONFLICTS = {2: "decimals=8, open", 3: "decimals=9, acknowledged", 4: "status=pending, open"}


ONE_EVENT = COMMANDS.keys() - {
    "register everything", "register in vain", "register in an old conflict"
}  # fmt: skip


def prepare(registry: Registry) -> tuple[int, int]:
    apple = Equity(isin=APPLE.isin, symbol="AAPL", decimals=6)
    id = registry.register(apple, source="a").id
    listing = registry.add_listing(
        Listing(instrument=id, venue="XETR", symbol="APC", valid_from=10), source="a"
    )
    for words in ({"decimals": 8}, {"decimals": 9}, {"status": "pending"}):
        registry.register(Equity(isin=APPLE.isin, **words), source="a")
    registry.acknowledge(3)
    assert registry.log.head == HEAD
    return id, listing.id


def carry_out(registry: Registry, *units: Unit) -> list[Receipt]:
    return [receipt for outcome in registry.execute(units) for receipt in receipts(outcome)]


def undo(registry: Registry, id: int, listing: int) -> None:
    """Other changes, so that carrying the command out once more would show."""
    registry.amend(id, symbol="LATER")
    registry.set_status(id, Status.DELISTED)
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="APY"), source="a")
    registry.end_listing(listing, valid_to=30)
    for event, _ in registry.alerts():
        registry.acknowledge(event.offset, reason="later")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_retry_gets_the_same_receipt(tmp_path: Path, name: str) -> None:
    with open_home(tmp_path / "home") as registry:
        id, listing = prepare(registry)
        once = unit(COMMANDS[name](registry, id, listing), source="a", request_id="r1")
        first = carry_out(registry, once)
        assert carry_out(registry, once) == first
        undo(registry, id, listing)
        head = registry.log.head
        assert carry_out(registry, once) == first
    with open_home(tmp_path / "home") as registry:
        assert carry_out(registry, once) == first
        registry.rebuild()
        assert carry_out(registry, once) == first
        assert registry.log.head == head


def test_another_process_gets_the_same_receipts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with open_home(home) as registry:
        id = registry.register(APPLE, request_id="r1").id
        registry.amend(id, symbol="X", request_id="r2")
        registry.amend(id, symbol="Y")
    code = f"""
from alphapulse.registry import Registry
with Registry.open({str(home)!r}, durability="relaxed") as registry:
    print(registry.amend({id}, symbol="X", request_id="r2").offset, registry.log.head)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1", "3"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_retry_in_the_same_group_gets_the_same_receipt(registry: Registry, name: str) -> None:
    id, listing = prepare(registry)
    command = COMMANDS[name](registry, id, listing)
    once = unit(command, source="a", request_id="r1")
    other = unit(Amend(id, {"name": "Other"}))
    before = registry._writer.groups
    first, _, again = carry_out(registry, once, other, once)
    assert registry._writer.groups == before + 1
    assert again == first
    assert carry_out(registry, once) == [first]


def test_without_a_request_id_it_is_carried_out_again(registry: Registry) -> None:
    """The control of the tests above."""
    id, _ = prepare(registry)
    first = registry.amend(id, symbol="X")
    registry.amend(id, symbol="Y")
    assert registry.amend(id, symbol="X").offset == first.offset + 2


@pytest.mark.parametrize(
    "name", [n for n in COMMANDS if n in ONE_EVENT]
)
@pytest.mark.parametrize("grouped", [True, False])
def test_a_request_id_is_for_one_thing(registry: Registry, name: str, grouped: bool) -> None:
    id, listing = prepare(registry)
    other = registry.register(token(9, symbol="OTHER"), source="a").id
    others: list[Command] = [
        Register.of(token(8)), Amend(other, {"symbol": "Z"}), SetStatus(other, Status.HALTED),
        AddListing.make(Listing(instrument=other, venue="XETR")), EndListing(listing, 25),
        AddToGroup(_fingerprint(registry, other), "a", "g"), Acknowledge(2, "other"),
    ]  # fmt: skip
    mine = COMMANDS[name](registry, id, listing)
    units = [unit(mine, source="a", request_id="r1")]
    units += [
        unit(each, source="a", request_id="r1")
        for each in others if type(each) is not EndListing or name != "end"
    ]  # fmt: skip
    if grouped:
        outcomes = list(registry.execute(units))
    else:
        outcomes = [outcome for each in units for outcome in registry.execute([each])]
    receipts(outcomes[0])
    assert [type(outcome) for outcome in outcomes[1:]] == [RequestReused] * (len(units) - 1)
    assert registry.log.head == HEAD + 2


UNCHANGED: dict[str, Work] = {
    "register": lambda r, id, listing: Register.of(Equity(isin=APPLE.isin, symbol="AAPL")),
    "register in an open conflict": lambda r, id, listing: Register.of(
        Equity(isin=APPLE.isin, decimals=8)
    ),
    "register in an old conflict": lambda r, id, listing: Register.of(
        Equity(isin=APPLE.isin, decimals=9, status="pending")
    ),
    "amend": lambda r, id, listing: Amend(id, {"symbol": "AAPL", "name": None}),
    "status": lambda r, id, listing: SetStatus(id, Status.ACTIVE),
    "list": lambda r, id, listing: AddListing.make(
        Listing(instrument=id, venue="XETR", symbol="APC")
    ),
    "end": lambda r, id, listing: EndListing(listing, 0),
    "acknowledge": lambda r, id, listing: Acknowledge(3, "seen"),
}
"""Commands that change nothing of the home that `prepare` makes."""


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_changed_nothing_is_remembered_too(tmp_path: Path, name: str) -> None:
    """However much changes later: a retry is told what was so then, and changes nothing."""
    with open_home(tmp_path / "home") as registry:
        id, listing = prepare(registry)
        once = unit(UNCHANGED[name](registry, id, listing), source="a", request_id="r1")
        first = carry_out(registry, once)
        assert first[0].outcome == "unchanged" and first[0].offset < HEAD
        (answer,) = registry.read(HEAD)
        assert (answer.kind, answer.metadata.request_id) == (Kind.REQUEST_ANSWERED, "r1")
        assert registry.offset_of_request("r1") == HEAD
        undo(registry, id, listing)
        head = registry.log.head
        assert carry_out(registry, once) == first
    with open_home(tmp_path / "home") as registry:
        registry.rebuild()
        assert carry_out(registry, once) == first
        assert registry.log.head == head


def test_without_a_request_id_what_changed_nothing_is_decided_anew(registry: Registry) -> None:
    """The control of the test above; and nothing is written for it."""
    id, _ = prepare(registry)
    assert registry.amend(id, symbol="AAPL").outcome == "unchanged"
    assert registry.log.head == HEAD
    registry.amend(id, symbol="LATER")
    assert registry.amend(id, symbol="AAPL").outcome == "amended"


@pytest.mark.parametrize("name", UNCHANGED)
def test_an_id_that_changed_nothing_is_for_that_alone(registry: Registry, name: str) -> None:
    id, listing = prepare(registry)
    once = unit(UNCHANGED[name](registry, id, listing), source="a", request_id="r1")
    first = carry_out(registry, once)
    for each, work in UNCHANGED.items():
        if each != name:
            other = unit(work(registry, id, listing), source="a", request_id="r1")
            (outcome,) = registry.execute([other])
            assert isinstance(outcome, RequestReused), each
    assert carry_out(registry, once) == first
    assert registry.log.head == HEAD + 1


def test_an_answer_is_in_the_history_of_what_it_is_about(registry: Registry) -> None:
    id, listing = prepare(registry)
    registry.end_listing(listing, valid_to=20)
    registry.end_listing(listing, valid_to=20, request_id="r1")
    newest = list(registry.history(id))[-1]
    assert (newest.kind, newest.entity) == (Kind.REQUEST_ANSWERED, listing)
    assert registry.end_listing(listing, valid_to=25).offset == HEAD + 2
    assert [verdict for verdict in audit(registry.log.home.path) if not verdict.ok] == []


@pytest.mark.parametrize(
    "commands",
    [
        lambda id: (Amend(id, {"name": "Y"}), Amend(id, {"name": "Z"})),
        lambda id: (SetStatus(id, Status.HALTED), SetStatus(id, Status.ACTIVE)),
        lambda id: (Amend(id, {"name": "Y"}), Amend(id, {"symbol": "S"})),
        lambda id: (Amend(id, {"name": "Y"}), Amend(id, {"name": "Y"})),
        lambda id: (Amend(id, {"name": "Y"}), Amend(id, {"name": None}), Amend(id, {"name": "Y"})),
    ],
)  # fmt: skip
def test_commands_of_a_unit_about_the_same_thing_are_told_apart(
    registry: Registry, commands: Callable[[int], tuple[Command, ...]]
) -> None:
    id, _ = prepare(registry)
    several = Unit(commands(id), Origin("a", b"", "r1"))
    first = carry_out(registry, several)
    head = registry.log.head
    assert carry_out(registry, several) == first
    registry.amend(id, name="LATER", symbol="LATER")
    assert carry_out(registry, several) == first
    turned = Unit(several.commands[::-1], several.origin)
    if turned.commands != several.commands:
        (outcome,) = registry.execute([turned])
        assert isinstance(outcome, RequestReused)
    assert registry.log.head == head + 1


def test_what_the_state_says_anyway_is_another_command_still(registry: Registry) -> None:
    """Its words stand already, or come from somebody else: it was never carried out."""
    id, _ = prepare(registry)
    first = registry.amend(id, tick="0.01", source="a", request_id="r1")
    for changes, source in (
        ({"symbol": "AAPL"}, "a"), ({"tick": "0.01", "symbol": "AAPL"}, "a"), ({}, "a"),
        ({"tick": "0.01"}, "b"),
    ):  # fmt: skip
        (outcome,) = registry.execute(
            [unit(Amend(id, changes), source=source, request_id="r1")]
        )
        assert isinstance(outcome, RequestReused), (changes, source)
    assert registry.amend(id, tick="0.01", source="a", request_id="r1") == first
    apple = registry.register(APPLE, source="a", request_id="r2")
    with pytest.raises(RequestReused):
        registry.register(APPLE, source="b", request_id="r2")
    assert registry.register(APPLE, source="a", request_id="r2") == apple


def test_numbers_of_any_size_and_spelling_are_remembered(registry: Registry) -> None:
    id, _ = prepare(registry)
    for tick in (10**18, "1000000000000000000"):
        receipt = registry.amend(id, tick=tick, request_id="big")
        assert (receipt.outcome, receipt.offset) == ("amended", HEAD)
    again = registry.amend(id, tick=10**18, request_id="unchanged")
    assert again.outcome == "unchanged"
    assert registry.amend(id, tick=10**18, request_id="unchanged") == again
    with pytest.raises(InvalidInput):
        registry.amend(id, decimals=10**25, request_id="too big")


def test_each_command_of_a_unit_is_remembered(registry: Registry) -> None:
    """Of three, the first and the last change nothing."""
    id, _ = prepare(registry)
    several = Unit(
        (Amend(id, {"symbol": "AAPL"}), Amend(id, {"name": "New"}), SetStatus(id, Status.ACTIVE)),
        Origin("a", b"", "r1"),
    )
    first = carry_out(registry, several)
    assert [receipt.outcome for receipt in first] == ["unchanged", "amended", "unchanged"]
    registry.amend(id, name="Newer", symbol="LATER")
    registry.set_status(id, "halted")
    head = registry.log.head
    assert carry_out(registry, several) == first
    assert registry.log.head == head


def test_a_refused_command_may_be_sent_again_under_its_id(registry: Registry) -> None:
    with pytest.raises(LookupError):
        registry.amend(record(registry, prepare(registry)[0]).id + 1, symbol="X", request_id="r1")
    assert registry.register(token(1), request_id="r1").outcome == "new"


def test_every_event_of_a_request_names_it_and_its_source(registry: Registry) -> None:
    prepare(registry)
    everything = Equity(isin=APPLE.isin, symbol="AAPX", decimals=7, status="halted")
    registry.register(everything, source="a", request_id="r1")
    events = list(registry.read(HEAD))
    assert [event.kind for event in events] == [
        Kind.INSTRUMENT_AMENDED, Kind.INSTRUMENT_STATUS, Kind.CONFLICT_DETECTED
    ]  # fmt: skip
    assert {(e.metadata.request_id, e.source) for e in events} == {("r1", "a")}


@pytest.mark.parametrize("size", [1, 200])
def test_request_ids_of_any_length_and_beside_packed_bodies(registry: Registry, size: int) -> None:
    name, request_id = "long and the same " * 28, "ä" * (size // 2) or "r"
    receipt = registry.register(token(1, name=name), request_id=request_id)
    assert registry.register(token(1, name=name), request_id=request_id) == receipt
    with pytest.raises(RequestReused):
        registry.register(token(2), request_id=request_id)


def test_a_unit_of_several_commands_is_one_request(registry: Registry) -> None:
    """Its events share the id, so each command of a retry finds its own."""
    fingerprint = Register.of(token(1)).fingerprint
    listing: Any = Listing(instrument=0, venue="XETR", symbol="T")
    both = Unit(
        (Register.of(token(1, symbol="T")), AddListing.make(listing, of=fingerprint)),
        Origin("a", b"", "r1"),
    )
    first = carry_out(registry, both)
    assert [receipt.outcome for receipt in first] == ["new", "new"]
    registry.amend(first[0].id, symbol="LATER")
    assert carry_out(registry, both) == first
    assert registry.log.head == 3


@pytest.mark.parametrize(
    "name, other",
    [("amend", lambda id, listing: Amend(id, {"symbol": "AAPY"})),
     ("amend", lambda id, listing: Amend(id, {"symbol": "AAPX", "name": "N"})),
     ("amend", lambda id, listing: Amend(id, {"symbol": "AAPX"}, 7)),
     ("status", lambda id, listing: SetStatus(id, Status.HALTED, 7)),
     ("register again", lambda id, listing: Register.of(Equity(isin=APPLE.isin, symbol="Q"))),
     ("register in an old conflict",
      lambda id, listing: Register.of(Equity(isin=APPLE.isin, symbol="AAPX", decimals=7))),
     ("register again",
      lambda id, listing: Register.of(Equity(isin=APPLE.isin, symbol="AAPX", status="halted"))),
     ("list again", lambda id, listing: AddListing.make(
         Listing(instrument=id, venue="XETR", symbol="APX", tick="0.1"))),
     ("acknowledge", lambda id, listing: Acknowledge(2, "another reason")),
     ("acknowledge", lambda id, listing: Acknowledge(4, "seen")),
     ("status", lambda id, listing: SetStatus(id, Status.DELISTED)),
     ("end", lambda id, listing: EndListing(listing, 21))],
)  # fmt: skip
def test_another_word_on_the_same_thing_is_another_request(
    registry: Registry, name: str, other: Callable[[int, int], Command]
) -> None:
    id, listing = prepare(registry)
    mine = unit(COMMANDS[name](registry, id, listing), source="a", request_id="r1")
    carry_out(registry, mine)
    (outcome,) = registry.execute([unit(other(id, listing), source="a", request_id="r1")])
    assert isinstance(outcome, RequestReused)
    assert registry.log.head == HEAD + 1


def test_conflicts_of_old_are_in_the_receipt_while_they_were_open(registry: Registry) -> None:
    """Words that were in a conflict before the request raised none; the retry says which."""
    prepare(registry)
    words = [
        unit(Register.of(Equity(isin=APPLE.isin, symbol=symbol, decimals=decimals)), source="a",
             request_id=symbol)
        for symbol, decimals in (("S", 8), ("T", 9), ("U", 7))
    ]  # fmt: skip
    first = carry_out(registry, *words)
    assert [receipt.conflicts for receipt in first] == [(2,), (), (HEAD + 3,)], CONFLICTS
    assert carry_out(registry, *words) == first
    registry.acknowledge(2)
    registry.acknowledge(HEAD + 3)
    assert carry_out(registry, *words) == first


def test_words_without_a_date_are_of_the_period_that_held_then(tmp_path: Path) -> None:
    """What another period says otherwise, and is in conflict, is no word of the request."""
    with open_home(tmp_path / "home") as registry:
        ids = [registry.register(each, source="a").id for each in tokens(2)]

        def listed(symbol: str, source: str, **how: Any) -> Receipt:
            request_id = how.pop("request_id", "")
            listing = Listing(instrument=ids[0], venue="XETR", symbol=symbol, **how)
            return registry.add_listing(listing, source=source, request_id=request_id)

        def linked(ratio: str, source: str, **how: Any) -> Receipt:
            return registry.relate(ids[0], "receipt_of", ids[1], ratio=ratio, source=source, **how)

        for say, first, second, third in ((listed, "X", "Y", "Z"), (linked, "1/1", "1/2", "1/3")):
            past = {"valid_from": "2010-01-01", "valid_to": "2015-01-01"}
            say(first, "a", **past)
            (conflict,) = say(second, "b", **past).conflicts
            say(third, "b", valid_from="2018-01-01")
            said = say(second, "b", request_id=first)
            assert (said.outcome, said.conflicts) == ("amended", ())
            assert say(second, "b", request_id=first) == said
            of_old = say(second, "b", request_id=second, **past)
            assert of_old.conflicts == (conflict,)
            say(third, "b", valid_from="2090-01-01")  # another period comes
            assert say(second, "b", request_id=first) == said
            assert say(second, "b", request_id=second, **past) == of_old
        more = Listing(instrument=ids[0], venue="XETR", symbol="Y", primary=True)
        once = unit(AddListing.make(more), source="b", request_id="before what is announced")
        said, again = carry_out(registry, once, once)  # in one group
        assert (said.outcome, said.conflicts) == ("amended", ())
        assert [again, *carry_out(registry, once)] == [said, said]


def test_the_date_of_a_symbol_that_was_not_taken_is_no_word_of_the_request(
    registry: Registry,
) -> None:
    id = registry.register(APPLE).id

    def said(symbol: str, since: str, source: str, request_id: str = "") -> Receipt:
        listing = Listing(instrument=id, venue="XETR", symbol=symbol, symbol_from=since)
        return registry.add_listing(listing, source=source, request_id=request_id)

    said("X", "2012-01-01", "a")
    (date,) = said("X", "2015-01-01", "b").conflicts
    first = said("Y", "2015-01-01", "b", "r1")
    assert len(first.conflicts) == 1 and date not in first.conflicts
    assert said("Y", "2015-01-01", "b", "r1") == first


def test_a_conflict_raised_later_is_no_word_of_the_request(registry: Registry) -> None:
    prepare(registry)
    apple = Equity(isin=APPLE.isin, symbol="S")
    registry.register(apple, source="a", request_id="r1")
    assert registry.register(Equity(isin=APPLE.isin, decimals=7), source="a").conflicts
    with pytest.raises(RequestReused):
        registry.register(replace(apple, decimals=7), source="a", request_id="r1")
    assert registry.register(apple, source="a", request_id="r1").offset == HEAD


METHODS: dict[str, Callable[[Registry, int, int], Receipt]] = {
    "register": lambda r, id, listing: r.register(token(5), request_id="r1"),
    "amend": lambda r, id, listing: r.amend(id, symbol="X", request_id="r1"),
    "set_status": lambda r, id, listing: r.set_status(id, "halted", request_id="r1"),
    "delist": lambda r, id, listing: r.delist(id, request_id="r1"),
    "add_listing": lambda r, id, listing: r.add_listing(
        Listing(instrument=id, venue="XFRA"), request_id="r1"
    ),
    "end_listing": lambda r, id, listing: r.end_listing(listing, valid_to=20, request_id="r1"),
    "add_to_group": lambda r, id, listing: r.add_to_group(id, "a", "g", request_id="r1"),
    "acknowledge": lambda r, id, listing: r.acknowledge(2, reason="seen", request_id="r1"),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_request_id(registry: Registry, name: str) -> None:
    id, listing = prepare(registry)
    first = METHODS[name](registry, id, listing)
    assert first.offset == HEAD
    assert registry.log.event(HEAD).metadata.request_id == "r1"
    assert METHODS[name](registry, id, listing) == first
    assert registry.offset_of_request("r1") == HEAD
    assert registry.offset_of_request("r2") is None
    with pytest.raises(RequestReused):
        registry.register(token(9), request_id="r1")
    assert registry.log.head == HEAD + 1


def test_a_list_that_was_cut_short_is_completed(registry: Registry) -> None:
    """Each instrument has an id of its own, made from that of the list and its index."""
    several = tokens(5)
    first = registry.register_many(several[:3], request_id="r1")
    for receipt in first:
        registry.amend(receipt.id, symbol="LATER")
    again = registry.register_many(several, request_id="r1")
    assert again[:3] == first
    assert [receipt.outcome for receipt in again] == ["new"] * 5
    assert registry.log.head == 3 + 3 + 2
    with pytest.raises(RequestReused):
        registry.register_many([token(50)], request_id="r1")
