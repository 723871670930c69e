"""`venue` and `venues`, and what `history`, `tail` and `audit` say of venues."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alphapulse.registry import Registry
from alphapulse.registry.venues.venue import Venue

from .conftest import Run

LINK = ("--link", "web=www.nasdaq.com")


def test_a_venue_is_added_corrected_and_shown(run: Run) -> None:
    added = run("venue", "add", "XNAS", "--name", "Nasdaq", "--kind", "Exchange", *LINK,
                "--country", "US", "--currency", "USD", "--valid-from", "1971-02-08",
                "--json")  # fmt: skip
    assert (added.code, added.rows[0]["outcome"], added.rows[0]["offset"]) == (0, "new", 0)
    assert run("venue", "add", "XNGS", "--operating", "XNAS").out.startswith("new ")
    (shown,) = run("venue", "show", "XNAS", "--json").rows
    assert shown == {
        "venue": "XNAS", "mic": "XNAS", "operating_mic": "XNAS", "name": "Nasdaq",
        "kind": "exchange", "country": "US", "currency": "USD", "status": "open", "open": None,
        "next_open": None, "next_close": None, "endpoints": [], "fees_from": None,
        "valid_from": "1971-02-08T00:00:00.000000000Z", "valid_to": None, "lei": None,
        "links": {"web": "https://www.nasdaq.com"}, "segments": ["XNGS"],
    }  # fmt: skip
    assert run("venue", "set", "XNAS", "--name", "NASDAQ", "--country", "").code == 0
    (shown,) = run("venue", "show", "XNAS", "--json").rows
    assert (shown["name"], shown["country"]) == ("NASDAQ", None)
    (before,) = run("venue", "show", "XNAS", "--as-of", "1", "--json").rows
    assert before["name"] == "Nasdaq"
    assert "segments       XNGS" in run("venue", "show", "XNAS").out
    assert run("venue", "set", "XNAS", "--link", "").code == 0
    assert run("venue", "show", "XNAS", "--json").rows[0]["links"] == {}


def test_what_cannot_be_is_refused(run: Run) -> None:
    run("venue", "add", "XNAS", "--name", "Nasdaq")
    unknown = run("venue", "show", "nas")
    assert unknown.code == 1 and "near: XNAS Nasdaq" in unknown.err
    assert run("venue", "show", "XLON", "--json").error["error"].startswith("UnknownVenue")
    refused = run("venue", "add", "XNGS", "--operating", "XLON")
    assert refused.code == 2 and "add XLON first" in refused.err
    assert run("venue", "set", "XNAS").code == 2
    assert run("venue", "set", "XLON", "--name", "x").code == 1
    assert run("venue", "add", "XLON", "--link", "web").code == 2
    assert run("venue", "add", "XLON", "--country", "Britain").code == 2
    conflict = run("venue", "add", "XNAS", "--name", "Other", "--source", "else")
    assert conflict.code == 1 and "contradicts" in conflict.err


def test_venues_are_listed_by_kind_country_and_hours(run: Run) -> None:
    for words in (
        ("XNAS", "--kind", "exchange", "--country", "US"), ("XLON", "--country", "GB"),
        ("XOLD", "--valid-to", "2020-01-01"), ("binance", "--kind", "crypto_exchange"),
    ):  # fmt: skip
        run("venue", "add", *words)
    for venue, name in (("XNAS", ""), ("XLON", ""), ("binance", "always")):
        run("hours", "set", venue, f"--bundled={name}" if name else "--bundled")

    def names(*words: str) -> list[str]:
        return [row["venue"] for row in run("venues", *words, "--json").rows]

    assert names() == ["XNAS", "XLON", "binance"]
    assert names("--expired") == ["XNAS", "XLON", "XOLD", "binance"]
    assert names("--kind", "crypto-exchange") == ["binance"]
    assert names("--country", "GB") == ["XLON"]
    assert names("--open-at", "2026-11-23T09:00Z") == ["XLON", "binance"]
    assert names("--open-at", "2026-11-23T15:00Z") == ["XNAS", "XLON", "binance"]
    assert names("--open-at", "2026-11-22T15:00Z") == ["binance"]
    assert run("venues", "--kind", "bazaar").code == 2
    table = run("venues")
    assert table.out.splitlines()[0].split() == [
        "venue", "kind", "country", "open", "next", "open",
    ]  # fmt: skip
    assert table.err.strip() == "3 venues, 1 expired (--expired)"
    assert "endpoints" not in run("venues", "--json").rows[0]


def test_every_event_about_a_venue_is_shown(run: Run) -> None:
    run("venue", "add", "XNAS", "--name", "Nasdaq")
    run("hours", "set", "XNAS", "--bundled")
    run("fees", "set", "XNAS", "--maker", "9", "--taker", "0.1")
    run("status", "set", "XNAS", "halted", "--until", "2099-01-01", "--side", "sell")
    kinds = [row["kind"] for row in run("history", "XNAS", "--json").rows]
    assert kinds == [
        "venue.registered", "venue.hours", "venue.fees", "venue.warning", "venue.status",
    ]  # fmt: skip
    lines = run("history", "XNAS").out
    assert "XNAS schedule 0 line 0: 9 % is very high" in lines
    assert "XNAS halted to sell since" in lines and "until 2099-01-01T00:00:00" in lines
    assert len(run("tail", "kind=venue", "--json").rows) == 5
    assert len(run("tail", "kind=venue.fees venue=XNAS", "--json").rows) == 1
    body = run("tail", "kind=venue.status", "--json").rows[0]["body"]
    assert (body["status"], body["class"], body["listing"]) == ("halted", None, None)
    assert run("history", "XLON").code == 1
    assert run("audit").code == 0


def test_options_stand_before_and_after_every_word(run: Run, tmp_path: Path) -> None:
    home = str(tmp_path / "named")
    with Registry.open(home) as registry:
        registry.venues.add(Venue(key="XNAS"))
    for words in (
        ("--home", home, "--json", "venue", "show", "XNAS"),
        ("venue", "--home", home, "--json", "show", "XNAS"),
        ("venue", "show", "--home", home, "--json", "XNAS"),
    ):
        assert run(*words).rows[0]["venue"] == "XNAS"


ENDPOINTS = """
[[endpoints]]
kind = "rest"
address = "https://api.binance.com"
region = "ap-northeast-1"
authentication = "hmac"

