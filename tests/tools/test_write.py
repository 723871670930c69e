from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.registry import CLASSES, InvalidInput, Listing, Registry
from alphapulse.registry.facts import AMENDABLE_FIELDS
from alphapulse.tools import write
from alphapulse.tools.lines import batches
from alphapulse.tools.verb import ALERTS_SHOWN_MAX
from tests.registry.samples import ABOUT, FULL, NEW

from .conftest import APPLE, Run, collide

FIELDS = ["id", "fingerprint", "offset", "outcome"]
ADDRESS = "0x" + "ab" * 20


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_flags_are_the_fields_of_the_classes() -> None:
    known = {field for kind in CLASSES.values() for field in kind.__struct_fields__}
    assert {name.replace("-", "_") for name in write.REGISTER_FLAGS} == known
    amendable = {name.replace("-", "_") for name in write.AMEND_FLAGS}
    amendable -= {"valid_from", "valid_to"}
    assert amendable == AMENDABLE_FIELDS
    listing = {name.replace("-", "_") for name in write.LISTING_FLAGS} | {"primary", "instrument"}
    assert listing == {*Listing.__struct_fields__}


def test_register_by_flags(run: Run, home: Path) -> None:
    words = ["register", "token", "--chain", "eip155:1", "--address", ADDRESS, "--symbol", "USDC",
             "--decimals", "6", "--tick", "0.01", "--source", "me", "--json"]  # fmt: skip
    (row,) = run(*words).rows
    assert list(row) == FIELDS
    assert (row["offset"], row["outcome"]) == (0, "new")
    assert home.is_dir(), "made when it is missing"
    assert run(*words).rows == [row | {"outcome": "unchanged"}]
    (event,) = run("tail", "--json").rows
    assert (event["source"], event["body"]["tick"], event["body"]["decimals"]) == ("me", "0.01", 6)
    assert run(*words, "--name", "USD Coin").rows[0]["outcome"] == "amended"
    assert run(*words[:-1]).out == f"unchanged  {row['id']}  offset 1\n"


@pytest.mark.parametrize(
    "words, problem",
    [
        ("equity --isin US0378331006", "check digit"),
        ("token --chain eip155:1", "address"),
        ("token --chain eip155:1 --address 0x12", "40 hex digits"),
        ("token --chain eip155:1 --address 0x" + "1" * 40 + " --decimals 78", "decimals"),
        ("equity --isin US0378331005 --chain eip155:1", "chain"),
        ("spaceship --symbol X", "no such class"),
        ("equity --isin US0378331005 --symbol a\u202eb", "U+202E"),
        ("equity --isin US0378331005 --symbol HUGE", "symbol"),
        ("equity --isin US0378331005 --tick 1e-999", "tick"),
        ("currency --code CHF --valid-from tomorrow", "valid_from"),
    ],
)
def test_what_cannot_be_is_exit_2_and_writes_nothing(run: Run, words: str, problem: str) -> None:
    ran = run("register", *words.replace("HUGE", "x" * 10_000_000).split(" "), "--json")
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err
    assert len(ran.err) < 2_000
    assert run("tail", "--json").out == ""


def test_register_lines_answers_each_in_its_place(run: Run) -> None:
    token = {"class": "token", "chain": "eip155:1", "address": ADDRESS, "name": None}
    ran = run(
        "register", "-", "--json",
        stdin=lines(token, "nope", "[1]", "", {"class": "equity", "isin": "US0378331006"},
                    {**token, "tick": 0.1}, {**token, "color": "red"}, token,
                    {"class": "currency", "code": "CHF", "source": "snb"}),
    )  # fmt: skip
    assert ran.code == 1
    assert [list(row) for row in ran.rows] == [
        FIELDS, *[["error", "doing", "cure"]] * 5, FIELDS, FIELDS
    ]  # fmt: skip
    assert [row["doing"].split(":")[0] for row in ran.rows if "doing" in row] == [
        "line 2", "line 3", "line 5", "line 6", "line 7"
    ]  # fmt: skip
    assert [row["outcome"] for row in ran.rows if "outcome" in row] == ["new", "unchanged", "new"]
    assert ran.err == ""
    assert [row["source"] for row in run("tail", "--json").rows] == [None, "snb"]


