from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, format_time
from alphapulse.registry import Equity, Registry, Token

from .conftest import Run

FIELDS = ["from", "relation", "to", "ratio", "valid_from", "valid_to", "source", "depth",
          "field"]


@pytest.fixture
def three(home: Path) -> list[str]:
    """Ids of WETH, ETH and of an ETH on another chain; then an old and a new ISIN. Head: 5."""
    with Registry.open(home) as registry:
        made = registry.register_many([
            *(Token(chain=f"eip155:{n}", address=f"0x{n:040x}", symbol=symbol)
              for n, symbol in ((1, "WETH"), (2, "ETH"), (3, "WETH.e"))),
            Equity(isin="US0378331005", symbol="OLD"), Equity(isin="US5949181045", symbol="NEW"),
        ])  # fmt: skip
    return [f"0x{receipt.id:016x}" for receipt in made]


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_relate_and_related(run: Run, three: list[str]) -> None:
    ran = run("relate", "WETH", "wraps", "ETH", "--ratio", "1/1", "--source", "me", "--json")
    (row,) = ran.rows
    assert (ran.code, row["offset"], row["outcome"]) == (0, 5, "new")
    assert run("relate", "WETH.e", "bridged_from", "WETH", "--valid-from", "2020-01-01").code == 0
    first, second = run("related", "ETH", "--depth", "2", "--json").rows
    assert list(first) == FIELDS
    assert first == {
        "from": three[0], "relation": "wraps", "to": three[1], "ratio": "1/1", "valid_from": None,
        "valid_to": None, "source": "me", "depth": 1, "field": None,
    }  # fmt: skip
    assert (second["from"], second["ratio"], second["depth"]) == (three[2], None, 2)
    assert run("related", "ETH", "--json").rows == [first]
    assert run("related", "ETH", "--json", "--depth", "9", "--relation", "wraps").rows == [first]
    assert run("related", "ETH", "--json", "--as-of", "4").rows == []
    assert run("related", "WETH.e", "--json", "--valid-at", "2019-01-01").rows == []
    people = run("related", "WETH")
    assert people.err == "2 relations of WETH\n"
    head, *rest = people.out.splitlines()
    assert head.split() == ["depth", "from", "symbol", "relation", "ratio", "to", "symbol",
                            "since", "source"]  # fmt: skip
    assert rest[0].split() == ["1", three[0], "WETH", "wraps", "1/1", three[1], "ETH", "me"]
    assert "2020-01-01" in rest[1]


def test_unrelate(run: Run, three: list[str]) -> None:
    words = ("WETH", "wraps", "ETH")
    assert run("unrelate", *words).code == 1
    run("relate", *words)
    for later in (("--request-id", "r"), ("--valid-to", "tomorrow")):
        assert run("unrelate", *words, *later).code == 2
    before = format_time(time.time_ns())
    assert run("unrelate", *words).out.startswith("amended")
    assert run("related", "WETH").out == ""
    assert "--ended" in run("related", "WETH").err
    (row,) = run("related", "WETH", "--ended", "--json").rows
    assert before <= row["valid_to"] <= format_time(time.time_ns())
    again = ("unrelate", *words, "--valid-to", "2025-01-01", "--request-id", "r", "--json")
    first = run(*again)
    assert (first.code, run(*again).out) == (0, first.out)
    reused = run("unrelate", *words, "--valid-to", "2025-01-02", "--request-id", "r")
    assert (reused.code, "used for something else" in reused.err) == (2, True)
    (event,) = run("tail", "kind=relation.ended", "--limit", "1").out.splitlines()
    assert event.endswith(f"{three[0]} wraps {three[1]} until {before[:10]}")


