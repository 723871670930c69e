"""The Cosmos chain registry: which chain, which namespace, which reference; or no token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import AssetClass, InvalidInput
from alphapulse.registry import Register
from alphapulse.registry.importers import FORMATS, ChainRegistry, InputFile, Refused, Row
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


def read(path: Path, document: object) -> list[Row | Refused]:
    path.write_text(json.dumps(document))
    with InputFile(path) as file:
        reading = ChainRegistry().open(file)
        rows = list(reading.rows("source"))
    assert reading.done == reading.total
    assert reading.source == "chain-registry"
    return rows


def one(path: Path, **changes: object) -> Row | Refused:
    (row,) = read(path, [{**OSMO, **changes}])
    return row


def values(row: Row | Refused) -> dict[str, Any]:
    assert isinstance(row, Row), row
    (register,) = row.commands
    assert isinstance(register, Register)
    return register.facts.values


def key(row: Row | Refused) -> tuple[str, str, str]:
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
    assert (len(rows), len(good), len({key(row) for row in good})) == (28, 19, 19)
    classes = [row.commands[0].facts.asset_class for row in good
               if isinstance(row.commands[0], Register)]  # fmt: skip
    assert classes.count(AssetClass.COIN) == 3