def test_every_class_as_lines_and_what_lookup_shows_again(run: Run) -> None:
    given = [{"class": name, **fields} for name, fields in FULL.items()]
    for line, cusip in zip(given[2:5], ("037833100", "594918104", "17275R102"), strict=True):
        line["cusip"] = cusip  # one each: three classes of one security are a conflict
        del line["isin"], line["figi"]
    ran = run("register", "-", "--json", stdin=lines(*given))
    assert ran.code == 0 and ran.err == ""
    assert [row["outcome"] for row in ran.rows] == ["new"] * len(FULL)
    shown = []
    for row in ran.rows[-len(NEW) :]:
        (found,) = run("lookup", row["id"], "--json").rows
        assert found["symbol"] == "a symbol of 21 chars🦄"
        for field in ABOUT & found.keys():
            del found[field]
        shown.append(found)
    again = run("register", "-", "--json", stdin=lines(*shown))
    assert [row["outcome"] for row in again.rows] == ["unchanged"] * len(NEW)


def test_an_underlying_is_named_by_any_key(run: Run, apple: int) -> None:
    option = ["option", "--venue", "occ", "--root", "AAPL", "--right", "call", "--style",
              "american", "--strike", "150", "--maturity", "2026-12-18"]  # fmt: skip
    first = run("register", *option, "--underlying", APPLE, "--json").rows[0]
    found = run("lookup", first["id"], "--json").rows[0]
    assert found["underlying"] == f"0x{apple:016x}"
    for key in (f"0x{apple:x}", "AAPL", APPLE):
        again = run("register", *option, "--underlying", key, "--json").rows[0]
        assert again["outcome"] == "unchanged"
    ran = run("register", *option, "--underlying", "NOBODY", "--json")
    assert (ran.code, ran.error["doing"]) == (1, "reading field underlying: looking up NOBODY")
    fields = {"class": "index", "administrator": "x", "code": "NEW", "symbol": "NEW"}
    future = {"class": "future", "venue": "XEUR", "product": "F", "maturity": "2026-12-18"}
    rows = run(
        "register", "-", "--json", stdin=lines(fields, {**future, "underlying": "NEW"})
    ).rows
    assert run("lookup", rows[1]["id"], "--json").rows[0]["underlying"] == rows[0]["id"]
    assert run("amend", first["id"], "--underlying", "NEW").code == 0
    assert run("lookup", first["id"], "--json").rows[0]["underlying"] == rows[0]["id"]


def test_a_synthetic_names_its_components_by_any_key(run: Run, apple: int) -> None:
    usdc = "eip155:1:0x0000000000000000000000000000000000000001"
    words = ["synthetic", "--owner", "Desk", "--name", "MIX", "--symbol", "MIX", "--json"]
    first = run("register", *words, "--formula", f"0.5*AAPL@XNAS + '{usdc}' × 2").rows[0]
    found = run("lookup", "MIX", "--json").rows[0]
    coin = run("lookup", usdc, "--json").rows[0]["id"]
    assert found["formula"] == f"0.5*0x{apple:016x} + {coin}*2"
    assert found["components"] == [f"0x{apple:016x}", coin]
    assert run("lookup", "MIX").out.splitlines()[-2:] == [
        f"component     0x{apple:016x} equity AAPL US0378331005",
        f"component     {coin} token USDC {usdc}",
    ]
    assert "component" not in run("lookup", APPLE).out
    ran = run("amend", "MIX", "--formula", f"{APPLE} + USDC", "--json")
    assert ran.code == 1 and ran.error["error"].startswith("Ambiguous: 2 instruments match")
    assert ran.error["doing"] == "reading field formula at character 16: looking up USDC"
    assert f"{coin} token USDC {usdc}" in ran.error["cure"]
    ran = run("amend", "MIX", "--formula", "AAPL + * 2", "--json")
    assert (ran.code, ran.error["doing"]) == (2, "reading field formula at character 8")
    assert run("amend", "MIX", "--formula", "MIX*2").code == 1
    new = {"class": "equity", "isin": "US5949181045", "symbol": "MSFT"}
    other = {"class": "synthetic", "owner": "desk", "name": "B", "formula": "MIX + MSFT"}
    bad = {"class": "synthetic", "owner": "desk", "name": "C", "formula": "MSFT +"}
    rows = run("register", "-", "--json", stdin=lines(new, other, bad)).rows
    assert [row.get("outcome") for row in rows] == ["new", "new", None]
    assert rows[2]["doing"] == "line 3: reading field formula at character 7"
    assert run("lookup", rows[1]["id"], "--json").rows[0]["components"] == [
        first["id"], rows[0]["id"]
    ]  # fmt: skip