def test_a_relation_that_has_ended_says_so(run: Run, three: list[str]) -> None:
    words = ("relate", "WETH", "wraps", "ETH")
    run(*words, "--valid-from", "2019-01-01")
    run("unrelate", *words[1:], "--valid-to", "2200-01-01")
    assert run(*words).err == "", "it has not ended yet"
    run("unrelate", *words[1:], "--valid-to", "2020-01-01")
    again = run(*words)
    assert (again.code, again.out.split()[0]) == (0, "unchanged")
    assert again.err == (
        "note: that relation ended at 2020-01-01T00:00:00.000000000Z;"
        " --valid-from TIME begins it again\n"
    )
    assert run(*words, "--json").err == ""
    assert run(*words, "--valid-to", "2020-01-01").err == "", "who says that it ended knows"
    line = lines({"from": "WETH", "relation": "wraps", "to": "ETH"})
    assert run("relate", "-", stdin=line).err == again.err
    assert run("relate", "-", "--json", stdin=line).err == ""
    wrong = run(*words, "--valid-from", "2019-06-01", "--valid-to", "2019-02-01").err
    assert "valid_from, 2019-06-01T00:00:00.000000000Z [value='2019-02-01T00:00:00" in wrong
    wrong = run("unrelate", *words[1:], "--valid-to", "2018-01-01").err
    assert "periods=2019-01-01T00:00:00.000000000Z to 2018-01-01T00:00:00" in wrong
    assert run(*words, "--valid-from", "2021-01-01").out.startswith("amended")
    assert run(*words).err == ""


@pytest.mark.parametrize(
    "words, problem",
    [
        ("WETH likes ETH", "no such relation"),
        ("WETH grouped ETH", "no such relation"),
        ("WETH receipt_of ETH --ratio 0/1", "above zero"),
        ("WETH wraps ETH --ratio 2/1", "one for one"),
        ("WETH wraps WETH", "not related to itself"),
        ("WETH wraps", "A RELATION B"),
        ("WETH", "A RELATION B"),
        ("- wraps ETH", "stdin alone"),
        ("WETH wraps ETH --valid-from 2020-01-02 --valid-to 2020-01-02", "after valid_from"),
    ],
)
def test_what_cannot_be_is_exit_2(run: Run, three: list[str], words: str, problem: str) -> None:
    ran = run("relate", *words.split(), "--json")
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err
    assert run("stats", "--json").rows[0]["head"] == 5


@pytest.mark.parametrize("verb", ["relate", "unrelate"])
def test_what_is_related_to_itself_is_shown_by_its_id(
    run: Run, home: Path, three: list[str], verb: str
) -> None:
    problem = f"not related to itself [value='{three[0]}']"
    assert problem in run(verb, "WETH", "wraps", three[0]).err
    id = int(three[0], 16)
    with Registry.open(home) as registry, pytest.raises(InvalidInput) as caught:
        getattr(registry, verb)(id, "wraps", id, valid_to=9)
    assert problem in str(caught.value)


def test_what_is_refused_is_exit_1(run: Run, three: list[str]) -> None:
    assert run("relate", "WETH", "wraps", "nobody").code == 1
    run("relate", "WETH", "wraps", "ETH")
    back = run("relate", "ETH", "wraps", "WETH")
    assert back.code == 1
    assert f"path={three[1]} wraps {three[0]} wraps {three[1]}" in back.err
    run("relate", "WETH", "receipt_of", "ETH", "--ratio", "1/2", "--source", "a")
    other = run("relate", "WETH", "receipt_of", "ETH", "--ratio", "1/3", "--source", "b")
    assert (other.code, "contradicts" in other.err) == (1, True)
    assert "ratio: '1/2' by a stays, '1/3' by b was offered" in run("alerts").out


def test_lines(run: Run, three: list[str]) -> None:
    wraps = {"from": "WETH", "relation": "wraps", "to": "ETH"}
    ran = run(
        "relate", "-", "--json", "--source", "feed",
        stdin=lines(wraps, {**wraps, "from": "ETH", "to": "WETH"}, {**wraps, "colour": 1},
                    {"from": "WETH", "to": "ETH"}, {"relation": "wraps", "to": "ETH"}, wraps,
                    {**wraps, "relation": "component", "ratio": "3/6", "valid_to": None}),
    )  # fmt: skip
    assert ran.code == 1
    assert [row.get("outcome") for row in ran.rows] == [
        "new", None, None, None, None, "unchanged", "new"
    ]  # fmt: skip
    errors = [row["error"] for row in ran.rows if "error" in row]
    for error, why in zip(errors, ("RelationCycle", "no such field", "no such relation", "missing"),
                          strict=True):  # fmt: skip
        assert why in error
    ended = run("unrelate", "-", "--json", stdin=lines({**wraps, "valid_to": "2025-01-01"}))
    assert (ended.code, ended.rows[0]["outcome"]) == (0, "amended")
    assert [row["ratio"] for row in run("related", "ETH", "--json").rows] == ["1/2"]


