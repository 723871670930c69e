from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import AssetClass, InstrumentRecord, InvalidInput, Status, encode_body
from alphapulse.registry.facts import (
    AMENDABLE_FIELDS,
    Facts,
    Value,
    amendable_fields,
    amended,
    birth_of,
    body_of,
    facts_from,
    merge,
)
from alphapulse.registry.identity import canonical_key, fingerprint_of, key_fields
from alphapulse.registry.instruments import (
    CLASSES,
    Bond,
    Coin,
    Currency,
    Equity,
    Etf,
    Instrument,
    Listing,
    Token,
    from_mapping,
)
from alphapulse.registry.readers import (
    PLACEHOLDERS,
    asset_of,
    facts_of,
    normalised,
    status_of,
    valid_from_of,
)

from .samples import FULL, IDENTITIES, MORE, USDC

APPLE = Equity(
    isin="US0378331005", symbol="AAPL", name="Apple Inc.", cusip="037833100", sedol="2046251",
    composite_figi="BBG000B9XRY4", currency="USD", tick="0.010", lot=1,
)  # fmt: skip


def body(facts: Facts, **wire: Any) -> Any:
    return body_of(facts, id=7, fingerprint=fingerprint_of(facts.key), **wire)


# --- from typed classes ----------------------------------------------------------------------


def test_a_token() -> None:
    facts = facts_of(Token(chain="eip155:1", address=USDC, symbol="USDC", decimals=6))
    assert facts.asset_class is AssetClass.TOKEN
    assert key_fields(facts.key) == ("token", "eip155:1", "erc20", USDC.lower())
    assert facts.values == {
        "chain": "eip155:1", "namespace": "erc20", "address": USDC.lower(), "symbol": "USDC",
        "decimals": 6,
    }  # fmt: skip


def test_symbol_name_and_decimals_are_not_identity() -> None:
    a = Token(chain="eip155:1", address=USDC, symbol="USDC", name="USD Coin", decimals=6)
    b = Token(chain="eip155:1", address=USDC.lower(), symbol="x", decimals=7, namespace="erc20")
    assert facts_of(a).key == facts_of(b).key
    assert facts_of(Token(chain="eip155:10", address=USDC)).key != facts_of(a).key


@pytest.mark.parametrize("placeholder", sorted(PLACEHOLDERS))
def test_a_placeholder_is_the_native_coin(placeholder: str) -> None:
    found = facts_of(Token(chain="eip155:10", address=placeholder.upper().replace("X", "x", 1)))
    assert found == facts_of(Coin(chain="eip155:10"))
    assert found == facts_of(Token(chain="eip155:10", address="60", namespace="slip44"))
    assert found.asset_class is AssetClass.COIN
    assert key_fields(found.key) == ("token", "eip155:10", "slip44", "60")
    with pytest.raises(InvalidInput, match="register it as a coin"):
        facts_of(Token(chain="eip155:999999", address=placeholder))


def test_a_coin_of_an_unknown_chain_needs_its_number() -> None:
    with pytest.raises(InvalidInput, match="chain"):
        facts_of(Coin(chain="eip155:999999"))
    assert facts_of(Coin(chain="eip155:999999", slip44=60)).values["address"] == "60"
    with pytest.raises(InvalidInput, match="slip44"):
        facts_of(Coin(chain="eip155:1", slip44=1))


def test_default_namespaces() -> None:
    mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
    solana = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
    assert asset_of(solana, mint)[2] == "token"
    assert asset_of("eip155:1", f"{USDC}/7", "erc721")[3] == f"{USDC.lower()}/7"
    assert asset_of("cosmos:osmosis-1", "uosmo", "native")[3] == "uosmo"
    with pytest.raises(InvalidInput, match="namespace"):
        asset_of("cosmos:osmosis-1", "uosmo")
    for reference in ("060", "x", "9" * 20):
        with pytest.raises(InvalidInput, match="address"):
            asset_of("eip155:1", reference, "slip44")


