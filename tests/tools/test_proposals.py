from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.registry import Registry
from tests.registry.discovery.drops import content, drop

from .conftest import Run

USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
TOKEN = ("token", "--chain", "eip155:1", "--symbol", "USDT", "--address", USDT)
RULES = 'precedence = ["exchange", "vendor"]\n[seen]\n"chainwatch" = "auto"\n'
FEED = '[[feed]]\npattern = "*"\n'


def complete_feed(directory: Path) -> str:
    text = '[[feed]]\npattern = "*.csv"\nsource = "exchange"\ncomplete = true\nmissing_after = 1\n'
    (directory / "all.toml").write_text(text)
    return str(directory / "all.toml")


def test_seen_is_proposed_answered_and_told(run: Run) -> None:
    (first,) = run("seen", *TOKEN, "--source", "collector", "--json").rows
    assert (first["outcome"], first["state"], first["offset"]) == ("proposed", "proposed", 0)
    shown = run("proposals")
    assert shown.code == 1 and shown.err.startswith("1 open\n")
    assert shown.out == (
        f"{first['id']}  instrument.seen     USDT        register token USDT"
        f" token|eip155:1|erc20|{USDT} (collector)\n"
    )  # fmt: skip
    (row,) = run("proposals", "--json").rows
    assert row["id"] == first["id"] and row["body"]["facts"]["symbol"] == "USDT"
    refused = run("proposals", "refuse", first["id"], "--reason", "no")
    assert (refused.code, refused.err) == (0, "no open proposals\n")
    assert refused.out == f"refused    {first['id']}  offset 1\n"
    assert run("seen", *TOKEN).out == f"unchanged  {first['id']}  offset 1 (refused)\n"
    confirmed = run("proposals", "confirm", first["id"])
    assert confirmed.code == 0 and confirmed.out.endswith("offset 2\n")
    again = run("proposals", "confirm", first["id"])
    assert again.code == 0 and again.err.startswith("it was so before\n")
    assert run("seen", *TOKEN).out.endswith("offset 2 (registered)\n")
    assert run("proposals").code == 0 and run("proposals", "--all").out.endswith(
        "register token USDT 0x827e7e7dc1b14e05 confirmed (operator)\n"
    )  # fmt: skip


def test_lines_of_a_collector(run: Run) -> None:
    lines = (
        f'{{"class": "token", "chain": "eip155:1", "address": "{USDT}", "policy": "auto"}}\n'
        '{"class": "equity", "isin": "US0378331005", "source": "lists"}\n'
        '{"class": "equity", "isin": "US0378331005", "policy": "ask"}\n'
        '{"class": "equity", "isin": "US0378331006"}\n'
        '{"class": "equity", "isin": "US0378331005"}\n'
    )
    ran = run("seen", "-", "--source", "collector", "--json", stdin=lines)
    assert ran.code == 1
    told = [str(row.get("outcome", row.get("error"))) for row in ran.rows]
    assert told[:2] == ["new", "proposed"] and told[4] == "unchanged"
    assert "no such policy" in told[2] and "check digit" in told[3]
    assert [row.get("state") for row in ran.rows] == [
        "registered", "proposed", None, None, "proposed",
    ]  # fmt: skip
    tail = run("tail", "kind=instrument.seen", "--json").rows
    assert [row["source"] for row in tail] == ["collector", "lists"]
    assert "at once, by policy auto" in run("tail", "kind=instrument.seen").out


