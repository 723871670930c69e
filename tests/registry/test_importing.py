"""Importing: counts, idempotence, conflicts, quarantine, and what stops an import."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from alphapulse.log import InvalidInput, Kind, LogBusy, LogFull, ReadOnly, parse_time
from alphapulse.registry import Equity, Registry, Token, import_file, importing
from alphapulse.registry.importers import FORMATS, InputFile, Quarantine
from alphapulse.registry.importers.quarantine import default_path
from alphapulse.registry.importing import importer_for

SAMPLES = Path(__file__).parents[2] / "tools" / "samples"
OPTIMISM = SAMPLES / "optimism.tokenlist.json"
APPLE = SAMPLES / "apple_listings.csv"
NSE = SAMPLES / "nse_equities.csv"
INDIA = SAMPLES / "india_isins.csv"
TICKERS = SAMPLES / "pytickersymbols_equities.json"
COSMOS = SAMPLES / "chain_registry_assets.json"
CCXT = SAMPLES / "ccxt_markets.json"
ALL = (OPTIMISM, APPLE, NSE, INDIA, TICKERS, COSMOS, CCXT)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def token(number: int, **changes: object) -> dict[str, Any]:
    return {"chainId": 1, "address": f"0x{number:040x}", "symbol": f"T{number}",
            "name": f"Token {number}", "decimals": 6, **changes}  # fmt: skip


def token_list(path: Path, *tokens: object, name: str = "A list") -> Path:
    path.write_text(json.dumps({"name": name, "tokens": tokens}))
    return path


# --- the samples -----------------------------------------------------------------------------


def test_the_optimism_list(registry: Registry) -> None:
    report = import_file(registry, OPTIMISM)
    assert (report.rows, report.new, report.unchanged) == (1168, 1167, 1)
    assert report.is_clean
    assert report.format == "token-list"
    assert report.source == "superchain-token-list"
    assert report.quarantine_file is None
    assert registry.statistics().instruments == 1167
    for row in json.loads(OPTIMISM.read_text())["tokens"]:
        chain = f"eip155:{row['chainId']}"
        found = registry.by_address(chain, row["address"])
        assert found is not None
        assert registry.resolve(Token(chain=chain, address=row["address"])) == found.id
        record = registry.get(found.id)
        assert record is not None
        assert record.fingerprint == found.fingerprint
    usdc = registry.by_address("eip155:1", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48")
    assert usdc is not None
    assert {group for _, group in registry.groups(usdc.id)} == {"USDC", "BridgedUSDC"}


def test_every_event_names_source_and_content(registry: Registry) -> None:
    report = import_file(registry, APPLE, source="me")
    events = list(registry.read())
    assert events
    for event in events:
        assert event.metadata.source == "me"
        assert event.metadata.content_hash == report.content_hash
    assert len(report.content_hash) == 32


def test_the_csv_samples(registry: Registry) -> None:
    apple, nse = import_file(registry, APPLE), import_file(registry, NSE)
    assert (apple.rows, apple.new, apple.is_clean) == (6, 6, True)
    assert (nse.rows, nse.new, nse.is_clean) == (400, 400, True)
    assert apple.unknown_columns == nse.unknown_columns == ()
    found = registry.by_isin("US0378331005")
    assert found is not None
    assert found.symbol == "AAPL"
    facts = registry.facts(found.id)
    assert facts is not None
    assert facts.values["composite_figi"] == "BBG000B9XRY4"
    assert "figi" not in facts.values
    assert len(registry.listings(found.id)) == 6


@pytest.mark.parametrize(
    "path, format, counts",
    [(INDIA, "isin-csv", (12, 12, 0)), (TICKERS, "ticker-collection", (14, 9, 5)),
     (COSMOS, "chain-registry", (33, 24, 9)), (CCXT, "ccxt-markets", (11, 9, 2))],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)  # fmt: skip
def test_the_samples_with_traps(
    registry: Registry, path: Path, format: str, counts: tuple[int, int, int]
) -> None:
    dry = import_file(registry, path, dry_run=True)
    assert registry.statistics().head == 0
    report = import_file(registry, path)
    assert (report.format, report.source) == (format, dry.source)
    assert (report.rows, report.new, report.quarantined) == counts
    assert (report.collisions, report.conflicts) == (0, 0)
    assert dry.problems == report.problems
    for event in registry.read():
        assert event.metadata.source == report.source
        assert event.metadata.content_hash == blake3(path.read_bytes()).digest()


def test_the_samples_in_two_orders_say_the_same(tmp_path: Path) -> None:
    """Whoever was first, the same is known and disputed. Two files tell of Indian shares, and two
    of tokens on Ethereum, whose names they write differently. (Cut, for it is about the seams.)"""
    tokens = json.loads(OPTIMISM.read_text())["tokens"]
    asked = {row["address"] for row in json.loads(COSMOS.read_text())}
    shares = tmp_path / "nse.csv"
    shares.write_text("".join(NSE.read_text().splitlines(keepends=True)[:30]))
    files = [
        token_list(
            tmp_path / "tokens.json", *tokens[:30],
            *[row for row in tokens if row["chainId"] == 1 and row["address"].lower() in asked],
        ),
        shares, APPLE, INDIA, TICKERS, CCXT, COSMOS,
    ]  # fmt: skip

    def told(name: str, files: list[Path]) -> dict[str, tuple[int, bytes]]:
        with Registry.open(tmp_path / name, durability="relaxed") as registry:
            for path in files:
                import_file(registry, path)
            views = registry.statistics().views
        return {view: (state.rows, state.digest) for view, state in views.items()}

    whole = told("one", files)
    assert (whole["instruments"][0], whole["alerts"][0]) == (103, 2)
    assert whole["relations"][0] > 8
    assert told("other", files[::-1]) == whole
    assert told("third", files[3:] + files[:3]) == whole
    assert told("less", files[:-1]) != whole


@pytest.mark.parametrize(
    "text, says",
    [
        ('[{"symbol": "A/B", "base": "A", "quote": "B", "limits": {}}]',
         'most like ccxt-markets, but it has no "baseId" and no "quoteId", and that looks like'),
        ('{"tokns": [{"chainId": 1, "address": "0x", "decimals": 6}]}',
         'most like token-list, but it has no "tokens"'),
        ('[{"isins": [], "yahoo": "A", "google": "A"}]', 'ticker-collection, but it has no "symb'),
        ('[{"symbol": "A/B", "base": "A" "quote": "B", "limits": {}}]', "it is not JSON"),
        ('{"symbol": "x"}', "its format is not known$"),
    ],
)  # fmt: skip
def test_a_document_that_is_nearly_of_a_format(
    registry: Registry, tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "markets.json"
    path.write_text(text)
    with InputFile(path) as file, pytest.raises(InvalidInput) as caught:
        importer_for(file)
    assert re.search(says, caught.value.why)


# --- agreeing and disagreeing ----------------------------------------------------------------


def test_another_source_that_disagrees_raises_a_conflict_once(
    registry: Registry, tmp_path: Path
) -> None:
    import_file(registry, token_list(tmp_path / "a.json", token(7), name="one"))
    other = token_list(tmp_path / "b.json", token(7, symbol="OTHER", decimals=8), name="two")
    report = import_file(registry, other)
    assert (report.unchanged, report.conflicts, report.is_clean) == (1, 2, False)
    assert {problem.kind for problem in report.problems} == {"conflict"}
    assert {(p.place, p.reason) for p in report.problems} == {
        ("tokens[0]", "symbol: 'T7' is known from 'one', this row says 'OTHER'"),
        ("tokens[0]", "decimals: '6' is known from 'one', this row says '8'"),
    }
    found = registry.by_address("eip155:1", token(7)["address"])
    assert found is not None
    assert found.symbol == "T7"
    head = registry.log.head
    again = import_file(registry, other)
    assert (again.conflicts, again.is_clean, registry.log.head) == (2, False, head)
    assert len(registry.alerts()) == 2


def test_the_same_source_corrects_itself(registry: Registry, tmp_path: Path) -> None:
    import_file(registry, token_list(tmp_path / "a.json", token(7), token(8)))
    report = import_file(
        registry, token_list(tmp_path / "b.json", token(7, symbol="NEW"), token(8))
    )
    assert (report.amended, report.unchanged, report.is_clean) == (1, 1, True)
    found = registry.by_address("eip155:1", token(7)["address"])
    assert found is not None
    assert found.symbol == "NEW"


def test_a_source_does_not_correct_decimals(registry: Registry, tmp_path: Path) -> None:
    import_file(registry, token_list(tmp_path / "a.json", token(7)))
    report = import_file(registry, token_list(tmp_path / "b.json", token(7, decimals=18)))
    assert (report.amended, report.conflicts) == (0, 1)


def test_a_conflict_is_counted_once_however_many_rows_are_in_it(
    registry: Registry, tmp_path: Path
) -> None:
    import_file(registry, token_list(tmp_path / "a.json", token(7), name="one"))
    rows = [token(7, symbol="OTHER"), token(7, symbol="OTHER"), token(7, symbol="THIRD")]
    path = token_list(tmp_path / "b.json", *rows, name="two")
    assert import_file(registry, path, dry_run=True).conflicts == 2
    for _ in range(2):
        report = import_file(registry, path)
        assert (report.conflicts, len(registry.alerts()), len(report.problems)) == (2, 2, 2)


def test_duplicate_rows_are_unchanged(registry: Registry, tmp_path: Path) -> None:
    report = import_file(registry, token_list(tmp_path / "a.json", token(7), token(7)))
    assert (report.new, report.unchanged, report.is_clean) == (1, 1, True)


@pytest.mark.parametrize("changes", [{"name": "Other"}, {"symbol": "Z"}, {"decimals": 9}])
def test_a_file_that_contradicts_itself_does_not_amend_to_and_fro(
    registry: Registry, tmp_path: Path, changes: dict[str, object]
) -> None:
    path = token_list(tmp_path / "a.json", token(7), token(7, **changes))
    report = import_file(registry, path)
    assert (report.new, report.unchanged, report.amended, report.conflicts) == (1, 1, 0, 1)
    head = registry.statistics().head
    for _ in range(2):
        assert import_file(registry, path).unchanged == 2
        assert registry.statistics().head == head


def test_listings_of_one_file_that_contradict_each_other(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "isin,mic,symbol,primary,name\n"
        "US0378331005,XNAS,AAPL,true,Apple\nUS0378331005,XNAS,APPL,false,Apple\n"
    )
    assert import_file(registry, path).conflicts == 1
    head = registry.statistics().head
    assert import_file(registry, path).unchanged == 2
    assert registry.statistics().head == head


def test_a_new_listing_of_a_known_instrument_is_new(registry: Registry, tmp_path: Path) -> None:
    import_file(registry, APPLE)
    path = tmp_path / "more.csv"
    path.write_text("isin,venue,symbol,primary\nUS0378331005,binance:test,AAPLX,no\n")
    report = import_file(registry, path)
    assert (report.new, report.is_clean) == (1, True)


def test_collisions_are_new_and_counted(tmp_path: Path) -> None:
    path = token_list(tmp_path / "a.json", *[token(number) for number in range(1, 201)])
    with Registry.open(tmp_path / "small", id_bits=8) as registry:
        report = import_file(registry, path)
        raised = [e for e in registry.read() if e.kind == Kind.COLLISION_DETECTED]
        assert (report.rows, report.new) == (200, 200)
        assert report.collisions == len(raised) > 0
        assert import_file(registry, path).collisions == 0


# --- the quarantine --------------------------------------------------------------------------

BAD_CSV = (
    b"isin,mic,symbol,currency,name\n"
    b"US0378331005,XNAS,AAPL,USD,[red]Apple[/red]\n"
    b"US0378331006,XNAS,BAD,USD,wrong check digit\n"
    b"DE0007164600,XETR,SAP,EUR,Soci\xe9t\xe9\n"
    b"GB00BP6MXD84,XLON," + b"HUGE,GBX,ten megabytes\n"
    b"GB00BP6MXD84,XLON,\xe2\x80\xaeLEHS,GBX,Shell plc\n"
    b"GB00BP6MXD84,XLON,SHEL,GBX,Shell plc\n"
)


def test_good_rows_are_imported_and_bad_ones_kept_with_line_and_reason(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(BAD_CSV.replace(b"HUGE", b"S" * 10_000_000))
    report = import_file(registry, path)
    assert (report.rows, report.new, report.quarantined) == (6, 2, 4)
    assert not report.is_clean
    assert report.quarantine_file is not None
    assert report.quarantine_file.parent == registry.log.home.quarantine
    kept = [json.loads(line) for line in report.quarantine_file.read_text().splitlines()]
    assert [row["place"] for row in kept] == ["line 3", "line 4", "line 5", "line 6"]
    assert {row["file"] for row in kept} == {str(path)}
    for row, reason in zip(kept, ["isin", "UTF-8", "bytes", "U+202E"], strict=True):
        assert reason in row["reason"]
    assert kept[0]["row"] == "US0378331006,XNAS,BAD,USD,wrong check digit"
    assert [(p.kind, p.place) for p in report.problems] == [
        ("quarantined", row["place"]) for row in kept
    ]
    apple = registry.by_isin("US0378331005")
    assert apple is not None
    facts = registry.facts(apple.id)
    assert facts is not None
    assert facts.values["name"] == "[red]Apple[/red]"


def test_a_row_that_the_registry_refuses_is_kept_in_its_place(
    registry: Registry, tmp_path: Path
) -> None:
    """The file's words are fine one by one; with the state two periods would overlap."""
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    head_line = "isin,mic,valid_from,valid_to\n"
    first.write_text(
        f"{head_line}US0378331005,XNAS,2010,2015\nUS0378331005,XNAS,2020,\n"
    )
    second.write_text(
        f"{head_line}US0378331005,XNAS,2012,2022\nbad,XNAS,,\nGB00BP6MXD84,XLON,,2021\n"
    )
    import_file(registry, first, source="x")
    head = registry.statistics().head
    report = import_file(registry, second, source="x")
    assert (report.new, report.quarantined) == (1, 2)
    assert [problem.place for problem in report.problems] == ["line 2", "line 3"]
    assert "its periods overlap" in report.problems[0].reason
    assert registry.statistics().head == head + 2


