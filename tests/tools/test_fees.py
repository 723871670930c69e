from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry.venues.fees_text import read_fees

from .conftest import Run

TOML = """
[[schedule]]
products = ["spot"]
volume_unit = "USD"
volume_days = 30
[[schedule.line]]
side = "maker"
value = -0.01
[[schedule.line]]
side = "taker"
value = 0.1
[[schedule.line]]
side = "taker"
value = "0.2"
volume_from = 1000000

[[schedule]]
[[schedule.line]]
basis = "per_unit"
value = 0.0005
charged = "USD"
minimum = 1
confidence = "published"
"""


@pytest.fixture(autouse=True)
def _pair(run: Run) -> None:
    run("venue", "add", "binance")
    run("register", "spot_pair", "--venue", "binance", "--native-id", "BTCUSDT", "--base", "BTC",
        "--quote", "USDT")  # fmt: skip


def test_a_file_is_shown_as_it_was_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "fees.toml"
    file.write_text(TOML)
    said = run("fees", "set", "binance", str(file), "--valid-from", "2026-01-01")
    assert said.code == 0 and said.out.startswith("new")
    assert "warning: schedule 1, line 2: 0.2 from volume 1000000 on is more" in said.err
    rows = run("fees", "show", "binance", "--json").rows
    assert [(row["products"], row["line"], row["side"], row["value"]) for row in rows] == [
        ([], 0, "both", "0.0005"), (["spot"], 0, "maker", "-0.01"), (["spot"], 1, "taker", "0.1"),
        (["spot"], 2, "taker", "0.2"),
    ]  # fmt: skip
    assert (rows[0]["charged"], rows[0]["minimum"], rows[0]["maximum"]) == ("USD", "1", None)
    assert (rows[1]["volume_unit"], rows[1]["volume_days"]) == ("USD", 30)
    assert rows[1]["valid_from"] == "2026-01-01T00:00:00.000000000Z"
    assert "binance since 2026-01-01 UTC, said by operator" in run("fees", "show", "binance").err


