from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.registry import Registry, Token

from .conftest import APPLE, Run

FIELDS = ["id", "fingerprint", "class", "status", "symbol", "name", "decimals", "isin", "chain",
          "address", "revision", "offset", "key", "joined"]  # fmt: skip
LISTING_FIELDS = ["instrument", "venue", "symbol", "currency", "primary", "valid_from",
                  "valid_to", "figi", "tick", "lot", "ticks", "min_size", "max_size",
                  "min_notional", "status", "current", "via", "ratio", "trading", "open",
                  "next_open", "fee", "fee_currency", "fee_rate", "latency_p50_ns"]  # fmt: skip
UNSAID = dict.fromkeys(LISTING_FIELDS[-9:])


def test_lookup_in_json_has_the_fields_of_the_table(run: Run, apple: int) -> None:
    (row,) = run("lookup", APPLE, "--json").rows
    assert list(row) == FIELDS
    assert len(row.pop("fingerprint")) == 32
    assert row == {
        "id": f"0x{apple:016x}", "class": "equity", "status": "active", "symbol": "AAPL",
        "name": "Apple Inc.", "decimals": None, "isin": APPLE, "chain": None, "address": None,
        "revision": 1, "offset": 0, "key": f"security|isin|{APPLE}", "joined": None,
    }  # fmt: skip


def test_every_form_of_key_finds_it(run: Run, apple: int) -> None:
    row = run("--json", "lookup", APPLE).rows[0]
    for key in (row["id"], row["fingerprint"], "AAPL", "AAPL@XNAS"):
        assert run("--json", "lookup", key).rows == [row], key
    for form, key in (("id", row["id"]), ("fingerprint", row["fingerprint"]), ("isin", APPLE),
                      ("symbol", "AAPL")):  # fmt: skip
        assert run("--json", "lookup", key, "--by", form).rows == [row]
    address = "0x" + "0" * 39 + "1"
    token = run("--json", "lookup", f"ethereum:{address}").rows
    assert token == run("--json", "lookup", f"eip155:1/erc20:{address}", "--by", "address").rows
    assert token[0]["decimals"] == 6


def test_several_matches_are_all_shown(run: Run, apple: int) -> None:
    ran = run("lookup", "USDC", "--json")
    assert ran.code == 0
    assert [row["chain"] for row in ran.rows] == ["eip155:1", "eip155:10"]
    people = run("lookup", "USDC")
    assert "2 instruments match" in people.err
    assert len(people.out.splitlines()) == 3


def test_nothing_found_is_exit_1_with_near_misses(run: Run, apple: int) -> None:
    for key, why in (("usdc", "another case"), ("US0378331006", "check digit"),
                     ("eip155:56:0x" + "0" * 39 + "1", "same address on eip155:1")):  # fmt: skip
        people = run("lookup", key)
        assert (people.code, people.out) == (1, ""), key
        assert why in people.err
        machine = run("lookup", key, "--json")
        assert (machine.code, machine.out) == (1, "")
        assert machine.error["error"].startswith("UnknownInstrument")
        assert why in machine.error["cure"]
    nothing = run("lookup", "\x1b[31m[red]")
    assert nothing.code == 1
    assert "\x1b" not in nothing.err
    assert "[red]" in nothing.err


def test_a_key_that_cannot_be_of_the_form_is_exit_2(run: Run, apple: int) -> None:
    assert run("lookup", "AAPL", "--by", "id").code == 2
    assert run("lookup", "US0378331006", "--by", "isin").code == 2


def test_as_of_shows_what_was_known_then(run: Run, apple: int) -> None:
    assert run("amend", APPLE, "--symbol", "APPL").code == 0
    assert run("--json", "lookup", APPLE).rows[0]["symbol"] == "APPL"
    for as_of in ("6", "0"):
        (row,) = run("--json", "lookup", APPLE, "--as-of", as_of).rows
        assert (row["symbol"], row["revision"], row["offset"]) == ("AAPL", 1, 0)
    times = [row["recorded"] for row in run("--json", "tail").rows]
    assert run("--json", "lookup", APPLE, "--as-of", times[-2]).rows[0]["symbol"] == "AAPL"
    assert run("--json", "lookup", APPLE, "--as-of", times[-1]).rows[0]["symbol"] == "APPL"
    early = run("lookup", APPLE, "--as-of", "2001-01-01")
    assert early.code == 1
    assert f"later: 0x{apple:016x}" in early.err
    machine = run("lookup", APPLE, "--as-of", "2001-01-01", "--json").error
    assert machine["cure"] == (
        f"ask about a time when it was known: later: 0x{apple:016x} equity APPL {APPLE}"
    )
    assert run("lookup", APPLE, "--as-of", "yesterday").code == 2


