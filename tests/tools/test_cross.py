"""`instruments-at` and `cross`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.registry import Equity, Listing, Registry

from .conftest import APPLE, Run

LISTED = ["instrument", "symbol", "currency", "primary", "class", "name", "isin", "valid_from",
          "valid_to", "status", "current"]  # fmt: skip


@pytest.fixture
def receipt(home: Path, apple: int) -> int:
    """A receipt for a twentieth of Apple, listed in Brazil; and Apple in London. Head: 11."""
    with Registry.open(home) as registry:
        id = registry.register(
            Equity(isin="BRAAPLBDR004", symbol="AAPL34", name="Apple BDR")
        ).id
        registry.relate(id, "receipt_of", apple, ratio="1/20")
        registry.add_listing(
            Listing(instrument=id, venue="BVMF", symbol="AAPL34", currency="BRL")
        )
        registry.add_listing(Listing(instrument=apple, venue="XLON", symbol="0R2V"))
    return id


def test_what_is_listed_at_a_venue(run: Run, apple: int) -> None:
    ran = run("instruments-at", "XNAS", "--json")
    (row,) = ran.rows
    assert list(row) == LISTED
    assert row == {
        "instrument": f"0x{apple:016x}", "symbol": "AAPL", "currency": "USD", "primary": True,
        "class": "equity", "name": "Apple Inc.", "isin": APPLE,
        "valid_from": "1980-12-12T00:00:00.000000000Z", "valid_to": None, "status": "active",
        "current": True,
    }  # fmt: skip
    people = run("instruments-at", "XNAS")
    assert people.err == "1 listing at XNAS\n"
    assert people.out.splitlines()[1].split() == [
        "AAPL", "USD", "equity", "active", f"0x{apple:016x}", "Apple", "Inc."
    ]  # fmt: skip


def test_what_was_listed_at_a_venue(run: Run, apple: int) -> None:
    now = run("instruments-at", "XTKS")
    assert (now.code, now.out) == (0, "")
    assert now.err == "nothing was listed at XTKS then; --ended shows what was at other times\n"
    assert run("instruments-at", "XTKX").err == "no listing at XTKX is known, of any time\n"
    (row,) = run("instruments-at", "XTKS", "--json", "--valid-at", "2000-01-01").rows
    assert (row["status"], row["name"]) == ("active", "Apple Inc.")
    (row,) = run("instruments-at", "XTKS", "--json", "--ended").rows
    assert (row["status"], row["current"]) == ("delisted", False)
    assert run("instruments-at", "XNAS", "--json", "--as-of", "0").rows == []
    assert run("instruments-at", "X NAS").code == 2


def test_an_instrument_that_is_delisted_itself_says_so(run: Run, apple: int) -> None:
    run("delist", APPLE)
    (row,) = run("instruments-at", "XNAS", "--json").rows
    assert (row["status"], row["current"]) == ("delisted", False)
    run("add-listing", APPLE, "--venue", "XLON", "--symbol", "0R2V")
    assert "AAPL USD delisted" in run("cross", "XNAS", "XLON").out


def test_the_same_instrument_at_both(run: Run, apple: int, receipt: int) -> None:
    (row,) = run("cross", "XNAS", "XLON", "--json").rows
    assert row["instrument_a"] == row["instrument_b"] == f"0x{apple:016x}"
    assert (row["ratio"], row["path"]) == ("1/1", [])
    assert [each["symbol"] for each in row["listings_a"] + row["listings_b"]] == ["AAPL", "0R2V"]
    assert list(row["listings_a"][0]) == LISTED
    people = run("cross", "XNAS", "XLON")
    assert people.err == "1 instrument at both XNAS and XLON, 0 more pairs by relations\n"
    assert people.out.splitlines()[1].split() == [
        "AAPL", "USD", "0R2V", f"0x{apple:016x}", "same"
    ]  # fmt: skip
    assert run("cross", "XNAS", "XTKS", "--json").rows == []
    assert len(run("cross", "XNAS", "XTKS", "--json", "--valid-at", "2000-01-01").rows) == 1


def test_a_receipt_is_another_instrument_with_a_ratio(
    run: Run, apple: int, receipt: int
) -> None:  # fmt: skip
    (row,) = run("cross", "XNAS", "BVMF", "--json").rows
    assert (row["instrument_a"], row["instrument_b"]) == (f"0x{apple:016x}", f"0x{receipt:016x}")
    assert row["ratio"] == "20/1"
    assert row["path"] == [{
        "from": f"0x{receipt:016x}", "relation": "receipt_of", "to": f"0x{apple:016x}",
        "ratio": "1/20",
    }]  # fmt: skip
    people = run("cross", "BVMF", "XNAS")
    assert people.err == "0 instruments at both BVMF and XNAS, 1 more pair by relations\n"
    line = people.out.splitlines()[1]
    assert line.split()[4] == "1/20"
    assert line.endswith("> receipt_of")
    assert run("cross", "XNAS", "BVMF").out.splitlines()[1].endswith("< receipt_of")
    assert run("cross", "XNAS", "BVMF", "--json", "--as-of", "6").rows == []


def test_hong_kong_never_had_it(run: Run, apple: int) -> None:
    ran = run("cross", "XNAS", "XHKG")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "no listing at XHKG is known, of any time\n"
        "0 instruments at both XNAS and XHKG, 0 more pairs by relations\n"
    )


def test_symbols_that_do_not_fit_a_record_are_shown_whole(
    run: Run, home: Path, apple: int
) -> None:  # fmt: skip
    long = "a symbol of more than 28 bytes"
    with Registry.open(home) as registry:
        registry.add_listing(Listing(instrument=apple, venue="XPAR", symbol=long))
    assert run("instruments-at", "XPAR", "--json").rows[0]["symbol"] == long
    assert long in run("instruments-at", "XPAR").out
