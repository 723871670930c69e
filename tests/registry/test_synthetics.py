"""Synthetics in a registry: made of what is registered, never of themselves, and rebalanced."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alphapulse.log import AssetClass, EventLog, InstrumentBody, InvalidInput, Kind, Space
from alphapulse.registry import (
    Ambiguous,
    Amend,
    FormulaCycle,
    FormulaInvalid,
    IllegalEvent,
    Receipt,
    Register,
    Registry,
    RequestReused,
    Synthetic,
    UnknownComponent,
    UnknownInstrument,
    check,
    evaluate,
    facts_from,
    parse_formula,
    synthetics,
)
from alphapulse.registry.audit import Remembered, audit_meaning
from alphapulse.registry.facts import body_of
from alphapulse.registry.formula import formula_hash
from alphapulse.registry.identity import fingerprint_of, primary_id
from alphapulse.registry.state import State

from .homes import APPLE, open_home, receipts, rows, token, tokens, unit


class Three(NamedTuple):
    a: int
    b: int
    c: int


@pytest.fixture
def three(registry: Registry) -> Three:
    """Tokens with the symbols T0, T1, T2. Head: 3."""
    return Three(*(receipt.id for receipt in registry.register_many(tokens(3))))


def basket(formula: str, name: str = "TOP2", **fields: Any) -> Synthetic:
    return Synthetic(owner="desk", name=name, symbol=name, formula=formula, **fields)


def formula(registry: Registry, id: int, **when: Any) -> str:
    facts = registry.facts(id, **when)
    assert facts is not None
    assert facts.values["formula_hash"] == formula_hash(str(facts.values["formula"]))
    return str(facts.values["formula"])


def test_a_rebalance_is_an_event_and_the_old_formula_stays(
    registry: Registry, three: Three
) -> None:
    made = registry.register(basket("0.50*T0 + 0.5*T1", valid_from="2026-01-01"), source="desk")
    first = f"0.5*0x{three.a:016x} + 0.5*0x{three.b:016x}"
    assert (made.outcome, formula(registry, made.id)) == ("new", first)
    after = registry.amend(
        made.id, formula=f"0.4*T0 + 0.6 * 0x{three.c:X}", valid_from="2199-01-01", source="desk"
    )
    second = f"0.4*0x{three.a:016x} + 0.6*0x{three.c:016x}"
    assert (after.outcome, after.offset) == ("amended", 4)
    event = registry.log.event(4)
    assert (event.kind, event.instrument_body.message[84]) == (Kind.INSTRUMENT_AMENDED, 2)
    assert formula(registry, made.id) == first
    assert formula(registry, made.id, as_of=made.offset) == first
    assert formula(registry, made.id, valid="2198-12-31") == first
    assert formula(registry, made.id, valid="2199-01-02") == second
    assert formula(registry, made.id, valid="2199-01-02", as_of=3) == first
    assert registry.components(made.id) == (three.a, three.b)
    assert registry.components(made.id, valid="2199-01-02") == (three.a, three.c)
    assert registry.components(made.id, as_of=3) == (three.a, three.b)
    assert registry.components(made.id, valid="2198-12-31") == (three.a, three.b)
    assert registry.components(three.a) == registry.components(5) == ()
    changed = {change.field: change.after for change in registry.diff(3, 4)}
    assert changed["formula"] == second and changed["formula_hash"] == formula_hash(second)
    blame = {each.field: each.offset for each in registry.blame(made.id, valid="2199-01-02")}
    assert (blame["formula"], blame["formula_hash"], blame["owner"]) == (4, 4, 3)
    values = {three.a: Fraction(10), three.c: Fraction(1, 3)}
    then = formula(registry, made.id, valid="2199-01-02")
    assert evaluate(parse_formula(then), values) == Fraction(21, 5)


def test_the_same_formula_in_another_spelling_changes_nothing(
    registry: Registry, three: Three
) -> None:
    made = registry.register(basket("0.5*T0 + 0.5*T1"), source="desk")
    text = f"(0.50 * 0x{three.a:x}) + 5e-1*T1"
    assert registry.register(basket(text), source="other").outcome == "unchanged"
    assert registry.amend(made.id, formula=text).outcome == "unchanged"
    assert registry.resolve(basket(text)) == registry.resolve(basket("T0*T1")) == made.id
    assert registry.log.head == 4


def test_its_source_rebalances_by_registering_and_another_one_is_a_conflict(
    registry: Registry, three: Three
) -> None:
    made = registry.register(basket("T0 + T1"), source="desk")
    assert registry.register(basket("T0 + T2"), source="desk").outcome == "amended"
    held = formula(registry, made.id)
    disputed = registry.register(basket("T1 + T2"), source="other")
    assert (disputed.outcome, len(disputed.conflicts)) == ("unchanged", 1)
    body: Any = registry.body_at(disputed.conflicts[0])
    assert (body.field, body.held) == ("formula", held)
    assert formula(registry, made.id) == held
    assert all(report.equal for report in registry.rebuild(check=True))
    assert audit_meaning(registry.log).ok


def test_a_key_must_mean_one_instrument(registry: Registry, three: Three) -> None:
    registry.register(token(7, symbol="T0"))
    for write in (
        lambda text: registry.register(basket(text)),
        lambda text: registry.register_many([basket(text)]),
        lambda text: registry.amend(three.a, formula=text),
        lambda text: asyncio.run(registry.aio.register(basket(text))),
    ):
        with pytest.raises(Ambiguous, match=rf"character 6: looking up T0.*0x{three.a:016x}"):
            write("T1 + T0")
        with pytest.raises(UnknownInstrument, match="character 1: looking up NOBODY"):
            write("NOBODY")
        with pytest.raises(FormulaInvalid, match="character 5"):
            write("T1 *")
    assert registry.log.head == 4


def test_a_component_must_be_registered(registry: Registry, three: Three) -> None:
    with pytest.raises(UnknownComponent, match="component=0x0000000000000012"):
        registry.register(basket("T0 + 0x12"))
    made = registry.register(basket("T0"))
    with pytest.raises(UnknownComponent):
        registry.amend(made.id, formula="T0 + 0x12")
    for empty in (None, ""):
        with pytest.raises(InvalidInput, match="formula: a synthetic needs it"):
            registry.amend(made.id, formula=empty)
    with pytest.raises(InvalidInput, match="formula_hash: it follows from formula"):
        registry.amend(made.id, formula_hash="00")
    with pytest.raises(InvalidInput, match="a token has no such field"):
        registry.amend(three.a, formula="T1")
    assert registry.log.head == 4


def test_no_formula_uses_itself(registry: Registry, three: Three) -> None:
    """At any distance, through other formulas, and in the group that is being decided."""
    ids = [registry.register(basket("T0", "S0")).id]
    for number in range(1, 6):
        text = f"2*S{number - 1} + T1 + S{number // 2}" if number > 1 else "2*S0"
        ids.append(registry.register(basket(text, f"S{number}")).id)
    head = registry.log.head
    for number in range(6):
        with pytest.raises(FormulaCycle) as caught:
            registry.amend(ids[0], formula=f"T2 + S{number}")
        path = [int(id, 16) for id in str(caught.value.facts["path"]).split(" uses ")]
        assert path[0] == path[-1] == ids[0] and len(set(path)) == len(path) - 1
        for user, used in itertools.pairwise(path[1:]):
            assert used in registry.components(user)
    assert registry.log.head == head
    outcomes = list(registry.execute([
        unit(Amend(ids[1], {"formula": f"0x{three.b:x}"})),
        unit(Amend(ids[0], {"formula": f"0x{ids[1]:x}"})),
        unit(Amend(ids[1], {"formula": f"0x{ids[0]:x}"})),
    ]))  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [list, list, FormulaCycle]
    assert receipts(outcomes[1])[0].outcome == "amended"
    assert registry.components(ids[0]) == (ids[1],)
    assert audit_meaning(registry.log).ok


def test_who_leads_to_too_much_is_refused(
    registry: Registry, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(basket("T0 + T1", "S1"))
    registry.register(basket("S1 + T2", "S2"))
    third = registry.register(basket("T0", "S3")).id
    monkeypatch.setattr(synthetics, "USES_MAX", 4)
    with pytest.raises(IllegalEvent, match="begins to use leads to over 4 components"):
        registry.amend(third, formula="S2 + T2")
    registry.amend(third, formula="S1 + T0")


def test_only_what_is_added_is_looked_through(
    registry: Registry, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a chain of synthetics takes the square of its length, and what has grown too big below
    a synthetic would keep it from being halted."""
    monkeypatch.setattr(synthetics, "USES_MAX", 0)
    first = registry.register(basket("T0 + T1", "S1")).id
    second = registry.register(basket("2*S1 + T2", "S2")).id
    assert registry.amend(second, formula="S1*(3 - T2)").outcome == "amended"
    assert registry.set_status(second, "halted").outcome == "amended"
    assert registry.amend(second, formula="S1").outcome == "amended"
    with pytest.raises(IllegalEvent, match="leads to over 0 components"):
        registry.amend(first, formula="T0 + S2")
    with pytest.raises(IllegalEvent, match="leads to over 0 components"):
        registry.amend(second, formula="S1 + T2")  # it was taken out
    own = primary_id(Register.of(basket(f"0x{three.a:x}", "S3")).fingerprint, 64)
    with pytest.raises(FormulaCycle):
        registry.register(basket(f"T0 + 0x{own:x}", "S3"))
    assert audit_meaning(registry.log).ok


