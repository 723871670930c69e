"""Bundled facts of chains: name, SLIP-44 number of the native coin, its symbol and decimals.

Only the number takes part in identity: a native coin is `chain/slip44:number` (CAIP-19). A number
in this table therefore never changes; a chain that is missing can be added. Symbols and decimals
are a convenience for people (`instruments.native_coin`), never a fact of the log by themselves.

Sources: SLIP-44 (github.com/satoshilabs/slips/blob/master/slip-0044.md) for the numbers, CAIP-2 and
the profiles of its namespaces (namespaces.chainagnostic.org) for the chain ids, EIP-155 chain
numbers as in github.com/ethereum-lists/chains. A layer 2 whose native coin is Ether has Ether's
number, 60; every test network has 1, SLIP-44's "Testnet (all coins)".
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

from alphapulse.log import InvalidInput


class Chain(NamedTuple):
    """`short` is what people may type instead of the CAIP-2 id."""

    id: str
    short: str
    name: str
    slip44: int
    symbol: str
    decimals: int


CHAINS: Final[dict[str, Chain]] = {
    row[0]: Chain(*row)
    for row in (
        ("eip155:1", "ethereum", "Ethereum", 60, "ETH", 18),
        ("eip155:10", "optimism", "OP Mainnet", 60, "ETH", 18),
        ("eip155:25", "cronos", "Cronos", 394, "CRO", 18),
        ("eip155:56", "bsc", "BNB Smart Chain", 714, "BNB", 18),
        ("eip155:61", "ethereum-classic", "Ethereum Classic", 61, "ETC", 18),
        ("eip155:100", "gnosis", "Gnosis", 700, "XDAI", 18),
        ("eip155:130", "unichain", "Unichain", 60, "ETH", 18),
        ("eip155:137", "polygon", "Polygon PoS", 966, "POL", 18),
        ("eip155:324", "zksync", "ZKsync Era", 60, "ETH", 18),
        ("eip155:480", "worldchain", "World Chain", 60, "ETH", 18),
        ("eip155:690", "redstone", "Redstone", 60, "ETH", 18),
        ("eip155:1135", "lisk", "Lisk", 60, "ETH", 18),
        ("eip155:1750", "metal", "Metal L2", 60, "ETH", 18),
        ("eip155:1868", "soneium", "Soneium", 60, "ETH", 18),
        ("eip155:1923", "swellchain", "Swellchain", 60, "ETH", 18),
        ("eip155:4202", "lisk-sepolia", "Lisk Sepolia", 1, "ETH", 18),
        ("eip155:4801", "worldchain-sepolia", "World Chain Sepolia", 1, "ETH", 18),
        ("eip155:8453", "base", "Base", 60, "ETH", 18),
        ("eip155:34443", "mode", "Mode", 60, "ETH", 18),
        ("eip155:42161", "arbitrum", "Arbitrum One", 60, "ETH", 18),
        ("eip155:42220", "celo", "Celo", 52752, "CELO", 18),
        ("eip155:43114", "avalanche", "Avalanche C-Chain", 9005, "AVAX", 18),
        ("eip155:57073", "ink", "Ink", 60, "ETH", 18),
        ("eip155:59144", "linea", "Linea", 60, "ETH", 18),
        ("eip155:84532", "base-sepolia", "Base Sepolia", 1, "ETH", 18),
        ("eip155:534352", "scroll", "Scroll", 60, "ETH", 18),
        ("eip155:11142220", "celo-sepolia", "Celo Sepolia", 1, "CELO", 18),
        ("eip155:11155111", "sepolia", "Sepolia", 1, "ETH", 18),
        ("eip155:11155420", "optimism-sepolia", "OP Sepolia", 1, "ETH", 18),
        ("bip122:000000000019d6689c085ae165831e93", "bitcoin", "Bitcoin", 0, "BTC", 8),
        ("bip122:000000000933ea01ad0ee984209779ba", "bitcoin-testnet", "Testnet3", 1, "BTC", 8),
        ("bip122:12a765e31ffd4059bada1e25190f6e98", "litecoin", "Litecoin", 2, "LTC", 8),
        ("bip122:1a91e3dace36e2be3bf030a65679fe82", "dogecoin", "Dogecoin", 3, "DOGE", 8),
        ("cosmos:cosmoshub-4", "cosmoshub", "Cosmos Hub", 118, "ATOM", 6),
        ("polkadot:91b171bb158e2d3848fa23a9f1c25182", "polkadot", "Polkadot", 354, "DOT", 10),
        ("polkadot:b0a8d493285c2df73290dfb7e61f870f", "kusama", "Kusama", 434, "KSM", 12),
        ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "solana", "Solana", 501, "SOL", 9),
        ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "solana-devnet", "Solana Devnet", 1, "SOL", 9),
        ("stellar:pubnet", "stellar", "Stellar", 148, "XLM", 7),
        ("tezos:NetXdQprcVkpaWU", "tezos", "Tezos", 1729, "XTZ", 6),
    )
}  # fmt: skip
CHAINS_BY_SHORT_NAME: Final[dict[str, str]] = {row.short: row.id for row in CHAINS.values()}
if len(CHAINS_BY_SHORT_NAME) != len(CHAINS):
    raise ImportError("two chains have one short name")

SOLANA_CLUSTERS: Final = {
    "101": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    "102": "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z",
    "103": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
}
"""Mainnet, testnet, devnet, by the numbers that token lists give them: no EVM chain ids."""


def chain_from(text: str) -> str:
    """The CAIP-2 id of what a person typed: a short name, or the text as it is (not validated)."""
    return CHAINS_BY_SHORT_NAME.get(text.strip().lower(), text)


_COSMOS_DIRECT: Final = re.compile(r"(?!hashed-)[-a-zA-Z0-9]{1,32}")


def cosmos_chain(chain_id: str) -> str:
    """The CAIP-2 id of a Cosmos chain, by the profile of that namespace (CAIP-5).

    `osmosis-1` gives `cosmos:osmosis-1`; an id with other characters (`evmos_9001-2`) or over 32 of
    them is hashed: `cosmos:hashed-` and 16 hex digits.
    """
    if _COSMOS_DIRECT.fullmatch(chain_id):
        return f"cosmos:{chain_id}"
    return f"cosmos:hashed-{sha256(chain_id.encode()).hexdigest()[:16]}"


def native_slip44(chain: str, given: int | None = None) -> int:
    """The SLIP-44 number of a chain's native coin. `given` is needed for chains we do not know.

    Raises InvalidInput for an unknown chain without a number, and for a number that contradicts
    the table: two numbers would make two instruments of one coin.
    """
    known = CHAINS.get(chain)
    if known is None:
        if given is None:
            raise InvalidInput(
                "reading field chain", problem="the native coin of this chain is not known",
                value=repr(chain), cure="register it as a coin with its slip44 number",
            )  # fmt: skip
        return given
    if given is not None and given != known.slip44:
        raise InvalidInput(
            "reading field slip44", problem=f"the native coin of {known.name} is {known.slip44}",
            value=given, cure="leave it out",
        )  # fmt: skip
    return known.slip44
