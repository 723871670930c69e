"""`listings` with what the venues say: open, when next, what it costs; pools and bridged tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log import parse_time
from alphapulse.registry import DexPool, Equity, Listing, Origin, Registry, Token, Unit
from alphapulse.registry.venues import (
    WINDOWS_NS,
    Summary,
    Venue,
    bundled_hours,
    fee_line,
    fee_schedule,
)
from alphapulse.registry.venues.commands import SetPerformance

from .conftest import APPLE, Run

BLACK_FRIDAY = "2025-11-28T17:59:00Z"
"""A minute before the New York exchanges close early."""


@pytest.fixture
def venues(home: Path, apple: int) -> None:
    """Of Apple's two, and of Xetra, which has no hours and no fees."""
    with Registry.open(home) as registry:
        for venue in ("XNAS", "XTKS", "XETR"):
            registry.venues.add(Venue(key=venue))
        registry.venues.set_hours("XNAS", bundled_hours("XNAS"))
        registry.venues.set_hours("XTKS", bundled_hours("XTKS"))
        lines = [fee_line({"side": "taker", "value": "0.03", "minimum": "1"})]
        registry.venues.set_fees("XNAS", fee_schedule(lines), valid_from="2020-01-01")


def at(run: Run, venue: str, *words: str) -> dict[str, object]:
    (row,) = [each for each in run("listings", APPLE, "--json", *words).rows
              if each["venue"] == venue]  # fmt: skip
    return {name: row[name] for name in ("trading", "open", "next_open", "fee", "fee_currency",
                                         "fee_rate")}  # fmt: skip


@pytest.mark.usefixtures("venues")
def test_who_is_open_and_what_it_costs(run: Run) -> None:
    words = ("--valid-at", BLACK_FRIDAY, "--fee-for", "100@190")
    assert at(run, "XNAS", *words) == {
        "trading": "open", "open": True, "next_open": "2025-12-01T14:30:00.000000000Z",
        "fee": "5.7", "fee_currency": "USD", "fee_rate": "0.03 %",
    }  # fmt: skip
    assert at(run, "XNAS", "--valid-at", "2025-11-28T18:00:00Z")["open"] is False
    assert at(run, "XNAS", "--valid-at", BLACK_FRIDAY, "--fee-for", "1@10")["fee"] == "1"
    assert at(run, "XNAS", *words[:2])["fee"] is None
    people = run("listings", APPLE, *words)
    assert people.out.splitlines()[0].split()[-5:] == ["to", "open", "opens", "fee", "at"]
    assert people.out.splitlines()[1].endswith("yes   2025-12-01 14:30:00  5.7 USD  0.03 %")


@pytest.mark.usefixtures("venues")
def test_of_a_past_listing_and_before_a_venue_was_known_nothing_is_said(run: Run) -> None:
    words = ("--valid-at", BLACK_FRIDAY, "--fee-for", "100@190")
    assert set(at(run, "XTKS", *words).values()) == {None}
    assert set(at(run, "XNAS", *words, "--as-of", "6").values()) == {None}
    assert at(run, "XTKS", "--valid-at", "2000-06-01T01:00:00Z")["trading"] == "open"


@pytest.mark.usefixtures("venues")
def test_a_venue_without_hours_and_fees(run: Run) -> None:
    run("add-listing", APPLE, "--venue", "XETR", "--symbol", "APC", "--currency", "EUR")
    run("add-listing", APPLE, "--venue", "XLON")
    row = at(run, "XETR", "--fee-for", "100@190")
    assert row.pop("trading") == "open"
    assert set(row.values()) == {None}
    assert set(at(run, "XLON", "--fee-for", "100@190").values()) == {None}, "not registered"


@pytest.mark.usefixtures("venues")
def test_a_halt_is_seen(run: Run) -> None:
    assert run("status", "set", "XNAS", "halted", "--listing", APPLE).code == 0
    assert at(run, "XNAS")["trading"] == "halted"
    assert "halted" in run("listings", APPLE).out
    run("status", "set", "XNAS", "open", "--listing", APPLE)
    assert "trading" not in run("listings", APPLE).out


