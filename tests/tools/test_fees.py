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
        "venue", "instrument", "side", "amount", "currency", "rate", "line"
    }
    assert run("fees", "quote", *trade, "--volume", "1000000").out == (
        "22.3861722 USDT (0.2 %, line 2)\n"
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
