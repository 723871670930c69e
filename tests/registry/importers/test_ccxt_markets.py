"""Markets of ccxt: every field comes back exactly, and what is not certain is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import CLASS_NAMES, InvalidInput, Status
from alphapulse.registry import (
    CLASSES,
    Register,
    Registry,
    SpotPair,
    Unit,
    import_file,
)
from alphapulse.registry.importers import FORMATS, CcxtMarkets, InputFile, Refused, Row
from alphapulse.registry.importers.ccxt_venues import product_of, root_of
from alphapulse.registry.importing import importer_for
from alphapulse.registry.instruments import from_mapping

SAMPLE = Path(__file__).parents[3] / "tools" / "samples" / "ccxt_markets.json"
MARKETS: dict[str, dict[str, Any]] = json.loads(SAMPLE.read_bytes())["markets"]
SPOT, SWAP, INVERSE = MARKETS["BTC/USDT"], MARKETS["BTC/USDT:USDT"], MARKETS["BTC/USD:BTC"]
FUTURE = MARKETS["BTC/USD:BTC-270625"]
OPTION = MARKETS["XRP/USDT:USDT-270625-0.365-P"]
EXPIRY_NS = 1_813_910_400_000_000_000

_SPOT = {"venue": "binance", "generation": 0, "market": "spot"}
_SWAP = {"venue": "binance", "generation": 0, "market": "perpetual"}
_FUTURE = {"venue": "binance", "generation": 0, "maturity": "2027-06-25", "expiry": EXPIRY_NS}
_OPTION = {
    "venue": "binance", "adjustment": 0, "maturity": "2027-06-25", "expiry": EXPIRY_NS,
    "style": "european", "quote": "USDT", "settlement": "USDT", "payoff": "linear",
}  # fmt: skip
EXPECTED: dict[str, dict[str, Any]] = {
    "BTC/USDT": {
        **_SPOT, "native_id": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01",
        "lot": "0.00001", "min_size": "0.00001", "max_size": "9000", "min_notional": "5",
    },
    "1000SATS/USDT": {
        **_SPOT, "native_id": "1000SATSUSDT", "base": "1000SATS", "quote": "USDT",
        "tick": "0.00000001", "lot": "1", "min_size": "1", "max_size": "9222449",
        "min_notional": "1",
    },
    "ETH/BTC": {
        **_SPOT, "market": "margin", "native_id": "ETHBTC", "base": "ETH", "quote": "BTC",
        "tick": "0.00001", "lot": "0.0001", "min_size": "0.0001", "max_size": "100000",
        "min_notional": "0.0001",
    },
    "BTC/USDT:USDT": {
        **_SWAP, "native_id": "BTCUSDT", "base": "BTC", "quote": "USDT", "settlement": "USDT",
        "payoff": "linear", "multiplier": "1", "tick": "0.1", "lot": "0.001",
        "min_size": "0.001", "max_size": "1000", "min_notional": "100",
    },
    "BTC/USD:BTC": {
        **_SWAP, "native_id": "BTCUSD_PERP", "base": "BTC", "quote": "USD", "settlement": "BTC",
        "payoff": "inverse", "multiplier": "100", "tick": "0.1", "lot": "1", "min_size": "1",
        "max_size": "1000000",
    },
    "BTC/USDT:USDT-270625": {
        **_FUTURE, "product": "BTCUSDT", "native_id": "BTCUSDT_270625", "base": "BTC",
        "quote": "USDT", "settlement": "USDT", "payoff": "linear", "multiplier": "1",
        "tick": "0.1", "lot": "0.001", "min_size": "0.001", "max_size": "500",
        "min_notional": "5",
    },
    "BTC/USD:BTC-270625": {
        **_FUTURE, "product": "BTCUSD", "native_id": "BTCUSD_270625", "base": "BTC",
        "quote": "USD", "settlement": "BTC", "payoff": "inverse", "multiplier": "100",
        "tick": "0.1", "lot": "1", "min_size": "1", "max_size": "100000",
    },
    "BTC/USDT:USDT-270625-100000-C": {
        **_OPTION, "root": "BTC", "native_id": "BTC-270625-100000-C", "base": "BTC",
        "strike": "100000", "right": "call", "multiplier": "1", "tick": "5", "lot": "0.01",
        "min_size": "0.01", "max_size": "1000",
    },
    "XRP/USDT:USDT-270625-0.365-P": {
        **_OPTION, "root": "XRP", "native_id": "XRP-270625-0.365-P", "base": "XRP",
        "strike": "0.365", "right": "put", "multiplier": "100", "tick": "0.01", "lot": "0.1",
        "min_size": "0.1", "max_size": "20000",
    },
}  # fmt: skip
HALTED = {"1000SATS/USDT"}


def written(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def wrapped(*markets: object, mode: object = 4, id: object = "binance") -> dict[str, object]:
    return {"id": id, "precisionMode": mode, "markets": list(markets)}


def read(path: Path, document: object, source: str = "source") -> list[Row | Refused]:
    with InputFile(written(path, document)) as file:
        reading = CcxtMarkets().open(file)
        rows = list(reading.rows(source))
    assert reading.done == reading.total
    return rows


def one(path: Path, market: object, mode: object = 4, id: object = "binance") -> Row | Refused:
    (row,) = read(path, wrapped(market, mode=mode, id=id))
    return row


def changed(market: dict[str, Any], **changes: object) -> dict[str, Any]:
    """`precision__price=8` changes a field within; `...` takes one away."""
    found: dict[str, Any] = json.loads(json.dumps(market))
    for name, value in changes.items():
        *outer, field = name.split("__")
        inner = found
        for step in outer:
            inner = inner[step]
        if value is ...:
            del inner[field]
        else:
            inner[field] = value
    return found


def register(row: Row | Refused) -> Register:
    assert isinstance(row, Row), row.reason
    (command,) = row.commands
    assert isinstance(command, Register)
    return command


def values(row: Row | Refused) -> dict[str, Any]:
    return register(row).facts.values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "markets.json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", durability="relaxed") as opened:
        yield opened


def digests(registry: Registry) -> dict[str, bytes]:
    return {name: state.digest for name, state in registry.statistics().views.items()}


# --- every type ------------------------------------------------------------------------------


def test_every_field_of_every_type_comes_back_exactly(registry: Registry) -> None:
    report = import_file(registry, SAMPLE)
    assert (report.source, report.unknown_columns) == ("binance", ("stock",))
    assert [problem.place for problem in report.problems] == [
        "markets['.BTCUSD']", "markets['/USDT']"
    ]  # fmt: skip
    with InputFile(SAMPLE) as file:
        assert importer_for(file) is FORMATS["ccxt-markets"]
        rows = [row for row in CcxtMarkets().open(file).rows("x") if isinstance(row, Row)]
    assert len(rows) == len(EXPECTED)
    for command in map(register, rows):
        symbol = str(command.facts.values["symbol"])
        (found,) = registry.by_symbol(symbol)
        facts = registry.facts(found.id)
        assert facts is not None
        assert facts.values == {**EXPECTED[symbol], "symbol": symbol}
        assert found.fingerprint == command.fingerprint
        assert found.status == (Status.HALTED if symbol in HALTED else Status.ACTIVE)


def test_importing_twice_adds_nothing(registry: Registry) -> None:
    import_file(registry, SAMPLE)
    head, before = registry.statistics().head, digests(registry)
    again = import_file(registry, SAMPLE)
    assert (again.new, again.unchanged, again.amended) == (0, 9, 0)
    assert registry.statistics().head == head
    assert digests(registry) == before


def test_two_orders_say_the_same(tmp_path: Path) -> None:
    """A file of all, two with some of them again, and one that contradicts."""
    halves = [
        written(tmp_path / f"binance{name}.json", {symbol: MARKETS[symbol] for symbol in symbols})
        for name, symbols in (("usdm", list(EXPECTED)[3:5]), ("", list(EXPECTED)[5:]))
    ]
    other = written(tmp_path / "other.json", wrapped(changed(SPOT, precision__price=0.5)))
    files = [SAMPLE, *halves, other]

    def told(name: str, files: list[Path]) -> dict[str, bytes]:
        with Registry.open(tmp_path / name, durability="relaxed") as registry:
            for path in files:
                import_file(registry, path, source="other" if path == other else "")
            assert registry.statistics().instruments == 9
            return digests(registry)

    assert told("one", files) == told("two", files[::-1])
    assert told("three", files[:-1]) != told("one again", files)


def test_a_market_that_pauses_and_goes_on(registry: Registry, path: Path) -> None:
    seen = []
    for active in (None, False, None, True, False):
        import_file(registry, written(path, wrapped(changed(SWAP, active=active))))
        (found,) = registry.by_symbol("BTC/USDT:USDT")
        seen.append(found.status)
    assert seen == [
        Status.ACTIVE, Status.HALTED, Status.HALTED, Status.ACTIVE, Status.HALTED
    ]  # fmt: skip


@pytest.mark.parametrize(
    "number, expected",
    [
        ("0.1", "0.1"), ("1e-12", "0.000000000001"), ("0.00390625", "0.00390625"),
        ("1e-08", "0.00000001"), ("100.0", "100"), ("1E+2", "100"), ("5", "5"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("9007199254740993", "9007199254740993"), ('"0.10"', "0.1"), ('"1e-8"', "0.00000001"),
    ],
)  # fmt: skip
def test_no_number_passes_through_a_float(path: Path, number: str, expected: str) -> None:
    market = changed(
        SWAP, precision__price="N", precision__amount="N", contractSize="N",
        limits__amount={"min": "N", "max": "N"}, limits__cost={"min": "N"},
    )  # fmt: skip
    said = values(read(path, json.dumps(wrapped(market)).replace('"N"', number))[0])
    for field in ("tick", "lot", "multiplier", "min_size", "max_size", "min_notional"):
        assert said[field] == expected


def test_a_strike_with_twelve_decimals(path: Path) -> None:
    strike = "0.000012345678"
    market = changed(OPTION, strike="N", id=f"XRP-270625-{strike}-P")
    assert values(read(path, json.dumps(wrapped(market)).replace('"N"', strike))[0])[
        "strike"
    ] == strike  # fmt: skip


def test_what_is_null_or_missing_is_not_known(path: Path) -> None:
    bare = {field: SWAP[field] for field in ("id", "symbol", "base", "quote", "settle", "type")}
    assert values(one(path, bare)) == {
        "venue": "binance", "market": "perpetual", "generation": 0, "native_id": "BTCUSDT",
        "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settlement": "USDT",
    }  # fmt: skip
    nulls = dict.fromkeys(SWAP) | bare | {"precision": {"price": None}, "limits": {"amount": None}}
    assert values(one(path, nulls)) == values(one(path, bare))
    assert register(one(path, bare)).status is None


def test_empty_text_says_nothing_either(path: Path) -> None:
    """ccxt for Go and C# writes it where the others write null."""
    empty = changed(
        SPOT, settle="", strike="", optionType="", expiryDatetime="", contractSize="",
        limits__cost__max="", precision__price="",
    )  # fmt: skip
    assert values(one(path, empty)).keys() == values(one(path, SPOT)).keys() - {"tick"}