def test_names_from_feeds_are_shown_and_not_obeyed(run: Run, home: Path) -> None:
    with Registry.open(home) as registry:
        registry.register(Token(chain="eip155:1", address="0x" + "a" * 40, symbol="[red]X",
                                name="[Legacy] [bold]thing[/bold]"))  # fmt: skip
    people = run("lookup", "[red]X").out
    assert "[red]X" in people
    assert "[Legacy] [bold]thing[/bold]" in people
    assert run("lookup", "[red]X", "--json").rows[0]["name"] == "[Legacy] [bold]thing[/bold]"


def test_listings_in_json(run: Run, apple: int) -> None:
    ran = run("listings", "AAPL", "--json")
    assert ran.code == 0
    first, past = ran.rows
    assert list(first) == list(past) == LISTING_FIELDS
    assert first == {
        "instrument": f"0x{apple:016x}", "venue": "XNAS", "symbol": "AAPL", "currency": "USD",
        "primary": True, "valid_from": "1980-12-12T00:00:00.000000000Z", "valid_to": None,
        "figi": None, "tick": None, "lot": None, "ticks": None, "min_size": None, "max_size": None,
        "min_notional": None, "status": "active", "current": True, **UNSAID,
    }  # fmt: skip
    assert (past["symbol"], past["status"], past["current"]) == (None, "delisted", False)
    assert past["valid_to"] == "2004-12-01T00:00:00.000000000Z"
    people = run("listings", "AAPL")
    assert "1980-12-12" in people.out
    assert f"2 listings of 0x{apple:016x}\n" in people.err


def test_a_listing_that_begins_later_is_pending(run: Run, apple: int) -> None:
    run("add-listing", APPLE, "--venue", "XLON", "--valid-from", "2199-01-01")
    (row,) = [r for r in run("listings", APPLE, "--json").rows if r["venue"] == "XLON"]
    assert (row["status"], row["current"]) == ("pending", False)


def test_listings_as_of(run: Run, apple: int) -> None:
    venues = [row["venue"] for row in run("listings", APPLE, "--json", "--as-of", "1").rows]
    assert venues == ["XNAS"]
    assert f"1 listing of 0x{apple:016x}\n" in run("listings", APPLE, "--as-of", "1").err
    before = run("listings", APPLE, "--as-of", "0")
    assert before.out == ""
    assert "was known then" in before.err
    assert "add-listing" not in before.err
    assert len(run("listings", APPLE, "--json", "--as-of", "2200-01-01").rows) == 2  # as now


@pytest.mark.parametrize("verb", ["lookup", "listings"])
def test_an_offset_past_the_head_is_named_with_the_head(run: Run, apple: int, verb: str) -> None:
    for offset in ("7", "2001"):
        ran = run(verb, APPLE, "--as-of", offset, "--json")
        assert (ran.code, ran.out) == (2, "")
        assert ran.error["error"].startswith("OffsetOutOfRange: ")
        assert f"[offset={offset}, head=7]" in ran.error["error"]


def test_listings_of_a_token_are_its_siblings(run: Run, apple: int) -> None:
    address = "eip155:10:0x" + "0" * 38 + "0a"
    rows = run("listings", address, "--json").rows
    assert [row["venue"] for row in rows] == ["eip155:10", "eip155:1"]
    assert [list(row) for row in rows] == [LISTING_FIELDS] * 2
    assert {row["symbol"] for row in rows} == {"USDC"}
    assert all(row["current"] and row["currency"] is None for row in rows)
    by_symbol = run("listings", "USDC", "--json").rows
    assert sorted(row["venue"] for row in by_symbol) == ["eip155:1", "eip155:10"]
    assert "Ethereum" in run("listings", "USDC").out


def test_no_listing_is_said(run: Run) -> None:
    run("register", "currency", "--code", "CHF")
    ran = run("listings", "CHF")
    assert (ran.code, ran.out) == (0, "")
    assert "add-listing" in ran.err
    quiet = run("listings", "CHF", "--json")
    assert (quiet.out, quiet.err) == ("", "")