def test_of_a_long_circle_the_ends_are_told(registry: Registry, three: Three) -> None:
    ids = [registry.register(basket("T0", "S0")).id]
    for number in range(1, 40):
        ids.append(registry.register(basket(f"0x{ids[-1]:x}", f"S{number}")).id)
    with pytest.raises(FormulaCycle) as caught:
        registry.amend(ids[0], formula="S39")
    path = str(caught.value.facts["path"]).split(" uses ")
    assert [path[0], path[1], path[-1]] == [f"0x{ids[n]:016x}" for n in (0, 39, 0)]
    assert len(path) == 21 and path[10] == "… 21 more …"


@pytest.mark.parametrize("name", ["register", "amend", "in vain"])
def test_a_retry_gets_the_same_receipt_whoever_has_the_symbol_now(
    tmp_path: Path, name: str
) -> None:
    with open_home(tmp_path / "home") as registry:
        ids = [receipt.id for receipt in registry.register_many(tokens(3))]
        made = registry.register(basket("T0 + T1"), source="desk")

        def once(text: str = "T0 + T2") -> Receipt:
            if name == "register":
                said = basket(text, "TOP3")
                return registry.register(said, source="desk", request_id="r")
            text = "T0 + T1" if name == "in vain" and text == "T0 + T2" else text
            return registry.amend(made.id, formula=text, source="desk", request_id="r")

        first = once()
        registry.amend(ids[0], symbol="OLD")
        registry.amend(ids[1], symbol="T0")
        registry.amend(made.id, formula="T2")
        head = registry.log.head
        assert once() == first
        with pytest.raises(RequestReused):
            once("3*T2")
        assert registry.log.head == head
        registry.rebuild()
        assert once() == first


