from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from alphapulse.log import EventLog

from .conftest import Run

FIELDS = ["offset", "kind", "version", "recorded", "valid_from", "space", "id", "severity",
          "source", "body"]  # fmt: skip


def offsets(run: Run, *words: str) -> list[int]:
    ran = run(*words, "--json")
    assert ran.code == 0, ran.err
    return [row["offset"] for row in ran.rows]


def test_events_have_the_fields_of_the_table(run: Run, apple: int) -> None:
    rows = run("tail", "--json").rows
    assert [list(row) for row in rows] == [FIELDS] * 7
    assert rows[0]["kind"] == "instrument.registered"
    assert (rows[0]["space"], rows[0]["severity"], rows[0]["source"]) == (
        "instrument", "info", "first"
    )  # fmt: skip
    assert rows[0]["id"] == f"0x{apple:016x}"
    assert (rows[0]["valid_from"], rows[0]["version"]) == (None, 1)
    assert rows[1]["valid_from"] == "1980-12-12T00:00:00.000000000Z"


def test_raw_adds_the_frame(run: Run, home: Path, apple: int) -> None:
    rows = run("tail", "--json", "--raw").rows
    with EventLog.open(home, mode="r") as log:
        frames = [event.frame.hex() for event in log.read()]
    assert [row["frame_hex"] for row in rows] == frames
    assert list(rows[0]) == [*FIELDS, "frame_hex"]
    assert frames[0] in run("tail", "--raw", "--limit", "1").out


def test_explain_says_why_each_event_matches(run: Run, apple: int) -> None:
    words = ("tail", "class=token", "(chain=eip155:10 or symbol=X*)", "--explain")
    assert run(*words).out.splitlines()[1:] == [
        "         yes all of",
        "         yes   class=token   the event has token",
        "         yes   any of",
        "         yes     chain=eip155:10   the event has eip155:10",
        "         no      symbol=X*   the event has USDC",
    ]
    (row,) = run(*words, "--json").rows
    assert list(row) == [*FIELDS, "explain"]
    first, second = row["explain"].pop("parts")
    assert row["explain"] == {"text": "all of", "matched": True, "values": []}
    assert first == {"text": "class=token", "matched": True, "values": ["token"], "parts": []}
    assert [(part["text"], part["matched"]) for part in second["parts"]] == [
        ("chain=eip155:10", True), ("symbol=X*", False),
    ]  # fmt: skip


def test_explain_follows_too_and_stands_below_the_frame(run: Run, apple: int) -> None:
    ran = run("tail", "-f", "--from", "6", "--limit", "1", "--explain", "--raw", "kind!=listing")
    event, frame, why = ran.out.splitlines()
    assert "relation.added" in event
    bytes.fromhex(frame)
    assert why == "         yes kind!=listing   the event has relation.added"
    run("tail", "kind=listing", "--cursor", "x", "--limit", "1")
    named = run("tail", "--cursor", "x", "--explain", "--limit", "1")
    assert named.out.splitlines()[1] == "         yes kind=listing   the event has listing.added"
    assert "x goes on at offset 7: --from" in run("tail", "--cursor", "x", "--from", "0").err
    everything = run("tail", "--limit", "1", "--explain")
    assert everything.out.splitlines()[1] == "         yes everything"


def test_patterns_starts_and_limits(run: Run, apple: int) -> None:
    assert offsets(run, "tail", "kind=listing.added") == [1, 2]
    assert offsets(run, "tail", "class=token", "kind=instrument") == [3, 5]
    assert offsets(run, "tail", "--limit", "2") == [0, 1]
    assert offsets(run, "tail", "--from", "5") == [5, 6]
    assert offsets(run, "tail", "--from", "beginning", "--limit", "1") == [0]
    assert offsets(run, "tail", "--from", "now") == []
    times = [row["recorded"] for row in run("tail", "--json").rows]
    assert offsets(run, "tail", "--from", times[3]) == [3, 4, 5, 6]
    assert offsets(run, "tail", "--from", "2199-01-01") == []
    assert offsets(run, "tail", "--follow", "--from", "4", "--limit", "3") == [4, 5, 6]