def test_a_retry_means_the_components_it_meant(run: Run, apple: int) -> None:
    words = ["register", "synthetic", "--owner", "desk", "--name", "MIX", "--formula", "2*AAPL",
             "--request-id", "r", "--json"]  # fmt: skip
    first = run(*words).rows
    run("amend", APPLE, "--symbol", "APPL")
    run("register", "equity", "--isin", "US5949181045", "--symbol", "AAPL")
    assert run(*words).rows == first


def test_a_lookup_says_expired_from_the_expiry_on(run: Run) -> None:
    words = ["future", "--venue", "XEUR", "--product", "F", "--maturity", "2020-12-18"]
    words += ["--symbol", "F", "--valid-from", "2020-01-01"]
    assert run("register", *words, "--expiry", "2020-12-18T12:00Z").code == 0
    for at, status in (("2020-12-18T11:59Z", "active"), ("2020-12-18T12:00Z", "expired")):
        assert run("lookup", "F", "--valid-at", at, "--json").rows[0]["status"] == status
    assert run("lookup", "F", "--json").rows[0]["status"] == "expired"
    assert "expired" in run("lookup", "F").out
    assert run("tail", "--json").rows[0]["body"]["status"] == "active"
    ran = run("amend", "F", "--expiry", "2226-12-18T12:00Z", "--json")
    assert (ran.code, "days after the maturity" in ran.error["error"]) == (2, True)
    assert run("amend", "F", "--expiry", "").code == 0
    assert run("lookup", "F", "--json").rows[0]["status"] == "active"
    assert run("lookup", "F", "--as-of", "0", "--json").rows[0]["status"] == "expired"


def test_bad_lines_go_to_stderr_for_people(run: Run) -> None:
    ran = run("register", "-", stdin=lines({"class": "currency", "code": "CHF"}, "\x1b[2J"))
    assert ran.code == 1
    assert ran.out.startswith("new  ")
    assert ran.err.startswith("error: line 2: reading JSON: ")
    assert "\x1b" not in ran.err


def test_lines_that_are_no_text_too_long_or_missing(run: Run) -> None:
    good = lines({"class": "currency", "code": "CHF"}).encode()
    long = b'{"class": "currency", "name": "' + b"x" * (3 << 20) + b'"}\n'
    ran = run("register", "-", "--json", stdin=good + b"\xff\xfe\n" + long + good.rstrip())
    assert ran.code == 1
    assert [row.get("outcome") for row in ran.rows] == ["new", None, None, "unchanged"]
    assert "too long" in ran.rows[2]["error"]
    empty = run("register", "-", stdin="")
    assert (empty.code, empty.out) == (0, "")
    assert "no lines" in empty.err


@pytest.mark.parametrize("piece_size", [1, 7, 1 << 16])
def test_lines_are_the_same_however_they_arrive(piece_size: int) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read(piece_size)

    data = b"a\n\nbb\n" + b"c" * 300 + b"\nd"
    found = [line for batch in batches(Slow(data)) for line in batch]
    assert found == data.split(b"\n")


