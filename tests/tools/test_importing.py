from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from .conftest import Run

FIELDS = ["file", "format", "rows", "new", "unchanged", "amended", "quarantined", "collisions",
          "conflicts", "quarantine_file", "relations", "relations_new", "relations_waiting",
          "relations_met", "relations_quarantined", "warnings"]  # fmt: skip
SAMPLES = Path(str(resources.files("alphapulse.tools") / "samples"))
GOOD = "isin,mic,symbol,currency\nUS0378331005,XNAS,AAPL,USD\n"
BAD_ROW = "US0378331006,XNAS,OOPS,USD\n"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    return path


def test_samples_are_imported_once(run: Run, tmp_path: Path) -> None:
    """The beginning of the large ones: the demo imports the whole of them."""
    tokens = json.loads((SAMPLES / "optimism.tokenlist.json").read_text())
    (tmp_path / "tokens.json").write_text(json.dumps({**tokens, "tokens": tokens["tokens"][:50]}))
    shares = (SAMPLES / "nse_equities.csv").read_text().splitlines(keepends=True)
    (tmp_path / "shares.csv").write_text("".join(shares[:41]))
    files = [str(tmp_path / "tokens.json"), str(tmp_path / "shares.csv"),
             str(SAMPLES / "apple_listings.csv")]  # fmt: skip
    ran = run("import", *files, "--json")
    assert ran.code == 0
    assert [list(row) for row in ran.rows] == [FIELDS] * 3
    assert [row["file"] for row in ran.rows] == files
    assert [row["format"] for row in ran.rows] == ["token-list", "listings-csv", "listings-csv"]
    assert [(row["rows"], row["new"], row["unchanged"]) for row in ran.rows] == [
        (50, 50, 0), (40, 40, 0), (6, 6, 0)
    ]  # fmt: skip
    head = run("stats", "--json").rows[0]["head"]
    again = run("import", *files)
    assert again.code == 0
    assert run("stats", "--json").rows[0]["head"] == head
    assert again.out.splitlines()[1].split()[1:] == ["50", "0", "50", "0"]


def test_bad_rows_are_quarantined_and_the_others_imported(
    run: Run, tmp_path: Path, good: Path, home: Path
) -> None:
    good.write_text(GOOD + BAD_ROW)
    ran = run("import", str(good), "--json")
    assert ran.code == 1
    (row,) = ran.rows
    assert (row["new"], row["quarantined"]) == (1, 1)
    assert "line 3: quarantined: " in ran.err, "what went wrong is on stderr with --json too"
    assert Path(row["quarantine_file"]).parent == home / "quarantine"
    kept = json.loads(Path(row["quarantine_file"]).read_text())
    assert (kept["place"], kept["file"]) == ("line 3", str(good))
    chosen = tmp_path / "chosen.jsonl"
    people = run("import", str(good), "--quarantine", str(chosen))
    assert people.code == 1
    assert "line 3: quarantined: " in people.err
    assert "check digit" in people.err
    assert str(chosen) in people.err
    assert "quarantined" in people.out
    assert len(chosen.read_text().splitlines()) == 1


def test_an_unusable_file_is_exit_2_and_the_others_are_imported(
    run: Run, tmp_path: Path, good: Path
) -> None:
    missing, empty = tmp_path / "missing.csv", tmp_path / "empty.csv"
    empty.write_text("")
    ran = run("import", str(missing), str(tmp_path), str(empty), str(good), "--json")
    assert ran.code == 2
    assert [row["file"] for row in ran.rows] == [str(good)]
    errors = [json.loads(line) for line in ran.err.splitlines()]
    assert [error["doing"] for error in errors] == [
        f"importing {path}" for path in (missing, tmp_path, empty)
    ]
    assert run("import", str(good), "--format", "nope").code == 2
    assert run("import").code == 2


def test_a_dry_run_writes_nothing(run: Run, home: Path, good: Path) -> None:
    good.write_text(GOOD + BAD_ROW)
    ran = run("import", str(good), "--dry-run", "--json")
    assert ran.code == 1
    *plan, report = ran.rows
    assert (report["new"], report["quarantine_file"], list(report)) == (1, None, FIELDS)
    assert [(row["place"], row["what"], row["kind"]) for row in plan] == [
        ("line 2", "new", "instrument.registered"), ("line 2", "new", "listing.added"),
        ("line 3", "quarantined", None),
    ]  # fmt: skip
    assert list(plan[0]) == ["file", "place", "what", "kind", "id", "changes", "reason"]
    assert plan[1]["changes"][1] == {
        "field": "listing XNAS USD 0 symbol", "before": None, "after": "AAPL",
    }  # fmt: skip
    assert "check digit" in plan[2]["reason"]
    assert not home.exists()
    assert "dry run" in run("import", str(good), "--dry-run").err