def test_importing_again_replaces_its_quarantine_and_a_clean_one_removes_it(
    registry: Registry, tmp_path: Path
) -> None:
    path = token_list(tmp_path / "a.json", token(1), {})
    for _ in range(2):
        report = import_file(registry, path)
        (kept,) = registry.log.home.quarantine.iterdir()
        assert kept == report.quarantine_file
        assert len(kept.read_text().splitlines()) == 1

    # What refuses a row may be gone by the next import; then its old quarantine would mislead.
    clean = token_list(tmp_path / "b.json", token(1))
    stale = default_path(kept.parent, clean, blake3(clean.read_bytes()).digest())
    stale.write_text("stale")
    assert import_file(registry, clean).quarantine_file is None
    assert list(kept.parent.iterdir()) == [kept]


def test_a_quarantine_of_ones_own(registry: Registry, tmp_path: Path) -> None:
    path = token_list(tmp_path / "a.json", token(1), {"chainId": "1"})
    report = import_file(registry, path, quarantine=tmp_path / "q.jsonl")
    assert report.quarantine_file == tmp_path / "q.jsonl"
    (row,) = map(json.loads, (tmp_path / "q.jsonl").read_text().splitlines())
    assert (row["place"], row["row"]) == ("tokens[1]", {"chainId": "1"})
    assert not list(registry.log.home.quarantine.iterdir())