def test_a_key_that_an_earlier_line_changed(run: Run, three: list[str]) -> None:
    """A line may not be answered by whom its key meant before."""
    ran = run(
        "relate", "-", "--json",
        stdin=lines({"from": three[0], "relation": "wraps", "to": three[1]},
                    {"from": three[1], "relation": "same_as", "to": "WETH.e"}),
    )  # fmt: skip
    assert [row["outcome"] for row in ran.rows] == ["new", "new"]


def test_nothing_is_related(run: Run, three: list[str]) -> None:
    ran = run("related", "NEW")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "no relation of NEW holds at that time; --ended shows those of any time\n"
    ran = run("related", "NEW", "--ended")
    assert ran.err == "no relation of NEW is known; `alphapulse relate` adds one\n"
    nobody = run("related", "ether")
    assert (nobody.code, nobody.out) == (1, "")
    for words in (("--depth", "0"), ("--ended", "--valid-at", "2020"), ("--relation", "grouped"),
                  ("--valid-at", "soon"), ("--as-of", "99")):  # fmt: skip
        assert run("related", "NEW", *words).code == 2, words


def test_lookups_follow_what_joins(run: Run, three: list[str]) -> None:
    old, new = three[3:]
    run("relate", "NEW", "succeeds", "OLD", "--ratio", "1/1")
    run("relate", "WETH", "same_as", "WETH.e")
    run("add-listing", "NEW", "--venue", "XETR", "--symbol", "N")
    rows = run("lookup", "US0378331005", "--json").rows
    assert [(row["id"], row["joined"]) for row in rows] == [
        (old, None), (new, f"succeeds {old}")
    ]  # fmt: skip
    assert [(row["id"], row["joined"]) for row in run("lookup", "NEW", "--json").rows] == [
        (new, None), (old, f"succeeded_by {new}")
    ]  # fmt: skip
    assert f"succeeded by  {old} equity OLD US0378331005" in run("lookup", "NEW").out
    for one, other in (three[0:3:2], three[2::-2]):
        assert [row["joined"] for row in run("lookup", one, "--json").rows] == [
            None, f"same_as {one}"
        ], other  # fmt: skip
    people = run("lookup", "OLD")
    assert (people.err, people.out.splitlines()[-1].split()) == (
        "", ["succeeds", new, "equity", "NEW", "US5949181045"])  # fmt: skip
    assert [row["venue"] for row in run("listings", "OLD", "--json").rows] == ["XETR"]
    assert len(run("lookup", "OLD", "--json", "--as-of", "4").rows) == 1


def test_who_is_joined_is_found_at_a_time_of_its_own(run: Run) -> None:
    old, new = "US30303M1027", "US5949181045"
    for isin, symbol, since in ((old, "FB", "2012-05-18"), (new, "META", "2022-06-09")):
        run("register", "equity", "--isin", isin, "--symbol", symbol, "--valid-from", since)
    assert run("lookup", new, "--valid-at", "2015-01-01").code == 1
    run("relate", "FB", "same_as", "META")
    (row,) = run("lookup", new, "--valid-at", "2015-01-01", "--json").rows
    assert (row["isin"], row["symbol"]) == (old, "FB")
    (other,) = [each["id"] for each in run("lookup", "META", "--json").rows if not each["joined"]]
    assert row["joined"] == f"same_as {other}"
    assert f"joined       same_as {other}" in run("lookup", new, "--valid-at", "2015-01-01").out
    assert run("lookup", new, "--valid-at", "2011-01-01").code == 1