def test_a_dry_run_for_people(run: Run, tmp_path: Path, good: Path) -> None:
    run("import", str(good), "--source", "one")
    rows = [
        "US0378331005,XNAS,AAPL,USD,Apple \x1b[31m,",
        "US0378331005,XETR,APC,EUR,Apple Inc.,2020-02",
        "US0378331005,XNAS,APPL,USD,Apple Inc.,", "US0378331005,XNAS,APPL,USD,Apple Inc.,",
        "US0378331005,XFRA,,,,",
    ]  # fmt: skip
    good.write_text("isin,mic,symbol,currency,name,valid_from\n" + "\n".join(rows))
    ran = run("import", str(good), "--source", "two", "--dry-run")
    known = "'AAPL' is known from 'one', this row says 'APPL'"
    id = "0xe6bee3829654f008"
    reason = (
        "reading field name: it contains U+001B, which can fake or break a line "
        r"[value='Apple \x1b[31m'] (remove the character)"
    )
    expected = [
        f"line 2      quarantined  {reason}",
        f"line 3      amended      {id} name: - -> 'Apple Inc.'",
        f"line 3      new          {id} listing XETR EUR 0: symbol APC, valid_from 2020-02-01",
        f"line 3      conflict     {id} symbol: {known.replace('APPL', 'APC')}",
        f"line 4      conflict     {id} symbol: {known}",
        f"line 4      conflict     {id} listing XNAS USD 0 symbol: {known}",
        f"line 5      conflict     {id} symbol: {known} (raised before)",
        f"line 5      conflict     {id} listing XNAS USD 0 symbol: {known} (raised before)",
        f"line 6      new          {id} listing XFRA - 0",
    ]
    assert ran.out.splitlines()[:-2] == [str(good), *(f"  {line}" for line in expected)]
    assert ran.err.splitlines() == ["dry run: nothing was written"]
    assert "\x1b" not in ran.out