def test_a_request_id_makes_a_retry_safe(run: Run, apple: int) -> None:
    words = ["amend", APPLE, "--symbol", "APPL", "--request-id", "r1", "--json"]
    first = run(*words).rows
    assert first[0]["outcome"] == "amended"
    assert run("amend", APPLE, "--symbol", "OTHER", "--json").rows[0]["outcome"] == "amended"
    assert run(*words).rows == first
    assert run("lookup", APPLE, "--json").rows[0]["symbol"] == "OTHER"
    reused = run("register", "currency", "--code", "CHF", "--request-id", "r1")
    assert reused.code == 2
    line = {"key": APPLE, "symbol": "AAPL", "request_id": "r2"}
    ran = run("amend", "-", "--json", stdin=lines(line, line))
    assert ran.rows[0] == ran.rows[1]
    assert run("amend", "-", "--request-id", "r3", stdin=lines(line)).code == 2


def test_amend_forgets_what_is_empty(run: Run, apple: int) -> None:
    token = run("lookup", "eip155:1:0x" + "0" * 39 + "1", "--json").rows[0]["id"]
    assert run("amend", token, "--decimals", "", "--name", "A coin").code == 0
    row = run("lookup", token, "--json").rows[0]
    assert (row["decimals"], row["name"]) == (None, "A coin")
    assert run("amend", "-", stdin=lines({"key": token, "name": None})).code == 0
    assert run("lookup", token, "--json").rows[0]["name"] is None
    assert run("amend", token, "--decimals", "six").code == 2
    assert run("amend", token, "--isin", APPLE).code == 2
    assert run("amend", "NOBODY", "--symbol", "X").code == 1


def test_lines_see_what_earlier_lines_changed(run: Run, apple: int) -> None:
    ran = run(
        "amend", "-", "--json",
        stdin=lines({"key": "AAPL", "symbol": "APPL"}, {"key": "APPL", "name": "Apple"},
                    {"key": "US5949181045", "name": "nobody"}),
    )  # fmt: skip
    assert [row.get("outcome") for row in ran.rows] == ["amended", "amended", None]
    assert ran.code == 1
    row = run("lookup", APPLE, "--json").rows[0]
    assert (row["symbol"], row["name"]) == ("APPL", "Apple")


def test_delist_and_the_life_of_an_instrument(run: Run, apple: int) -> None:
    (row,) = run("delist", "AAPL", "--valid-from", "2030-01-01", "--json").rows
    assert (row["id"], row["outcome"]) == (f"0x{apple:016x}", "amended")
    event = run("tail", "kind=instrument.status", "--json").rows[0]
    assert event["valid_from"] == "2030-01-01T00:00:00.000000000Z"
    assert run("lookup", "AAPL", "--json").rows[0]["status"] == "active"
    then = run("lookup", "AAPL", "--json", "--valid-at", "2030-01-01")
    assert then.rows[0]["status"] == "delisted"
    for outcome in ("amended", "unchanged"):  # now, and not only in 2030
        assert run("delist", "AAPL", "--json").rows[0]["outcome"] == outcome
    bad = run("delist", "-", "--json", stdin=lines({"key": "AAPL", "venue": "XNAS"}, {}))
    assert bad.code == 1
    assert "no such field" in bad.rows[0]["error"]
    assert "key" in bad.rows[1]["doing"]
    assert run("register", "equity", "--isin", "US5949181045", "--status", "expired").code == 0
    assert run("delist", "US5949181045").code == 1


def test_listings_are_added_and_ended(run: Run, apple: int) -> None:
    (added,) = run("add-listing", APPLE, "--venue", "XETR", "--symbol", "APC", "--currency", "EUR",
                   "--json").rows  # fmt: skip
    assert (list(added), added["outcome"]) == (FIELDS, "new")
    assert run("lookup", "APC@XETR", "--json").rows[0]["isin"] == APPLE
    assert run("add-listing", APPLE, "--venue", "xetra?").code == 2
    (ended,) = run("end-listing", APPLE, "--venue", "XETR", "--valid-to", "2020-01-01",
                   "--json").rows  # fmt: skip
    assert (ended["id"], ended["outcome"]) == (added["id"], "amended")
    row = next(r for r in run("listings", APPLE, "--json").rows if r["venue"] == "XETR")
    assert (row["status"], row["valid_to"]) == ("delisted", "2020-01-01T00:00:00.000000000Z")
    assert run("end-listing", APPLE, "--venue", "XLON").code == 1
    assert run("end-listing", APPLE).code == 2
    assert run("end-listing", APPLE, "--venue", "XNAS").code == 0  # now
    assert not any(row["current"] for row in run("listings", APPLE, "--json").rows)


