from __future__ import annotations

from pathlib import Path

from .conftest import APPLE, Run, collide


def test_no_alerts_is_fine(run: Run, apple: int) -> None:
    ran = run("alerts")
    assert (ran.code, ran.out, ran.err) == (0, "", "no open alerts\n")
    assert run("alerts", "--json").out == ""


def test_open_alerts_are_exit_1_until_acknowledged(run: Run, home: Path) -> None:
    ids = collide(home)
    ran = run("alerts", "--json")
    assert ran.code == 1
    (row,) = ran.rows
    assert list(row)[-2:] == ["body", "acked"]
    assert (row["kind"], row["severity"], row["acked"]) == ("collision.detected", "critical", None)
    assert row["id"] == row["body"]["assigned"] == f"0x{ids[-1]:016x}"
    people = run("alerts")
    assert people.code == 1
    assert "wanted" in people.out
    assert "1 open" in people.err
    done = run("alerts", "--ack", str(row["offset"]), "--reason", "seen", "--json")
    assert done.code == 0
    assert done.rows == [row | {"acked": row["offset"] + 1}]
    assert run("alerts").code == 0
    assert run("alerts", "--json").out == ""
    assert run("alerts", "--all", "--json").rows == done.rows
    assert "acknowledged at" in run("alerts", "--all").out
    kept = run("tail", "kind=alert.acknowledged", "--json").rows[0]["body"]
    wanted = {"alert": row["offset"], "class": "token", "reason": "seen", "instrument": None}
    assert kept == wanted


def test_acknowledging_one_of_two_leaves_exit_1(run: Run, apple: int) -> None:
    for field, value in (("--symbol", "X"), ("--name", "Y")):
        conflict = run("register", "equity", "--isin", APPLE, field, value, "--source", "second")
        assert conflict.code == 1
        assert "conflict at offset" in conflict.err
    first, second = run("alerts", "--json").rows
    assert first["body"] == {
        "class": "equity", "field": "symbol", "held": "AAPL", "held_source": "first",
        "offered": "X", "offered_source": "second", "instrument": None,
    }  # fmt: skip
    assert "'AAPL' by first stays, 'X' by second was offered" in run("alerts").out
    assert run("alerts", "--ack", str(first["offset"])).code == 1
    assert run("alerts", "--ack", str(first["offset"]), str(second["offset"])).code == 0


def test_an_offset_without_an_alert_is_exit_1(run: Run, apple: int) -> None:
    ran = run("alerts", "--ack", "0", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error["error"].startswith("UnknownAlert")


def test_one_that_is_no_alert_leaves_the_others_open(run: Run, apple: int) -> None:
    run("register", "equity", "--isin", APPLE, "--symbol", "X", "--source", "second")
    (alert,) = run("alerts", "--json").rows
    assert run("alerts", "--ack", str(alert["offset"]), "999").code == 1
    assert run("alerts", "--json").rows == [alert]


def test_an_acknowledgement_can_be_sent_again(run: Run, apple: int) -> None:
    for symbol in "XY":
        run("register", "equity", "--isin", APPLE, "--symbol", symbol, "--source", "b")
    words = ("alerts", "--ack", "7", "8", "--reason", "seen", "--request-id", "r1", "--json")
    first = run(*words)
    assert [row["acked"] for row in first.rows] == [9, 10]
    assert run(*words).rows == first.rows
    assert run("stats", "--json").rows[0]["head"] == 11
    other = run("alerts", "--ack", "7", "8", "--reason", "why", "--request-id", "r1", "--json")
    assert "RequestReused" in other.error["error"]
