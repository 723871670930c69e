"""Assets of the Cosmos chain registry, as an extract of many chains or as it publishes them.

    [{"chain", "chain_id", "chain_type", "base", "type_asset", "address", "symbol", …}]   extract
    {"chain_name", "assets": [{"denom_units", "type_asset", "base", "display", …}]}       one chain

The registry's `assetlist.json` names its chain but has no chain id: that is read from the
`chain.json` beside it. A token is keyed by its chain's CAIP-2 id, a namespace made of `type_asset`,
and what is unique there: the contract's address, or the denom where an asset has no contract of
its own (an `address` beside a denom is its issuer's, and several assets share it).

Its traces become relations: see `chain_traces`. They name other assets by chain and denom. An
extract holds those; for a published list they are looked up in the same repository: `osmosis` in
`../osmosis/assetlist.json`, or in `_non-cosmos` or `testnets` beside the chains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.chains import SOLANA_CLUSTERS, cosmos_chain
from alphapulse.registry.commands import Register
from alphapulse.registry.instruments import Coin, Token
from alphapulse.registry.readers import facts_of

from . import chain_traces
from .base import InputFile, Refused, Relation, Row
from .json_document import DOCUMENT_SIZE_BYTES_MAX, flaw_of, integer, parsed, text

CHAIN_FILE: Final = "chain.json"
ASIDE: Final = ("_non-cosmos", "testnets")
"""Directories of the repository, beside those of chains, that hold more chains."""
CHAIN_ID_SIZE_BYTES_MAX: Final = 128
_CHAIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
NATIVE_DENOMS: Final = {"cosmos:cosmoshub-4": "uatom"}
"""Of the Cosmos chains in `chains.CHAINS`: there the denom is the native coin. Elsewhere the file
does not say which of a chain's denoms that is, so all are tokens."""
_PLACEHOLDER: Final = "INVALID-ID"
"""How the registry begins the chain id of a chain that has none yet."""
_DOING: Final = "reading an asset"


class Chain(NamedTuple):
    name: str
    kind: str
    """`chain_type`: cosmos, eip155, solana, …"""
    id: str

    def caip2(self) -> str:
        """Raises InvalidInput when there is no telling."""
        if not self.id:
            name = validation.shown(self.name)
            validation.refuse("chain_id", f"the file has none for the chain {name}", None,
                              "register the token with its CAIP-2 chain")  # fmt: skip
        chain_id = validation.text(self.id, "chain_id", CHAIN_ID_SIZE_BYTES_MAX)
        if chain_id.startswith(_PLACEHOLDER):
            validation.refuse("chain_id", "it only holds the place of one", chain_id,
                              "import it again when the chain has an id")  # fmt: skip
        if self.kind == "cosmos":
            return cosmos_chain(chain_id)
        if self.kind == "eip155":
            return f"eip155:{chain_id}"
        if self.kind != "solana":
            validation.refuse("chain_type", "its chains have no CAIP-2 ids that we know",
                              self.kind, "register the token with its CAIP-2 chain")  # fmt: skip
        cluster = SOLANA_CLUSTERS.get(chain_id)
        if cluster is None:
            validation.refuse("chain_id", "it is no cluster of Solana", chain_id,
                              f"these are known: {', '.join(SOLANA_CLUSTERS)}")  # fmt: skip
        return cluster


class Asset(NamedTuple):
    """One row of either form, not yet validated; texts that are missing are empty."""

    chain: Chain
    type_asset: str
    base: str
    """Its denom; what traces of other assets point to, together with the chain's name."""
    address: str
    symbol: str
    name: str
    decimals: int | None

    def instrument(self) -> Token | Coin:
        """Who it is. Raises InvalidInput when `type_asset` does not say it for this chain."""
        chain = self.chain.caip2()
        said: dict[str, Any] = {
            "chain": chain, "symbol": self.symbol, "name": self.name, "decimals": self.decimals
        }  # fmt: skip
        if (self.chain.kind, self.type_asset) in _NATIVE or self.base == NATIVE_DENOMS.get(chain):
            return Coin(**said)
        found = _TOKENS.get((self.chain.kind, self.type_asset))
        if found is None:
            validation.refuse(
                "type_asset", f"it does not say what this is on {self.chain.kind}",
                self.type_asset, "register the token with its CAIP-19 namespace",
            )  # fmt: skip
        namespace, reference_of = found
        return Token(namespace=namespace, address=reference_of(self), **said)


