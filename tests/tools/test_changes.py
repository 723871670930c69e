from __future__ import annotations

import pytest

from alphapulse.registry import UnknownField

from .conftest import APPLE, Run


def test_diff_shows_fields_of_instruments(run: Run, apple: int) -> None:
    run("amend", APPLE, "--symbol", "APPL", "--tick", "0.010")
    run("end-listing", APPLE, "--venue", "XNAS", "--valid-to", "2030-01-01")
    id = f"0x{apple:016x}"
    ran = run("diff", "6", "8", "--json")
    assert ran.rows == [
        {"id": id, "field": "symbol", "before": "AAPL", "after": "APPL", "offset": 7},
        {"id": id, "field": "tick", "before": None, "after": "0.01", "offset": 7},
        {"id": id, "field": "listing XNAS USD 0 valid_to", "before": None,
         "after": "2030-01-01T00:00:00.000000000Z", "offset": 8},
    ]  # fmt: skip
    shown = run("diff", "6", "8").out.splitlines()
    assert shown[0].split() == ["id", "field", "before", "after", "offset"]
    assert shown[1].split() == [id, "symbol", "AAPL", "APPL", "7"]
    assert shown[3].split() == [id, "listing", "XNAS", "USD", "0", "valid_to", "2030-01-01", "8"]


def test_diff_of_a_new_home_and_of_some_keys(run: Run, apple: int) -> None:
    everything = run("diff", "1970-01-01", "6", "--json").rows
    tokens = [row for row in everything if int(row["id"], 16) != apple]
    assert {row["before"] for row in everything} == {None}
    assert {"field": "group list usdc", "after": True} in [
        {name: row[name] for name in ("field", "after")} for row in tokens
    ]
    mine = run("diff", "1970-01-01", "6", APPLE, "--json").rows
    assert mine == [row for row in everything if int(row["id"], 16) == apple]
    assert {"listing XTKS JPY 0", "listing XTKS JPY 0 valid_to"} <= {row["field"] for row in mine}
    assert run("diff", "0", "6", "USDC").code == 1, "two tokens have that symbol"


def test_diff_of_nothing_and_of_bad_moments(run: Run, apple: int) -> None:
    same = run("diff", "6", "2200-01-01")
    assert (same.code, same.out, same.err) == (0, "", "no difference\n")
    assert run("diff", "5", "4").code == 2
    assert run("diff", "5", "400").code == 2
    assert run("diff", "5").code == 2


def test_blame_names_the_event_of_each_field(run: Run, apple: int) -> None:
    run("amend", APPLE, "--symbol", "APPL", "--source", "desk")
    rows = run("blame", APPLE, "--json").rows
    assert {row["field"]: (row["value"], row["offset"], row["source"]) for row in rows} == {
        "class": ("equity", 0, "first"), "status": ("active", 0, "first"),
        "symbol": ("APPL", 7, "desk"), "name": ("Apple Inc.", 0, "first"),
        "isin": (APPLE, 0, "first"),
        "listing XNAS USD 0": (True, 1, "first"),
        "listing XNAS USD 0 symbol": ("AAPL", 1, "first"),
        "listing XNAS USD 0 primary": (True, 1, "first"),
        "listing XNAS USD 0 valid_from": ("1980-12-12T00:00:00.000000000Z", 1, "first"),
        "listing XTKS JPY 0": (True, 2, "first"),
        "listing XTKS JPY 0 valid_from": ("1990-01-01T00:00:00.000000000Z", 2, "first"),
        "listing XTKS JPY 0 valid_to": ("2004-12-01T00:00:00.000000000Z", 2, "first"),
    }  # fmt: skip
    assert all(row["recorded"].endswith("Z") for row in rows)
    assert run("blame", APPLE, "symbol", "--as-of", "6", "--json").rows[0]["value"] == "AAPL"
    assert "1980-12-12  " in run("blame", APPLE).out


def test_blame_of_one_field_or_of_some_words(run: Run, apple: int) -> None:
    (row,) = run("blame", APPLE, "symbol", "--json").rows
    assert row["offset"] == 0
    listing = run("blame", APPLE, "listing", "XTKS", "--json").rows
    assert [row["field"][:18] for row in listing] == ["listing XTKS JPY 0"] * 3
    assert run("blame", APPLE, "listing XTKS JPY 0 valid_to", "--json").rows == listing[2:]
    unknown = run("blame", APPLE, "sym", "--json")
    assert unknown.code == 1
    assert UnknownField.__name__ in unknown.error["error"]
    assert run("blame", "USDC").code == 1