def test_a_number_beyond_all_bounds_is_refused_with_its_row(
    registry: Registry, path: Path
) -> None:
    for number in ("1e99999999999999999999", "-1E-99999999999999999999"):
        text = json.dumps(wrapped(changed(SWAP, created="N"), SPOT)).replace('"N"', number)
        for importing in range(2):
            report = import_file(registry, written(path, text))
            assert (report.rows, report.quarantined) == (2, 1), importing
            assert f"it contains {number}, a number beyond all" in report.problems[0].reason
    assert registry.statistics().instruments == 1


def test_no_least_is_none(path: Path) -> None:
    said = values(one(path, changed(SPOT, limits__amount__min=0.0, limits__cost__min=0)))
    assert said.keys() == EXPECTED["BTC/USDT"].keys() - {"min_size", "min_notional"} | {"symbol"}


def test_what_does_not_expire_has_no_expiry(path: Path) -> None:
    never = {"expiry": 32_503_708_800_000, "expiryDatetime": "3000-01-01T08:00:00.000Z"}
    for market in (SPOT, SWAP):
        assert values(one(path, changed(market, **never))) == values(one(path, market))


def test_a_quanto(path: Path) -> None:
    market = changed(SWAP, quanto=True, linear=False, inverse=None, settle="ETH")
    assert values(one(path, market))["payoff"] == "quanto"