def _denom(asset: Asset) -> str:
    # A voucher's denom begins with ibc/ and nothing else's does. Were one called sdk.coin some
    # day, it would become a second instrument.
    if asset.base.startswith("ibc/") != (asset.type_asset == "ics20"):
        validation.refuse("base", f"{asset.type_asset} has no such denom", asset.base,
                          "ibc/ is for ics20, and for it alone")  # fmt: skip
    return asset.base


def _contract(asset: Asset) -> str:
    """The address, which the denom repeats, of some types behind `cw20:`."""
    base, address = asset.base.removeprefix("cw20:"), asset.address
    if base != address and (asset.chain.kind != "eip155" or base.lower() != address.lower()):
        validation.refuse("address", f"its denom {validation.shown(base)} names another contract",
                          address)  # fmt: skip
    return address


_NATIVE: Final = frozenset({("eip155", "evm-base"), ("solana", "svm-base")})
_TOKENS: Final[dict[tuple[str, str], tuple[str, Callable[[Asset], str]]]] = {
    ("cosmos", "sdk.coin"): ("sdk-coin", _denom),
    ("cosmos", "ics20"): ("ics20", _denom),
    ("cosmos", "cw20"): ("cw20", _contract),
    ("cosmos", "snip20"): ("snip20", _contract),
    ("cosmos", "snip25"): ("snip25", _contract),
    ("eip155", "erc20"): ("erc20", _contract),
    ("solana", "erc20"): ("token", _contract),
}
"""By kind of chain and `type_asset`: CAIP-19 namespace, and where the reference is. The registry
calls tokens of Solana erc20 too, which they are not."""


class ChainRegistry:
    name = "chain-registry"
    summary = 'JSON {"chain_name", "assets": [{"type_asset", "base", …}]}, or a list with "chain"'
    needs = ("chain_name", "assets")
    marks = ("type_asset", "base", "denom_units", "display", "chain_id")

    def sniff(self, path: Path, head: bytes) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"["):
            return b'"type_asset"' in start and b'"chain"' in start
        return start.startswith(b"{") and b'"chain_name"' in start and b'"assets"' in start

    def open(self, file: InputFile) -> ChainRegistryReading:
        return ChainRegistryReading(file, file.read(DOCUMENT_SIZE_BYTES_MAX))


class ChainRegistryReading:
    unknown_columns: tuple[str, ...] = ()
    source = ChainRegistry.name

    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        document = parsed(file, data)
        self._chain: Chain | None = None
        self._list = ""
        if isinstance(document, dict):
            self._chain = _chain_beside(file, document)
            self._list = "assets"
            document = document.get(self._list)
        if not isinstance(document, list):
            file.refuse("it has no list of assets", cure=f"it looks like {ChainRegistry.summary}")
        self._raw: list[object] = document
        self._path = file.path
        self.total = len(document)
        self.done = 0

    def rows(self, source: str) -> Iterator[Row | Relation | Refused]:
        ends = chain_traces.Ends(self._elsewhere)
        traced: list[tuple[str, chain_traces.Asset, dict[str, Any]]] = []
        for index, raw in enumerate(self._raw):
            self.done = index + 1
            place = f"{self._list}[{index}]"
            known: chain_traces.Asset | None = None
            try:
                asset = _asset(raw, self._chain)
                known = chain_traces.Asset(asset.chain.name, asset.base)
                ends.add(known, None)
                register = Register.of(asset.instrument())
            except InvalidInput as error:
                yield Refused(place, str(error), raw)
                continue
            ends.add(known, register.facts.key)
            if isinstance(raw, dict) and raw.get("traces"):
                traced.append((place, known, raw))
            yield Row(place, (register,), raw)
        for place, known, raw in traced:
            yield from chain_traces.relations(known, place, raw, ends)

    def _elsewhere(self, chain: str) -> chain_traces.Assets:
        """Of a published list: the assets of another chain. Empty when they are not at hand."""
        if self._chain is None or _CHAIN_NAME.fullmatch(chain) is None:
            return {}
        chains = self._path.absolute().parent.parent
        for directory in (chains, *(chains / aside for aside in ASIDE), chains.parent):
            assets = _assets_in(directory / chain / self._path.name, chain)
            if assets:
                return assets
        return {}