@pytest.mark.parametrize(
    "words, said",
    [
        ("5 2", "the first is after the second [first=5, second=2]\ncure: swap them"),
        ("5 0 LATER", "the first is after the second [first=5, second=0]\ncure: swap them"),
        ("2 99999", "reading B: the log has no such event yet [offset=99999, head=7]"),
        ("77777 99999", "reading A: the log has no such event yet [offset=77777, head=7]"),
    ],
)
def test_diff_names_the_moments_as_they_were_given(
    run: Run, apple: int, words: str, said: str
) -> None:
    ran = run("diff", *words.split())
    assert ran.code == 2 and said in ran.err


@pytest.fixture
def changed(run: Run, apple: int) -> int:
    """XNAS with hours, fees, fees announced and a halt of Apple; the offset of its first event."""
    head = int(run("stats", "--json").rows[0]["head"])
    for words in (
        ("venue", "add", "XNAS", "--name", "Nasdaq"), ("hours", "set", "XNAS", "--bundled"),
        ("fees", "set", "XNAS", "--taker", "0.1", "--valid-from", "2026-01-01"),
        ("fees", "set", "XNAS", "--taker", "0.2", "--valid-from", "2099-01-01", "--source", "desk"),
        ("status", "set", "XNAS", "halted", "--listing", APPLE, "--valid-from", "2026-03-01",
         "--until", "2099-01-01", "--reason", "news"),
        ("venue", "set", "XNAS", "--name", "NASDAQ", "--country", "US"),
        ("fees", "set", "XNAS", "--taker", "0.3", "--valid-from", "2025-01-01"),
    ):  # fmt: skip
        assert run(*words).code == 0
    return head


def test_diff_shows_fields_of_venues(run: Run, changed: int) -> None:
    (said,) = run("venue", "add", "XNAS", "--json").rows
    venue, first = said["id"], changed
    between = run("diff", str(first + 2), str(first + 5), "--json").rows
    listing = next(row["field"] for row in between if row["field"].startswith("status")).split()[3]
    halt = f"status XNAS both {listing}"
    assert between == [
        {"id": venue, "field": "fees XNAS valid_from", "before": "2026-01-01T00:00:00.000000000Z",
         "after": "2099-01-01T00:00:00.000000000Z", "offset": first + 3},
        {"id": venue, "field": "fees XNAS - taker trading 0", "before": "0.1 percent of quote",
         "after": "0.2 percent of quote", "offset": first + 3},
    ] + [
        {"id": venue, "field": f"{halt}{field}", "before": None, "after": after,
         "offset": first + 4}
        for field, after in (
            ("", True), (" is", "halted"), (" valid_from", "2026-03-01T00:00:00.000000000Z"),
            (" until", "2099-01-01T00:00:00.000000000Z"), (" reason", "news"),
        )
    ] + [
        {"id": venue, "field": "venue XNAS name", "before": "Nasdaq", "after": "NASDAQ",
         "offset": first + 5},
        {"id": venue, "field": "venue XNAS country", "before": None, "after": "US",
         "offset": first + 5},
    ]  # fmt: skip
    assert run("diff", str(first + 2), str(first + 5), "XNAS", "--json").rows == between
    people = run("diff", "1970-01-01", str(first + 5))
    assert "hours XNAS zone" in people.out and people.err.endswith("s and 1 venue\n")
    both = run("diff", "1970-01-01", str(first + 5), APPLE, "XNAS")
    assert both.err.endswith("of 1 instrument and 1 venue\n")
    assert run("diff", str(first), str(first + 1), APPLE).err == "no difference\n"
    assert run("diff", "0", "6", "XLON").code == 1


def test_blame_of_a_venue_goes_by_what_holds_at_the_time(run: Run, changed: int) -> None:
    def blamed(*words: str) -> dict[str, tuple[object, int]]:
        rows = run("blame", "XNAS", *words, "--json").rows
        return {row["field"]: (row["value"], row["offset"] - changed) for row in rows}

    now = blamed()
    assert now["venue XNAS"] == (True, 0) and now["venue XNAS name"] == ("NASDAQ", 5)
    assert now["hours XNAS zone"] == ("America/New_York", 1)
    assert now["fees XNAS - taker trading 0"] == ("0.1 percent of quote", 2)
    assert [value for field, value in now.items() if field.endswith(" is")] == [("halted", 4)]
    later = blamed("--valid-at", "2099-01-01")
    assert later["fees XNAS - taker trading 0"] == ("0.2 percent of quote", 3)
    assert later["fees XNAS"] == (True, 6), "the first to say that there are any"
    assert blamed("--valid-at", "2025-06-01")["fees XNAS - taker trading 0"] == (
        "0.3 percent of quote", 6
    )
    assert not any(field.startswith("status") for field in later), "it is over"
    assert "venue XNAS country" not in blamed("--as-of", str(changed + 4))
    assert blamed("fees", "--as-of", str(changed + 1)) == {}
    (row,) = run("blame", "XNAS", "venue XNAS name", "--json").rows
    assert (row["value"], row["source"]) == ("NASDAQ", "operator")
    assert run("blame", "XLON").code == 1