def test_a_request_of_something_else_is_told_whatever_its_keys_meant_then(
    registry: Registry, three: Three
) -> None:
    registry.amend(three.a, name="Zero", request_id="r")
    registry.register(token(9, symbol="LATER"))
    told = f"offset=3, used_for=0x{three.a:016x}"
    with pytest.raises(RequestReused, match=told):
        registry.register(basket("LATER"), request_id="r")
    with pytest.raises(RequestReused, match=told):
        registry.amend(three.a, formula="LATER", request_id="r")
    with pytest.raises(UnknownInstrument):
        registry.register(basket("NOBODY"), request_id="new")


def written(log: EventLog, id: int, **terms: Any) -> InstrumentBody:
    """The next revision of a synthetic with other terms, as nobody could decide it."""
    event = next(event for event in log.read() if event.entity == id)
    facts = facts_from(event.instrument_body)
    text = terms.get("formula", facts.values["formula"])
    values = {**facts.values, "formula_hash": formula_hash(str(text)), **terms}
    known = {field: value for field, value in values.items() if value is not None}
    return body_of(
        facts._replace(values=known), id=id, revision=2,
        fingerprint=event.instrument_body.message[16:32],
    )  # fmt: skip


ILLEGAL: dict[str, tuple[Callable[[int, int], dict[str, Any]], str]] = {
    "no formula": (lambda a, own: {"formula": None}, "cannot be read"),
    "nonsense": (lambda a, own: {"formula": "0xa +"}, "cannot be read: a number"),
    "a number": (lambda a, own: {"formula": 5}, "cannot be read: it names no instrument"),
    "a key": (lambda a, own: {"formula": "T0"}, "cannot be read: it is no id"),
    "another spelling": (lambda a, own: {"formula": f"1.0*0x{a:016x}"}, "canonical form"),
    "no hash": (lambda a, own: {"formula_hash": None}, "hash of its formula"),
    "another hash": (lambda a, own: {"formula_hash": "00"}, "hash of its formula"),
    "nobody": (lambda a, own: {"formula": "0x0000000000000012"}, "not registered"),
    "itself": (lambda a, own: {"formula": f"2*0x{own:016x}"}, "use itself"),
}