def test_rules_are_stated_and_shown(run: Run, home: Path, tmp_path: Path) -> None:
    (tmp_path / "feeds.toml").write_text(RULES)  # nobody has to name a feed for that
    ran = run("rules", str(tmp_path / "feeds.toml"))
    assert ran.code == 0 and ran.out.splitlines() == [
        "precedence        1  exchange", "precedence        2  vendor",
        "seen        auto     chainwatch",
    ]  # fmt: skip
    (tmp_path / "plain.toml").write_text(FEED)
    plain = run("rules", str(tmp_path / "plain.toml"))
    assert plain.out == ran.out and "states neither" in plain.err
    assert run("rules", "--json").rows == [
        {"precedence": ["exchange", "vendor"], "seen": {"chainwatch": "auto"}, "offset": 0}
    ]
    assert run("seen", *TOKEN, "--source", "chainwatch").out.startswith("new")
    told = run("tail", "kind=feed").out
    assert "exchange > vendor; seen by chainwatch: auto (feeds-file)" in told
    (tmp_path / "none.toml").write_text("precedence = []\nseen = {}\n" + FEED)
    none = run("rules", str(tmp_path / "none.toml"))
    assert none.out == "" and "no rules are stated" in none.err
    assert run("rules", str(tmp_path / "missing.toml")).code == 2


@pytest.mark.parametrize("words, why", [
    (("confirm",), "write `proposals confirm ID"), (("drop", "0x1"), "write `proposals confirm"),
    (("confirm", "0xx"), "is no id"), (("confirm", "0x1", "--reason", "a"), "is of refuse"),
    (("--request-id", "r"), "of an answer"),
])  # fmt: skip
def test_bad_usage(run: Run, words: tuple[str, ...], why: str) -> None:
    ran = run("proposals", *words)
    assert ran.code == 2 and why in ran.err


def test_several_are_answered_all_together(run: Run) -> None:
    line = f'{{"class": "token", "chain": "eip155:N", "address": "{USDT}"}}\n'
    lines = line.replace("N", "1") + line.replace("N", "2")
    one, two = (row["id"] for row in run("seen", "-", "--json", stdin=lines).rows)
    assert run("proposals", "confirm", one, "0x7").code == 1
    assert len(run("proposals", "--json").rows) == 2, "not half of it"
    words = ("proposals", "confirm", one, two, "--request-id", "r", "--json")
    answers = run(*words).rows
    assert [row["outcome"] for row in answers] == ["new", "new"] and run(*words).rows == answers
    assert run("proposals").code == 0


def test_an_unknown_proposal(run: Run) -> None:
    run("init")
    ran = run("proposals", "confirm", "0x7", "--json")
    assert ran.code == 1 and "no such proposal" in ran.error["error"]


def test_complete_feeds_say_what_they_came_to(run: Run, home: Path, tmp_path: Path) -> None:
    feeds, toml = tmp_path / "in", complete_feed(tmp_path)
    feeds.mkdir()
    words = ("watch", str(feeds), "--feeds", toml, "--once", "--settle", "0")
    os.utime(drop(feeds, "1.csv", content(1, rows=5)), (1, 1))
    assert "1.csv: 5 came and 0 went" in run(*words).err
    os.utime(drop(feeds, "2.csv", content(1, rows=4)), (2, 2))
    (row,) = run(*words, "--json").rows
    (proposal,) = row["snapshot"].pop("proposed")
    assert row["snapshot"] == {
        "flaw": None, "number": 2, "named": 4, "appeared": 0, "gone": 1, "withdrawn": [],
    }  # fmt: skip
    assert "S1R4" in run("proposals").out and "not in 1 complete file of exchange" in (
        run("tail", "kind=instrument.missing").out
    )
    os.utime(drop(feeds, "3.csv", content(2)), (3, 3))
    short = run(*words)
    assert short.code == 1
    assert "3.csv: it is short, so it says of nobody that it is gone" in short.err
    with Registry.open(home) as registry:
        (event,) = registry.proposals()
        assert f"0x{event.entity:016x}" == proposal
    os.utime(drop(feeds, "4.csv", content(1, rows=5) + "\n"), (4, 4))
    assert "4.csv: 1 back" in run(*words).err
    told = run("tail", "kind=feed.snapshot").out
    assert "short file: 1 instrument, 1 new" in told and "complete file 2: 4 instruments" in told