def test_several_files_share_a_quarantine(registry: Registry, tmp_path: Path) -> None:
    a = token_list(tmp_path / "a.json", {})
    b = token_list(tmp_path / "b.json", {})
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        for path in (a, b):
            report = import_file(registry, path, quarantine=quarantine)
            assert report.quarantine_file == tmp_path / "q.jsonl"
    kept = [json.loads(line)["file"] for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert kept == [str(a), str(b)]


@pytest.mark.parametrize("kind", [Path, Quarantine])
def test_a_file_is_never_replaced_by_its_own_quarantine(
    registry: Registry, tmp_path: Path, kind: Callable[[Path], Path | Quarantine]
) -> None:
    path = token_list(tmp_path / "a.json", {}, token(1))
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="its own quarantine"):
        import_file(registry, path, quarantine=kind(path))
    assert path.read_bytes() == before
    assert registry.statistics().head == 0


def test_a_report_shows_the_first_problems_only(registry: Registry, tmp_path: Path) -> None:
    path = token_list(tmp_path / "a.json", *[{} for _ in range(importing.PROBLEMS_MAX + 5)])
    report = import_file(registry, path)
    assert report.quarantined == importing.PROBLEMS_MAX + 5
    assert len(report.problems) == importing.PROBLEMS_MAX


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, text, format",
    [
        ("list", '\ufeff \n{"tokens": []}', "token-list"),
        ("list.JSON", '{"name": "x"}', None),
        ("list.txt", '{"class": "coin", "chain": "eip155:1"}\n', "instruments-jsonl"),
        ("list", "Mic,x,ISIN\n", "listings-csv"),
        ("list.csv", "a,b\n", "listings-csv"),
        ("list.txt", "a,b\n", None),
        ("list.txt", '{"kind": "x"}', None),
        ("list.xlsx", "PK\x03\x04", None),
    ],
)
def test_the_format_is_seen(tmp_path: Path, name: str, text: str, format: str | None) -> None:
    path = tmp_path / name
    path.write_text(text)
    with InputFile(path) as file:
        if format is not None:
            assert importing.importer_for(file).name == format
            return
        with pytest.raises(InvalidInput, match="its format is not known") as caught:
            importing.importer_for(file)
    assert all(each in str(caught.value) for each in FORMATS)
    assert len(str(caught.value)) < 300, "it is read at a terminal; import --help says more"