@pytest.mark.parametrize("market", [SPOT, SWAP, FUTURE], ids=["spot", "swap", "future"])
def test_an_id_that_another_asset_has_now(
    registry: Registry, path: Path, market: dict[str, Any]
) -> None:
    """What the venue says of the new asset must not go to the old one."""
    import_file(registry, written(path, wrapped(market)))
    (old,) = registry.by_symbol(market["symbol"])
    registry.delist(old.id, source="ops")
    known = registry.facts(old.id)
    assert known is not None
    said, kind = known.values, CLASSES[CLASS_NAMES[old.asset_class]]
    again = {field: said[field] for field in kind.identity if field in said}
    ids = [
        registry.register(from_mapping(kind, {**again, "generation": n}), source="ops").id
        for n in (1, 2)
    ]  # fmt: skip
    before = registry.facts(old.id), registry.facts(ids[0])
    changes = {"base": "LUNA", "symbol": market["symbol"].replace("BTC/", "LUNA/", 1)}
    changes |= {"precision__price": 0.25, "linear": None, "inverse": None}
    for outcome in ("amended", "unchanged"):
        report = import_file(registry, written(path, wrapped(changed(market, **changes))))
        assert (getattr(report, outcome), report.is_clean) == (1, True)
    assert (registry.facts(old.id), registry.facts(ids[0])) == before
    newest = registry.facts(ids[1])
    assert newest is not None
    assert [newest.values[field] for field in ("base", "tick", "generation")] == ["LUNA", "0.25", 2]


