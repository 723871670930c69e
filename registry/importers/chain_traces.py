"""Traces of the chain registry: where an asset comes from, read as relations.

    {"type", "chain", "denom", "provider"}                                    extract
    {"type", "counterparty": {"chain_name", "base_denom"}, "provider", …}     as it is published

Traces stand in the order of their steps, the last one nearest. So the last is about the asset
itself, and each before it about what the one after it comes from: WETH of a bridge with the traces
[wrapped ETH, bridge WETH of Ethereum] is bridged from WETH of Ethereum, and *that* wraps ETH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from alphapulse.log import InvalidInput, RelationKind
from alphapulse.registry import validation
from alphapulse.registry.commands_relations import Relate
from alphapulse.registry.identity import fingerprint_of
from alphapulse.registry.instruments import Currency
from alphapulse.registry.readers import facts_of

from .base import Refused, Relation
from .json_document import text

MEANINGS: Final[dict[str, RelationKind]] = {
    "ibc": RelationKind.BRIDGED_FROM,
    "ibc-cw20": RelationKind.BRIDGED_FROM,
    "ibc-bridge": RelationKind.BRIDGED_FROM,
    "bridge": RelationKind.BRIDGED_FROM,
    "wrapped": RelationKind.WRAPS,
    "liquid-stake": RelationKind.RECEIPT_OF,
    "synthetic": RelationKind.UNDERLYING,
}
"""By type of trace, what the asset is to its counterparty. A liquid stake's ratio grows with the
rewards and the file does not have it, so none is said."""
LEFT: Final[dict[str, str]] = {
    "additional-mintage": "its issuer mints it on both chains, so neither stands for the other",
    "legacy-mintage": "the other has replaced it or will; say `succeeds` by hand when it has",
    "test-mintage": "a token of a test network is no claim on the real one",
}
"""Types that mean no relation of ours, or not surely."""
FOREX: Final = "forex"
"""A chain of the registry that is none: its denoms are ISO 4217 codes."""
Assets = dict[str, bytes | None]
"""Canonical keys of a chain's assets by denom; None where a row is refused."""
_DOING: Final = "reading a trace"


class Asset(NamedTuple):
    """How traces name one."""

    chain: str
    denom: str

    def __str__(self) -> str:
        return f"{validation.shown(self.denom)} of {validation.shown(self.chain)}"


class Trace(NamedTuple):
    type: str
    origin: Asset


class Ends:
    """Which instruments the names in traces mean."""

    def __init__(self, elsewhere: Callable[[str], Assets]) -> None:
        """elsewhere: the assets of a chain that is not in the document, by its name there."""
        self._elsewhere = elsewhere
        self._known: dict[str, Assets] = {}

    def add(self, asset: Asset, key: bytes | None) -> None:
        """None: its row was refused."""
        self._known.setdefault(asset.chain, {})[asset.denom] = key

    def key(self, asset: Asset) -> bytes:
        """Raises InvalidInput when there is no telling which instrument it is."""
        if asset.chain == FOREX:
            return facts_of(Currency(code=asset.denom)).key
        if asset.chain not in self._known:
            self._known[asset.chain] = self._elsewhere(asset.chain)
        assets = self._known[asset.chain]
        found = assets.get(asset.denom)
        if found is None:
            problem = (
                f"{asset} has no certain identity, its own row is refused"
                if asset.denom in assets else f"there is no row of {asset}"
            )  # fmt: skip
            raise InvalidInput(_DOING, problem=problem,
                               cure="register it, and say the relation by hand")  # fmt: skip
        return found


def _traces(raw: Mapping[str, Any]) -> list[object]:
    """Those of an asset, not yet validated. Raises InvalidInput."""
    traces = raw.get("traces")
    if traces is None:
        return []
    if not isinstance(traces, list):
        validation.refuse("traces", "it must be a list", traces)
    return traces


def _trace(raw: object) -> Trace:
    """Raises InvalidInput."""
    if not isinstance(raw, dict):
        validation.refuse("traces", "each must be an object", raw)
    origin = raw.get("counterparty")
    if origin is None:
        return Trace(text(raw, "type"), Asset(text(raw, "chain"), text(raw, "denom")))
    if not isinstance(origin, dict):
        validation.refuse("counterparty", "it must be an object", origin)
    asset = Asset(text(origin, "chain_name"), text(origin, "base_denom"))
    return Trace(text(raw, "type"), asset)


def relations(
    asset: Asset, place: str, raw: Mapping[str, Any], ends: Ends
) -> Iterator[Relation | Refused]:  # fmt: skip
    """What the traces of a good row say, in their order."""
    place = f"{place}.traces"
    try:
        traces = [_trace(each) for each in _traces(raw)]
    except InvalidInput as error:
        yield Refused(place, str(error), raw, is_relation=True)
        return
    nearer = [*(trace.origin for trace in traces[1:]), asset]
    for index, (near, trace) in enumerate(zip(nearer, traces, strict=True)):
        at = f"{place}[{index}]"
        try:
            kind, origin = _kind(near, trace), trace.origin
            of, other = ends.key(near), ends.key(origin)
            relate = Relate.between(of, kind.name, other)
            names = {fingerprint_of(of): str(near), fingerprint_of(other): str(origin)}
            yield Relation(at, relate, raw, names)
        except InvalidInput as error:
            yield Refused(at, str(error), raw, is_relation=True)


def _kind(near: Asset, trace: Trace) -> RelationKind:
    """What the nearer end is to the trace's origin. Raises InvalidInput."""
    kind = MEANINGS.get(trace.type)
    if kind is None:
        why = LEFT.get(trace.type, "a trace of this type is not known")
        validation.refuse("type", why, trace.type, "say by hand what it is to the other")
    if kind == RelationKind.WRAPS and near.chain != trace.origin.chain:
        validation.refuse("type", f"what it wraps is on another chain, {trace.origin}", trace.type,
                          "say by hand what it is to the other")  # fmt: skip
    return kind