def test_a_quote_is_exact(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "fees.toml"
    file.write_text(TOML)
    run("fees", "set", "binance", str(file))
    trade = ("binance", "BTCUSDT", "--quantity", "0.123", "--price", "91000.7")
    (rebate,) = run("fees", "quote", *trade, "--side", "maker", "--json").rows
    assert (rebate["amount"], rebate["currency"], rebate["rate"], rebate["line"]) == (
        "-1.11930861", "USDT", "-0.01 %", 0,
    )  # fmt: skip
    assert rebate.keys() == {
        "venue", "instrument", "side", "amount", "currency", "rate", "line", "products", "traded"
    }
    assert (rebate["products"], rebate["traded"]) == (["spot"], True)
    assert run("fees", "quote", *trade, "--volume", "1000000").out == (
        "22.3861722 USDT (0.2 %, line 2 of spot)\n"
    )
    assert run("fees", "quote", *trade, "--volume", "-1").code == 2
    assert run("fees", "quote", *trade, "--at", "2020-01-01").code == 1
    assert run("fees", "quote", "binance", "nothing", *trade[2:]).code == 1


def test_what_is_announced_holds_from_its_day(run: Run) -> None:
    run("fees", "set", "binance", "--maker", "0.1", "--taker", "0.1", "--valid-from", "2026-01-01")
    run("fees", "set", "binance", "--maker", "0.1", "--taker", "0.3", "--valid-from", "2027-04-01")

    def amount(*words: str) -> str:
        trade = ("binance", "BTCUSDT", "--quantity", "1", "--price", "1000")
        return str(run("fees", "quote", *trade, *words, "--json").rows[0]["amount"])

    assert amount("--at", "2027-03-31T23:59:59Z") == "1"
    assert amount("--at", "2027-04-01") == "3"
    assert amount("--at", "2027-04-01", "--as-of", "2") == "1"


def test_a_fee_in_another_currency_needs_its_rate(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "fees.toml"
    file.write_text("[[schedule]]\n[[schedule.line]]\nvalue = 0.1\ncharged = 'BNB'\n")
    run("fees", "set", "binance", str(file))
    trade = ("fees", "quote", "binance", "BTCUSDT", "--quantity", "6", "--price", "1000")
    assert "give the rate: what one BNB is worth in USDT" in run(*trade).err
    assert run(*trade, "--rate", "BNB=600").out.startswith("0.01 BNB (0.1 %")
    assert run(*trade, "--rate", "BNB").code == 2


def test_bad_usage(run: Run, tmp_path: Path) -> None:
    assert run("fees", "set", "binance").code == 2
    assert run("fees", "set", "binance", "x.toml", "--maker", "1").code == 2
    assert run("fees", "set", "binance", str(tmp_path / "none")).code == 2
    assert run("fees", "set", "kraken", "--maker", "0.1").code == 1
    assert run("fees", "show", "binance").code == 1


@pytest.mark.parametrize(
    "text,what",
    [
        ("", "no such|other tables"),
        ("[[schedule", "Expected|Invalid"),
        ("[[schedule]]", "1 to"),
        ("[[schedule]]\nlines = 1", "no field 'lines'"),
        ("[[schedule]]\n[[schedule.line]]\nvalue = 'x'", "schedule 1, line 1: .*value"),
        ("[[schedule]]\n[[schedule.line]]\nvalue = 1\nvolume_from = -1", "line 1: .*below zero"),
        ("[[schedule]]\n[[schedule.line]]\nvalue = 1\nvolume_from = 1", "no line from 0"),
        ("[[schedule]]\n[[schedule.line]]", "line 1: .*value: it is missing"),
        ("[[schedule]]\nproducts = 'spot'\n[[schedule.line]]\nvalue = 1", "schedule 1: .*no list"),
        (2 * "[[schedule]]\n[[schedule.line]]\nvalue = 1\n", "two of them"),
        ("[[schedule]]\n[[schedule.line]]\ncharged = ''\nvalue = nan", "line 1"),
        ("schedule = 1", "a value where tables"),
    ],
)
def test_bad_files_are_refused_by_place(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        read_fees(text.encode())


def test_an_announced_change_of_the_contract_is_not_charged_yet(run: Run) -> None:
    run("register", "perpetual", "--venue", "binance", "--native-id", "BTC-PERP", "--settlement",
        "USDC", "--base", "BTC", "--quote", "USDC", "--multiplier", "1", "--payoff", "linear",
        "--valid-from", "2026-01-01")  # fmt: skip
    run("fees", "set", "binance", "--taker", "0.1", "--valid-from", "2026-01-01")
    assert run("amend", "BTC-PERP", "--multiplier", "10", "--valid-from", "2037-06-01").code == 0

    def quote(*words: str) -> str:
        return str(run("fees", "quote", "binance", "BTC-PERP", "--quantity", "2", "--price", "100",
                       *words).out)  # fmt: skip

    assert quote() == "0.2 USDC (0.1 %, line 0)\n"
    assert quote("--at", "2037-06-01") == "2 USDC (0.1 %, line 0)\n"
    assert quote("--at", "2037-05-31T23:59:59Z") == "0.2 USDC (0.1 %, line 0)\n"
    assert quote("--at", "2037-06-01", "--as-of", "3") == "0.2 USDC (0.1 %, line 0)\n"


def test_each_listing_at_a_venue_is_charged_in_its_own_currency(run: Run) -> None:
    run("venue", "add", "XLON")
    run("fees", "set", "XLON", "--taker", "0.1", "--valid-from", "2000-01-01")
    run("register", "equity", "--isin", "US0378331005", "--symbol", "AAPL")
    for symbol, currency in (("0R2V", "USD"), ("AAPG", "GBP")):
        assert run("add-listing", "AAPL", "--venue", "XLON", "--symbol", symbol,
                   "--currency", currency).code == 0  # fmt: skip
    rows = run("listings", "AAPL", "--fee-for", "100@190.123456789012345678", "--json").rows
    assert [(row["currency"], row["fee_currency"], row["fee"]) for row in rows] == [
        ("USD", "USD", "19.0123456789012345678"), ("GBP", "GBP", "19.0123456789012345678"),
    ]  # fmt: skip
    trade = ("fees", "quote", "XLON", "AAPL", "--quantity", "100", "--price", "190")
    unclear = run(*trade)
    assert unclear.code and "it is listed there in GBP, USD" in unclear.err
    assert run(*trade, "--currency", "GBP").out == "19 GBP (0.1 %, line 0)\n"
    assert "not listed there in EUR" in run(*trade, "--currency", "EUR").err


def test_a_fee_in_no_known_currency_is_none(run: Run) -> None:
    run("fees", "set", "binance", "--taker", "0.1", "--valid-from", "2000-01-01")
    run("register", "equity", "--isin", "US0378331005", "--symbol", "AAPL")
    said = run("fees", "quote", "binance", "AAPL", "--quantity", "1", "--price", "1", "--json")
    assert said.code and not said.out.strip()
    assert "the currency that it is traded in is not known" in said.err


def test_what_is_not_traded_there_is_noted(run: Run) -> None:
    run("venue", "add", "XLON")
    run("fees", "set", "XLON", "--taker", "0.1", "--valid-from", "2000-01-01")
    said = run("fees", "quote", "XLON", "BTCUSDT", "--quantity", "1", "--price", "1000")
    assert said.code == 0 and said.out.startswith("1 USDT")
    assert "BTCUSDT is not known to be traded at XLON" in said.err


def test_slips_in_words_are_warned_of(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "fees.toml"
    file.write_text(
        "[[schedule]]\nproducts = ['spott', 'swap.inverse', 'linear']\n"
        "[[schedule.line]]\nvalue = 0.1\ncharged = 'UDS'\n"
        "[[schedule.line]]\nvalue = 0.01\ncharged = 'UDS'\nvolume_from = 10\n"
        "[[schedule]]\n[[schedule.line]]\nvalue = 0.1\ncharged = 'USD'\n"
    )
    said = run("fees", "set", "binance", str(file))
    warned = [line.partition("warning: ")[2] for line in said.err.splitlines()]
    assert said.code == 0 and len(warned) == 4
    assert sum("UDS is no currency" in line for line in warned) == 2
    assert sum("no instrument is a 'spott'" in line for line in warned) == 1
    assert sum("is a leap" in line for line in warned) == 1