def test_a_retry_of_what_went_to_a_later_generation(registry: Registry, path: Path) -> None:
    command = register(one(path, SPOT))
    registry.register(SpotPair(venue="binance", native_id="BTCUSDT"))
    registry.register(SpotPair(venue="binance", native_id="BTCUSDT", generation=1, quote="EUR"))
    unit = Unit((command,), registry.origin("binance", "r"))
    (first,), (second,) = ([*registry.execute([unit])] for _ in range(2))
    assert isinstance(first, list) and first == second
    assert first[0].outcome == "amended" and len(first[0].conflicts) == 1  # of the quote


# --- precision modes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, price, amount, expected",
    [
        (4, 0.01, 1, ("0.01", "1")),
        (2, 2, 0, ("0.01", "1")),
        (2, -1, 8, ("10", "0.00000001")),
        (2, None, 3, (None, "0.001")),
        (3, 5, 8, (None, None)),
        (None, 0.01, 1, ("0.01", "1")),
        (None, 1, 0.5, ("1", "0.5")),
        (None, None, None, (None, None)),
    ],
)
def test_precision_modes(
    path: Path, mode: int | None, price: object, amount: object,
    expected: tuple[str | None, str | None],
) -> None:  # fmt: skip
    precision = {"price": price, "amount": amount}
    said = values(one(path, changed(SWAP, precision=precision), mode))
    assert (said.get("tick"), said.get("lot")) == expected