[[endpoints.limits]]
count = 6000
seconds = 60.0
scope = "weight"

[[endpoints]]
kind = "fix"
address = "tls://fix.binance.com:9000"
environment = "test"
fix_version = "FIX.4.4"
sender = "ALPHA"
target = "SPOT"
"""


@pytest.fixture
def file(run: Run, tmp_path: Path) -> Path:
    """Empty; binance is registered."""
    assert run("venue", "add", "binance").code == 0
    return tmp_path / "endpoints"


def test_endpoints_are_said_shown_and_said_again(run: Run, file: Path) -> None:
    file.write_text(ENDPOINTS)
    words = ("venue", "set", "binance", "--endpoints", str(file))
    (said,) = run(*words, "--valid-from", "2026-01-01", "--source", "desk", "--json").rows
    assert (said["offset"], said["outcome"]) == (1, "new")
    (shown,) = run("venue", "show", "binance", "--json").rows
    assert shown["endpoints"] == [
        {"kind": "rest", "address": "https://api.binance.com", "environment": "live",
         "region": "ap-northeast-1", "authentication": "hmac", "fix_version": None,
         "sender": None, "target": None,
         "limits": [{"count": "6000", "seconds": "60", "scope": "weight"}]},
        {"kind": "fix", "address": "tls://fix.binance.com:9000", "environment": "test",
         "region": None, "authentication": None, "fix_version": "FIX.4.4", "sender": "ALPHA",
         "target": "SPOT", "limits": []},
    ]  # fmt: skip
    people = run("venue", "show", "binance").out
    assert "rest https://api.binance.com  live, ap-northeast-1, hmac, 6000 in 60 s of weight" in (
        people
    )
    assert "test, FIX.4.4, sender ALPHA, target SPOT\n" in people
    for form in (shown, shown["endpoints"], {"endpoints": shown["endpoints"]}):
        file.write_text(json.dumps(form))
        again = run(*words, "--valid-from", "2026-01-01", "--json").rows
        assert again == [said | {"outcome": "unchanged"}]
    (before,) = run("venue", "show", "binance", "--at", "2025-12-31", "--json").rows
    assert before["endpoints"] == []
    file.write_text("\ufeffendpoints = []")
    assert run(*words).code == 0
    assert run("venue", "show", "binance", "--json").rows[0]["endpoints"] == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "other fields than endpoints, or none"),
        ('[["rest"]]', "reading endpoints"),
        ('{"endpoints": {}}', "no list of endpoints"),
        ('{"endpoints": [], "name": "x"}', "other fields"),
        ('[{"kind": "rest", "address": "https://a.com"}, 5]', "endpoint 2: "),
        ('[{"kind": "rest", "address": "https://a.com"}, {}]', "endpoint 2: reading field kind"),
        ('[{"kind": "rest"', "reading endpoints: "),
        (ENDPOINTS.replace("6000", '"many"'), "endpoint 1: reading field count"),
        (ENDPOINTS.replace("count", "secret"), "endpoint 1: reading field limits"),
    ],
)
def test_a_wrong_file_of_endpoints_says_which(
    run: Run, file: Path, written: str, told: str
) -> None:
    file.write_text(written)
    ran = run("venue", "set", "binance", "--endpoints", str(file))
    assert (ran.code, ran.out) == (2, "") and told in ran.err
    assert run("stats", "--json").rows[0]["head"] == 1, "nothing was written"


def test_endpoints_go_with_no_other_field(run: Run, file: Path) -> None:
    file.write_text(ENDPOINTS)
    words = ("--endpoints", str(file))
    assert run("venue", "set", "binance", *words, "--name", "x").code == 2
    assert run("venue", "set", "kraken", *words).code == 1
    assert run("venue", "set", "binance", "--endpoints", str(file.parent / "none")).code == 2


def test_a_listing_at_a_venue_that_nobody_registered_is_noted(run: Run) -> None:
    """Where venues that are named alike are registered."""
    run("register", "equity", "--isin", "US0378331005")
    words = ("add-listing", "US0378331005", "--venue")
    assert "note" not in run(*words, "QQQA").err, "this home knows no venues"
    run("venue", "add", "XNAS")
    assert "note" not in run(*words, "XNAS").err
    assert "note" not in run(*words, "bnance").err, "it knows none by slug"
    for venue, like in (("QQQQ", "XNAS"), ("bnance", "binance")):
        run("venue", "add", like)
        noted = run(*words, venue)
        assert noted.code == 0 and f"note: {venue} is no venue that is registered" in noted.err
        assert f"venue add {venue}" in noted.err


def test_a_listing_that_goes_on_at_a_venue_that_is_over_is_noted(run: Run) -> None:
    run("venue", "add", "XBBB", "--valid-to", "2020-01-01")
    run("register", "equity", "--isin", "US0378331005")
    words = ("add-listing", "US0378331005", "--currency", "USD", "--venue")
    noted = run(*words, "XBBB")
    assert noted.code == 0 and "note: XBBB is no venue since 2020-01-01" in noted.err
    assert run(*words, "XBBB", "--valid-to", "2019-06-01").err == ""
    assert "is no venue since" not in run(*words, "XCCC").err, "nothing is known of it"


def test_as_of_shows_what_was_known_and_true_then(run: Run) -> None:
    run("venue", "add", "XNAS")
    run("venue", "add", "XNGS", "--operating", "XNAS")
    run("venue", "add", "XBOS")
    run("hours", "set", "XNAS", "--bundled", "always")
    assert run("venue", "show", "XNAS", "--as-of", "0", "--json").rows[0]["segments"] == []
    assert run("venue", "show", "XNAS", "--as-of", "1", "--json").rows[0]["segments"] == ["XNGS"]
    early = run("venue", "show", "XBOS", "--as-of", "1")
    assert early.code == 1 and "it was not known by then" in early.err and "near" not in early.err
    assert "near" not in run("venue", "show", "XB", "--as-of", "1").err
    assert "near: XBOS" in run("venue", "show", "XB").err
    assert run("status", "set", "XNAS", "halted", "--until", "2199-01-01").code == 0
    halted = run("history", "XNAS", "--json").rows[-1]["offset"]
    run("status", "set", "XNAS", "open")
    then = ("--as-of", str(halted), "--json")
    assert run("status", "show", "XNAS", "--json").rows[0]["status"] == "open"
    assert run("status", "show", "XNAS", *then).rows[0]["status"] == "halted"
    assert run("venue", "show", "XNAS", *then).rows[0]["status"] == "halted"
    assert run("venues", *then).rows[0]["status"] == "halted"
    asked = run("hours", "is-open", "XNAS", *then).rows[0]["at"]
    assert asked == run("history", "XNAS", "--json").rows[-2]["recorded"]
    past = ("--as-of", "2000-01-01")
    assert run("hours", "is-open", "XNAS", *past).code == 1


def test_a_country_is_folded_and_checked(run: Run) -> None:
    run("venue", "add", "XNAS", "--country", "US")
    run("venue", "add", "XLON", "--country", "GB")
    assert [row["venue"] for row in run("venues", "--country", "us", "--json").rows] == ["XNAS"]
    bad = run("venues", "--country", "ZZZ")
    assert bad.code == 2 and "no country of ISO 3166" in bad.err
