from __future__ import annotations

import stat
from pathlib import Path

from alphapulse.registry import Registry

from .conftest import Run, collide


def test_init_makes_a_private_home_once(run: Run, home: Path) -> None:
    made = run("init", "--id-bits", "12")
    assert made.code == 0
    assert str(home) in made.out
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with Registry.open(home, mode="r") as registry:
        assert registry.statistics().id_bits == 12
    again = run("init", "--json")
    assert (again.code, again.out) == (2, "")
    assert again.error["error"].startswith("HomeExists")


def test_init_refuses_impossible_places_and_sizes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert run("--home", str(tmp_path / "file" / "in"), "init").code == 2
    assert run("init", "--id-bits", "65").code == 2


def test_stats_in_json_has_the_fields_of_the_table(run: Run, home: Path, apple: int) -> None:
    ran = run("stats", "--json")
    assert ran.code == 0
    (row,) = ran.rows
    assert list(row) == ["head", "chain_head", "id_bits", "events", "instruments", "listings",
                         "alerts_open", "bytes", "views", "relations_waiting"]  # fmt: skip
    assert (row["head"], row["instruments"], row["listings"]) == (7, 3, 2)
    assert (row["id_bits"], row["alerts_open"]) == (64, 0)
    assert len(bytes.fromhex(row["chain_head"])) == 32
    assert row["bytes"] > 0
    assert row["views"].keys() == {
        "instruments", "listings", "relations", "alerts", "requests", "feeds", "imports",
        "candidates", "proposals", "venues",
    }  # fmt: skip
    for view in row["views"].values():
        assert view.keys() == {"offset", "digest", "lag_events"}
        assert (view["offset"], view["lag_events"]) == (7, 0)


def test_stats_for_people(run: Run, apple: int) -> None:
    ran = run("stats")
    assert ran.code == 0
    assert "instruments  3\n" in ran.out
    assert "alphapulse alerts" not in ran.err


def test_stats_points_to_open_alerts(run: Run, home: Path) -> None:
    collide(home)
    assert "alphapulse alerts" in run("stats").err
    assert run("stats", "--json").rows[0]["alerts_open"] == 1


def test_a_home_that_cannot_be_trusted_says_so(run: Run, home: Path, apple: int) -> None:
    checkpoints = home / "checkpoints"
    last = checkpoints.read_text().splitlines()[-1].split()
    with Registry.open(home, mode="r") as registry:
        assert not registry.log.broken
    checkpoints.write_text(
        checkpoints.read_text().replace(last[1], ("0" if last[1][0] != "0" else "1") + last[1][1:])
    )
    ran = run("stats", "--json")
    assert ran.rows[0]["head"] == 7
    assert "CRITICAL" in ran.err
    assert run("register", "currency", "--code", "CHF").code == 1