@pytest.mark.usefixtures("venues")
def test_how_soon_a_venue_answers_as_of_both_times(run: Run, home: Path) -> None:
    """Windows of an hour, and of a minute after it; and one that is only of a listing."""
    hour, minute = WINDOWS_NS["1h"], WINDOWS_NS["1m"]
    begin = parse_time("2026-03-02T10:00Z")

    def latency(*words: str) -> object:
        (row,) = [each for each in run("listings", APPLE, "--json", *words).rows
                  if each["venue"] == "XNAS"]  # fmt: skip
        return row["latency_p50_ns"]

    with Registry.open(home) as registry:
        first, record = registry.log.head, registry.by_isin(APPLE)
        assert record is not None
        for at, length, latency_ns, listing in (
            (begin, hour, 1_500_000, 0), (begin + hour + minute, minute, 700_000, 0),
            (begin, minute, 5, registry.find_listing(record.id, "XNAS")),
            (begin + 2 * hour, hour, 900_000, 0), (begin + 3 * hour, hour, 910_000, 0),
            (begin + 4 * hour - minute, minute, 800_000, 0),
        ):
            summary = Summary(at, at + length)
            summary.samples = 1
            summary.latencies["ack"].add(latency_ns)
            command = SetPerformance("XNAS", at, at + length, 1, summary.measures(),
                                     summary.sketches(), listing)  # fmt: skip
            assert isinstance(next(registry.execute([Unit((command,), Origin())])), list)
    assert latency() == 800_000, "of an hour and a minute that end together, the minute"
    assert latency("--valid-at", "2026-03-02T13:30:00Z") == 900_000
    assert latency("--valid-at", "2026-03-02T11:01:59Z") == 1_500_000
    assert latency("--valid-at", "2026-03-02T11:02:00Z") == 700_000
    assert latency("--as-of", str(first)) == 1_500_000, "the minute was not known yet"
    assert latency("--valid-at", "2026-03-02T10:59:59Z") is None
    table = run("listings", APPLE).out.splitlines()
    assert table[0].rstrip().endswith("ack p50") and table[1].rstrip().endswith("800 µs")


@pytest.mark.usefixtures("venues")
def test_a_fee_in_two_currencies_is_told_and_not_added_up(run: Run, home: Path) -> None:
    with Registry.open(home) as registry:
        lines = [fee_line({"value": "0.1", "component": part, "charged": charged})
                 for part, charged in (("trading", "quote"), ("network", "base"))]  # fmt: skip
        registry.venues.set_fees("XNAS", fee_schedule(lines), valid_from="2020-01-01")
    ran = run("listings", APPLE, "--fee-for", "100@190")
    assert ran.code == 0
    assert "no fee at XNAS" in ran.err
    assert "5.7" not in ran.out


def test_an_order_that_is_none(run: Run, apple: int) -> None:
    for wrong in ("100", "100@", "@5", "-1@5", "0@5", "1@x"):
        ran = run("listings", APPLE, "--fee-for", wrong)
        assert (ran.code, ran.out) == (2, ""), wrong
        assert "QUANTITY@PRICE" in ran.err