@pytest.mark.parametrize(
    "mode, precision, reason",
    [
        (None, {"price": 8, "amount": 8}, "precision.price: it may be a step or a count of digits"),
        (None, {"amount": 1.0}, "precision.amount: it may be a step or a count"),
        (2, {"price": 0.01}, "field precision.price: it must be an integer [value='0.01']"),
        (3, {"price": 0.01}, "field precision.price: it must be an integer"),
        (2, {"price": 31}, "precision.price: so many digits are no precision"),
        (4, {"price": 0}, "tick: it must be above zero"),
        (4, {"price": "a"}, "precision.price: it is not decimal text"),
        (4, {"price": True}, "precision.price: it must be a number"),
        (4, 8, "precision: it must be an object"),
    ],
)
def test_no_tick_is_guessed(path: Path, mode: object, precision: object, reason: str) -> None:
    row = one(path, changed(SWAP, precision=precision), mode)
    assert isinstance(row, Refused)
    assert reason in row.reason


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "market, changes, reason",
    [
        (SPOT, {"id": ...}, "field id: it is missing"),
        (SPOT, {"id": 12}, "id: it must be text"),
        (SPOT, {"id": " "}, "id: it is missing"),
        (SPOT, {"symbol": None}, "symbol: it is missing"),
        (SPOT, {"base": None}, "base: it is missing"),
        (SPOT, {"quote": ""}, "quote: it is missing"),
        (SPOT, {"base": "A B"}, "base: it contains a blank"),
        (SPOT, {"type": None}, "type: there is no class for it"),
        (SPOT, {"type": "warrant"}, "type: there is no class for it [value='warrant']"),
        (SPOT, {"swap": True}, "type: the field swap contradicts it"),
        (SPOT, {"spot": False}, "type: the field spot contradicts it"),
        (SPOT, {"type": "margin", "margin": False}, "the field margin contradicts it"),
        (SPOT, {"spot": "yes"}, "spot: it must be true or false"),
        (SPOT, {"active": 1}, "active: it must be true or false"),
        (SPOT, {"strike": 5}, "strike: a market of type spot has none"),
        (SPOT, {"limits": []}, "limits: it must be an object"),
        (SPOT, {"limits__cost": 5}, "field limits.cost: it must be an object"),
        (SPOT, {"limits__amount": "x"}, "field limits.amount: it must be an object"),
        (SPOT, {"limits__amount__max": 0}, "max_size: it must be above zero"),
        (SPOT, {"limits__amount__max": 1e-6}, "max_size: it is below min_size"),
        (SPOT, {"limits__cost__min": -1}, "min_notional: it must be above zero"),
        (SPOT, {"info": {"x": float("nan")}}, "it contains NaN"),
        (SWAP, {"settle": None}, "settle: it is missing"),
        (SWAP, {"optionType": "call"}, "optionType: a market of type swap has none"),
        (SWAP, {"inverse": True}, "linear: it cannot be inverse as well"),
        (SWAP, {"linear": 1}, "linear: it must be true or false"),
        (FUTURE, {"expiry": None, "expiryDatetime": None}, "expiry: it is missing"),
        (FUTURE, {"expiry": 1.5}, "expiry: it must be an integer"),
        (FUTURE, {"expiry": 0, "expiryDatetime": None}, "expiry: it is missing [value=0]"),
        (FUTURE, {"expiry": -1, "expiryDatetime": None}, "expiry: it is before 1970"),
        (FUTURE, {"expiry": 10**20}, "expiry: it must be"),
        (FUTURE, {"expiry": 1813910400001}, "expiry: expiryDatetime says '2027-06-25T08"),
        (FUTURE, {"id": "BTCUSD_270626"}, "does not name its date of expiry once (2027-06-25)"),
        (FUTURE, {"id": "BTC-FS-25JUN27_PERP", "symbol": "BTC-FS-25JUN27_PERP"},
         "symbol: it does not begin with BTC/USD:BTC-"),
        (OPTION, {"strike": None}, "strike: it is missing"),
        (OPTION, {"optionType": "straddle"}, "optionType: it must be call or put"),
        (OPTION, {"optionType": "call"}, "does not name date, strike and right, each once"),
        (OPTION, {"strike": 0.366}, "does not name date, strike and right, each once"),
        (5, {}, "it is 5"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused(
    path: Path, market: Any, changes: dict[str, object], reason: str
) -> None:
    row = one(path, changed(market, **changes))
    assert isinstance(row, Refused)
    assert row.place == "markets[0]"
    assert reason in row.reason


def test_styles_come_from_the_table_only(path: Path) -> None:
    for id in ("okx", "binance:test"):
        assert values(one(path, OPTION, id=id))["style"] == "european"
    row = one(path, OPTION, id="bullish")
    assert isinstance(row, Refused)
    assert "style: ccxt does not say it, and of this venue it is not known" in row.reason


def test_one_instrument_twice_in_a_file_is_told(path: Path) -> None:
    markets = (SPOT, changed(SPOT, symbol="XBT/USDT"), SWAP, FUTURE,
               changed(FUTURE, id="BTCUSD_20270625"))  # fmt: skip
    rows = read(path, wrapped(*markets))
    assert [type(row) for row in rows] == [Refused, Refused, Row, Refused, Refused]
    for row in rows:
        if isinstance(row, Refused):
            assert "2 markets of this file are the same instrument, id 'BTCUSD" in row.reason


def test_unknown_fields_are_told(path: Path) -> None:
    market = changed(SPOT, basis=1, precision__tick=1, limits__market={"min": 1}, stock=...)
    with InputFile(written(path, {**wrapped(market), "rateLimit": 50})) as file:
        assert CcxtMarkets().open(file).unknown_columns == (
            "basis", "limits.market", "precision.tick", "rateLimit"
        )  # fmt: skip


# --- whose markets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, source, id, venue",
    [
        ("x.json", "me", "binance", "binance"),
        ("okx.json", "kraken", "binance", "binance"),
        ("x.json", "me", "binanceusdm", "binance"),
        ("x.json", "me", "binancecoinm:test", "binance:test"),
        ("x.json", "me", "new-one", "new-one"),
        ("binance.markets.json", "me", None, "binance"),
        ("binanceusdm.json", "binance:test", None, "binance:test"),
        ("x.json", "binance:test", None, "binance:test"),
    ],
)
def test_the_exchange(tmp_path: Path, name: str, source: str, id: object, venue: str) -> None:
    document = [SWAP] if id is None else {"exchange": id, "markets": {SWAP["symbol"]: SWAP}}
    (row,) = read(tmp_path / name, document, source)
    assert values(row)["venue"] == venue


def test_two_exchanges_for_one_file_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="which exchange its markets are of, only okx and krak"):
        read(tmp_path / "kraken.json", [SWAP], "okx")