def test_history_is_every_event_about_it(run: Run, apple: int) -> None:
    run("amend", APPLE, "--name", "Apple")
    ran = run("history", APPLE, "--json")
    assert [row["kind"] for row in ran.rows] == [
        "instrument.registered", "listing.added", "listing.added", "instrument.amended"
    ]  # fmt: skip
    assert len(run("history", APPLE).out.splitlines()) == 4


@pytest.mark.parametrize("verb", [["history"], ["amend", "--symbol", "X"], ["delist"],
                                  ["add-listing", "--venue", "XNAS"]])  # fmt: skip
def test_a_key_of_several_is_ambiguous(run: Run, apple: int, verb: list[str]) -> None:
    ran = run(verb[0], "USDC", *verb[1:])
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("token USDC eip155:") == 2
    machine = run(verb[0], "USDC", *verb[1:], "--json")
    assert machine.error["error"] == "Ambiguous: 2 instruments match"
    assert machine.error["cure"].count("token USDC eip155:") == 2
    assert run("stats", "--json").rows[0]["head"] == 7


def test_valid_at_shows_what_was_true_then(run: Run, apple: int) -> None:
    assert run("amend", APPLE, "--symbol", "SOON", "--valid-from", "2199-01-01").code == 0
    assert run("--json", "lookup", APPLE).rows[0]["symbol"] == "AAPL"
    soon = run("lookup", "SOON")
    assert (soon.code, soon.out) == (1, "")
    assert "(it will have this symbol from 2199-01-01T00:00:00.000000000Z on)" in soon.err
    (row,) = run("--json", "lookup", APPLE, "--valid-at", "2100-01-01").rows
    assert (row["symbol"], row["offset"]) == ("AAPL", 0)
    assert run("--json", "lookup", APPLE, "--valid-at", "0").rows[0]["symbol"] == "AAPL"
    assert run("--json", "lookup", APPLE, "--valid-at", "2199-01-01").rows[0]["symbol"] == "SOON"
    assert run("lookup", APPLE, "--valid-at", "2199-01-01", "--as-of", "0").code == 0
    listed = run("--json", "lookup", APPLE, "--valid-at", "2001-01-01").rows[0]
    assert (listed["symbol"], listed["status"], listed["offset"]) == ("AAPL", "active", 0)
    elsewhere = run("lookup", "SOON@XNAS", "--valid-at", "2001-01-01")
    assert elsewhere.code == 1 and "known to be there only" not in elsewhere.err
    early = run("lookup", APPLE, "--valid-at", "1971-01-01")
    assert early.code == 1
    assert f"at another time: 0x{apple:016x} equity AAPL {APPLE} (known to be there only " in (
        early.err
    )
    cure = f"amend 0x{apple:016x} --valid-from 1971-01-01T00:00:00.000000000Z"
    assert f"if it was there before, date it back: `alphapulse {cure}`" in early.err
    assert run(*cure.split()).code == 0
    assert run("--json", "lookup", APPLE, "--valid-at", "1971-01-01").rows[0]["symbol"] == "AAPL"
    assert run("lookup", APPLE, "--valid-at", "1970-12-31").code == 1
    assert run("--json", *cure.split()).rows[0]["outcome"] == "unchanged"
    assert run("lookup", APPLE, "--valid-at", "yesterday").code == 2
    assert run("lookup", APPLE, "--valid-at", "99").code == 2


def test_listings_at_a_time(run: Run, apple: int) -> None:
    def current(*options: str) -> list[str]:
        rows = run("--json", "listings", APPLE, *options).rows
        return [row["venue"] for row in rows if row["current"]]

    assert current() == ["XNAS"]
    assert current("--valid-at", "2000-01-01") == ["XNAS", "XTKS"]
    assert current("--valid-at", "1979-01-01") == []
    run("add-listing", APPLE, "--venue", "XLON", "--valid-from", "2199-01-01")
    assert current() == ["XNAS"]
    assert current("--valid-at", "2199-01-01") == ["XNAS", "XLON"]


def test_a_token_at_a_time(run: Run) -> None:
    address = "0x" + "c" * 40
    where = ("--chain", "eip155:1", "--address", address)
    run("register", "token", *where, "--symbol", "USDT", "--valid-from", "2017-11-28")
    run("amend", "USDT", "--name", "Tether USD", "--valid-from", "2026-06-01")
    run("delist", "USDT", "--valid-from", "2199-01-01")

    def row(*options: str) -> dict[str, object]:
        (found,) = run("--json", "listings", f"eip155:1:{address}", *options).rows
        assert found["valid_from"] == "2017-11-28T00:00:00.000000000Z"
        return {"status": found["status"], "current": found["current"]}

    assert row() == {"status": "active", "current": True}, "as of now"
    assert row("--valid-at", "2020-01-01") == {"status": "active", "current": True}
    assert row("--valid-at", "2010-01-01") == {"status": "pending", "current": False}
    assert row("--valid-at", "2199-01-01") == {"status": "delisted", "current": False}


