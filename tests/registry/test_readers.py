"""Every class from what people write to the bytes and back, and what is refused on the way."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import AssetClass, ConflictBody, InstrumentBody, InvalidInput, Status, number
from alphapulse.registry import (
    CLASSES,
    Future,
    InstrumentRecord,
    Perpetual,
    Registry,
    RequestReused,
    from_mapping,
)
from alphapulse.registry.facts import body_of, facts_from
from alphapulse.registry.fields import fact_fields
from alphapulse.registry.identity import fingerprint_of
from alphapulse.registry.readers import facts_of
from alphapulse.registry.render import match_dict

from .homes import open_home, prepare, rows
from .samples import ABOUT, EUR, FULL, IDENTITIES, MORE, NEW

FESX = Future(venue="XEUR", product="FESX", maturity="2226-12-18", native_id="FESX 202612")


def body(name: str, fields: dict[str, Any]) -> InstrumentBody:
    facts = facts_of(from_mapping(CLASSES[name], fields))
    return body_of(facts, id=0xFEDCBA9876543210, fingerprint=fingerprint_of(facts.key), revision=3)


def test_the_samples_say_all_that_can_be_said() -> None:
    assert list(IDENTITIES) == list(CLASSES) and {*NEW} < CLASSES.keys()
    other = {"outcome": {"venue"}, "token": {"namespace"}, "coin": {"slip44"}}
    for name, kind in CLASSES.items():
        left = {*kind.__struct_fields__} - FULL[name].keys() - {"status", "valid_from"}
        assert left <= other.get(name, {"settlement"}), name
        assert not {"address", "native_id"} <= {*kind.__struct_fields__}  # `links_per_event`


@pytest.mark.parametrize("name", NEW)
def test_what_is_shown_can_be_registered_again(registry: Registry, name: str) -> None:
    prepare(registry, name)
    head = registry.log.head
    first = registry.register(from_mapping(CLASSES[name], FULL[name]), source="a")
    match = registry.describe(first.id)
    assert match is not None
    shown = json.loads(json.dumps(match_dict(match, 0)))
    said = {field: shown[field] for field in shown if shown[field] is not None}
    for about in ABOUT & said.keys():
        del said[about]
    assert said == {"class": name, "status": "active", **FULL[name]}
    assert said.pop("class") == name
    again = registry.register(from_mapping(CLASSES[name], said), source="b")
    assert (again.id, again.outcome) == (first.id, "unchanged")
    assert registry.log.head == head + 1


_NUMBER = st.builds(
    lambda mantissa, exponent: str(number(f"{mantissa}e{exponent}")),
    st.integers(1, (1 << 63) - 1), st.integers(-30, 3),
)  # fmt: skip
_CODE = st.text(
    st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=16
).filter(lambda text: not text.isspace())  # fmt: skip
_OTHERS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("lot", "multiplier", "min_notional", "fee_bps"), _NUMBER),
    **dict.fromkeys(("settlement", "native_id", "product", "root", "code"), _CODE),
    "strike": _NUMBER | _NUMBER.map(lambda text: f"-{text}") | st.just("0"),
    "underlying": st.integers(1, (1 << 64) - 1).map(hex),
    "expiry": st.integers(8_108_951_400 * 10**9, 8_109_028_799 * 10**9),
}


@given(st.data())
def test_any_fields_come_back_from_the_wire(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NEW))
    more = data.draw(st.sets(st.sampled_from(sorted(MORE[name].keys() - IDENTITIES[name].keys()))))
    fields = IDENTITIES[name] | {field: MORE[name][field] for field in more}
    others = data.draw(st.sets(st.sampled_from(sorted(fields)))) & _OTHERS.keys()
    for field in others:
        fields[field] = data.draw(_OTHERS[field])
    if others & {"base", "quote", "settlement"}:
        fields.pop("payoff", None)  # which must go with them
    kind = CLASSES[name]
    facts = facts_of(from_mapping(kind, fields))
    made = body_of(facts, id=7, fingerprint=fingerprint_of(facts.key))
    assert facts_from(made) == facts
    said = {field: v for field, v in fact_fields(made).items() if field not in ABOUT}
    assert facts_of(from_mapping(kind, said)) == facts


@pytest.mark.parametrize("name", CLASSES)
def test_the_message_as_format_md_says_it(name: str) -> None:
    """By its table alone: nothing of ours reads these bytes."""
    fields, made = FULL[name], body(name, FULL[name])
    message, extension = made.message, msgspec.to_builtins(made.extension)
    assert len(message) == 128 and message[:2] == b"\1\1" and message[83] == 0
    assert struct.unpack_from("<I", message, 124)[0] == crc32(message[:124])
    assert (message[2], message[3]) == (AssetClass[name.upper()], 2)
    flags, decimals, tick_e = struct.unpack_from("<HBb", message, 4)
    assert decimals == fields["decimals"] == 3
    id, fingerprint, parent, valid_from = struct.unpack_from("<Q16sQq", message, 8)
    assert fingerprint == fingerprint_of(made.extension.key)
    assert (id, valid_from) == (0xFEDCBA9876543210, 0)
    assert parent == int(fields.get("underlying", "0"), 16)
    tick_m, lot_m, at_64, at_72 = struct.unpack_from("<qqqq", message, 48)
    lot_e, at_72_e, symbol_size = struct.unpack_from("<bbB", message, 80)
    assert (tick_m, tick_e, lot_m, lot_e) == (1, -4, 1, 0)
    terms = extension.get("terms", {})
    if "expiry" in fields:
        assert at_64 == 8_108_951_400 * 10**9 and not flags & 2
    elif fields.get("chain", "").startswith("eip155:"):
        assert (at_64, flags & 2) == (int(fields["chain"][7:]), 2)
    else:
        assert (at_64, flags & 2) == (0, 0)
    if "strike" in fields:
        assert (at_72, at_72_e, flags & 4) == (12_345_678, -12, 4)
        assert terms["multiplier"] == fields["multiplier"]
    else:
        unset = (-(1 << 63), 0)
        assert (at_72, at_72_e) == ((1, -12) if "multiplier" in fields else unset)
        assert not flags & 4
    revision, venue, currency, isin = struct.unpack_from("<I4s4s12s", message, 84)
    assert revision == 3
    said = fields.get("venue", "")
    assert venue == (said.encode() if len(said) == 4 else bytes(4))
    assert extension.get("venue", "") == ("" if len(said) == 4 else said)
    code = fields.get("quote") or fields.get("currency") or fields.get("code", "")
    assert currency.rstrip(b"\0").decode() == code or name in ("token", "coin")
    assert isin.rstrip(b"\0").decode() == fields.get("isin", "")
    symbol = fields["symbol"].encode()
    assert message[108:].startswith(symbol[:16]) and symbol_size == min(len(symbol), 16)
    assert (flags & 1 == 1) == (len(symbol) > 16)
    for field in ("base", "ticks", "payoff", "maturity", "style", "condition", "tokens", "tenor",
                  "owner", "formula"):  # fmt: skip
        assert terms.get(field) == fields.get(field)


@pytest.mark.parametrize("text", ["0.000000000001", "0.00390625", "9223372036854775807"])
def test_exact_steps(registry: Registry, text: str) -> None:
    id = registry.register(
        Perpetual(venue="okx", native_id="X", settlement="USDT", tick=text, ticks=f"0:{text}")
    ).id
    facts, record = registry.facts(id), registry.get(id)
    assert facts is not None and record is not None
    assert (facts.values["tick"], facts.values["ticks"]) == (text, f"0:{text}")
    assert str(record.tick) == text


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, fields, says",
    [
        ("fx_pair", {"base": "EUR", "quote": "EUR"}, "quote: it is the base"),
        ("fx_pair", {"quote": "USDT"}, "quote: it is not an ISO 4217"),
        ("fx_pair", {"tenor": "3X"}, "tenor: it is not a tenor"),
        ("spot_pair", {"venue": ""}, "venue: a spot pair needs it"),
        ("spot_pair", {"venue": "a b"}, "venue: it is neither a MIC nor a slug"),
        ("spot_pair", {"native_id": " "}, "native_id: a spot pair needs it"),
        ("spot_pair", {"native_id": "x" * 129}, "native_id: it has 129 bytes"),
        ("spot_pair", {"market": "a/b"}, "market: it must be 1 to 32"),
        ("spot_pair", {"generation": -1}, "generation: it must be 0 to 65535"),
        ("spot_pair", {"base": "A B"}, "base: it contains a blank"),
        ("spot_pair", {"quote": "\u202eUSD"}, "quote: it contains U+202E"),
        ("spot_pair", {"min_size": "2", "max_size": "1"}, "max_size: it is below min_size, 2"),
        ("spot_pair", {"min_notional": "0"}, "min_notional: it must be above zero"),
        ("spot_pair", {"max_size": "1e-200"}, "max_size: it does not fit"),
        ("spot_pair", {"ticks": "0.01"}, "ticks: a band is FROM:STEP"),
        ("spot_pair", {"ticks": "1:0.1 1.0:0.2"}, "ticks: the bands must be in the order"),
        ("spot_pair", {"ticks": "0:0"}, "ticks: it must be above zero"),
        ("spot_pair", {"ticks": "-1:1"}, "ticks: it must not be below zero"),
        ("spot_pair", {"ticks": " ".join(f"{n}:1" for n in range(101))}, "ticks: it has 101 bands"),
        ("spot_pair", {"tick": "1", "ticks": "0:2 9:3"}, "tick: the smallest step of ticks is 2"),
        ("spot_pair", {"isin": "US0378331006"}, "isin: it fails only its check digit"),
        ("spot_pair", {"figi": "BBG000BLNNH7"}, "figi: it fails only its check digit"),
        ("spot_pair", {"cfi": "FFICS"}, "cfi: it must have 6 characters"),
        ("spot_pair", {"cfi": "ZZZZZZ"}, "cfi: "),
        ("dex_pool", {"factory": "0x12"}, "factory: it is not 0x and 40 hex digits"),
        ("dex_pool", {"address": "0x" + "1" * 63}, "address: it is not 0x and 40 hex digits"),
        ("dex_pool", {"chain": "ethereum"}, "chain: it is not a CAIP-2"),
        ("dex_pool", {"fee_bps": "-1"}, "fee_bps: it must not be below zero"),
        ("dex_pool", {"tokens": "a " * 17}, "tokens: it has 17 addresses"),
        ("perpetual", {"settlement": ""}, "settlement: a perpetual needs it"),
        ("perpetual", {"payoff": "sideways"}, "payoff: there is no such one"),
        ("perpetual", {"multiplier": "-1"}, "multiplier: it must be above zero"),
        ("perpetual", {"underlying": "AAPL"}, "underlying: it is not an id"),
        ("perpetual", {"underlying": 1 << 64}, "underlying: it must be 0 to"),
        ("future", {"product": ""}, "product: a future needs it"),
        ("future", {"maturity": "2026-12"}, "maturity: it is not a whole date"),
        ("future", {"maturity": "2026-02-30"}, "maturity: day is out of range"),
        ("future", {"expiry": "2026-12-18"}, "expiry: it is a day and no instant"),
        ("future", {"expiry": "1969-01-01T00:00Z"}, "expiry: it is before 1970"),
        ("future", {"expiry": "soon"}, "expiry: it is not RFC 3339"),
        ("future", {"expiry": "2226-12-18T14:00Z", "last_trade": "2226-12-18T14:30Z"},
         "last_trade: it is after the expiry, 2226-12-18T14:00:00"),
        ("future", {"expiry": "2020-01-01T00:00Z"},
         "expiry: it is 75591 days before the maturity, 2226-12-18; of this class (future)"),
        ("future", {"expiry": "2227-01-19T00:00Z"}, "expiry: it is 32 days after the maturity"),
        ("future", {"expiry": "2226-11-16T23:59Z"}, "expiry: it is 32 days before the maturity"),
        ("option", {"expiry": "2226-12-20T00:00Z"}, "expiry: it is 2 days after the maturity"),
        ("option", {"expiry": "2226-12-16T23:59Z"}, "expiry: it is 2 days before the maturity"),
        ("option", {"strike": "1,5"}, "strike: it is not decimal text"),
        ("option", {"strike": ""}, "strike: an option needs it"),
        ("option", {"right": "buy"}, "right: there is no such one"),
        ("option", {"style": "asian"}, "style: there is no such one"),
        ("option", {"adjustment": 65_536}, "adjustment: it must be 0 to 65535"),
        ("option", {"root": "A B"}, "root: it contains a blank"),
        ("index", {"administrator": "S&P"}, "administrator: it must be 1 to 32"),
        ("index", {"administrator": "HWUPKR0MPOU8FGXBT395"}, "administrator: it fails only its"),
        ("index", {"code": ""}, "code: an index needs it"),
        ("index", {"currency": "USDT"}, "currency: it is not an ISO 4217"),
        ("outcome", {"condition": ""}, "condition: an outcome needs it"),
        ("outcome", {"outcome": "a b"}, "outcome: it must be 1 to 128"),
        ("outcome", {"venue": "kalshi"}, "venue: an outcome needs a venue, or else"),
        ("outcome", {"contract": ""}, "venue: an outcome needs a venue, or else"),
        ("outcome", {"chain": "", "contract": ""}, "venue: an outcome needs a venue, or else"),
        ("outcome", {"contract": "0x12"}, "contract: it is not 0x and 40 hex digits"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(name: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        facts_of(from_mapping(CLASSES[name], IDENTITIES[name] | fields))
    assert f"reading field {says}" in str(caught.value)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("field", ["tick", "multiplier", "strike", "fee_bps", "min_size"])
def test_a_float_is_refused(name: str, field: str) -> None:
    if field in CLASSES[name].__struct_fields__:
        with pytest.raises(InvalidInput, match=field):
            from_mapping(CLASSES[name], IDENTITIES[name] | {field: 0.1})


def test_one_spelling_of_a_key() -> None:
    def key(name: str, **fields: object) -> bytes:
        return facts_of(from_mapping(CLASSES[name], IDENTITIES[name] | fields)).key

    option = key("option")
    assert key("option", strike="1.2345678e-5", right="CALL", style="European") == option
    for field, value in {"right": "put", "style": "american", "adjustment": 1, "venue": "occ",
                         "strike": "0.000012345679", "maturity": "2026-12-19"}.items():  # fmt: skip
        assert key("option", **{field: value}) != option
    assert key("option", multiplier="5", expiry="2226-12-18T08:00Z", native_id="x") == option
    assert key("spot_pair", settlement="USDT") != key("spot_pair")
    assert key("perpetual", generation=2) != key("perpetual")
    assert key("dex_pool", tokens="0x1", fee_bps="5") == key("dex_pool")
    assert key("outcome", condition="0x" + "AB" * 32) == key("outcome")
    assert key("outcome", condition="Ab") != key("outcome", condition="ab")
    assert key("dex_pool", address="0x" + "AB" * 32) == key("dex_pool", address="0x" + "ab" * 32)
    solana = {"chain": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}
    mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
    assert key("dex_pool", **solana, factory=mint, address=mint) != key("dex_pool")
    with pytest.raises(InvalidInput, match="factory: it is not 32 bytes in base58"):
        key("dex_pool", **solana, address=mint)


# --- in a registry ---------------------------------------------------------------------------


def test_they_are_found(registry: Registry) -> None:
    prepare(registry, "synthetic")
    ids = {
        name: registry.register(from_mapping(CLASSES[name], FULL[name])).id for name in NEW
    }
    find = registry.lookup.find

    def found(key: str) -> list[int]:
        return [match.id for match in find(key)[1]]

    assert found("BTCUSDT@binance") == [ids["spot_pair"]]
    assert found("BTCUSDT@binance:test") == [ids["perpetual"]]
    assert found("BTCUSDT") == [ids["spot_pair"], ids["perpetual"]]
    assert found("ES Z6@deribit") == [ids["option"]]
    assert found("ES Z6@XCME") == [ids["future"]]
    assert found("a symbol of 21 chars🦄@XCME") == [ids["future"]]
    assert found("ES Z6@XEUR") == []
    pool = FULL["dex_pool"]["address"]
    assert found(f"ethereum:{pool.upper().replace('X', 'x')}") == [ids["dex_pool"]]
    assert found(f"eip155:10:{pool}") == []
    registry.amend(ids["future"], native_id="ESZ6")
    assert found("ES Z6@XCME") == []
    assert found("ESZ6@XCME") == [ids["future"]]
    before = registry.when(registry.log.head - 2)
    assert [match.id for match in find("ES Z6@XCME", when=before)[1]] == [ids["future"]]
    assert [match.id for match in find("ESZ6@XCME", when=before)[1]] == []
    registry.rebuild()
    assert found("BTCUSDT") == [ids["spot_pair"], ids["perpetual"]]
    assert found("ESZ6@XCME") == [ids["future"]]


@pytest.mark.parametrize("quote", ["USD", "USDT", "FDUSD", "币安人生"])
def test_a_pattern_finds_the_quote(registry: Registry, quote: str) -> None:
    pair = {**IDENTITIES["spot_pair"], "quote": quote, "base": "BTC"}
    registry.register(from_mapping(CLASSES["spot_pair"], pair))
    registry.register(FESX)
    found = [event.offset for event in registry.read(0, None, f'currency="{quote}"')]
    assert found == [0]
    assert [event.offset for event in registry.read(0, None, "venue=binance")] == [0]


def test_a_pool_and_its_own_token_share_an_address(registry: Registry) -> None:
    address = "0x" + "ab" * 20
    pool = registry.register(
        from_mapping(CLASSES["dex_pool"], IDENTITIES["dex_pool"] | {"address": address})
    )
    token = registry.register(
        from_mapping(CLASSES["token"], {"chain": "eip155:1", "address": address})
    )
    assert [match.id for match in registry.lookup.find(f"eip155:1:{address}")[1]] == [
        pool.id, token.id
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="address"):
        registry.lookup.find("eip155:1:0x" + "12" * 32, by="address")
    pool_id = {**IDENTITIES["dex_pool"], "address": "0x" + "12" * 32}
    by_id = registry.register(from_mapping(CLASSES["dex_pool"], pool_id)).id
    found = registry.lookup.find("eip155:1:0x" + "12" * 32, by="address")[1]
    assert [match.id for match in found] == [by_id]


@pytest.mark.parametrize(
    "name, days",
    [("future", ("2226-11-17T00:00Z", "2227-01-18T23:59Z")),
     ("option", ("2226-12-17T00:00Z", "2226-12-19T23:59Z"))],
)  # fmt: skip
def test_an_expiry_is_near_its_maturity(name: str, days: tuple[str, str]) -> None:
    for expiry in days:
        said = from_mapping(CLASSES[name], IDENTITIES[name] | {"expiry": expiry})
        assert "expiry" in facts_of(said).values


def test_an_amendment_does_not_contradict_what_is_known(registry: Registry) -> None:
    id = registry.register(msgspec.structs.replace(FESX, expiry="2226-12-18T11:00Z")).id
    with pytest.raises(InvalidInput, match="last_trade: it is after the expiry"):
        registry.amend(id, last_trade="2226-12-19T00:00Z")
    with pytest.raises(InvalidInput, match="expiry: it is 70476 days before the maturity"):
        registry.amend(id, expiry="2034-01-02T00:00Z")
    assert registry.log.head == 1
    registry.amend(id, last_trade="2226-12-19T00:00Z", expiry="2226-12-19T01:00Z")
    # Two sources may contradict each other: that is no reason to refuse what is said of others.
    registry.register(msgspec.structs.replace(FESX, tick="1"), source="a")
    registry.register(msgspec.structs.replace(FESX, ticks="0:2"), source="b")
    assert registry.amend(id, name="Euro Stoxx").outcome == "amended"


@pytest.mark.parametrize("status", Status)
def test_it_expires_by_its_instant(status: Status) -> None:
    expiry = 1_797_602_400_000_000_000
    december = msgspec.structs.replace(FESX, maturity="2026-12-18")
    facts = facts_of(december)
    made = body_of(facts, id=7, fingerprint=fingerprint_of(facts.key), status=status)
    timed = facts_of(msgspec.structs.replace(december, expiry=expiry))
    ends = body_of(timed, id=7, fingerprint=fingerprint_of(facts.key), status=status)
    before, after = InstrumentRecord(made.message), InstrumentRecord(ends.message)
    assert before.status_at(1 << 62) is status
    assert after.status_at(expiry - 1) is status
    is_open = status in (Status.PENDING, Status.ACTIVE, Status.HALTED)
    assert after.status_at(expiry) is (Status.EXPIRED if is_open else status)
    assert after.status is status


def test_a_chain_number_is_no_expiry(registry: Registry) -> None:
    id = registry.register(
        from_mapping(CLASSES["outcome"], IDENTITIES["outcome"]), source="a"
    ).id
    record = registry.get(id)
    assert record is not None and record.chain_number == 137
    assert record.status_at((1 << 63) - 1) is Status.ACTIVE


def test_a_retry_is_told_the_same(registry: Registry) -> None:
    registry.register(FESX, source="a")
    registry.amend(registry.resolve(FESX) or 0, expiry="2226-12-18T11:00Z", underlying="0x5")
    said = msgspec.structs.replace(
        FESX, expiry="2226-12-18T12:00Z", underlying=6, last_trade="2226-12-18T11:00Z", quote="EUR"
    )
    first = registry.register(said, source="b", request_id="one")
    assert (first.outcome, len(first.conflicts)) == ("amended", 2)
    bodies = [registry.body_at(offset) for offset in first.conflicts]
    assert {body.offered for body in bodies if isinstance(body, ConflictBody)} == {
        "2226-12-18T12:00:00.000000000Z", "0x0000000000000006"
    }  # fmt: skip
    head = registry.log.head
    assert registry.register(said, source="b", request_id="one") == first
    assert registry.log.head == head
    with pytest.raises(RequestReused):
        registry.register(
            msgspec.structs.replace(said, expiry="2226-12-18T13:00Z"), source="b", request_id="one"
        )


@pytest.mark.parametrize("name", NEW)
def test_two_homes_agree_in_whatever_order_they_learnt(tmp_path: Path, name: str) -> None:
    """Two sources contradict each other in every field that has another value, in both orders."""
    others = {
        "symbol": "X", "name": "O", "decimals": 4, "tick": "0.25", "ticks": "0:0.25", "lot": "2",
        "isin": "US5949181045", "figi": "BBG001S5N8V8", "cfi": "OCEFCS", "base": "B",
        "quote": "FDUSD", "settlement": "USD", "min_size": "3", "max_size": "4", "currency": "CHF",
        "min_notional": "6", "multiplier": "7", "underlying": "0x01", "native_id": "N",
        "expiry": "2226-12-19T00:00Z", "last_trade": "2226-01-01T00:00Z",
        "payoff": "quanto" if name == "perpetual" else "linear",
        "tokens": "0x1", "fee_bps": "0", "formula": f"2*{EUR}",
    }  # fmt: skip
    kind, identity = CLASSES[name], IDENTITIES[name]
    other = identity | {
        field: others[field] for field in MORE[name] if field not in kind.identity
    }
    digests = []
    for number_, order in enumerate(((FULL[name], other), (other, FULL[name]))):
        with open_home(tmp_path / str(number_)) as registry:
            prepare(registry, name)
            for said in order:
                source = "a" if said is other else "b"
                receipt = registry.register(from_mapping(kind, said), source=source)
            assert len(receipt.conflicts) == len(other.keys() - {*kind.identity})
            digests.append(rows(registry))
            assert all(report.equal for report in registry.rebuild(check=True))
    assert digests[0]["instruments"] == digests[1]["instruments"]
    assert digests[0]["alerts"] == digests[1]["alerts"]