@pytest.mark.parametrize("form", ["list", "object", "wrapped list", "wrapped object"])
def test_the_forms_of_a_document_say_the_same(tmp_path: Path, form: str) -> None:
    markets: Any = [SPOT, SWAP] if "list" in form else {each["symbol"]: each
                                                       for each in (SPOT, SWAP)}  # fmt: skip
    rows = read(
        tmp_path / "binance.json", {"markets": markets} if "wrapped" in form else markets
    )
    assert [values(row)["symbol"] for row in rows] == ["BTC/USDT", "BTC/USDT:USDT"]
    place = "[0]" if "list" in form else "['BTC/USDT']"
    assert rows[0].place == ("markets" if "wrapped" in form else "") + place
    with InputFile(tmp_path / "binance.json") as file:
        assert importer_for(file) is FORMATS["ccxt-markets"]
        assert CcxtMarkets().open(file).source == "binance"


def test_a_market_stands_under_its_symbol(path: Path) -> None:
    rows = read(path, {"id": "binance", "markets": {"A/B": SPOT, "C/D": 5}})
    assert [row.place for row in rows] == ["markets['A/B']", "markets['C/D']"]
    reasons = [row.reason for row in rows if isinstance(row, Refused)]
    assert "symbol: the document calls it otherwise" in reasons[0]
    assert "it is 5" in reasons[1]