def test_nothing_to_show_is_fine_and_said(run: Run, apple: int) -> None:
    ran = run("tail", "kind=collision")
    assert (ran.code, ran.out) == (0, "")
    assert "no event matches" in ran.err
    quiet = run("tail", "kind=collision", "--json")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_an_empty_log_is_fine_and_says_what_to_do(run: Run) -> None:
    run("init")
    ran = run("tail")
    assert (ran.code, ran.out) == (0, "")
    assert "import" in ran.err


def test_a_bad_pattern_or_time_is_exit_2(run: Run, apple: int) -> None:
    assert run("tail", "flavour=sweet", "--json").error["error"].startswith("PatternError")
    assert run("tail", "flavour=sweet").code == 2
    ran = run("tail", "--from", "tomorrow", "--json")
    assert ran.code == 2 and "an offset, beginning or now" in ran.error["cure"]
    assert run("replay", "--to", "tomorrow").code == 2


def test_replay_prints_a_range_inclusive(run: Run, apple: int) -> None:
    assert offsets(run, "replay", "--from", "2", "--to", "4") == [2, 3, 4]
    assert offsets(run, "replay", "--to", "0") == [0]
    assert offsets(run, "replay", "kind=listing", "--from", "2") == [2]
    times = [row["recorded"] for row in run("tail", "--json").rows]
    assert offsets(run, "replay", "--to", times[2]) == [0, 1, 2]
    assert offsets(run, "replay", "--to", "99") == list(range(7))
    assert run("replay", "--json").out == run("tail", "--json").out


def test_replay_into_makes_a_home_with_the_same_chain(
    run: Run, home: Path, tmp_path: Path, apple: int
) -> None:
    copy = str(tmp_path / "copy")
    (row,) = run("replay", "--to", "4", "--into", copy, "--json").rows
    with EventLog.open(home, mode="r") as log:
        assert row == {"into": copy, "events": 5, "chain_head": log.chain_at(5).hex()}
    assert run("stats", "--home", copy, "--json").rows[0]["chain_head"] == row["chain_head"]
    assert run("audit", "--home", copy).code == 0
    again = run("replay", "--to", "4", "--into", copy)
    assert again.code == 2
    beyond = run("replay", "--to", "7", "--into", str(tmp_path / "beyond"))
    assert beyond.code == 2
    assert not (tmp_path / "beyond").exists()
    whole = run("replay", "--into", str(tmp_path / "whole"))
    assert whole.code == 0
    assert "events      7\n" in whole.out


def test_a_native_id_is_no_symbol_and_help_says_so(run: Run) -> None:
    words = ("spot_pair", "--venue", "binance", "--native-id", "BTCUSDT", "--symbol", "BTC/USDT")
    (made,) = run("register", *words, "--json").rows
    assert run("lookup", "BTCUSDT", "--json").rows[0]["id"] == made["id"]
    assert run("tail", "symbol=BTCUSDT", "--json").rows == []
    for pattern in ("symbol=BTC/USDT", f"instrument={made['id']}"):
        assert [row["id"] for row in run("tail", pattern, "--json").rows] == [made["id"]]
    assert "native id" in run("tail", "--help").out


def test_the_file_and_the_request_an_event_comes_from(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("isin,mic\nUS0378331005,XNAS\n")
    assert run("import", str(path)).code == 0
    run("register", "currency", "--code", "EUR", "--request-id", "one")
    run("register", "currency", "--code", "CHF")
    first, second, asked, plain = run("tail", "--json").rows
    content_hash = blake3(path.read_bytes()).hexdigest()
    assert first["content_hash"] == second["content_hash"] == content_hash
    assert "request_id" not in first and asked["request_id"] == "one"
    assert "content_hash" not in asked and plain.keys() == asked.keys() - {"request_id"}
