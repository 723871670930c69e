"""Fees, by hand and against exact rationals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, number
from alphapulse.registry.venues import (
    FeeLine,
    FeeNotComputable,
    Fees,
    FeeSchedule,
    FeeUnknown,
    Trade,
    doubts,
    exact_text,
    fee_line,
    fee_schedule,
)


def fees(*lines: Mapping[str, object]) -> Fees:
    return Fees(fee_schedule([fee_line(each) for each in lines]))


TIERED = (
    {"side": "maker", "value": "0.1"},
    {"side": "maker", "value": "0.05", "volume_from": "100000"},
    {"side": "maker", "value": "-0.005", "volume_from": "1000000"},
    {"side": "taker", "value": "0.1"},
    {"side": "taker", "value": "0.08", "volume_from": "100000"},
    {"side": "taker", "value": "0.04", "volume_from": "1000000"},
)
BROKER = ({"basis": "per_unit", "value": "0.005", "minimum": "1", "maximum_percent": "1"},)
FLAT = ({"basis": "per_order", "value": "4.95"},)
US_EQUITIES = (
    {"basis": "per_unit", "value": "0.003", "side": "taker"},
    {"basis": "per_unit", "value": "-0.002", "side": "maker"},
    {"basis": "per_unit", "value": "0.00002", "component": "clearing"},
    {"basis": "percent", "value": "0.00278", "component": "regulator"},
)
RECEIVED = ({"value": "0.2", "charged": "received"},)
IN_BASE = ({"value": "0.3", "charged": "base"},)
IN_BNB = ({"value": "0.075", "charged": "BNB"},)
GAS = ({"value": "0.3"}, {"basis": "gas", "value": "150000", "charged": "ETH", "component": "gas"})
SPREAD = ({"basis": "spread", "value": "0.25"},)
CAPPED = ({"value": "0.1", "minimum": "5", "maximum": "50"},)
PER_CONTRACT = ({"basis": "per_unit", "value": "1.18", "charged": "USD"},)
DERIBIT = ({"side": "maker", "value": "0"}, {"side": "taker", "value": "0.05"})

SPOT: dict[str, Any] = {"base": "BTC", "quote": "USDT"}
SHARES: dict[str, Any] = {"base": "US0378331005", "quote": "USD"}
LINEAR: dict[str, Any] = {**SPOT, "settlement": "USDT", "payoff": "linear"}
INVERSE: dict[str, Any] = {"base": "BTC", "quote": "USD", "settlement": "BTC", "payoff": "inverse"}
QUANTO: dict[str, Any] = {"base": "ETH", "quote": "USD", "settlement": "BTC", "payoff": "quanto"}

# schedule, side, quantity, price, what else the trade is, volume, by hand: amount and currency
FLAT_PERCENT = ({"value": "1"},)
CASES = [
    (TIERED, "taker", "2", "50000", SPOT, None, [("100", "USDT")]),
    (TIERED, "maker", "2", "50000", SPOT, None, [("100", "USDT")]),
    (TIERED, "taker", "2", "50000", SPOT, "99999.99", [("100", "USDT")]),
    (TIERED, "taker", "2", "50000", SPOT, "100000", [("80", "USDT")]),
    (TIERED, "maker", "2", "50000", SPOT, "100000", [("50", "USDT")]),
    (TIERED, "taker", "2", "50000", SPOT, "999999", [("80", "USDT")]),
    (TIERED, "taker", "2", "50000", SPOT, "1000000", [("40", "USDT")]),
    (TIERED, "maker", "2", "50000", SPOT, "1000000", [("-5", "USDT")]),
    (TIERED, "maker", "0.00000001", "0.1", SPOT, "1e12", [("-0.00000000000005", "USDT")]),
    (TIERED, "taker", "0.1", "0.1", SPOT, "0", [("0.00001", "USDT")]),
    (BROKER, "taker", "100", "180", SHARES, None, [("1", "USD")]),
    (BROKER, "taker", "200", "180", SHARES, None, [("1", "USD")]),
    (BROKER, "taker", "201", "180", SHARES, None, [("1.005", "USD")]),
    (BROKER, "maker", "1000", "180", SHARES, None, [("5", "USD")]),
    (BROKER, "taker", "1000", "0.25", SHARES, None, [("2.5", "USD")]),
    (BROKER, "taker", "10", "5", SHARES, None, [("0.5", "USD")]),
    (FLAT, "taker", "1", "1", SHARES, None, [("4.95", "USD")]),
    (FLAT, "maker", "1000000", "1000", SHARES, None, [("4.95", "USD")]),
    (US_EQUITIES, "taker", "100", "180", SHARES, None,
     [("0.3", "USD"), ("0.002", "USD"), ("0.5004", "USD")]),
    (US_EQUITIES, "maker", "100", "180", SHARES, None,
     [("-0.2", "USD"), ("0.002", "USD"), ("0.5004", "USD")]),
    (RECEIVED, "taker", "3", "1000", {**SPOT, "buying": True}, None, [("0.006", "BTC")]),
    (RECEIVED, "taker", "3", "1000", {**SPOT, "buying": False}, None, [("6", "USDT")]),
    (RECEIVED, "taker", "3", "1000", LINEAR, None, [("6", "USDT")]),
    (IN_BASE, "maker", "7", "1000", SPOT, None, [("0.021", "BTC")]),
    (IN_BASE, "maker", "7", "1", SPOT, None, [("0.021", "BTC")]),
    (IN_BNB, "taker", "2", "30000", SPOT, None, [("0.075", "BNB")]),
    (IN_BNB, "taker", "1", "700", {"base": "BNB", "quote": "USDT"}, None, [("0.00075", "BNB")]),
    (IN_BNB, "taker", "10", "0.02", {"base": "ETH", "quote": "BNB"}, None, [("0.00015", "BNB")]),
    (GAS, "taker", "1", "3000", {"base": "ETH", "quote": "USDC"}, None,
     [("9", "USDC"), ("0.0045", "ETH")]),
    (SPREAD, "taker", "4", "250", SPOT, None, [("2.5", "USDT")]),
    (CAPPED, "taker", "1", "1000", SPOT, None, [("5", "USDT")]),
    (CAPPED, "taker", "1", "5000", SPOT, None, [("5", "USDT")]),
    (CAPPED, "taker", "1", "5001", SPOT, None, [("5.001", "USDT")]),
    (CAPPED, "taker", "1", "50000", SPOT, None, [("50", "USDT")]),
    (CAPPED, "taker", "1", "90000", SPOT, None, [("50", "USDT")]),
    (PER_CONTRACT, "taker", "3", "5800.25", {**LINEAR, "multiplier": "50"}, None,
     [("3.54", "USD")]),
    (DERIBIT, "taker", "1", "60000", {**LINEAR, "multiplier": "0.001"}, None, [("0.03", "USDT")]),
    (DERIBIT, "maker", "1", "60000", LINEAR, None, [("0", "USDT")]),
    (DERIBIT, "taker", "100", "50000", {**INVERSE, "multiplier": "10"}, None,
     [("0.00001", "BTC")]),
    (DERIBIT, "taker", "1", "30000", {**INVERSE, "multiplier": "100"}, None,
     [("1/600000", "BTC")]),
    (DERIBIT, "taker", "10", "2000", {**QUANTO, "multiplier": "0.000001"}, None,
     [("0.00001", "BTC")]),
    (DERIBIT, "taker", "1", "-37.63", {**LINEAR, "multiplier": "1000"}, None,
     [("18.815", "USDT")]),
    (({"value": "0.02", "charged": "EUR"},), "taker", "1", "10", {"base": "X", "quote": "EUR"},
     None, [("0.002", "EUR")]),
    (({"value": "0.05"}, {"side": "maker", "value": "0.01"}), "maker", "1", "100", SPOT, None,
     [("0.01", "USDT")]),
    (({"value": "0.05"}, {"side": "maker", "value": "0.01"}), "taker", "1", "100", SPOT, None,
     [("0.05", "USDT")]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case: tuple[Any, ...]) -> None:
    lines, side, quantity, price, more, volume, expected = case
    trade = Trade(side, quantity, price, **more)
    charges = fees(*lines).charges(
        trade, volume=volume, rates={"BNB": "600"}, gas_price="0.00000003"
    )
    assert [(exact_text(each.amount), each.currency) for each in charges] == expected


def test_there_are_forty_cases_at_least() -> None:
    assert len(CASES) >= 40


def test_the_line_that_decided_is_named_with_its_rate_and_bound() -> None:
    charge = fees(*TIERED).charges(Trade("taker", 1, 100, **SPOT), volume="150000")[0]
    assert (charge.line, charge.rate, charge.bound) == (4, "0.08 %", "")
    assert fees(*BROKER).charges(Trade("taker", 1, 500, **SHARES))[0].bound == "minimum"
    assert fees(*BROKER).charges(Trade("taker", 9000, "0.1", **SHARES))[0].bound == "maximum"
    assert fees(*CAPPED).charges(Trade("taker", 1, 90000, **SPOT))[0].bound == "maximum"
    assert fees(*FLAT).charges(Trade("maker", 1, 1))[0].rate == "4.95 per order"


EXACT = st.decimals(
    min_value=Decimal("0.000001"), max_value=10**9, allow_nan=False, allow_infinity=False, places=6
)
VALUES = st.decimals(min_value=-5, max_value=5, allow_nan=False, allow_infinity=False, places=5)


@given(
    tiers=st.dictionaries(st.integers(1, 10**6), VALUES, max_size=6), first=VALUES,
    quantity=EXACT, price=EXACT, multiplier=EXACT, volume=st.integers(0, 2 * 10**6),
    payoff=st.sampled_from(["", "linear", "inverse"]),
)  # fmt: skip
def test_as_exact_rationals(
    tiers: dict[int, Decimal], first: Decimal, quantity: Decimal, price: Decimal,
    multiplier: Decimal, volume: int, payoff: str,
) -> None:  # fmt: skip
    table = {0: first, **tiers}
    lines = [{"value": str(v), "volume_from": str(at)} for at, v in table.items()]
    rate = table[max(at for at in table if at <= volume)]
    q, p, m = Fraction(quantity), Fraction(price), Fraction(multiplier)
    value = q * m / p if payoff == "inverse" else q * m * p
    trade = Trade(
        "taker", quantity, price, base="B", quote="Q", settlement="S" if payoff else "",
        multiplier=multiplier, payoff=payoff,
    )  # fmt: skip
    (charge,) = fees(*lines).charges(trade, volume=volume)
    assert charge.amount == Fraction(rate) * value / 100
    assert charge.currency == ("S" if payoff else "Q")
    if payoff != "inverse":
        in_text = (f"{quantity:f}", f"{price:f}", str(volume))
        for many, each, traded in ((quantity, price, volume), in_text):
            plain = fees(*lines).plain_charge(
                "taker", many, each, traded, charge.currency, m.as_integer_ratio()
            )
            assert plain == charge


@given(
    starts=st.sets(VALUES.map(abs).filter(bool), max_size=5),
    volume=st.decimals(0, 6, allow_nan=False, allow_infinity=False, places=5),
)  # fmt: skip
def test_the_tier_is_the_last_that_is_not_above_the_volume(
    starts: set[Decimal], volume: Decimal
) -> None:
    table = [Decimal(0), *sorted(starts)]
    lines = [{"value": str(n), "volume_from": f"{at:f}"} for n, at in enumerate(table)]
    wanted = max(n for n, at in enumerate(table) if at <= volume)
    schedule = fees(*lines)
    assert schedule.charges(Trade("taker", 1, 1), volume=volume)[0].line == wanted
    plain = schedule.plain_charge("taker", 1, 1, f"{volume:f}", "", (1, 1))
    assert plain is not None and plain.line == wanted


def test_what_is_not_plain_goes_the_long_way() -> None:
    below = fees(*TIERED).plain_charge("taker", 1, "-100", None, "", (1, 1))
    assert below is not None and below.amount == Fraction(1, 10)  # as of a price above zero
    for lines in (BROKER, CAPPED, FLAT, GAS, RECEIVED, IN_BNB):
        assert fees(*lines).plain_charge("taker", 1, 1, None, "", (1, 1)) is None


@pytest.mark.parametrize("given_text", ["", ".5", "5.", "1e2", "-1", "٣", "1_0", " 1", "0", "0.0"])
def test_numbers_are_read_alike_either_way(given_text: str) -> None:
    """The short way of reading text takes what the long way takes, and nothing else."""
    try:
        wanted: object = Fraction(str(number(given_text)))
    except InvalidInput:
        wanted = None
    try:
        (charge,) = fees(*FLAT_PERCENT).charges(Trade("taker", 1, given_text))
    except InvalidInput:
        assert wanted is None
    else:
        assert isinstance(wanted, Fraction) and charge.amount == abs(wanted) / 100


def test_long_numbers_are_exact_and_bounded() -> None:
    quantity = "100.123456789012345678"
    (charge,) = fees(*FLAT_PERCENT).charges(Trade("taker", quantity, "1.000000000000000001"))
    wanted = Fraction(quantity) * Fraction("1.000000000000000001") / 100
    assert charge.amount == wanted and exact_text(charge.amount).startswith("1.0012345678901234")
    for many in ("1" * 201, "0." + "1" * 200, Decimal("1e201"), Decimal("1e-999999")):
        with pytest.raises(InvalidInput):
            fees(*FLAT_PERCENT).charges(Trade("taker", many, 1))


def test_negative_volumes_are_refused() -> None:
    for volume in ("-1", -1, Decimal(-1)):
        with pytest.raises(InvalidInput, match="below zero"):
            fees(*TIERED).charges(Trade("taker", 1, 1), volume=volume)
        with pytest.raises(InvalidInput, match="below zero"):
            fees(*TIERED).plain_charge("taker", 1, 1, volume, "", (1, 1))


@given(st.fractions(max_denominator=10**6))
def test_exact_text_says_the_very_number(amount: Fraction) -> None:
    said = exact_text(amount)
    assert Fraction(said) == amount
    assert ("/" in said) == (10**100 % amount.denominator != 0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"value": "0.1", "side": "middle"}, "side"),
        ({"value": "0.1", "basis": "bps"}, "basis"),
        ({"value": 0.1}, "float"),
        ({"value": "NaN"}, "value"),
        ({"value": None}, "value"),
        ({"value": "101"}, "100 percent"),
        ({"value": "0.1", "volume_from": "-1"}, "volume_from"),
        ({"value": "0.1", "minimum": "2", "maximum": "1"}, "minimum"),
        ({"value": "-0.1", "maximum": "1"}, "rebate"),
        ({"value": "0.1", "charged": "a b"}, "blank"),
        ({"value": "5", "basis": "gas"}, "coin"),
        ({"value": "0.1", "colour": "red"}, "colour"),
        ({"value": "0.1", "confidence": "sure"}, "confidence"),
    ],
)
def test_a_bad_line_is_refused_by_field(fields: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        fee_line(fields)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "1 to 1000"),
        ([{"value": "0.1"}, {"value": "0.2"}], "line 0 is for the same"),
        ([{"value": "0.1", "volume_from": "0.0"}, {"value": "1", "volume_from": "0"}], "line 0"),
        ([{"value": "0.1", "volume_from": "10"}], "no line from 0"),
        ([{"value": "1"}, {"value": "1", "basis": "per_unit", "volume_from": "5"}], "basis"),
        ([{"value": "1"}, {"value": "1", "charged": "BNB", "volume_from": "5"}], "currency"),
    ],
)
def test_lines_that_cannot_be_told_apart_are_refused(
    lines: list[dict[str, object]], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        fee_schedule([fee_line(each) for each in lines])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(FeeNotComputable, match="one BNB is worth in USDT"):
        fees(*IN_BNB).charges(Trade("taker", 1, 1, **SPOT))
    with pytest.raises(FeeNotComputable, match="purchase or a sale"):
        fees(*RECEIVED).charges(Trade("taker", 1, 1, **SPOT))
    with pytest.raises(FeeNotComputable, match="gas price"):
        fees(*GAS).charges(Trade("taker", 1, 1, **SPOT))
    with pytest.raises(FeeUnknown):
        fees({"side": "maker", "value": "0"}).charges(Trade("taker", 1, 1, **SPOT))
    half = Trade("taker", 1.5, 1)  # type: ignore[arg-type]
    for trade in (Trade("both", 1, 1), Trade("taker", 0, 1), half):
        with pytest.raises(InvalidInput):
            fees(*TIERED).charges(trade)


def test_doubts_name_the_line() -> None:
    lines = [
        {"side": "taker", "value": "0.1"},
        {"side": "taker", "value": "0.12", "volume_from": "100"},
        {"side": "taker", "value": "0.0012", "volume_from": "1000"},
        {"side": "taker", "value": "0.001", "volume_from": "500"},
        {"side": "maker", "value": "10"},
    ]
    found = doubts(fee_schedule([fee_line(each) for each in lines]))
    assert [(each.line, each.problem.split()[-1]) for each in found] == [
        (1, "before"), (2, "less"), (3, "1000"), (4, "bps?"),
    ]  # fmt: skip
    assert not doubts(fees(*TIERED).schedule)


def test_a_schedule_comes_back_from_its_bytes() -> None:
    schedule = fee_schedule(
        [fee_line(each) for each in TIERED], products=("swap", "spot", "spot"), volume_unit="USD",
        volume_days=30,
    )  # fmt: skip
    assert schedule.products == ("spot", "swap")
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(schedule), type=FeeSchedule)
    assert again == schedule
    assert isinstance(again.lines[0], FeeLine)