def test_pools_and_bridged_tokens(run: Run, home: Path) -> None:
    def address(number: int) -> str:
        return f"0x{number:040x}"

    with Registry.open(home) as registry:
        token, bridged, twice, other = (
            registry.register(
                Token(chain=f"eip155:{chain}", address=address(number), symbol="TKN")
            ).id
            for number, chain in ((1 << 20, 1), (1 << 20, 10), (3 << 20, 137), (4 << 20, 1))
        )
        registry.relate(bridged, "bridged_from", token)
        registry.relate(twice, "bridged_from", bridged)
        pools = [
            registry.register(
                DexPool(chain=f"eip155:{chain}", factory=address(9), address=address(pool),
                        tokens=f"{address(first << 20)} {address(second)}", symbol=f"P{pool}")
            ).id
            for pool, chain, first, second in (
                (50, 1, 1, 7), (51, 1, 4, 1 << 20), (52, 10, 1, 7), (53, 1, 4, 7)
            )
        ]  # fmt: skip
        registry.amend(pools[0], symbol="FIRST")
    rows = run("listings", f"0x{token:016x}", "--json").rows
    assert [(int(row["instrument"], 16), row["via"]) for row in rows] == [
        (token, None), (bridged, "bridged_from"), (twice, "bridged_from"),
        (pools[0], "pool"), (pools[1], "pool"),
    ]  # fmt: skip
    assert (rows[3]["venue"], rows[3]["symbol"], rows[3]["status"]) == (
        "eip155:1", "FIRST", "active"
    )  # fmt: skip
    (pool,) = [row for row in run("listings", f"0x{bridged:016x}", "--json").rows
               if row["via"] == "pool"]  # fmt: skip
    assert int(pool["instrument"], 16) == pools[2]
    assert [row["via"] for row in run("listings", f"0x{other:016x}", "--json").rows] == [
        None, "pool", "pool"
    ]  # fmt: skip


def test_a_placeholder_in_a_pool_is_the_coin(run: Run, home: Path) -> None:
    with Registry.open(home) as registry:
        coin = registry.register(Token(chain="eip155:1", address="0x" + "0" * 40)).id
        pool = registry.register(
            DexPool(chain="eip155:1", factory="0x" + "1" * 40, address="0x" + "2" * 40,
                    tokens=f"0x{'0' * 40} 0x{'3' * 40}")
        ).id  # fmt: skip
    rows = run("listings", f"0x{coin:016x}", "--json").rows
    assert [(int(row["instrument"], 16), row["via"]) for row in rows] == [
        (coin, None), (pool, "pool")
    ]  # fmt: skip


def test_receipts_are_shown_as_related_with_their_ratio(run: Run, home: Path) -> None:
    """Whichever of them is asked for; one of the row's instrument is so much of that."""
    with Registry.open(home) as registry:
        share, adr, gdr, unsaid, over = (
            registry.register(Equity(isin=isin)).id
            for isin in ("INE090A01021", "US45104G1040", "US0378331005", "US5949181045",
                         "US67066G1040")
        )  # fmt: skip
        for id, venue in (
            (share, "XNSE"), (share, "XBOM"), (adr, "XNYS"), (gdr, "XLON"), (unsaid, "XETR")
        ):
            registry.add_listing(Listing(instrument=id, venue=venue))
        registry.relate(adr, "receipt_of", share, ratio="2/1")
        registry.relate(gdr, "receipt_of", adr, ratio="1/6")
        registry.relate(unsaid, "receipt_of", share)
        registry.relate(over, "receipt_of", share, ratio="1/1", valid_to="2020-01-01")
        registry.add_listing(Listing(instrument=over, venue="XFRA"))
        head = registry.log.head - 4

    def told(id: int, *words: str) -> list[tuple[object, ...]]:
        rows = run("listings", f"0x{id:016x}", "--json", *words).rows
        return [(row["venue"], row["via"], row["ratio"]) for row in rows]

    assert told(share) == [
        ("XNSE", None, None), ("XBOM", None, None), ("XNYS", "receipt_of", "2/1"),
        ("XETR", "receipt_of", None), ("XLON", "receipt_of", "1/3"),
    ]  # fmt: skip
    assert told(adr) == [
        ("XNYS", None, None), ("XNSE", "receipt_of", "1/2"), ("XBOM", "receipt_of", "1/2"),
        ("XLON", "receipt_of", "1/6"), ("XETR", "receipt_of", None),
    ]  # fmt: skip
    assert len(told(share, "--valid-at", "2019-01-01")) == 6
    assert [row[0] for row in told(share, "--as-of", str(head))] == ["XNSE", "XBOM", "XNYS", "XLON"]
    assert run("listings", f"0x{share:016x}").out.count("receipt_of  1/3") == 1