def test_generations_are_told_apart(run: Run) -> None:
    words = ("--venue", "hyper", "--native-id", "LUNA-P", "--settlement", "USDT", "--symbol", "L")
    (old,) = run("register", "perpetual", *words, "--base", "LUNA", "--json").rows
    assert run("delist", old["id"]).code == 0
    refused = run("register", "perpetual", *words, "--base", "LUNB", "--json")
    assert refused.code == 1
    assert refused.error["error"].startswith("GenerationOver: generation 0 of it is delisted, and")
    assert "--generation 1;" in refused.error["cure"]
    more = ("--base", "LUNB", "--generation", "1", "--json")
    (new,) = run("register", "perpetual", *words, *more).rows
    ran = run("lookup", "LUNA-P@hyper")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["id", "class", "symbol", "status", "where", "generation"],
        [new["id"], "perpetual", "L", "LUNA-P@hyper", "1"],
        [old["id"], "perpetual", "L", "delisted", "LUNA-P@hyper"],
    ]
    assert [row["status"] for row in run("lookup", "L", "--json").rows] == ["active", "delisted"]
    lines = [line.strip() for line in run("amend", "L", "--tick", "1").err.splitlines()]
    assert lines[1:3] == [
        f"{new['id']} perpetual L LUNA-P@hyper generation 1",
        f"{old['id']} perpetual L LUNA-P@hyper delisted",
    ]


def test_no_listing_of_what_is_delisted_is_current(run: Run, apple: int) -> None:
    before = run("listings", APPLE, "--json").rows
    assert [row["status"] for row in before] == ["active", "delisted"]
    run("delist", APPLE, "--valid-from", "2025-01-01")
    rows = run("listings", APPLE, "--json").rows
    assert [(row["status"], row["current"]) for row in rows] == [("delisted", False)] * 2
    assert run("listings", APPLE, "--json", "--valid-at", "2024-06-01").rows == before


def test_by_other_identifiers(run: Run) -> None:
    bond = run(
        "register", "bond", "--isin", "US912810TN81", "--cusip", "912810TN8", "--coupon", "3.625",
        "--coupon-frequency", "2", "--maturity", "2053-02-15", "--tick", "1/256", "--json",
    ).rows[0]["id"]  # fmt: skip
    pair = run(
        "register", "spot_pair", "--venue", "binance", "--native-id", "BTCUSDT", "--json"
    ).rows[0]["id"]  # fmt: skip
    for words in (["912810TN8"], ["912810TN8", "--by", "cusip"]):
        (row,) = run("lookup", *words, "--json").rows
        assert (row["id"], row["coupon"], row["coupon_frequency"]) == (bond, "3.625", 2)
        assert (row["maturity"], row["tick"]) == ("2053-02-15", "0.00390625")
    assert run("lookup", "BTCUSDT", "--by", "native-id", "--json").rows[0]["id"] == pair
    missed = run("lookup", "912810TN7")
    assert missed.code == 1 and "the CUSIP with its right check digit" in missed.err
    assert run("lookup", "2046251", "--by", "sedol").code == 1
    assert run("amend", bond, "--coupon-frequency", "2.5").code == 2
    listed = ["add-listing", bond, "--venue", "XNYS", "--ticks", "0:1/64", "--min-size", "1000"]
    assert run(*listed).code == 0
    (row,) = run("listings", bond, "--json").rows
    assert (row["ticks"], row["min_size"], row["min_notional"]) == ("0:0.015625", "1000", None)
    assert "min size" in run("listings", bond).out


def test_hints_say_what_is_so(run: Run, apple: int) -> None:
    near = run("lookup", APPLE, "--by", "symbol")
    assert "it carries this ISIN)" in near.err and "before" not in near.err
    run("register", "equity", "--isin", "US5949181045", "--valid-from", "2199-01-01")
    assert "pending until 2199-01-01" in run("status", "US5949181045", "active").err
    refused = run("amend", APPLE, "--name", "x", "--valid-to", "2030-01-01")
    assert "valid_to=2030" in refused.err and "valid_from=" not in refused.err
    assert "status [OPTIONS]" in run("status", "AAPL", "--help").out
