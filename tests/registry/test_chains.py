from __future__ import annotations

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import validation as check
from alphapulse.registry.chains import CHAINS, chain_from, cosmos_chain, native_slip44

TOKEN_LIST_CHAINS = (
    1, 10, 130, 480, 690, 1135, 1750, 1868, 1923, 4202, 4801, 8453, 34443, 42220, 57073, 84532,
    11142220, 11155111, 11155420,
)  # fmt: skip
"""The chains of the Optimism token list."""


def test_every_row_is_valid() -> None:
    for chain, row in CHAINS.items():
        assert check.chain(chain) == row.id == chain
        assert check.symbol(row.symbol) == row.symbol
        assert check.slip44(row.slip44) == row.slip44
        assert check.decimals(row.decimals) == row.decimals
        assert chain_from(row.short) == chain


def test_a_coin_number_means_one_coin() -> None:
    symbols: dict[int, set[str]] = {}
    for row in CHAINS.values():
        symbols.setdefault(row.slip44, set()).add(row.symbol)
    del symbols[1]  # SLIP-44: testnet, all coins
    assert {number: found for number, found in symbols.items() if len(found) > 1} == {}


def test_the_chains_of_the_sample_are_known() -> None:
    assert {f"eip155:{number}" for number in TOKEN_LIST_CHAINS} <= CHAINS.keys()


def test_native_coins() -> None:
    assert native_slip44("eip155:10") == 60
    assert native_slip44("eip155:11155420") == 1
    assert native_slip44("eip155:999999", 60) == 60
    with pytest.raises(InvalidInput, match="slip44 number"):
        native_slip44("eip155:999999")
    with pytest.raises(InvalidInput, match="Ethereum is 60"):
        native_slip44("eip155:1", 61)


def test_short_names_are_optional() -> None:
    assert chain_from("Ethereum ") == "eip155:1"
    assert chain_from("eip155:1") == "eip155:1"
    assert chain_from("nowhere") == "nowhere"


@pytest.mark.parametrize(
    "chain_id, reference",
    [
        ("cosmoshub-3", "cosmoshub-3"), ("Binance-Chain-Tigris", "Binance-Chain-Tigris"),
        ("x", "x"), ("hash-", "hash-"), ("hashed", "hashed"),
        ("hashed-", "hashed-c904589232422def"), ("hashed-123", "hashed-99df5cd68192b33e"),
        ("123456789012345678901234567890123456789012345678", "hashed-0204c92a0388779d"),
        (" ", "hashed-36a9e7f1c95b82ff"), ("evmos_9001-2", "hashed-95094315a9d6cf2a"),
    ],
)  # fmt: skip
def test_cosmos_chains_by_their_profile(chain_id: str, reference: str) -> None:
    """The examples of CAIP-5, and one of the ids that need them."""
    assert cosmos_chain(chain_id) == f"cosmos:{reference}"
    assert check.chain(cosmos_chain(chain_id)) == cosmos_chain(chain_id)