def test_the_birth_identifier_is_isin_then_figi_then_cusip() -> None:
    assert birth_of(facts_of(APPLE).key) == ("isin", "US0378331005")
    assert birth_of(facts_of(Equity(cusip="037833100", figi="BBG001S5N8V8")).key) == (
        "figi", "BBG001S5N8V8",
    )  # fmt: skip
    assert birth_of(facts_of(Equity(cusip="037833100")).key) == ("cusip", "037833100")
    assert birth_of(facts_of(Currency(code="EUR")).key) is None
    with pytest.raises(InvalidInput, match="needs an ISIN"):
        facts_of(Equity(symbol="AAPL", sedol="2046251", composite_figi="BBG000B9XRY4"))


def test_the_class_of_a_security_is_not_identity() -> None:
    keys = {facts_of(kind(isin="US0378331005")).key for kind in (Equity, Etf, Bond)}
    assert len(keys) == 1


def test_a_currency_is_its_code() -> None:
    facts = facts_of(Currency(code="EUR", name="Euro", decimals=2))
    assert facts.values == {"symbol": "EUR", "currency": "EUR", "name": "Euro", "decimals": 2}
    assert facts_of(Currency(code="EUR", symbol="EUR")).values["symbol"] == "EUR"
    for wrong in (Currency(code="eur"), Currency(code="USDT"), Currency(code="EUR", symbol="€")):
        with pytest.raises(InvalidInput):
            facts_of(wrong)


@pytest.mark.parametrize(
    "wrong, field",
    [
        (Token(chain="eip155:1", address="0x1"), "address"),
        (Token(chain="ethereum", address=USDC), "chain"),
        (Token(chain="eip155:1", address=USDC, namespace="ERC20"), "namespace"),
        (Token(chain="eip155:1", address=USDC, symbol="a\u202eb"), "symbol"),
        (Token(chain="eip155:1", address=USDC, name="a\nb"), "name"),
        (Token(chain="eip155:1", address=USDC, decimals=78), "decimals"),
        (Token(chain="eip155:1", address=USDC, tick="0"), "tick"),
        (Token(chain="eip155:1", address=USDC, lot="-1"), "lot"),
        (Equity(isin="US0378331004"), "isin"),
        (Equity(isin="US0378331005", sedol="2046252"), "sedol"),
        (Equity(isin="US0378331005", currency="BTC"), "currency"),
    ],
)
def test_a_bad_field_is_named(wrong: Instrument, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"reading field {field}:"):
        facts_of(wrong)


def test_status_and_valid_from_are_read_apart() -> None:
    assert status_of(APPLE) is None
    assert valid_from_of(APPLE) == 0
    dated = Coin(chain="eip155:1", status="halted", valid_from="1970-01-01T00:00:01Z")
    assert status_of(dated) is Status.HALTED
    assert valid_from_of(dated) == 10**9
    assert facts_of(dated) == facts_of(Coin(chain="eip155:1"))


def test_every_class_has_a_reader_and_says_what_can_change() -> None:
    for name, kind in CLASSES.items():
        fields = amendable_fields(AssetClass[name.upper()])
        assert fields
        assert not fields & {*kind.identity}
    with pytest.raises(InvalidInput, match="field instrument: "):
        facts_of(Instrument())


_OTHER = {
    "symbol": "X", "name": "O", "decimals": 4, "tick": "0.5", "lot": "2", "isin": "US5949181045",
    "multiplier": "7", "underlying": "0x01", "expiry": "2027-01-01T00:00Z", "payoff": "inverse",
    "base": "B", "quote": "Q", "settlement": "S", "currency": "CHF", "fee_bps": 0,
    "formula": "0x1",
}  # fmt: skip
"""Another value of fields of several classes."""