def test_listings_by_lines(run: Run, apple: int) -> None:
    rows: list[dict[str, Any]] = [
        {"key": APPLE, "venue": "XLON", "symbol": "0R2V", "currency": "USD", "primary": False},
        {"instrument": f"0x{apple:016x}", "venue": "XFRA", "symbol": "APC", "tick": "0.01"},
        {"key": APPLE, "symbol": "X"},
    ]
    ran = run("add-listing", "-", "--json", stdin=lines(*rows))
    assert ran.code == 1
    assert [row.get("outcome") for row in ran.rows] == ["new", "new", None]
    ran = run("end-listing", "-", stdin=lines({"key": APPLE, "venue": "XLON", "line": 0}))
    assert ran.code == 0


def test_a_collision_is_announced_on_stderr(run: Run, home: Path) -> None:
    ids = collide(home)
    number = len(ids) + 1
    with Registry.open(home) as registry:
        assert registry.statistics().alerts_open == 1
    rows = [{"class": "token", "chain": "eip155:1", "address": f"0x{n:040x}"}
            for n in range(number, number + 40)]  # fmt: skip
    ran = run("register", "-", "--json", stdin=lines(*rows))
    assert ran.code == 0
    collisions = [row for row in ran.rows if row["outcome"] == "collision"]
    assert collisions
    assert ran.err.count("CRITICAL: id collision") == min(len(collisions), ALERTS_SHOWN_MAX)
    assert collisions[0]["id"] in ran.err


def test_a_retry_finds_whom_its_key_meant(run: Run, apple: int) -> None:
    """The first attempt took the key away; a retry gets the same answer all the same."""
    first = run("amend", "AAPL", "--symbol", "APPL", "--request-id", "r1", "--json")
    assert run("amend", APPLE, "--symbol", "LATER").code == 0
    assert run("register", "coin", "--chain", "eip155:1", "--symbol", "AAPL").code == 0
    again = run("amend", "AAPL", "--symbol", "APPL", "--request-id", "r1", "--json")
    assert (again.code, again.rows) == (0, first.rows)
    assert first.rows[0]["offset"] == 7
    other = run("amend", "USDC", "--symbol", "APPL", "--request-id", "r1")
    assert other.code == 1
    assert run("stats", "--json").rows[0]["head"] == 10


def test_a_request_id_of_another_command_is_told_though_the_key_meant_nobody_then(
    run: Run,
) -> None:
    """Nothing was called AAPL when r1 was carried out."""
    (apple,) = run("register", "equity", "--isin", APPLE, "--symbol", "APPL", "--json").rows
    assert run("amend", "APPL", "--symbol", "AAPL", "--request-id", "r1").code == 0
    words = ("amend", "AAPL", "--symbol", "AAPX")
    other = run(*words, "--request-id", "r1", "--json")
    assert (other.code, other.out) == (2, "")
    assert other.error["error"] == (
        "RequestReused: this request id was used for something else "
        f"[request_id=r1, offset=1, used_for={apple['id']}]"
    )
    assert "a new request id" in other.error["cure"]
    line = json.dumps({"key": "AAPL", "symbol": "AAPX", "request_id": "r1"})
    assert run("amend", "-", "--json", stdin=line).rows[0]["error"] == other.error["error"]
    assert run(*words, "--request-id", "r2").code == 0


