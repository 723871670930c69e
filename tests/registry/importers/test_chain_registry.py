"""The Cosmos chain registry: which chain, which namespace, which reference; or no token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import AssetClass, InvalidInput, RelationKind
from alphapulse.registry import Currency, Register
from alphapulse.registry.importers import FORMATS, ChainRegistry, InputFile, Refused, Relation, Row
from alphapulse.registry.importers.chain_traces import LEFT, MEANINGS
from alphapulse.registry.importing import importer_for

SAMPLE = Path(__file__).parents[3] / "tools" / "samples" / "chain_registry_assets.json"
FACTORY = "factory/osmo1q77cw0mmlluxu0wr29fcdd0tdnh78gzhkvhe4n6ulal9qvrtu43qtd0nh8"
IBC = "ibc/D189335C6E4A68B513C10AB227BF1C1D38C746766278BA3EEB4FB14124F1D858"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
SOL = "So11111111111111111111111111111111111111112"
OSMO: dict[str, Any] = {
    "chain": "osmosis", "chain_id": "osmosis-1", "chain_type": "cosmos", "base": "uosmo",
    "type_asset": "sdk.coin", "address": None, "symbol": "OSMO", "name": "Osmosis", "decimals": 6,
}  # fmt: skip
LISTED: dict[str, Any] = {
    "denom_units": [{"denom": "uosmo", "exponent": 0}, {"denom": "osmo", "exponent": 6}],
    "type_asset": "sdk.coin", "base": "uosmo", "name": "Osmosis", "display": "osmo",
    "symbol": "OSMO", "traces": [],
}  # fmt: skip
ETHEREUM = {"chain": "ethereum", "chain_id": "1", "chain_type": "eip155"}
SOLANA = {"chain": "solana", "chain_id": "101", "chain_type": "solana"}


def read(path: Path, document: object) -> list[Row | Relation | Refused]:
    path.write_text(json.dumps(document))
    with InputFile(path) as file:
        reading = ChainRegistry().open(file)
        rows = list(reading.rows("source"))
    assert reading.done == reading.total
    assert reading.source == "chain-registry"
    return rows


def one(path: Path, **changes: object) -> Row | Relation | Refused:
    (row,) = read(path, [{**OSMO, **changes}])
    return row


def values(row: Row | Relation | Refused) -> dict[str, Any]:
    assert isinstance(row, Row), row
    (register,) = row.commands
    assert isinstance(register, Register)
    return register.facts.values


def key(row: Row | Relation | Refused) -> tuple[str, str, str]:
    said = values(row)
    return said["chain"], said["namespace"], said["address"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "assets.json"


def test_a_denom_is_a_token(path: Path) -> None:
    assert values(one(path)) == {
        "chain": "cosmos:osmosis-1", "namespace": "sdk-coin", "address": "uosmo", "symbol": "OSMO",
        "name": "Osmosis", "decimals": 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"base": IBC, "type_asset": "ics20"}, ("cosmos:osmosis-1", "ics20", IBC)),
        ({"base": f"{FACTORY}/cac", "address": FACTORY[8:]},
         ("cosmos:osmosis-1", "sdk-coin", f"{FACTORY}/cac")),
        ({"type_asset": "cw20", "base": "cw20:juno1a", "address": "juno1a"},
         ("cosmos:osmosis-1", "cw20", "juno1a")),
        ({"type_asset": "cw20", "base": "juno1a", "address": "juno1a"},
         ("cosmos:osmosis-1", "cw20", "juno1a")),
        ({"type_asset": "snip25", "base": "cw20:s1", "address": "s1"},
         ("cosmos:osmosis-1", "snip25", "s1")),
        ({**ETHEREUM, "type_asset": "erc20", "base": USDC.upper().replace("X", "x"),
          "address": USDC}, ("eip155:1", "erc20", USDC)),
        ({**ETHEREUM, "type_asset": "evm-base", "base": "wei"}, ("eip155:1", "slip44", "60")),
        ({**SOLANA, "type_asset": "svm-base", "base": "Lamport"},
         ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "slip44", "501")),
        ({**SOLANA, "type_asset": "erc20", "base": SOL, "address": SOL},
         ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "token", SOL)),
        ({"chain_id": "cosmoshub-4", "base": "uatom"}, ("cosmos:cosmoshub-4", "slip44", "118")),
        ({"chain_id": "evmos_9001-2"}, ("cosmos:hashed-95094315a9d6cf2a", "sdk-coin", "uosmo")),
    ],
)  # fmt: skip
def test_what_is_unique_on_the_chain_is_the_key(
    path: Path, changes: dict[str, object], expected: tuple[str, str, str]
) -> None:
    assert key(one(path, **changes)) == expected


def test_one_address_of_several_denoms_gives_several_tokens(path: Path) -> None:
    rows = read(path, [
        {**OSMO, "base": f"{FACTORY}/{name}", "address": FACTORY[8:]} for name in ("cac", "bwh")
    ])  # fmt: skip
    assert len({key(row) for row in rows}) == 2


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"chain_id": None}, "chain_id: the file has none for the chain 'osmosis'"),
        ({"chain_id": "INVALID-ID-x-1"}, "chain_id: it only holds the place of one"),
        ({"chain_id": "\ud800"}, "chain_id: it contains U+D800"),
        ({"chain_type": "unknown"}, "chain_type: its chains have no CAIP-2 ids"),
        ({"chain_type": None}, "chain_type: its chains have no CAIP-2 ids"),
        ({"chain_type": "eip155", "type_asset": "evm-base"}, "is not a chain of eip155"),
        ({**SOLANA, "chain_id": "1399811149"}, "chain_id: it is no cluster of Solana"),
        ({"type_asset": "unknown"}, "type_asset: it does not say what this is on cosmos"),
        ({"type_asset": None}, "type_asset: it does not say"),
        ({"base": IBC}, "base: sdk.coin has no such denom"),
        ({"type_asset": "ics20"}, "base: ics20 has no such denom"),
        ({"base": None}, "address: it must be 1 to 128"),
        ({"type_asset": "cw20", "base": "juno1a", "address": "juno1b"}, "its denom 'juno1a' names"),
        ({**SOLANA, "type_asset": "erc20", "base": SOL, "address": SOL.lower()}, "names another"),
        ({**ETHEREUM, "type_asset": "erc20", "base": USDC, "address": "0x12"}, "names another"),
        ({"chain_type": "eip155", "chain_id": "30", "type_asset": "evm-base"}, "native coin"),
        ({"decimals": "6"}, "decimals: it must be an integer"),
        ({"decimals": 6.0}, "decimals: it must be an integer [value='6.0']"),
        ({"symbol": 5}, "symbol: it must be text"),
        ({"traces": float("inf")}, "it contains Infinity"),
    ],
)
def test_what_is_not_certain_is_refused(
    path: Path, changes: dict[str, object], reason: str
) -> None:
    row = one(path, **changes)
    assert isinstance(row, Refused)
    assert row.place == "[0]"
    assert reason in row.reason


def test_decimals_may_be_unknown(path: Path) -> None:
    assert "decimals" not in values(one(path, decimals=None))


# --- the registry's own layout ---------------------------------------------------------------


def asset_list(directory: Path, *assets: object, chain: object = ...) -> Path:
    path = directory / "assetlist.json"
    path.write_text(json.dumps({"$schema": "…", "chain_name": "osmosis", "assets": assets}))
    if chain is ...:
        chain = {"chain_name": "osmosis", "chain_type": "cosmos", "chain_id": "osmosis-1"}
    if chain is not None:
        (directory / "chain.json").write_text(json.dumps(chain))
    return path


def test_an_asset_list_says_the_same_as_the_extract(path: Path, tmp_path: Path) -> None:
    with InputFile(asset_list(tmp_path, LISTED)) as file:
        assert importer_for(file) is FORMATS["chain-registry"]
        (row,) = ChainRegistry().open(file).rows("source")
    assert row.place == "assets[0]"
    assert values(row) == values(one(path))


@pytest.mark.parametrize(
    "changes, decimals",
    [({"display": "stake"}, None), ({"denom_units": []}, None), ({"display": "uosmo"}, 0)],
)
def test_decimals_are_those_of_the_display_unit(
    tmp_path: Path, changes: dict[str, object], decimals: int | None
) -> None:
    with InputFile(asset_list(tmp_path, {**LISTED, **changes})) as file:
        (row,) = ChainRegistry().open(file).rows("source")
    assert values(row).get("decimals") == decimals


@pytest.mark.parametrize("units", [5, [5], [{"denom": 5}], [{"denom": "osmo", "exponent": 6.5}]])
def test_bad_units_refuse_their_asset(tmp_path: Path, units: object) -> None:
    with InputFile(asset_list(tmp_path, {**LISTED, "denom_units": units}, LISTED)) as file:
        rows = list(ChainRegistry().open(file).rows("source"))
    assert [type(row) for row in rows] == [Refused, Row]


@pytest.mark.parametrize(
    "chain, problem",
    [
        (None, "its chain id stands in chain.json, which is unusable: it cannot be read"),
        ([], "describes another chain"),
        ({"chain_name": "juno", "chain_type": "cosmos", "chain_id": "juno-1"}, "another chain"),
        ({"chain_name": "osmosis", "chain_type": "cosmos", "chain_id": 1}, "chain_id"),
    ],
)
def test_without_its_chain_an_asset_list_is_unusable(
    tmp_path: Path, chain: object, problem: str
) -> None:
    path = asset_list(tmp_path, LISTED, chain=chain)
    with InputFile(path) as file, pytest.raises(InvalidInput, match=problem) as caught:
        ChainRegistry().open(file)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("document", [{"chain_name": "osmosis", "assets": 5}, 7])
def test_a_document_of_another_form_is_unusable(tmp_path: Path, document: object) -> None:
    path = asset_list(tmp_path)
    path.write_text(json.dumps(document))
    with InputFile(path) as file, pytest.raises(InvalidInput, match="it has no list of assets"):
        ChainRegistry().open(file)


def test_the_sample() -> None:
    with InputFile(SAMPLE) as file:
        assert importer_for(file) is FORMATS["chain-registry"]
        rows = list(ChainRegistry().open(file).rows("source"))
    good = [row for row in rows if isinstance(row, Row)]
    assert (len(good), len({key(row) for row in good})) == (24, 24)
    assert len([row for row in rows if isinstance(row, Refused) and not row.is_relation]) == 9
    assert len([row for row in rows if isinstance(row, Relation)]) == 11
    classes = [row.commands[0].facts.asset_class for row in good
               if isinstance(row.commands[0], Register)]  # fmt: skip
    assert classes.count(AssetClass.COIN) == 3


# --- traces ----------------------------------------------------------------------------------


def trace(kind: str, denom: str, chain: str = "osmosis") -> dict[str, str]:
    return {"type": kind, "chain": chain, "denom": denom}


def said(path: Path, document: object) -> list[tuple[str, str, RelationKind, str]]:
    """(place, nearer end, relation, its origin), by names; every end must be one of the rows."""
    return [
        (row.place, row.names[row.command.of], row.command.relation, row.names[row.command.other])
        for row in read(path, document) if isinstance(row, Relation)
    ]  # fmt: skip


def refused(path: Path, *traces: object) -> Refused:
    """The only relation that is refused of OSMO with these traces, its row being good."""
    rows = read(path, [{**OSMO, "traces": list(traces)}])
    (found,) = [row for row in rows if isinstance(row, Refused)]
    assert isinstance(rows[0], Row) and found.is_relation
    assert found.raw == {**OSMO, "traces": list(traces)}
    return found


@pytest.mark.parametrize(
    "kind, relation",
    [("ibc", "bridged_from"), ("ibc-cw20", "bridged_from"), ("ibc-bridge", "bridged_from"),
     ("bridge", "bridged_from"), ("wrapped", "wraps"), ("liquid-stake", "receipt_of"),
     ("synthetic", "underlying")],
)  # fmt: skip
def test_a_trace_is_a_relation_though_its_origin_stands_below(
    path: Path, kind: str, relation: str
) -> None:
    first = {**OSMO, "base": "first", "traces": [trace(kind, "uosmo")]}
    rows = read(path, [first, OSMO])
    assert [type(row) for row in rows] == [Row, Row, Relation]
    found = rows[2]
    assert isinstance(found, Relation)
    ends = [row.commands[0].fingerprint for row in rows[:2]
            if isinstance(row, Row) and isinstance(row.commands[0], Register)]  # fmt: skip
    assert [found.command.of, found.command.other] == ends
    assert found.command.relation.name.lower() == relation
    assert found.command.ratio is None
    assert (found.place, found.raw) == ("[0].traces[0]", first)


def test_every_type_of_trace_has_its_place() -> None:
    assert not MEANINGS.keys() & LEFT.keys()


def test_a_step_before_the_last_is_about_what_the_next_one_comes_from(path: Path) -> None:
    ether = {**OSMO, **ETHEREUM, "type_asset": "evm-base", "base": "wei"}
    weth = {**OSMO, **ETHEREUM, "type_asset": "erc20", "base": USDC, "address": USDC}
    here = {**OSMO, "traces": [trace("wrapped", "wei", "ethereum"),
                               trace("bridge", USDC, "ethereum")]}  # fmt: skip
    found = said(path, [here, ether, weth])
    assert [(place, kind) for place, _, kind, _ in found] == [
        ("[0].traces[0]", RelationKind.WRAPS), ("[0].traces[1]", RelationKind.BRIDGED_FROM)
    ]
    assert found[0][1] == found[1][3] and found[0][1].endswith("of 'ethereum'")
    assert (found[0][3], found[1][1]) == ("'wei' of 'ethereum'", "'uosmo' of 'osmosis'")


def test_forex_is_currencies(path: Path) -> None:
    (row,) = [
        row for row in read(path, [{**OSMO, "traces": [trace("synthetic", "USD", "forex")]}])
        if isinstance(row, Relation)
    ]  # fmt: skip
    assert row.command.other == Register.of(Currency(code="USD")).fingerprint


@pytest.mark.parametrize(
    "given, reason",
    [
        (trace("additional-mintage", "uosmo"), "neither stands for the other"),
        (trace("legacy-mintage", "uosmo"), "say `succeeds` by hand"),
        (trace("test-mintage", "uosmo"), "no claim on the real one"),
        (trace("teleport", "uosmo"), "a trace of this type is not known [value='teleport']"),
        (trace("", "uosmo"), "is not known"),
        (trace("wrapped", "uosmo", "juno"), "on another chain, 'uosmo' of 'juno'"),
        (trace("ibc", "ujuno", "juno"), "there is no row of 'ujuno' of 'juno'"),
        (trace("ibc", "other"), "there is no row of 'other' of 'osmosis'"),
        (trace("ibc", "uosmo"), "not related to itself"),
        (trace("synthetic", "gold", "forex"), "reading field code"),
        ("ibc", "traces: each must be an object"),
        ({"type": 7}, "type: it must be text"),
        ({"type": "ibc", "chain": []}, "chain: it must be text"),
        ({"type": "ibc", "counterparty": "osmosis"}, "counterparty: it must be an object"),
    ],
)
def test_a_trace_of_no_sure_meaning_is_refused_and_its_row_is_not(
    path: Path, given: object, reason: str
) -> None:
    assert reason in refused(path, given).reason


def test_traces_that_are_no_list(path: Path) -> None:
    rows = read(path, [{**OSMO, "traces": {"0": {}}}])
    assert [type(row) for row in rows] == [Row, Refused]
    assert isinstance(rows[1], Refused) and "traces: it must be a list" in rows[1].reason


def test_an_origin_whose_own_row_is_refused(path: Path) -> None:
    rows = read(path, [
        {**OSMO, "traces": [trace("bridge", "sat", "bitcoin")]},
        {**OSMO, "chain": "bitcoin", "base": "sat", "chain_type": None},
    ])  # fmt: skip
    assert [type(row) for row in rows] == [Row, Refused, Refused]
    assert isinstance(rows[2], Refused) and "its own row is refused" in rows[2].reason


def test_traces_of_a_refused_row_stay_with_it(path: Path) -> None:
    rows = read(path, [OSMO, {**OSMO, "base": "x", "chain_id": None,
                              "traces": [trace("ibc", "uosmo")]}])  # fmt: skip
    assert [type(row) for row in rows] == [Row, Refused]


def published(directory: Path, name: str, *assets: dict[str, Any]) -> Path:
    directory.mkdir(parents=True)
    chain = {"chain_name": name, "chain_type": "cosmos", "chain_id": f"{name}-1"}
    (directory / "chain.json").write_text(json.dumps(chain))
    path = directory / "assetlist.json"
    path.write_text(json.dumps({"chain_name": name, "assets": assets}))
    return path


@pytest.mark.parametrize(
    "here, there",
    [("osmosis", "juno"), ("osmosis", "_non-cosmos/juno"), ("testnets/osmosis", "testnets/juno"),
     ("_non-cosmos/osmosis", "juno")],
)  # fmt: skip
def test_a_published_list_finds_other_chains_in_its_repository(
    tmp_path: Path, here: str, there: str
) -> None:
    origin = {"chain_name": "juno", "base_denom": "ujuno", "channel_id": "channel-0"}
    path = published(
        tmp_path / here, "osmosis",
        {**LISTED, "traces": [{"type": "ibc", "counterparty": origin}]},
        {**LISTED, "base": "x", "traces": [
            {"type": "ibc", "counterparty": {**origin, "base_denom": "unsure"}}
        ]},
    )  # fmt: skip
    published(tmp_path / there, "juno", {**LISTED, "base": "ujuno"},
              {**LISTED, "base": "unsure", "type_asset": "?"})  # fmt: skip
    with InputFile(path) as file:
        rows = list(ChainRegistry().open(file).rows("source"))
    assert [type(row) for row in rows] == [Row, Row, Relation, Refused]
    expected = one(tmp_path / "e.json", chain="juno", chain_id="juno-1", base="ujuno")
    assert isinstance(expected, Row) and isinstance(expected.commands[0], Register)
    assert isinstance(rows[2], Relation) and isinstance(rows[3], Refused)
    assert rows[2].command.other == expected.commands[0].fingerprint
    assert "its own row is refused" in rows[3].reason


@pytest.mark.parametrize("text", ["{", "[]", '{"assets": 7}', '{"assets": []}', "other", None])
@pytest.mark.parametrize("name", ["juno", "../juno", "/etc"])
def test_a_neighbour_that_is_unusable_refuses_the_relation_only(
    tmp_path: Path, text: str | None, name: str
) -> None:
    origin = {"chain_name": name, "base_denom": "ujuno"}
    path = published(tmp_path / "chains" / "osmosis", "osmosis",
                     {**LISTED, "traces": [{"type": "ibc", "counterparty": origin}]})  # fmt: skip
    other = tmp_path / "chains" / "juno" / "assetlist.json"
    other.parent.mkdir()
    if text == "other":  # whose directory has the name of another chain
        text = published(other.parent / "x", "stargaze", {**LISTED, "base": "ujuno"}).read_text()
        (other.parent / "chain.json").write_bytes((other.parent / "x/chain.json").read_bytes())
    if text is not None:
        other.write_text(text)
    with InputFile(path) as file:
        rows = list(ChainRegistry().open(file).rows("source"))
    assert [type(row) for row in rows] == [Row, Refused]
    assert isinstance(rows[1], Refused) and "there is no row of 'ujuno'" in rows[1].reason