@pytest.mark.parametrize(
    "document, problem",
    [
        ([SPOT], "it does not say which exchange its markets are of"),
        ({"markets": [SPOT]}, "it does not say which exchange"),
        (wrapped(SPOT, id="XNAS"), "it is a MIC and no exchange of ccxt"),
        (wrapped(SPOT, id="a b"), "neither a MIC nor a slug"),
        (wrapped(SPOT, id=5), "must be one name in text"),
        (wrapped(SPOT, id=[]), "must be one name in text"),
        ({**wrapped(SPOT), "exchange": "okx"}, "must be one name in text"),
        (wrapped(SPOT, mode=5), "its precisionMode is none of ccxt's"),
        (wrapped(SPOT, mode=True), "its precisionMode is none of ccxt's"),
        (SPOT, "it is one market"),
        ({"markets": 5}, "it has no markets"),
        (5, "it has no markets"),
        ('{"A/B": {}, "A/B": {}}', "the key 'A/B' stands twice"),
        ('{"id": "okx", "id": "okx", "markets": []}', "the key 'id' stands twice"),
        ('{"id": "okx", "rateLimit": NaN, "markets": []}', "it contains NaN"),
    ],
)
def test_an_unusable_document(path: Path, document: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read(path, document)


# --- what the venue's ids say ----------------------------------------------------------------

JUNE = date(2027, 6, 25)


@pytest.mark.parametrize(
    "native_id, product",
    [
        ("BTCUSD_270625", "BTCUSD"), ("BTC-USD-270625", "BTC-USD"), ("BTC-25JUN27", "BTC"),
        ("BTC_USDT_20270625", "BTC_USDT"), ("FI_XBTUSD_270625", "FI_XBTUSD"),
        ("fi_xbtusd_270625", "fi_xbtusd"), ("XBTM27", "XBT"), ("BTCUSDM27", "BTCUSD"),
        ("BTC270625", "BTC"), ("BTC20270625", "BTC"), ("BIT-25JUN27-CDE", "BIT-CDE"),
        ("BTC_USDC-25JUN27", "BTC_USDC"), ("BTCUSDT-25JUN27", "BTCUSDT"),
        ("BTCUSD", None), ("BTCUSD_270626", None), ("270625", None), ("_270625", None),
        ("BTCU27", None), ("BTC-25JUN27-25JUN27", None),
    ],
)  # fmt: skip
def test_the_product_of_a_future(native_id: str, product: str | None) -> None:
    if product is not None:
        assert product_of(native_id, JUNE) == product
        return
    with pytest.raises(InvalidInput, match="the product is not known"):
        product_of(native_id, JUNE)


@pytest.mark.parametrize(
    "native_id, strike, right, root",
    [
        ("BTC-25JUN27-90000-C", "90000", "call", "BTC"),
        ("BTC-270625-90000-P", "90000.0", "put", "BTC"),
        ("BTC-USD-270625-90000-C", "90000", "call", "BTC-USD"),
        ("BTC-25JUN27-90000-C-USDT", "90000", "call", "BTC-USDT"),
        ("BTC_USDT-20270625-90000-C", "90000", "call", "BTC_USDT"),
        ("C-BTC-90000-250627", "90000", "call", "BTC"),
        ("XRP_USDC-25JUN27-0d5-P", "0.5", "put", "XRP_USDC"),
        ("SATS-270625-0.000012345678-P", "0.000012345678", "put", "SATS"),
        ("C-25JUN27-9-C", "9", "call", None),
        ("BTC-270625-270625-C", "270625", "call", None),
        ("BTC-270625-C", "270625", "call", None),
        ("MV-BTC-90000-250627", "90000", "call", None),
        ("25JUN27-9-C", "9", "call", None),
        ("BTC-25JUN27-9x-C", "9", "call", None),
    ],
)
def test_the_root_of_an_option(native_id: str, strike: str, right: str, root: str | None) -> None:
    if root is not None:
        assert root_of(native_id, JUNE, Decimal(strike), right) == root
        return
    with pytest.raises(InvalidInput, match="the root is not known"):
        root_of(native_id, JUNE, Decimal(strike), right)


def test_days_are_spelt_in_one_or_two_digits() -> None:
    for native_id in ("BTC-5MAR27", "BTC-05MAR27", "BTC5MAR27", "BTC05MAR27"):
        assert product_of(native_id, date(2027, 3, 5)) == "BTC"
    for other in ("BTC15MAR27", "BTC20050327"):
        with pytest.raises(InvalidInput, match="the product is not known"):
            product_of(other, date(2027, 3, 5))