@pytest.mark.parametrize("name", [*ILLEGAL, "legal"])
def test_what_nobody_could_decide_is_refused_by_the_writer_and_the_audit(
    registry: Registry, three: Three, name: str
) -> None:
    make, why = ILLEGAL.get(name, (lambda a, own: {"formula": f"3*0x{a:016x}"}, ""))
    own = registry.register(basket("T0")).id
    body = written(registry.log, own, **make(three.a, own))
    with registry.rehearsal():
        state = State(registry.log, registry.views, registry.log.head)
        if name == "legal":
            state.emit(Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, own, body, metadata=b"")
        else:
            with pytest.raises(IllegalEvent, match=why):
                state.emit(Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, own, body, metadata=b"")
    remembered = Remembered(registry.log.genesis.id_bits)
    for event in registry.log.read():
        remembered.fold(event)
    arguments = (Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, own, 3, body)
    if name == "legal":
        check.check(remembered, *arguments)
    else:
        with pytest.raises(IllegalEvent, match=why):
            check.check(remembered, *arguments)


def test_nothing_becomes_a_class_that_has_another_key(registry: Registry, three: Three) -> None:
    """A synthetic that became a token would have no formula, and no circle to be found in."""
    made = registry.register(basket("T0")).id
    apple = registry.register(APPLE).id
    remembered = Remembered(registry.log.genesis.id_bits)
    for event in registry.log.read():
        remembered.fold(event)
    for id, at, asset_class, is_legal in (
        (made, 3, AssetClass.TOKEN, False), (three.a, 0, AssetClass.OPTION, False),
        (apple, 4, AssetClass.TOKEN, False), (apple, 4, AssetClass.ETF, True),
    ):  # fmt: skip
        facts = facts_from(registry.log.event(at).instrument_body)
        body = body_of(
            facts._replace(asset_class=asset_class), id=id, revision=2,
            fingerprint=fingerprint_of(facts.key),
        )  # fmt: skip
        arguments = (Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, id, at, body)
        if is_legal:
            check.check(remembered, *arguments)
        else:
            with pytest.raises(IllegalEvent, match="its class is not one of its key"):
                check.check(remembered, *arguments)


def test_the_audit_sees_a_circle_between_two(registry: Registry, three: Three) -> None:
    first = registry.register(basket("T0", "S1")).id
    second = registry.register(basket("S1", "S2")).id
    registry.amend(second, formula="S1 + T1")
    remembered = Remembered(registry.log.genesis.id_bits)
    for event in registry.log.read():
        remembered.fold(event)
    body = written(registry.log, first, formula=f"0x{second:016x}")
    with pytest.raises(FormulaCycle):
        check.check(remembered, Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, first, 3, body)


def test_two_homes_agree_on_a_disputed_formula(tmp_path: Path) -> None:
    """The hash goes with the formula: neither is in the digest while it is disputed."""
    digests = []
    for number, order in enumerate((("T0", "T1"), ("T1", "T0"))):
        with open_home(tmp_path / str(number)) as registry:
            registry.register_many(tokens(3))
            for text in order:
                registry.register(basket(text), source=text)
            digests.append(rows(registry)["instruments"])
    assert digests[0] == digests[1]


def test_a_big_basket(registry: Registry) -> None:
    ids = [receipt.id for receipt in registry.register_many(tokens(1_000))]
    made = registry.register(basket(" + ".join(f"0.001*0x{id:016x}" for id in ids)))
    assert registry.components(made.id) == tuple(ids)
    assert audit_meaning(registry.log).ok
