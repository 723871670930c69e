from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from alphapulse.registry import importing

from .conftest import APPLE, Run

pytestmark = pytest.mark.usefixtures("forked_interpreters")


def test_the_demo_shows_everything_and_leaves_nothing(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    ran = run("demo", "--json")
    assert ran.code == 0, ran.err
    assert "CRITICAL: id collision" in ran.err
    assert [row["step"] for row in ran.rows] == list(range(1, len(ran.rows) + 1))
    assert all(
        list(row) == ["step", "title", "command", "exit", "seconds", "output"] for row in ran.rows
    )
    output = {row["command"].removeprefix("alphapulse "): row["output"] for row in ran.rows}
    imported = output["import optimism.tokenlist.json nse_equities.csv apple_listings.csv"]
    assert [(row["new"], row["unchanged"]) for row in imported] == [(1167, 1), (400, 0), (6, 0)]
    (apple,) = output[f"lookup {APPLE}"]
    assert len(output["lookup USDC"]) > 1
    places = {row["venue"]: row for row in output[f"listings {APPLE}"]}
    assert places["XNAS"]["primary"]
    assert not places["XTKS"]["current"]
    mapped = {row["venue"]: row for row in output[f"listings {APPLE} --fee-for 100@190"]}
    assert mapped.keys() == places.keys()
    assert [(row["fee"], row["fee_currency"]) for row in mapped.values()] == [
        ("0.3", "USD"), ("0.3", "USD"), ("1.5", "EUR"), ("1.5", "EUR"), ("1.5", "USD"),
        (None, None),
    ]  # fmt: skip
    assert all((row["open"] is None) is (name == "XTKS") for name, row in mapped.items())
    assert all(bool(row["next_open"]) is (name != "XTKS") for name, row in mapped.items())
    (both,) = output["cross XLON XETR"]
    assert both["instrument_a"] == both["instrument_b"] == apple["id"]
    (caught,) = output["tail --follow --limit 1 kind=instrument.registered"]
    assert caught["body"]["symbol"] == "MSFT"
    (alert,) = output["--home small-ids alerts"]
    assert alert["kind"] == "collision.detected"
    (before,) = (
        rows for command, rows in output.items() if command.startswith(f"lookup {apple['id']} --as")
    )
    assert before[0]["symbol"] == "AAPL"
    assert output[f"lookup {apple['id']}"][0]["symbol"] == "APPL"
    assert all(row["ok"] for row in output["audit"])
    assert all(row["equal"] for row in output["rebuild --check"])
    assert not home.exists(), "the registry of ALPHAPULSE_HOME is left alone"
    assert list(scratch.iterdir()) == []


def test_help_says_what_home_means_to_the_demo(run: Run) -> None:
    text = " ".join(run("demo", "--help").out.split())
    assert text.count("ALPHAPULSE_HOME") == 1
    assert "$ALPHAPULSE_HOME is left alone" in text
    assert "keep it [else a temporary one]" in text
    assert "else $ALPHAPULSE_HOME" in " ".join(run("stats", "--help").out.split())


def test_the_demo_for_people_ends_with_what_to_type_next(run: Run, tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    ran = run("demo", "--home", kept)
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    process = [line for line in ran.out.splitlines() if line.startswith("process ")]
    assert "following from offset" in process[0]
    assert "equity MSFT" in process[2]
    *_, follow, nvidia = [line.strip() for line in ran.out.splitlines() if kept in line]
    assert "tail --follow" in follow
    next_steps = [line.strip().removeprefix("alphapulse ").split() for line in ran.out.splitlines()
                  if line.startswith(f"  alphapulse --home {kept} ")]  # fmt: skip
    for words in next_steps:
        if "--follow" not in words:
            assert run(*words).code == 0, words
    assert "NVDA" in nvidia
    venues = run("--home", kept, "venues", "--json").rows
    assert len(venues) == 5 and all(each["name"] and each["country"] for each in venues)
    again = run("demo", "--home", kept)
    assert again.code == 2
    assert kept in again.err


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_step_that_fails_is_the_last(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """What follows builds on it: looking up what was never imported would look like a bug."""

    def give_up(*_: object, **__: object) -> object:
        raise KeyboardInterrupt if interrupted else OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(importing, "import_file", give_up)
    ran = run("demo", "--home", str(tmp_path / "kept"))
    assert [line for line in ran.out.splitlines() if line[:2] in ("1.", "2.")] == [
        "1. Import a token list, 400 Indian equities and Apple's listings"
    ]
    assert "Done in" not in ran.out and "this is a bug" not in ran.err
    if interrupted:
        assert (ran.code, ran.err) == (130, "interrupted\n")
    else:
        assert ran.code == 1 and "step 1 ended with 2, not 0" in ran.err