@pytest.mark.parametrize("name", CLASSES)
def test_what_can_be_registered_of_a_class_can_be_amended_and_nothing_else(name: str) -> None:
    identity, kind = IDENTITIES[name], CLASSES[name]
    held = facts_of(from_mapping(kind, identity))
    every = {field: value for fields in FULL.values() for field, value in fields.items()}
    assert every.keys() >= AMENDABLE_FIELDS - {"class"}
    for field, value in (every | MORE[name]).items():
        if field in kind.identity or field not in kind.__struct_fields__:
            with pytest.raises(InvalidInput, match=r"part of who this is|has no such field"):
                amended(held, {field: value})
            continue
        wanted = facts_of(from_mapping(kind, {**identity, field: value})).values[field]
        after = amended(held, {field: value})
        assert after.values[field] == wanted
        if field != "formula":
            assert amended(after, {field: None}) == amended(held, {field: None})
        if field in _OTHER:
            assert merge(after, amended(held, {field: _OTHER[field]}))[1].keys() == {field}


def test_a_listing_is_normalised() -> None:
    found = normalised(
        Listing(
            instrument=5, venue="BINANCE", symbol=" apc ", currency="USDT", tick="0.10",
            valid_from="1990", valid_to="2004-11",
        )
    )  # fmt: skip
    assert (found.venue, found.symbol, found.tick, found.lot) == ("binance", "apc", "0.1", None)
    assert isinstance(found.valid_from, int)
    assert normalised(found) == found
    for wrong in (
        Listing(instrument=5, venue="a b"),
        Listing(instrument=5, venue="XNAS", currency="usd"),
        Listing(instrument=5, venue="XNAS", valid_from="2001", valid_to="2000"),
        Listing(instrument=5, venue="XNAS", line=-1),
        Listing(instrument=5, venue="XNAS", figi="BBG000B9XVV9"),
        Listing(instrument=5, venue="XNAS", primary=1),  # type: ignore[arg-type]  # a wrong type
    ):
        with pytest.raises(InvalidInput):
            normalised(wrong)


# --- the wire --------------------------------------------------------------------------------


def test_the_message_holds_what_is_hot() -> None:
    made = body(facts_of(APPLE), revision=3, valid_from=9, counter=2, status=Status.HALTED)
    record = InstrumentRecord(made.message)
    record.verify()
    assert (record.id, record.revision, record.valid_from) == (7, 3, 9)
    assert record.status is Status.HALTED
    assert (record.symbol, record.isin, record.currency) == ("AAPL", "US0378331005", "USD")
    assert (str(record.tick), str(record.lot)) == ("0.01", "1")
    assert record.decimals is None
    assert made.extension.counter == 2
    assert list(made.extension.identifiers) == ["composite_figi", "cusip", "sedol"]
    assert made.extension.symbol == ""
    token = body(facts_of(Token(chain="eip155:137", address=USDC, symbol="x" * 40)))
    assert InstrumentRecord(token.message).chain_number == 137
    assert InstrumentRecord(token.message).symbol_is_cut
    assert token.extension.symbol == "x" * 40


_NUMBERS = st.sampled_from(["1", "0.01", "100", "0.00390625", "9223372036854775807"])
_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]),
    min_size=1, max_size=40,
)  # fmt: skip
_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "chain": st.sampled_from(["eip155:1", "eip155:9223372036854775807", "cosmos:hub-4"]),
        "namespace": st.sampled_from(["erc20", "slip44", "ics20"]),
        "address": st.sampled_from([USDC.lower(), "60", "ibc/27"]),
        "symbol": _TEXT,
        "name": _TEXT,
        "decimals": st.integers(0, 77),
        "tick": _NUMBERS,
        "lot": _NUMBERS,
        "isin": st.sampled_from(["US0378331005", "XS0971721963"]),
        "currency": st.sampled_from(["USD", "USDT", "1000SATS"]),
        "quote": st.sampled_from(["USD", "1000SATS", "€", "币安人生"]),
        "venue": st.sampled_from(["XNAS", "1234", "binance", "binance:test", "okx", "okex"]),
        "underlying": st.integers(1, (1 << 64) - 1),
        "expiry": st.integers(1, 1 << 60),
        "strike": _NUMBERS,
        "multiplier": _NUMBERS,
        "cusip": st.just("037833100"),
        "figi": st.just("BBG001S5N8V8"),
        "lei": st.just("HWUPKR0MPOU8FGXBT394"),
        "right": st.sampled_from(["call", "put"]),
        "maturity": st.integers(1, 1 << 60),
    },
)


