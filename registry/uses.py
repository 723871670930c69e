"""What an instrument is made of or derives from, as its own fields say it.

A future names its underlying, a pool its tokens, a pair of currencies both, a synthetic has them in
its formula. These are relations as good as those that are stated, so `related` tells them too, in
both directions. They are read from the instruments and written nowhere else: an amendment changes
them, and what was known or true at another time answers as the instrument does.

The venue's codes of a spot pair (`BTC`, `USDT`) are symbols, and mean no instrument for certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from alphapulse.log import AssetClass, InvalidInput, RelationKind
from alphapulse.projections import MANY_USED, USED_BY_NAME, Views, address_key, text_key

from .facts import facts_from
from .formula import components_of
from .identity import currency_key, fingerprint_of
from .lookup import Lookup, Match
from .readers import PLACEHOLDERS
from .synthetics import formula_of
from .valid_time import When

KINDS: Final = frozenset({RelationKind.UNDERLYING, RelationKind.COMPONENT})
_ON_CHAIN: Final = frozenset({AssetClass.TOKEN, AssetClass.COIN})
_USING: Final = frozenset(AssetClass) - _ON_CHAIN - {
    AssetClass.EQUITY, AssetClass.ETF, AssetClass.BOND, AssetClass.CURRENCY, AssetClass.INDEX
}  # fmt: skip


class Use(NamedTuple):
    """`user` derives from `used`, or has it in it."""

    user: int
    relation: RelationKind
    used: int
    """It need not be registered when it is an underlying."""
    field: str
    """Of the user, that says so: underlying, base, quote, tokens or formula."""
    offset: int
    """Of the newest event of the user's state."""


class Uses:
    """As known and as true at one moment."""

    def __init__(self, lookup: Lookup, views: Views, when: When) -> None:
        self._lookup = lookup
        self._table = views.table("instruments")
        self._when = when
        self._by_name = len(self._table.postings("uses", USED_BY_NAME)) > 0
        """Whether anybody names others by address or code."""
        self._many: dict[int, list[Use]] | None = None
        """By what is used, of those that use more than are indexed; read once."""

    def of(self, id: int) -> Iterator[Use]:
        """Those on either side of an instrument. Cost: 5 µs, and 50 µs for each; 60 µs more of a
        token or a currency once there are pools or pairs of currencies."""
        position = self._table.find(id)
        asset_class = self._table.arena[position + 2] if position >= 0 else 0
        match = None
        if asset_class in _USING:
            user = self._lookup.match(id, self._when)
            if user is not None:
                yield from self._uses(user)
        elif self._by_name and (asset_class in _ON_CHAIN or asset_class == AssetClass.CURRENCY):
            match = self._lookup.match(id)  # its address and its code never change
        for cell in dict.fromkeys(self._cells(id, match)):
            user = self._lookup.match(self._table.key_of(cell), self._when)
            if user is not None:
                yield from (use for use in self._uses(user) if use.used == id)
        if self._many is None:
            self._many = self._read_many()
        yield from self._many.get(id, ())

    def _cells(self, id: int, match: Match | None) -> Iterator[int]:
        """Of who may use it: what it is found by, the user's own word decides."""
        yield from self._table.postings("uses", id)
        if match is None:
            return
        if address := match.body.extension.address:
            is_coin = match.record.asset_class is AssetClass.COIN
            for spelling in sorted(PLACEHOLDERS) if is_coin else (address,):
                yield from self._table.postings("uses", address_key(spelling))
        elif match.record.asset_class is AssetClass.CURRENCY:
            yield from self._table.postings("uses", text_key(match.record.currency))

    def _read_many(self) -> dict[int, list[Use]]:
        found: dict[int, list[Use]] = {}
        for cell in self._table.postings("uses", MANY_USED):
            user = self._lookup.match(self._table.key_of(cell), self._when)
            for use in () if user is None else self._uses(user):
                found.setdefault(use.used, []).append(use)
        return found

    def _uses(self, user: Match) -> Iterator[Use]:
        for relation, field, used in self._said(user):
            if used != user.id:
                yield Use(user.id, relation, used, field, user.offset)

    def _said(self, user: Match) -> Iterator[tuple[RelationKind, str, int]]:
        if underlying := user.record.parent:
            yield RelationKind.UNDERLYING, "underlying", underlying
        for component in components_of(formula_of(user.body)):
            yield RelationKind.COMPONENT, "formula", component
        asset_class = user.record.asset_class
        if asset_class is AssetClass.DEX_POOL:
            tokens = str(user.body.extension.terms.get("tokens", "")).split()
            for address in dict.fromkeys(tokens):
                token = self._token(user.body.extension.chain, address)
                if token is not None:
                    yield RelationKind.COMPONENT, "tokens", token.id
        elif asset_class is AssetClass.FX_PAIR:
            values = facts_from(user.body).values
            yield from self._currencies(values.get(field, "") for field in ("base", "quote"))

    def _token(self, chain: str, address: str) -> Match | None:
        try:
            return self._lookup.by_address(chain, address)
        except InvalidInput:  # of a chain where an address alone names no token
            return None

    def _currencies(self, codes: Iterable[object]) -> Iterator[tuple[RelationKind, str, int]]:
        for field, code in zip(("base", "quote"), codes, strict=True):
            found = self._lookup.by_fingerprint(fingerprint_of(currency_key(str(code))))
            if found is not None:
                yield RelationKind.COMPONENT, field, found.id
