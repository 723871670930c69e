"""Token lists: what is read from them, and that each kind of damage stays where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import InvalidInput, RelationKind
from alphapulse.registry import Register, Token
from alphapulse.registry.commands_listings import AddToGroup
from alphapulse.registry.importers import InputFile, Refused, Relation, Row, TokenList, token_list
from alphapulse.registry.importers.token_list import TokenListReading

USDC: dict[str, Any] = {
    "chainId": 1, "address": "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "symbol": "USDC",
    "name": "USD Coin", "decimals": 6, "extensions": {"opTokenId": "USDC"},
}  # fmt: skip


def reading_of(path: Path, data: str | bytes) -> TokenListReading:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with InputFile(path) as file:
        return TokenList().open(file)


def read(path: Path, data: str | bytes) -> list[Row | Relation | Refused]:
    return list(reading_of(path, data).rows("source"))


def one(path: Path, **changes: object) -> Row | Relation | Refused:
    """The row of USDC with changes; `...` takes a field away."""
    token = {key: value for key, value in {**USDC, **changes}.items() if value is not ...}
    (row,) = read(path, json.dumps({"tokens": [token]}))
    return row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.json"


def test_a_token_is_registered_and_grouped(path: Path) -> None:
    row = one(path)
    assert isinstance(row, Row)
    register, group = row.commands
    assert isinstance(register, Register)
    assert register.facts.values == {
        "chain": "eip155:1", "namespace": "erc20", "address": USDC["address"], "symbol": "USDC",
        "name": "USD Coin", "decimals": 6,
    }  # fmt: skip
    assert group == AddToGroup(register.fingerprint, "source", "USDC")
    assert row.place == "tokens[0]"
    assert row.raw == USDC


@pytest.mark.parametrize("extensions", [..., None, {}, {"opTokenId": ""}, {"other": 1}])
def test_a_token_without_a_group_is_only_registered(path: Path, extensions: object) -> None:
    row = one(path, extensions=extensions)
    assert isinstance(row, Row)
    assert len(row.commands) == 1


def test_what_is_missing_is_not_known(path: Path) -> None:
    row = one(path, symbol=..., name=..., decimals=...)
    assert isinstance(row, Row)
    assert isinstance(row.commands[0], Register)
    assert not row.commands[0].facts.values.keys() & {"symbol", "name", "decimals"}


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"chainId": "1"}, "chainId: it must be an integer [value='1'] (write it like 10, no"),
        ({"chainId": True}, "chainId: it must be an integer"),
        ({"chainId": 1.0}, "chainId: it must be an integer [value='1.0']"),
        ({"chainId": 0}, "chainId: it is no EIP-155 chain number"),
        ({"chainId": 10**30}, "chainId: it is no EIP-155 chain number"),
        ({"chainId": ...}, "chainId: it is missing"),
        ({"address": "0x12"}, "address: it is not 0x and 40 hex digits"),
        ({"address": 5}, "address: it must be text"),
        ({"address": ...}, "address: it is not 0x"),
        ({"address": "0x" + "0" * 40, "chainId": 777777}, "native coin of this chain"),
        ({"symbol": None}, "symbol: it must be text"),
        ({"symbol": "A" * 300}, "symbol: it has 300 bytes, at most 256"),
        ({"symbol": "US\u202eDC"}, "symbol: it contains U+202E"),
        ({"name": "a\x1b[31m"}, "name: it contains U+001B"),
        ({"name": "\ud800"}, "name: it contains U+D800"),
        ({"decimals": "6"}, "decimals: it must be an integer [value='6'] (write it like 18, no"),
        ({"decimals": 6.5}, "decimals: it must be an integer [value='6.5']"),
        ({"decimals": None}, "decimals: it must be an integer"),
        ({"decimals": -1}, "decimals: it must be 0 to 77"),
        ({"decimals": 78}, "decimals: it must be 0 to 77"),
        ({"extensions": []}, "extensions: it must be an object"),
        ({"extensions": {"opTokenId": 4}}, "extensions.opTokenId: it must be text"),
        ({"extensions": {"opTokenId": "x" * 201}}, "extensions.opTokenId: it has 201 bytes"),
        ({"decimals": float("nan")}, "it contains NaN"),
        ({"logoURI": [{"x": float("-inf")}]}, "it contains -Infinity"),
    ],
)
def test_a_bad_token_is_refused_with_its_reason(
    path: Path, changes: dict[str, object], reason: str
) -> None:
    row = one(path, **changes)
    assert isinstance(row, Refused)
    assert row.place == "tokens[0]"
    assert reason in row.reason


MINT = "So11111111111111111111111111111111111111112"


@pytest.mark.parametrize(
    "chain_number, address, chain",
    [
        (101, MINT, "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
        (102, MINT, "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
        (103, MINT, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
        (101, USDC["address"], "eip155:101"),
    ],
)
def test_numbers_of_solanas_clusters_are_no_evm_chains(
    path: Path, chain_number: int, address: str, chain: str
) -> None:
    row = one(path, chainId=chain_number, address=address)
    assert isinstance(row, Row)
    assert isinstance(row.commands[0], Register)
    values = row.commands[0].facts.values
    assert (values["chain"], values["address"]) == (chain, address)


@pytest.mark.parametrize("chain_number", [1, 104])
def test_elsewhere_an_address_of_solana_is_none(path: Path, chain_number: int) -> None:
    row = one(path, chainId=chain_number, address=MINT)
    assert isinstance(row, Refused)
    assert "it is not 0x and 40 hex digits" in row.reason


@pytest.mark.parametrize("token", ["null", "[]", '"x"', "7"])
def test_a_token_that_is_no_object_is_refused(path: Path, token: str) -> None:
    rows = read(path, f'{{"tokens": [{token}, {json.dumps(USDC)}]}}')
    assert [type(row) for row in rows] == [Refused, Row]
    assert rows[1].place == "tokens[1]"


def test_a_key_that_stands_twice_refuses_its_token_alone(path: Path) -> None:
    good = json.dumps(USDC)
    doubled = good[:-1] + ', "decimals": 18}'
    inside = good.replace('"opTokenId"', '"opTokenId": "a", "opTokenId"')
    rows = read(path, f'{{"tokens": [{doubled}, {inside}, {good}]}}')
    assert [type(row) for row in rows] == [Refused, Refused, Row]
    assert isinstance(rows[0], Refused)
    assert "the key 'decimals' stands twice" in rows[0].reason


def test_a_number_of_ten_thousand_digits_refuses_its_token_alone(path: Path) -> None:
    good = json.dumps(USDC)
    rows = read(path, f'{{"tokens": [{good.replace(": 6,", ": " + "9" * 10_000 + ",")}, {good}]}}')
    assert [type(row) for row in rows] == [Refused, Row]
    assert len(str(rows[0][1])) < 300


def test_markup_is_only_text(path: Path) -> None:
    row = one(path, name="[red]Legacy[/red] 🦄")
    assert isinstance(row, Row)
    assert isinstance(row.commands[0], Register)
    assert row.commands[0].facts.values["name"] == "[red]Legacy[/red] 🦄"


@pytest.mark.parametrize(
    "data, problem",
    [
        (b'{"tokens": [{"chainId": 1,\n "addr', "not JSON"),
        (b"not json", "not JSON"),
        (b"   ", "not JSON"),
        (b"[]", 'needs a list "tokens"'),
        (b'{"tokens": {}}', 'needs a list "tokens"'),
        (b'{"name": "x"}', 'needs a list "tokens"'),
        (b'{"name": 5, "tokens": []}', "its name must be text"),
        (b'{"tokens": [], "tokens": []}', "stands twice"),
        (b'{"tokens": [], "v": NaN}', "it contains NaN"),
        (b'{"name": "caf\xe9", "tokens": []}', "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"tokens": []} {}', "not JSON: Extra data"),
    ],
)
def test_an_unusable_document_names_the_file(path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        reading_of(path, data)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_a_truncated_document_names_line_and_column(path: Path) -> None:
    whole = json.dumps({"tokens": [USDC]}, indent=1)
    with pytest.raises(InvalidInput, match=r"line=10, column=\d+") as caught:
        reading_of(path, whole[: whole.index("opTokenId")])
    assert caught.value.facts["line"] == 10


def test_a_document_over_the_limit_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_list, "DOCUMENT_SIZE_BYTES_MAX", 1_000)
    with pytest.raises(InvalidInput, match="1001 bytes, at most 1000"):
        reading_of(path, " " * 1_001)
    assert reading_of(path, '{"tokens": []}' + " " * 986).total == 0


@pytest.mark.parametrize(
    "name, source",
    [
        ('"name": "Superchain Token List",', "superchain-token-list"),
        ('"name": "  Été  2026!",', "t-2026"),
        ('"name": "日本",', "list"),
        ("", "list"),
    ],
)
def test_the_source_is_the_name_of_the_list(path: Path, name: str, source: str) -> None:
    assert reading_of(path, f'{{{name} "tokens": []}}').source == source


def test_a_byte_order_mark_is_skipped(path: Path) -> None:
    assert reading_of(path, b'\xef\xbb\xbf{"tokens": []}').total == 0


# --- bridges ---------------------------------------------------------------------------------

OTHER = "0x0b2c639c533813f4aa9d7837caf62653d097ff85"


def bridged(path: Path, chain: int, info: object) -> list[Row | Relation | Refused]:
    token = {**USDC, "chainId": chain, "extensions": {"bridgeInfo": info}}
    return read(path, json.dumps({"tokens": [token]}))


def fingerprint(chain: int, address: str) -> bytes:
    return Register.of(Token(chain=f"eip155:{chain}", address=address)).fingerprint


@pytest.mark.parametrize("here, there", [(1, 10), (10, 1), (11155111, 84532), (84532, 11155111)])
def test_what_is_elsewhere_is_bridged_from_what_is_on_ethereum(
    path: Path, here: int, there: int
) -> None:
    """Whichever of the two says so: lists say it on both sides."""
    row, relation = bridged(path, here, {str(there): {"tokenAddress": OTHER}})
    assert isinstance(row, Row) and isinstance(relation, Relation)
    ours, theirs = fingerprint(here, USDC["address"]), fingerprint(there, OTHER)
    ends = (theirs, ours) if here in token_list.ETHEREUM else (ours, theirs)
    assert (relation.command.of, relation.command.other) == ends
    assert relation.command.relation == RelationKind.BRIDGED_FROM
    assert relation.place == f"tokens[0].extensions.bridgeInfo.{there}"
    assert relation.names == {ours: f"{USDC['address']} on chain {here}",
                              theirs: f"{OTHER} on chain {there}"}  # fmt: skip


@pytest.mark.parametrize("info", [None, {}, "", []])
def test_no_bridge_info_says_nothing(path: Path, info: object) -> None:
    assert len(bridged(path, 1, info)) == 1


@pytest.mark.parametrize(
    "here, info, reason",
    [
        (10, {"8453": {"tokenAddress": OTHER}}, "nothing says which was first [value='10 and 8453"),
        (1, {"11155111": {"tokenAddress": OTHER}}, "nothing says which was first"),
        (1, {"10": {"tokenAddress": "0x12"}}, "address: it is not 0x and 40 hex digits"),
        (1, {"10": {"tokenAddress": 7}}, "tokenAddress: it must be text"),
        (1, {"10": {}}, "address: it is not 0x"),
        (1, {"10": OTHER}, "it must hold objects with a tokenAddress"),
        (1, {"ten": {"tokenAddress": OTHER}}, "keys must be EIP-155 chain numbers [value='ten']"),
        (1, {"": {"tokenAddress": OTHER}}, "keys must be EIP-155 chain numbers"),
        (1, {"1" * 5000: {"tokenAddress": OTHER}}, "keys must be EIP-155 chain numbers"),
        (1, {"٣": {"tokenAddress": OTHER}}, "keys must be EIP-155 chain numbers"),
        (1, {"0": {"tokenAddress": OTHER}}, "eip155"),
        (1, [1], "bridgeInfo: it must be an object"),
        (1, "10", "bridgeInfo: it must be an object"),
    ],
)
def test_bad_bridge_info_refuses_the_relation_only(
    path: Path, here: int, info: object, reason: str
) -> None:
    row, refused = bridged(path, here, info)
    assert isinstance(row, Row) and isinstance(refused, Refused)
    assert refused.is_relation
    assert reason in refused.reason
    assert refused.place.startswith("tokens[0].extensions.bridgeInfo")


def test_relations_follow_all_rows(path: Path) -> None:
    rows = read(path, json.dumps({"tokens": [
        {**USDC, "extensions": {"bridgeInfo": {
            "10": {"tokenAddress": OTHER}, "137": {"tokenAddress": OTHER},
        }}}, {}, {**USDC, "chainId": 10, "address": OTHER},
    ]}))  # fmt: skip
    assert [type(row) for row in rows] == [Row, Refused, Row, Relation, Relation]