def test_a_format_by_name(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"tokens": []}')
    assert import_file(registry, path, format="token-list").rows == 0
    with pytest.raises(InvalidInput, match="no column"):
        import_file(registry, path, format="listings-csv")
    with pytest.raises(InvalidInput, match="there is no format 'xml'"):
        import_file(registry, path, format="xml")


def test_a_source_is_checked(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="source"):
        import_file(registry, APPLE, source="a\nb")


# --- what stops an import --------------------------------------------------------------------


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit for each hundred rows."""
    assert importing.CHUNK_ROWS_MAX == 1_000
    monkeypatch.setattr(importing, "CHUNK_ROWS_MAX", 100)


@pytest.mark.usefixtures("_small_chunks")
def test_a_full_disk_stops_the_import_and_says_how_far_it_came(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = token_list(tmp_path / "a.json", *[token(number) for number in range(1, 251)], {})
    whole, appends = registry.log.store.append, []

    def append(data: bytes, offset: int) -> None:
        appends.append(offset)
        if len(appends) == 3:
            raise LogFull("appending")
        whole(data, offset)

    monkeypatch.setattr(registry.log.store, "append", append)
    with pytest.raises(LogFull) as caught:
        import_file(registry, path)
    assert caught.value.facts == {"file": str(path), "rows_done": 200}
    assert registry.statistics().instruments == 200
    assert not list(registry.log.home.quarantine.iterdir())
    report = import_file(registry, path)
    assert (report.unchanged, report.new, report.quarantined) == (200, 50, 1)


def test_a_registry_that_only_reads_stops_the_import(tmp_path: Path) -> None:
    Registry.open(tmp_path / "home").close()
    with Registry.open(tmp_path / "home", mode="r") as reader:
        for dry_run in (False, True):
            with pytest.raises(ReadOnly):
                import_file(reader, APPLE, dry_run=dry_run)


def test_a_busy_log_stops_the_import(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home", wait_s=0.05) as registry:
        registry.log.lock.acquire()
        try:
            with pytest.raises(LogBusy) as caught:
                import_file(registry, APPLE)
        finally:
            registry.log.lock.release()
        assert caught.value.facts["rows_done"] == 0
        assert import_file(registry, APPLE).new == 6


@pytest.mark.usefixtures("_small_chunks")
def test_an_interrupted_import_is_completed_by_the_next(registry: Registry, tmp_path: Path) -> None:
    path = token_list(tmp_path / "a.json", *[token(number) for number in range(1, 151)], {})

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_file(registry, path, progress=interrupt)
    assert registry.statistics().instruments == 100
    assert not list(registry.log.home.quarantine.iterdir())
    report = import_file(registry, path)
    assert (report.unchanged, report.new, report.quarantined) == (100, 50, 1)


@pytest.mark.usefixtures("_small_chunks")
def test_others_write_between_the_chunks_of_an_import(registry: Registry, tmp_path: Path) -> None:
    path = token_list(tmp_path / "a.json", *[token(number) for number in range(1, 201)])
    mine = Token(chain="eip155:10", address=f"0x{1:040x}")
    writer = threading.Thread(target=registry.register, args=(mine,))

    def start(done: int, total: int) -> None:
        if done == 100:
            writer.start()
            writer.join()

    assert import_file(registry, path, progress=start).new == 200
    assert registry.resolve(mine) is not None


def test_valid_from_is_also_of_the_symbols_of_listings(
    registry: Registry, tmp_path: Path
) -> None:
    head = "isin,mic,symbol,currency,tick\n"
    files = {}
    for symbol, tick in (("AAPL", "0.01"), ("APPL", "0.01"), ("APPL", "0.05"), ("APPL", "")):
        file = tmp_path / f"{symbol}{tick}.csv"
        file.write_text(f"{head}US0378331005,XNAS,{symbol},USD,{tick}\n")
        files[symbol, tick] = file

    def imported(
        symbol: str, since: str, tick: str = "0.01", source: str = "x"
    ) -> tuple[int, int, int]:
        report = import_file(registry, files[symbol, tick], source=source, valid_from=since)
        return report.amended, report.quarantined, report.conflicts

    def symbols(*times: str) -> list[str]:
        found = []
        for time in times:
            apple = registry.by_isin("US0378331005")
            assert apple is not None
            (listing,) = registry.listings(apple.id, valid=time)
            found.append(listing.symbol)
        return found

    imported("AAPL", "2010-01-01")
    assert imported("APPL", "2199-01-01") == (1, 0, 0)
    assert symbols("2010-01-01", "2026-01-01", "2199-01-01") == ["AAPL", "AAPL", "APPL"]
    assert registry.by_symbol("AAPL", venue="XNAS") and not registry.by_symbol("APPL", venue="XNAS")
    assert imported("APPL", "2199-01-01") == imported("APPL", "2199-06-01") == (0, 0, 0)
    assert imported("APPL", "2150-01-01") == (1, 0, 0)  # the same file: it was announced sooner
    assert symbols("2149-01-01", "2150-01-01") == ["AAPL", "APPL"]
    head_before = registry.log.head
    assert imported("APPL", "2199-01-01", "0.05") == (0, 1, 0)  # a tick cannot be announced
    assert imported("APPL", "2140-01-01", "", "y") == (0, 0, 1)  # of the instrument's symbol
    assert registry.log.head == head_before + 1
    assert imported("APPL", "2015-01-01", "0.05")[0] == 1  # of a day that has come it can be said
    assert symbols("2014-01-01", "2015-01-01") == ["AAPL", "APPL"]


def test_a_listing_that_is_announced_begins_on_that_day(
    registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    rows = "US0378331005,XNAS,A,\nUS5949181045,XNAS,M,2001-01-01\n"
    file.write_text(f"isin,mic,symbol,symbol_from\n{rows}")
    registry.register(Equity(isin="US5949181045"))
    import_file(registry, file, source="x", valid_from="2199-01-01")
    for code, begins in (("US0378331005", "2199-01-01"), ("US5949181045", "1970-01-01")):
        record = registry.by_isin(code)
        assert record is not None
        (listing,) = registry.listings(record.id)
        assert listing.valid_from == parse_time(begins)