def _assets_in(path: Path, name: str) -> chain_traces.Assets:
    """Of the chain with this name. Empty when the file is unusable: who imports it is told why."""
    assets: chain_traces.Assets = {}
    try:
        with InputFile(path) as file:
            document = parsed(file, file.read(DOCUMENT_SIZE_BYTES_MAX))
            listed = document.get("assets") if isinstance(document, dict) else None
            if not isinstance(listed, list) or document.get("chain_name") != name:
                return assets
            chain = _chain_beside(file, document)
    except InvalidInput:
        return assets
    for raw in listed:
        try:
            asset = _asset(raw, chain)
            assets[asset.base] = None
            assets[asset.base] = facts_of(asset.instrument()).key
        except InvalidInput:
            continue
    return assets


def _chain_beside(file: InputFile, document: dict[str, Any]) -> Chain:
    """The chain of an asset list, from the `chain.json` in its directory."""
    path = file.path.with_name(CHAIN_FILE)
    name = document.get("chain_name")
    try:
        with InputFile(path) as beside:
            found = parsed(beside, beside.read(DOCUMENT_SIZE_BYTES_MAX))
    except InvalidInput as error:
        file.refuse(
            f"its chain id stands in {CHAIN_FILE}, which is unusable: {error.why}",
            cure=f"put the {CHAIN_FILE} of that chain beside it", chain=validation.shown(name),
        )  # fmt: skip
    if not isinstance(found, dict) or found.get("chain_name") != name or flaw_of(found):
        file.refuse(f"the {CHAIN_FILE} beside it describes another chain",
                    cure="put that of its chain there", chain=validation.shown(name))  # fmt: skip
    try:
        return Chain(text(found, "chain_name"), text(found, "chain_type"), text(found, "chain_id"))
    except InvalidInput as error:
        file.refuse(f"in the {CHAIN_FILE} beside it: {error}")


def _asset(raw: object, chain: Chain | None) -> Asset:
    """Raises InvalidInput."""
    if not isinstance(raw, dict):
        raise InvalidInput(_DOING, problem=f"it is {validation.shown(raw)}",
                           cure="write an object in braces")  # fmt: skip
    if flaw := flaw_of(raw):
        raise InvalidInput(_DOING, problem=flaw)
    fields = {key: value for key, value in raw.items() if value is not None}
    if chain is None:
        chain = Chain(text(fields, "chain"), text(fields, "chain_type"), text(fields, "chain_id"))
        decimals = integer(fields, "decimals", 6)
    else:
        decimals = _exponent(fields)
    return Asset(
        chain, text(fields, "type_asset"), text(fields, "base"), text(fields, "address"),
        text(fields, "symbol"), text(fields, "name"), decimals,
    )  # fmt: skip


def _exponent(fields: Mapping[str, Any]) -> int | None:
    """Decimals: the exponent of the unit that is called `display`; None when none is."""
    units, display = fields.get("denom_units", []), text(fields, "display")
    if not isinstance(units, list):
        validation.refuse("denom_units", "it must be a list", units)
    for unit in units:
        if not isinstance(unit, dict):
            validation.refuse("denom_units", "it must be an object", unit)
        if text(unit, "denom") == display:
            return integer(unit, "exponent", 6)
    return None
