from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import isin as stdnum_isin

from alphapulse.log import InvalidInput, Status
from alphapulse.registry import validation as check
from tests.texts import texts

UPPER = string.ascii_uppercase + string.digits


def refused(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        function(*arguments)
    message = str(caught.value)
    assert len(message) < 400
    assert message.isprintable()
    return message


def test_text_keeps_what_people_write() -> None:
    for text in ("Zażółć", "USD₮0", "❤️ Donate 🇺🇸", "👩‍💻", "[Legacy] [red]x[/red]", "a\u00adb"):
        assert check.name(text) == text
    assert check.symbol("  AAPL ") == "AAPL"
    assert check.symbol("   ") == ""
    assert check.name("e\u0301") == "e\u0301"  # not composed to é


@pytest.mark.parametrize(
    "character",
    ["\x00", "\n", "\x1b", "\x7f", "\x85", "\u061c", "\u200e", "\u200f", "\u2028", "\u2029",
     "\u202a", "\u202e", "\u2066", "\u2069", "\udc80", "\ufdd0", "\uffff", "\U0010fffe"],
)  # fmt: skip
def test_characters_that_fake_or_break_a_line_are_refused(character: str) -> None:
    for text in (f"a{character}b", f"ä{character}b"):
        message = refused(check.symbol, text)
        assert f"U+{ord(character):04X}" in message
        assert "reading field symbol" in message


def test_a_huge_symbol_is_refused_and_not_echoed() -> None:
    assert "at most 256" in refused(check.symbol, "x" * 10_000_000)
    assert "at most 256" in refused(check.symbol, "ß" * 10_000_000)
    assert "at most 256" in refused(check.symbol, "x" * 257)
    assert "at most 256" in refused(check.symbol, "ß" * 129)
    assert check.symbol("ß" * 128) == "ß" * 128
    assert check.name("x" * 512) == "x" * 512
    refused(check.isin, "x" * 10_000_000)
    refused(check.chain, "x" * 10_000_000)
    refused(check.evm_address, "0x" * 5_000_000)
    refused(check.solana_address, "1" * 10_000_000)
    refused(check.venue, "v" * 10_000_000)
    refused(check.currency, "U" * 10_000_000)
    refused(check.exact, "1" * 10_000_000, "tick")
    refused(check.decimals, 1 << 10_000_000)


@given(texts(max_size=300))
def test_text_is_taken_whole_or_refused(text: str) -> None:
    try:
        found = check.symbol(text)
    except InvalidInput:
        return
    assert found == text.strip()
    assert len(found.encode()) <= 256


@pytest.mark.parametrize("value", [None, 5, b"AAPL", ["AAPL"], True])
def test_text_must_be_text(value: object) -> None:
    for function in (check.symbol, check.isin, check.chain, check.venue, check.currency,
                     check.namespace, check.evm_address, check.status):  # fmt: skip
        assert "must be text" in refused(function, value)


def test_decimals_are_a_small_integer() -> None:
    assert [check.decimals(0), check.decimals(77)] == [0, 77]
    for value in (-1, 78, 255, True, 1.0, "6", None):
        refused(check.decimals, value)


@pytest.mark.parametrize(
    "scheme, value",
    [("isin", "US0378331005"), ("cusip", "037833100"), ("figi", "BBG001S5N8V8"),
     ("composite_figi", "BBG000B9XRY4"), ("sedol", "2046251"), ("lei", "HWUPKR0MPOU8FGXBT394")],
)  # fmt: skip
def test_identifiers(scheme: str, value: str) -> None:
    assert check.identifier(scheme, value) == value
    assert check.identifier(scheme, f" {value.lower()} ") == value
    assert check.identifier(scheme, f"{value[:4]} {value[4:]}") == value
    wrong = value[:-1] + str((int(value[-1]) + 1) % 10)
    message = refused(check.identifier, scheme, wrong)
    assert "fails only its check digit" in message
    assert message.count(f"would need {value[-2:] if scheme == 'lei' else value[-1]}") == 1
    refused(check.identifier, scheme, value[:-1])
    refused(check.identifier, scheme, value + "0")
    refused(check.identifier, scheme, "é" * len(value))
    refused(check.identifier, scheme, "")


def test_an_isin_names_the_digit_it_needs() -> None:
    assert "US037833100 would need 5" in refused(check.isin, "US0378331004")
    assert "ZZ begins no ISIN" in refused(check.isin, "ZZ0378331005")
    refused(check.isin, "CH1012549785")  # stands in a real list of equities
    assert check.identifier_near("isin", "US0378331004") == "US0378331005"
    assert check.identifier_near("isin", "us03 78331004") == "US0378331005"
    for text in ("US0378331005", "ZZ0378331004", "AAPL", "", "US037833100é"):
        assert check.identifier_near("isin", text) is None


@given(
    st.sampled_from(["US", "DE", "XS", "GB", "QQ", "1U", "IN"]),
    st.text(UPPER, min_size=9, max_size=9),
    st.sampled_from(UPPER),
)
def test_the_fast_isin_check_agrees_with_stdnum(prefix: str, body: str, digit: str) -> None:
    right = stdnum_isin.from_natid(prefix, body)
    for value in (prefix + body + digit, right):
        assert check._is_isin(value) is stdnum_isin.is_valid(value)


@pytest.mark.parametrize(
    "value",
    ["eip155:1", "eip155:11155111", "cosmos:cosmoshub-4", "tezos:NetXdQprcVkpaWU",
     "bip122:000000000019d6689c085ae165831e93", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
     "eip155:9223372036854775807", "starknet:SN_GOERLI"],
)  # fmt: skip
def test_chains(value: str) -> None:
    assert check.chain(value) == value


@pytest.mark.parametrize(
    "value",
    ["", "1", "eip155", "eip155:", "EIP155:1", "eip155:01", "eip155:0", "eip155:0x1", "eip155:-1",
     "eip155:9223372036854775808", "ab:1", "ninechars:1", "cosmos:" + "x" * 33, "cosmos:a/b",
     "cosmos:evmos_9001-2", "solana:101", "solana:mainnet",
     "bip122:000000000019D6689C085AE165831E93", "eip155:1\n2", "eip155:١"],
)  # fmt: skip
def test_what_is_no_chain(value: str) -> None:
    refused(check.chain, value)


def test_a_chain_by_its_short_name_is_told_its_id() -> None:
    assert "write eip155:1)" in refused(check.chain, "ethereum")
    told = refused(check.chain, "solana:101")  # as lists number a cluster: no chain of its own
    assert "write solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp)" in told


def test_evm_addresses_are_lower_case() -> None:
    address = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
    assert check.evm_address(f" {address}") == address.lower()
    assert check.evm_item(f"{address}/12") == f"{address.lower()}/12"
    bare = address[2:]
    for value in (address[:-1], address + "0", bare, "0X" + bare, "", "0x" + "g" * 40):
        refused(check.evm_address, value)


def test_solana_addresses_are_32_bytes() -> None:
    for value in (
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "1" * 32,
        "So11111111111111111111111111111111111111112",
    ):  # fmt: skip
        assert check.solana_address(value) == value
    for value in ("1" * 31, "1" * 33, "z" * 44, "z" * 32, "0" * 43, "EPjF", "", "l" * 43):
        refused(check.solana_address, value)


def test_other_references_are_printable_ascii() -> None:
    denom = "factory/osmo1z0qrq605sjgcqpylfl4aa6s90x738j7m58wyatt0tdzflg2ha26q67k743/wbtc"
    assert check.reference(denom) == denom
    for value in ("", "a b", "é", "a\x00", "x" * 129):
        refused(check.reference, value)


def test_venues() -> None:
    spellings = {
        "XNAS": "XNAS", "360T": "360T", " XNAS ": "XNAS", "BINANCE": "binance", "NSE": "nse",
        "binance": "binance", "Binance:Test": "binance:test", "binance:live": "binance",
        "uniswap-v3_eth": "uniswap-v3_eth",
    }  # fmt: skip
    assert {given: check.venue(given) for given in spellings} == spellings
    for value in ("", "-x", "a b", "a" * 33, "binance:", "binance:prod", "XNAS:test", "é", ":test"):
        refused(check.venue, value)


def test_currencies() -> None:
    for code in ("USD", "DEM", "XCG", "XAU"):
        assert check.currency(code) == code
    for code in ("GBX", "GBp", "usd", "XXX", "USDT", ""):
        refused(check.currency, code)
    for code in ("USD", "GBX", "USDT", "1INCH"):
        assert check.listing_currency(code) == code
    for code in ("GBp", "", "A" * 13, "USD "[:3] + "."):
        refused(check.listing_currency, code)


def test_exact_numbers_are_positive_and_canonical() -> None:
    assert [check.exact(v, "tick") for v in ("0.010", 5, "1e-3", "390625e-8")] == [
        "0.01", "5", "0.001", "0.00390625",
    ]  # fmt: skip
    value: object
    for value in (0, "-1", 0.1, "nan", "", None, True, "1" * 30, []):
        assert "reading field tick" in refused(check.exact, value, "tick")


def test_times() -> None:
    assert check.time_ns("2001-09-09T01:46:40Z", "valid_from") == 10**18
    assert [check.time_ns(v, "t") for v in ("", 0, 7, -7)] == [0, 0, 7, -7]
    for value in ("yesterday", 1.5, True, None, 1 << 63, -(1 << 63)):
        assert "reading field valid_from" in refused(check.time_ns, value, "valid_from")


def test_statuses() -> None:
    assert check.status("halted") is Status.HALTED
    assert "active" in refused(check.status, "gone")


def test_messages_show_values_short() -> None:
    assert check.shown("x" * 41) == repr("x" * 40) + "…"
    assert check.shown(5) == "5"
    assert check.shown(10**50) == "an integer of 167 bits"
    assert check.shown([1] * 10**6) == "a list"