def test_a_conflict_is_exit_1_and_an_alert(run: Run, tmp_path: Path, good: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(GOOD.replace("AAPL", "APPL"))
    assert run("import", str(good), "--source", "one").code == 0
    ran = run("import", str(other), "--source", "two")
    assert ran.code == 1
    assert "conflict" in ran.err
    assert run("alerts").code == 1


def test_relations_are_counted_apart(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    far = "0x" + "2" * 40
    token = {"chainId": 1, "address": "0x" + "1" * 40, "symbol": "T", "extensions": {
        "bridgeInfo": {"10": {"tokenAddress": far}}}}  # fmt: skip
    path.write_text(json.dumps({"name": "l", "tokens": [token]}))
    dry = run("import", str(path), "--dry-run")
    assert dry.code == 0
    file, new, waits, header, _ = dry.out.splitlines()
    assert header.split() == [
        "file", "rows", "new", "unchanged", "amended", "relations", "relations", "waiting"
    ]
    assert (file, new.split()[:2]) == (str(path), ["tokens[0]", "new"])
    assert f"token|eip155:10|erc20|{far}, which is not registered, bridged_from it" in waits
    assert dry.err.splitlines() == ["dry run: nothing was written"]
    ran = run("import", str(path), "--json")
    assert (ran.code, ran.rows[0]["quarantine_file"]) == (0, None)
    assert [ran.rows[0][name] for name in FIELDS[10:15]] == [1, 0, 1, 0, 0]
    (waiting,) = run("related", "--waiting", "--json").rows
    assert waiting["missing"] == waiting["from"] == f"token|eip155:10|erc20|{far}"
    id = run("lookup", f"eip155:1:{token['address']}", "--json").rows[0]["id"]
    assert (waiting["to"], waiting["refused"], waiting["source"]) == (id, False, "l")
    assert run("related", "T", "--waiting", "--json").rows == [waiting]
    assert "1 waiting" in run("related", "--waiting").err
    assert "wait for an end: 1; see `alphapulse related --waiting`" in run("stats").err
    assert run("related", "T", "--waiting", "--ended").code == 2
    assert run("related").code == 2
    assert "waiting" in run("tail", "kind=relation").out
    run("register", "token", "--chain", "eip155:10", "--address", far)
    assert run("stats", "--json").rows[0]["relations_waiting"] == 0
    assert "no relation waits" in run("related", "--waiting").err
    ran = run("import", str(path), "--json")
    assert [ran.rows[0][name] for name in FIELDS[10:15]] == [1, 0, 0, 0, 0]
    (link,) = run("related", f"eip155:10:{far}", "--json").rows
    assert (link["relation"], link["source"]) == ("bridged_from", "l")


def test_unknown_columns_are_reported(run: Run, good: Path) -> None:
    good.write_text(GOOD.replace("currency\n", "currency,\x1b[31mmood\n").replace("USD", "USD,x"))
    ran = run("import", str(good))
    assert ran.code == 0
    assert "mood" in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("as_json", [True, False])
def test_many_collisions_are_summed_up(run: Run, tmp_path: Path, as_json: bool) -> None:
    """Each of the first few is told once; the rest is counted, and stands in `alerts`."""
    path = tmp_path / "tokens.json"
    tokens = [
        {"chainId": 1, "address": f"0x{number:040x}", "symbol": "T", "name": "T", "decimals": 1}
        for number in range(1, 101)
    ]
    path.write_text(json.dumps({"name": "many", "tokens": tokens}))
    assert run("init", "--id-bits", "8").code == 0
    ran = run("import", str(path), *(["--json"] if as_json else []))
    alerts = run("alerts", "--json").rows
    told = [line for line in ran.err.splitlines() if line.startswith("CRITICAL: ")]
    assert ran.code == 0
    assert "CRITICAL" not in ran.out
    assert told == [
        *(f"CRITICAL: id collision: {alert['id']} is a fallback id; see `alphapulse alerts`"
          for alert in alerts[:5]),
        f"CRITICAL: … and {len(alerts) - 5} more; see `alphapulse alerts`",
    ]


def test_help_says_what_each_format_is(run: Run) -> None:
    from alphapulse.registry.importers import FORMATS

    shown = " ".join(run("import", "--help").out.split())
    for name, importer in FORMATS.items():
        assert f"{name}: {importer.summary}" in shown


def test_valid_from_dates_what_rows_say(run: Run, good: Path) -> None:
    """What is registered is dated back, and the same again adds nothing."""
    apple = "US0378331005"
    assert run("import", str(good)).code == 0
    assert run("lookup", apple, "--valid-at", "2001-01-01").code == 1
    since = ("--valid-from", "1980-12-12")
    plan = run("import", str(good), *since, "--dry-run").out.splitlines()
    assert plan[1].split()[4:] == ["valid_from:", "-", "->", "1980-12-12"]
    for counts in ({"amended": 1, "unchanged": 0}, {"amended": 0, "unchanged": 1}):
        (row,) = run("import", str(good), *since, "--json").rows
        assert {name: row[name] for name in counts} == counts
    assert run("lookup", apple, "--valid-at", "2001-01-01").code == 0
    assert run("lookup", apple, "--valid-at", "1980-12-11").code == 1
    for wrong in ("soon", "1980"):
        refused = run("import", str(good), "--valid-from", wrong)
        assert refused.code == 2 and "valid_from" in refused.err


def test_lists_that_come_along(run: Run, tmp_path: Path) -> None:
    words = tmp_path / "fees.csv"
    words.write_text("venue,side,value\nbitstamp,both,0.1\n")
    ran = run("import", "--bundled", "crypto-venues", str(words))
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["file", "rows", "new", "unchanged", "amended", "warnings"],
        ["ccxt_venues.json", "104", "104", "0", "0", "48"], ["fees.csv", "1", "0", "0", "1"],
    ]  # fmt: skip
    odd = [line for line in ran.err.splitlines() if ": warning: " in line]
    assert len(odd) == 10
    (bitstamp,) = (line for line in odd if "bitstamp" in line)
    assert "[21]: warning: bitstamp: line 0, maker: the base rate is 0.4 %, and tier 0 0.3 %" in (
        bitstamp
    )
    assert "line 6, maker: 0.2 from volume 20000000 on is more than 0.03 before" in bitstamp
    dry = run("import", "--bundled", "crypto-venues", "--dry-run", "--json")
    assert [row["warnings"] for row in dry.rows] == [48], "nothing new to tell of"
    unknown = run("import", "--bundled", "all-venues")
    assert unknown.code == 2 and "use mic-list or crypto-venues" in unknown.err
    assert "name a FILE" in run("import").err
