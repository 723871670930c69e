from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.registry import Equity, Registry, Token

from .conftest import Run

FIELDS = ["id", "a", "b", "evidence", "state", "source", "offset", "relation", "reason"]


@pytest.fixture
def ids(home: Path) -> tuple[str, str]:
    """Of two tokens called USDC, in the order of their fingerprints. Head: 3."""
    with Registry.open(home) as registry:
        made = registry.register_many([
            Token(chain="eip155:1", address=f"0x{1:040x}", symbol="USDC", name="USD [Coin]"),
            Token(chain="eip155:10", address=f"0x{2:040x}", symbol="usdc"),
            Equity(isin="US0378331005", symbol="USDC"),
        ])  # fmt: skip
    first, second = sorted(made[:2], key=lambda receipt: receipt.fingerprint)
    return f"0x{first.id:016x}", f"0x{second.id:016x}"


def propose(run: Run) -> str:
    (row,) = run("candidates", "propose", "--json").rows
    return str(row["id"])


def test_find_propose_and_list(run: Run, ids: tuple[str, str]) -> None:
    ran = run("candidates", "find", "--json")
    (found,) = ran.rows
    assert (ran.code, ran.err) == (0, "") and list(found) == FIELDS
    evidence = {"score": 2, "agree": {"symbol": "usdc"}, "differ": found["evidence"]["differ"]}
    assert sorted(evidence["differ"]["chain"]) == ["eip155:1", "eip155:10"]
    assert found == {
        "id": None, "a": ids[0], "b": ids[1], "evidence": evidence, "state": "found",
        "source": None, "offset": None, "relation": None, "reason": None,
    }  # fmt: skip
    assert run("candidates", "--json").rows == []
    (proposed,) = run("candidates", "propose", "--json").rows
    assert proposed == found | {
        "id": proposed["id"], "state": "proposed", "source": "finder", "offset": 3,
    }
    assert run("candidates", "--json").rows == [proposed]
    again = run("candidates", "propose")
    assert (again.code, again.out) == (0, "")
    assert again.err == "3 instruments compared, 0 candidates\n"
    assert run("candidates", "list", "--of", ids[1], "--json").rows == [proposed]
    assert run("candidates", "--of", "usdc", "--json").rows == [proposed]
    assert run("candidates", "--of", "US0378331005").err.startswith("no candidate is proposed")
    assert run("candidates", "--of", "nobody").code == 1
    assert run("candidates", "find", "--min-score", "3", "--json").rows == []


def test_people_see_both_sides(run: Run, ids: tuple[str, str]) -> None:
    table = run("candidates", "find")
    head, row = table.out.splitlines()
    assert head.split() == ["score", "a", "symbol", "b", "symbol", "same", "other"]
    assert row.split()[::2] == ["2", row.split()[2], row.split()[4], "chain"]
    assert "nothing is written" in table.err
    id = propose(run)
    shown = run("candidates", "show", id)
    assert shown.out.splitlines()[0].split() == ["id", id]
    assert "same symbol  usdc" in shown.out and "(USD [Coin])" in shown.out
    assert "1 candidate: `candidates show ID`" in run("candidates").err
    assert "have the same symbol (finder)" in run("tail", "kind=candidate").out


def test_confirm(run: Run, ids: tuple[str, str]) -> None:
    id = propose(run)
    words = ("candidates", "confirm", id)
    assert (run(*words).code, run(*words, "--relation", "same").code) == (2, 2)
    refused = run(*words, "--relation", "bridged_from")
    assert refused.code == 2 and "--from a or --from b" in refused.err
    bridged = (*words, "--relation", "bridged_from", "--from", "b", "--request-id", "r")
    done = run(*bridged, "--reason", "seen", "--source", "desk", "--valid-from", "2024-01-01")
    said = f"{ids[1]} bridged_from {ids[0]}"
    assert (done.code, done.out) == (0, f"confirmed  {id}  offset 5  {said}\n")
    (row,) = run("candidates", "show", id, "--json").rows
    assert (row["state"], row["relation"], row["reason"], row["source"]) == (
        "confirmed", said, "seen", "desk",
    )  # fmt: skip
    (link,) = run("related", ids[0], "--json").rows
    assert (link["from"], link["to"], link["source"]) == (ids[1], ids[0], "desk")
    assert link["valid_from"].startswith("2024-01-01")
    assert run(*bridged).code == 2  # the request id, for something else
    other = run(*words, "--relation", "same_as")
    assert other.code == 2 and "confirmed already" in other.err
    assert "bridged_from" in run("candidates", "--state", "all").out
    told = run("tail", "kind=candidate.confirmed").out
    assert f"{said} seen (desk)" in told


def test_a_relation_that_is_known_otherwise(run: Run, ids: tuple[str, str]) -> None:
    id = propose(run)
    assert run("relate", ids[0], "receipt_of", ids[1], "--ratio", "1/2", "--source", "x").code == 0
    words = ("--relation", "receipt_of", "--from", "a", "--ratio", "2/1", "--request-id", "r")
    for _ in range(2):  # a retry is told the same
        done = run("candidates", "confirm", id, *words)
        assert done.code == 1 and done.out.startswith(f"confirmed  {id}  offset 6  ")
        assert done.err == (
            "warning: the relation is known otherwise: see the conflict at offset 5\n"
        )


def test_refuse(run: Run, ids: tuple[str, str]) -> None:
    id = propose(run)
    assert run("candidates", "refuse", id).code == 2
    assert run("candidates", "refuse", id, "--reason", " ").code == 2
    (row,) = run("candidates", "refuse", id, "--reason", "two [red]", "--json").rows
    assert (row["state"], row["reason"], row["source"]) == ("refused", "two [red]", "operator")
    assert run("candidates").err.startswith("no candidate is proposed; ")
    assert run("candidates", "--state", "confirmed").err.startswith("no candidate is confirmed")
    assert "two [red]" in run("candidates", "--state", "refused").out
    assert "are unrelated: two [red]" in run("history", ids[0]).out
    assert run("candidates", "find", "--json").rows == []


@pytest.mark.parametrize(
    "words, code",
    [
        (("show",), 2), (("list", "0x1"), 2), (("show", "zz"), 2), (("show", "0x7"), 1),
        (("refuse", "0x7", "--reason", "x"), 1), (("confirm", "0x7", "--relation", "wraps"), 1),
        (("--reason", "x"), 2), (("find", "--state", "all"), 2), (("merge", "0x1"), 2),
        (("propose", "--relation", "wraps"), 2), (("--state", "open"), 2),
    ],
)  # fmt: skip
def test_what_cannot_be(run: Run, ids: tuple[str, str], words: tuple[str, ...], code: int) -> None:
    ran = run("candidates", *words, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert ran.error["cure"]


def test_crowds_are_told(
    run: Run, ids: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.registry.candidate_finder.GROUP_MAX", 1)
    told = run("candidates", "find")
    assert told.out == "" and "passed over: 2 have the symbol usdc" in told.err