def test_the_first_event_of_all_has_a_request_id_too(run: Run) -> None:
    assert run("register", "currency", "--code", "XAU", "--request-id", "r0").code == 0
    for key in ("XAU", "NOBODY"):
        other = run("amend", key, "--name", "Gold", "--request-id", "r0", "--json")
        assert (other.code, other.error["error"].split(":")[0]) == (2, "RequestReused")
        assert "offset=0" in other.error["error"]


def test_the_end_of_a_listing_that_can_be_asked_for_again_is_said(run: Run, apple: int) -> None:
    words = ("end-listing", APPLE, "--venue", "XNAS", "--request-id", "r1", "--json")
    refused = run(*words)
    assert refused.code == 2
    assert refused.error["cure"] == "give valid_to too"
    first = run(*words, "--valid-to", "2030-01-01")
    assert run("end-listing", APPLE, "--venue", "XNAS", "--valid-to", "2040-01-01").code == 0
    assert run(*words, "--valid-to", "2030-01-01").rows == first.rows


@pytest.mark.parametrize("wrong", [[], {}, False, 0.0])
def test_a_wrong_type_is_not_the_same_as_not_given(run: Run, apple: int, wrong: Any) -> None:
    """Also where it is empty: only null and absent mean that nothing is said."""
    run("register", "equity", "--isin", "US5949181045")
    head = run("stats", "--json").rows[0]["head"]
    listed = {"key": APPLE, "venue": "XNAS"}
    related = {"from": APPLE, "relation": "wraps", "to": "US5949181045"}
    for verb, line, names in (
        ("register", {"class": "equity", "isin": APPLE}, ("valid_from", "status", "name")),
        ("amend", {"key": APPLE, "name": "x"}, ("valid_from",)),
        ("delist", {"key": APPLE}, ("valid_from",)),
        ("add-listing", listed, ("valid_from", "valid_to", "symbol_from", "line", "currency")),
        ("end-listing", listed, ("valid_to", "line", "currency")),
        ("relate", related, ("valid_from", "valid_to", "ratio")),
        ("unrelate", related, ("valid_to",)),
    ):
        wrongs = [{**line, name: wrong} for name in (*names, "source", "request_id")]
        key = next((name for name in ("key", "from") if name in line), None)
        if key is not None:
            wrongs.append({**line, key: wrong, "instrument": APPLE})
        rows = run(verb, "-", "--json", stdin=lines(*wrongs)).rows
        for row, said in zip(rows, wrongs, strict=True):
            assert row.get("error", "").startswith("InvalidInput"), (verb, said, row)
    assert run("stats", "--json").rows[0]["head"] == head


@pytest.mark.parametrize("verb, words", [
    ("end-listing", (APPLE, "--venue", "XNAS")), ("unrelate", (APPLE, "wraps", "US5949181045"))
])  # fmt: skip
def test_an_end_that_says_no_time_is_not_now(
    run: Run, apple: int, verb: str, words: tuple[str, ...]
) -> None:
    run("register", "equity", "--isin", "US5949181045")
    ran = run(verb, *words, "--valid-to", "", "--json")
    assert (ran.code, "it says no time" in ran.error["error"]) == (2, True)


def test_what_has_ended_is_not_ended_again_now(run: Run, apple: int) -> None:
    """Tokyo ended in 2004: whoever ends it without a time does not say that it went on."""
    run("register", "equity", "--isin", "US5949181045")
    relation = (APPLE, "wraps", "US5949181045")
    run("relate", *relation)
    run("unrelate", *relation, "--valid-to", "2020-01-01")
    head = run("stats", "--json").rows[0]["head"]
    for verb, words, ended in (
        ("end-listing", (APPLE, "--venue", "XTKS"), "2004-12-01"), ("unrelate", relation, "2020-"),
    ):  # fmt: skip
        again = run(verb, *words)
        assert again.out.startswith("unchanged")
        assert f"it ended at {ended}" in again.err and "--valid-to TIME corrects" in again.err
    assert run("stats", "--json").rows[0]["head"] == head
    assert run("end-listing", APPLE, "--venue", "XTKS", "--valid-to", "2004-12-02").code == 0
    assert run("end-listing", APPLE, "--venue", "XNAS").out.startswith("amended")