@given(st.sampled_from(AssetClass), _VALUES, st.integers(0, 65_535), st.sampled_from(Status))
def test_facts_come_back_from_the_wire(
    asset_class: AssetClass, values: dict[str, Value], counter: int, status: Status
) -> None:
    """For all classes of the design, and any of their fields."""
    facts = Facts(canonical_key("test", "x"), asset_class, values)
    made = body(facts, counter=counter, status=status, revision=5, valid_from=-3)
    assert facts_from(made) == facts
    shuffled = Facts(facts.key, asset_class, dict(reversed(values.items())))
    assert encode_body(made) == encode_body(
        body(shuffled, counter=counter, status=status, revision=5, valid_from=-3)
    )


@pytest.mark.parametrize("name", CLASSES)
def test_typed_instruments_come_back_from_the_wire(name: str) -> None:
    facts = facts_of(from_mapping(CLASSES[name], FULL[name]))
    assert facts_from(body(facts)) == facts


# --- comparing and amending ------------------------------------------------------------------


def test_merge_fills_and_disagrees() -> None:
    held = facts_of(Equity(isin="US0378331005", symbol="AAPL", currency="USD"))
    offered = facts_of(Etf(isin="US0378331005", symbol="APC", name="Apple"))
    filled, disagreements = merge(held, offered)
    assert filled == {"name": "Apple"}
    assert disagreements == {"symbol": ("AAPL", "APC"), "class": ("equity", "etf")}
    assert merge(held, held) == ({}, {})


def test_a_replaced_birth_identifier_is_no_disagreement() -> None:
    born = facts_of(Equity(isin="US0378331005"))
    moved = amended(born, {"isin": "US5949181045"})
    assert moved.key == born.key
    assert merge(moved, born) == ({}, {})
    assert merge(born, moved)[1] == {"isin": ("US0378331005", "US5949181045")}


def test_merge_compares_one_instrument_only() -> None:
    with pytest.raises(AssertionError):
        merge(facts_of(APPLE), facts_of(Currency(code="EUR")))


def test_amend() -> None:
    facts = facts_of(APPLE)
    changes = {"symbol": " APL ", "tick": "0.050", "name": None, "sedol": "", "class": "etf"}
    after = amended(facts, changes)
    assert after.asset_class is AssetClass.ETF
    assert after.values["symbol"] == "APL"
    assert after.values["tick"] == "0.05"
    assert facts.values.keys() - after.values.keys() == {"name", "sedol"}
    assert facts == facts_of(APPLE)  # the old facts are untouched


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("chain", "eip155:10", "part of who this is"),
        ("address", USDC, "part of who this is"),
        ("isin", "US0378331005", "a token has no such field"),
        ("class", "coin", "a token has no such field"),
        ("bogus" * 1000, "x", "a token has no such field"),
        ("decimals", "6", "decimals"),
        ("symbol", "a\nb", "U\\+000A"),
    ],
)
def test_what_cannot_be_amended(field: str, value: object, says: str) -> None:
    token = facts_of(Token(chain="eip155:1", address=USDC, symbol="USDC"))
    with pytest.raises(InvalidInput, match=says):
        amended(token, {field: value})


def test_the_class_changes_only_among_securities() -> None:
    with pytest.raises(InvalidInput, match="equity, etf, bond"):
        amended(facts_of(APPLE), {"class": "token"})
    with pytest.raises(InvalidInput, match="part of who"):
        amended(facts_of(Currency(code="EUR")), {"symbol": "USD"})
