from __future__ import annotations

from .conftest import APPLE, Run


def test_a_halt_of_one_listing_and_of_the_venue(run: Run, apple: int) -> None:
    run("venue", "add", "XNAS")
    day = ("--valid-from", "2026-03-02")
    halted = run("status", "set", "XNAS", "halted", "--listing", APPLE, "--side", "sell", *day,
                 "--reason", "news")  # fmt: skip
    assert halted.code == 0
    at = ("--at", "2026-03-02T12:00Z")
    (shown,) = run("status", "show", "XNAS", "--listing", APPLE, *at, "--json").rows
    assert (shown["status"], shown["scope"], shown["scope_side"], shown["reason"]) == (
        "halted", "listing", "sell", "news",
    )  # fmt: skip
    assert shown["since"] == "2026-03-02T00:00:00.000000000Z" and shown["until"] is None
    (venue,) = run("status", "show", "XNAS", *at, "--json").rows
    assert (venue["status"], venue["scope"], venue["offset"]) == ("open", None, None)
    (buying,) = run(
        "status", "show", "XNAS", "--listing", APPLE, "--side", "buy", *at, "--json"
    ).rows
    assert buying["status"] == "open"
    until = ("--until", "2026-03-02T13:00Z")
    assert run("status", "set", "XNAS", "closed", *day, *until).code == 0
    shown_text = run("status", "show", "XNAS", "--listing", APPLE, *at).out
    assert "status      closed" in shown_text and "scope       venue" in shown_text
    assert "since       2026-03-02 00:00:00" in shown_text
    later = ("--at", "2026-03-02T13:00Z")
    assert run("status", "show", "XNAS", *later, "--json").rows[0]["status"] == "open"
    assert "nobody says otherwise" in run("status", "show", "XNAS", *later).err
    kinds = [row["kind"] for row in run("history", f"0x{apple:016x}", "--json").rows]
    assert kinds.count("venue.status") == 1


def test_what_cannot_become_so_is_refused(run: Run, apple: int) -> None:
    assert run("status", "set", "XNAS", "halted").code == 1
    run("venue", "add", "XNAS")
    run("status", "set", "XNAS", "closed", "--valid-from", "2026-03-02")
    refused = run("status", "set", "XNAS", "halted", "--valid-from", "2026-03-03")
    assert refused.code == 1 and "closed cannot become halted" in refused.err
    assert "auction, cancel_only, down, open" in refused.err
    assert run("status", "set", "XNAS", "asleep").code == 2
    assert run("status", "set", "XNAS", "open", "--until", "2020-01-01").code == 2
    assert run("status", "set", "XNAS", "open", "--currency", "USD").code == 2
    assert run("status", "set", "XNAS", "open", "--listing", APPLE, "--line", "x").code == 2
    assert run("status", "set", "XNAS", "open", "--listing", APPLE, "--line", "7").code == 1
    assert run("status", "set", "XNAS", "open", "--request-id", "r").code == 2
    assert run("status", "show", "XLON").code == 1


def test_an_instrument_is_moved_by_the_same_verb(run: Run, apple: int) -> None:
    assert run("status", APPLE, "halted").out.startswith("amended")
    assert run("lookup", APPLE, "--json").rows[0]["status"] == "halted"
    for words in (("status", "--help"), ("status", APPLE, "--help")):
        assert "status AAPL" in run(*words).out


def test_a_request_is_told_the_same_again(run: Run, apple: int) -> None:
    run("venue", "add", "XNAS")
    words = ("status", "set", "XNAS", "down", "--valid-from", "2026-03-02", "--request-id", "r")
    first, again = run(*words, "--json"), run(*words, "--json")
    assert first.rows == again.rows and first.rows[0]["outcome"] == "new"
    assert run(*words[:3], "halted", *words[4:]).code == 2


def test_a_halt_of_the_instrument_and_the_end_of_a_listing_are_seen(run: Run, apple: int) -> None:
    run("venue", "add", "XNAS")
    run("hours", "set", "XNAS", "--bundled", "always")
    before = run("stats", "--json").rows[0]["head"] - 1
    assert run("status", APPLE, "halted").code == 0
    show = ("status", "show", "XNAS", "--listing", APPLE, "--json")
    (shown,) = run(*show).rows
    assert (shown["status"], shown["scope"], shown["offset"], shown["reason"]) == (
        "halted", "instrument", before + 1, "the instrument is halted"
    )  # fmt: skip
    assert shown["since"] and run(*show, "--as-of", str(before)).rows[0]["status"] == "open"
    rows = run("listings", APPLE, "--json").rows
    (row,) = [each for each in rows if each["venue"] == "XNAS"]
    assert (row["status"], row["trading"], row["open"]) == ("halted", "halted", True)
    run("status", APPLE, "active")
    assert run(*show).rows[0]["status"] == "open"
    (known,) = run(*show, "--as-of", str(before + 1)).rows
    assert (known["status"], known["since"]) == ("halted", shown["since"])
    assert run("end-listing", APPLE, "--venue", "XNAS", "--valid-to", "2025-02-01").code == 0
    (ended,) = run(*show).rows
    assert (ended["status"], ended["scope"]) == ("closed", "listing")
    assert (ended["since"], ended["reason"]) == (
        "2025-02-01T00:00:00.000000000Z", "it is listed there no more"
    )  # fmt: skip
    assert run(*show, "--at", "2025-01-31").rows[0]["status"] == "open"
    run("venue", "add", "XPAR")
    run("add-listing", APPLE, "--venue", "XPAR", "--valid-to", "1965-01-01")
    (ended,) = run("status", "show", "XPAR", "--listing", APPLE, "--json").rows
    assert ended["since"] == "1965-01-01T00:00:00.000000000Z"