def test_a_bare_number_is_no_time(run: Run, apple: int) -> None:
    """As a year, an offset or nanoseconds it would be another time each."""
    flag = run("amend", APPLE, "--symbol", "X", "--valid-from", "2020", "--json")
    assert (flag.code, "a bare number is no time" in flag.error["error"]) == (2, True)
    for number in (2020, 2020.0, " 2020 "):
        given = {"key": APPLE, "symbol": "X", "valid_from": number}
        assert "a bare number is no time" in run("amend", "-", stdin=lines(given)).err


def test_a_line_says_each_thing_once(run: Run, apple: int) -> None:
    twice = f'{{"key": "{APPLE}", "symbol": "A", "symbol": "B"}}\n'
    refused = run("amend", "-", "--json", stdin=twice)
    assert (refused.code, "a key stands twice" in refused.rows[0]["error"]) == (1, True)
    marked = "\ufeff" + lines({"key": APPLE, "symbol": "B"})
    assert run("amend", "-", stdin=marked).code == 0
    assert "NaN" in run("amend", "-", stdin='{"key": NaN}').err


def test_a_listing_may_have_ended_before_1970(run: Run, apple: int) -> None:
    """Since when is not known: 0 stands for that, and is no date to be before."""
    words = (APPLE, "--venue", "XETR", "--currency", "EUR")
    assert run("add-listing", *words, "--valid-to", "1965-01-01").code == 0
    rows = {row["venue"]: row for row in run("listings", APPLE, "--json").rows}
    assert (rows["XETR"]["status"], rows["XETR"]["current"]) == ("delisted", False)
    assert run("audit").code == 0
    backward = run("end-listing", APPLE, "--venue", "XNAS", "--valid-to", "1960-01-01")
    assert (backward.code, "periods=1980-12-12" in backward.err) == (2, True)


def test_the_life_of_an_instrument(run: Run) -> None:
    apple = ("--isin", "US0378331005", "--symbol", "AAPL", "--valid-from", "1980-12-12")
    run("register", "equity", *apple)
    halted = run("status", "AAPL", "halted", "--source", "venue", "--json").rows[0]
    assert (halted["outcome"], halted["offset"]) == ("amended", 1)
    assert run("lookup", "AAPL", "--json").rows[0]["status"] == "halted"
    assert run("status", "AAPL", "halted", "--json").rows[0]["outcome"] == "unchanged"
    lines = '{"key": "AAPL", "status": "active"}\n{"key": "AAPL", "status": "pending"}\n'
    ran = run("status", "-", "--json", stdin=lines)
    assert (ran.code, ran.rows[0]["offset"]) == (1, 2)
    assert "active cannot become pending" in str(ran.rows[1])
    assert run("lookup", "AAPL", "--as-of", "1", "--json").rows[0]["status"] == "halted"
    assert run("status", "AAPL", "migrated", "--valid-from", "2199-01-01").code == 0
    assert run("lookup", "AAPL", "--valid-at", "2198-01-01", "--json").rows[0]["status"] == "active"
    for words in (("AAPL",), ("AAPL", "gone"), ("-", "active"), ()):
        assert run("status", *words).code == 2, words


def test_amend_from_day_to_day(run: Run, apple: int) -> None:
    """By flags and by lines; beyond the days, and before what is known, nothing is otherwise."""
    days = {"valid_from": "2020-01-01", "valid_to": "2020-02-01"}
    line = json.dumps({"key": "AAPL", "currency": "EUR", **days})
    flags = [text for name, day in days.items() for text in (f"--{name.replace('_', '-')}", day)]
    (row,) = run("amend", "AAPL", "--symbol", "JAN", *flags, "--json").rows
    assert row["outcome"] == "amended"
    assert run("amend", "-", stdin=line).code == 0
    shown = [
        run("lookup", f"0x{apple:016x}", "--valid-at", day, "--json").rows[0]
        for day in ("2020-01-01", "2020-01-31", "2020-02-01")
    ]
    assert [(row["symbol"], row.get("currency")) for row in shown] == [
        ("JAN", "EUR"), ("JAN", "EUR"), ("AAPL", None)
    ]  # fmt: skip
    assert "JAN 0x" in run("tail", "kind=instrument.amended").out
    assert " from 2020-02-01" in run("history", "AAPL").out
    refused = run("amend", "AAPL", "--symbol", "X", "--valid-to", "2020-02-01")
    assert refused.code == 2 and "valid_to needs a valid_from before it" in refused.err
    assert run("amend", "AAPL").code == run("amend", "AAPL", "--valid-to", "2020").code == 2


def test_a_symbol_may_look_like_an_id(run: Run) -> None:
    """0xBTC is a real one: it means whoever carries it then, also in a batch and in a retry."""
    tokens = [{"class": "token", "chain": "eip155:1", "address": f"0x{n:040x}", "symbol": symbol}
              for n, symbol in ((1, "0xBTC"), (2, "ABC"))]  # fmt: skip
    first, second = run("register", "-", "--json", stdin=lines(*tokens)).rows
    renamed = run("amend", "0xBTC", "--symbol", "0xDEAD", "--request-id", "r1", "--json")
    again = run("amend", "0xBTC", "--symbol", "0xDEAD", "--request-id", "r1", "--json")
    assert (again.code, again.rows) == (0, renamed.rows)
    ran = run("amend", "-", "--json", stdin=lines(
        {"key": first["id"], "symbol": "other"},
        {"key": second["id"], "symbol": "0xDEAD"},
        {"key": "0xDEAD", "name": "of the second"},
        {"key": "eip155:1:" + tokens[0]["address"], "name": "of the first"},
    ))  # fmt: skip
    assert [row["id"] for row in ran.rows] == [first["id"], *[second["id"]] * 2, first["id"]]
    perpetual = ["register", "perpetual", "--venue", "hyper", "--settlement", "USDC", "--json"]
    for native, underlying, meant in (("A", "0xDEAD", second["id"]), ("B", "0xF00", "0xf00")):
        assert run(*perpetual, "--native-id", native, "--underlying", underlying).code == 0
        (found,) = run("lookup", f"{native}@hyper", "--json").rows
        assert int(found["underlying"], 16) == int(meant, 16)
    ran = run(*perpetual, "--native-id", "C", "--underlying", "0xBTC")
    assert (ran.code, ran.error["doing"]) == (1, "reading field underlying: looking up 0xBTC")


def test_an_empty_request_id_is_no_request_id(run: Run, home: Path, apple: int) -> None:
    """A script whose variable is not set would repeat its command, and believe that it does not."""
    for word in ("", " "):
        ran = run("amend", APPLE, "--symbol", "X", "--request-id", word, "--json")
        assert ran.code == 2 and "it is empty" in ran.error["error"]
        ran = run("amend", "-", "--json",
                  stdin=lines({"key": APPLE, "symbol": "X", "request_id": word}))  # fmt: skip
        assert ran.code == 1 and "it is empty" in ran.rows[0]["error"]
    assert "it is empty" in run("alerts", "--ack", "0", "--request-id", "").err
    with Registry.open(home) as registry, pytest.raises(InvalidInput, match="it is empty"):
        registry.amend(apple, symbol="X", request_id=" ")


def test_a_listing_in_no_currency_is_another_one_and_says_so(run: Run, apple: int) -> None:
    words = ["add-listing", APPLE, "--venue"]
    ran = run(*words, "XNAS", "--symbol", "AAPX")
    assert (ran.code, ran.out[:3]) == (0, "new")
    assert "listed at XNAS in USD already; without --currency this is another" in ran.err
    assert run(*words, "XNAS", "--symbol", "AAPY").err == "", "it fills in that one"
    assert run(*words, "XETR").err == ""
    assert "XETR without a currency already" in run(*words, "XETR", "--currency", "EUR").err
    assert run(*words, "XNAS", "--currency", "EUR", "--line", "1").err.count("without") == 1
