"""A venue: who it is and what is known of it, validated. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from alphapulse.log import VENUE_KIND_NAMES, VENUE_KINDS_BY_NAME, VenueBody, is_during
from alphapulse.registry import validation
from alphapulse.registry.terms import slug
from alphapulse.registry.validation import refuse, refuse_others

from .countries import COUNTRIES
from .endpoints import address_text, check_no_secret

LINKS_MAX: Final = 16
FIELDS: Final = (
    "operating", "name", "kind", "country", "currency", "lei", "links", "valid_from", "valid_to",
)  # fmt: skip
"""What is known of a venue; its key is who it is."""


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """A place to trade. What is not known is empty."""

    key: str
    """MIC, or slug: `XNAS`, `binance`; `binance:test` is its test environment."""
    operating: str = ""
    """MIC of who operates it, when it is a segment."""
    name: str = ""
    kind: str = ""
    """A name of `VenueKind`: exchange, mtf, dark_pool, crypto_exchange, dex, broker, …"""
    country: str = ""
    """ISO 3166, two letters."""
    currency: str = ""
    lei: str = ""
    links: Mapping[str, str] = {}
    """What is there to its address: `{"web": "https://…"}`."""
    valid_from: str | int = 0
    valid_to: str | int = 0
    """RFC 3339 or ns; 0 = not known, or open. The first instant at which it is no venue any
    more."""

    @property
    def mic(self) -> str:
        return self.key if self._parts[0] == "mic" else ""

    @property
    def slug(self) -> str:
        return self._parts[1] if self._parts[0] == "slug" else ""

    @property
    def environment(self) -> str:
        """live or test."""
        return self._parts[2]

    @property
    def operating_mic(self) -> str:
        """Of a MIC: who operates it, which may be itself. Empty for others."""
        return self.operating or self.mic

    @property
    def _parts(self) -> tuple[str, str, str]:
        return validation.venue_parts(self.key)

    def is_valid(self, at: int) -> bool:
        """Whether it is a venue at `at` (ns); a date that is not known leaves that side open."""
        return is_during(at, int(self.valid_from), int(self.valid_to))


def normalised(venue: Venue, *, stored: bool = False) -> Venue:
    """With every field in its canonical form, times as int ns. stored: it is in the log, so whether
    its links seem to hold a secret is not asked. Raises InvalidInput naming the field."""
    key = validation.venue(venue.key)
    found = {"key": key, **{name: _CHECKS[name](getattr(venue, name)) for name in FIELDS}}
    if found["operating"]:
        if validation.venue_parts(key)[0] != "mic":
            refuse("operating", "only a MIC is a segment of another one", venue.operating)
        if found["operating"] == key:
            found["operating"] = ""  # as ISO 10383 writes it of those that nobody else operates
    if validation.is_backward(found["valid_from"], found["valid_to"]):
        refuse("valid_to", "it must be after valid_from", venue.valid_to)
    if not stored:
        _check_links(found["links"])
    return Venue(**found)


def fields_of(venue: Venue) -> dict[str, Any]:
    """Of a normalised venue, the fields of its body."""
    found = {name: getattr(venue, name) for name in FIELDS}
    return {**found, "kind": VENUE_KINDS_BY_NAME[venue.kind].value if venue.kind else 0}


def venue_from(body: VenueBody) -> Venue:
    """Raises nothing: a kind that this version does not know is empty."""
    found = {name: getattr(body, name) for name in FIELDS}
    return Venue(key=body.venue, **{**found, "kind": VENUE_KIND_NAMES.get(body.kind, "")})


def field_from(name: str, value: object) -> object:
    """One field as the body has it; None and "" make it unknown. Raises InvalidInput."""
    refuse_others((name,), FIELDS, "a venue")
    found = _CHECKS[name](_EMPTY.get(name, "") if value is None else value)
    if name == "links":
        _check_links(found)
    if name == "kind":
        return VENUE_KINDS_BY_NAME[found].value if found else 0
    return found


def _operating(value: object) -> str:
    if value == "":
        return ""
    scheme, found, _ = validation.venue_parts(value, "operating")
    if scheme != "mic":
        refuse("operating", "it is no MIC", value, "write it like XNAS")
    return found


def _kind(value: object) -> str:
    if value == "":
        return ""
    clean = validation.stripped(value, "kind").lower().replace("-", "_").replace(" ", "_")
    if clean not in VENUE_KINDS_BY_NAME:
        refuse("kind", "there is no such one", value, f"use {', '.join(VENUE_KINDS_BY_NAME)}")
    return clean


def _country(value: object) -> str:
    if value == "":
        return ""
    clean = validation.stripped(value, "country")
    if clean not in COUNTRIES:
        refuse("country", "it is no country of ISO 3166", value, "write two capitals like US")
    return clean


def _links(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > LINKS_MAX:
        refuse("links", f"they are at most {LINKS_MAX} addresses by name", value)
    found = ((slug(name, "links"), _words(address, "links")) for name, address in value.items())
    return {name: _link(address) for name, address in sorted(found)}


def _check_links(links: Mapping[str, str]) -> None:
    for address in links.values():
        _no_secret(address)


# A list of venues names the same few hundred companies thousands of times, and each word is read
# once more by the check of its event.


@lru_cache(maxsize=1 << 12)
def _link(address: str) -> str:
    return address_text(address, ("https", "http"), "links")


_no_secret: Final = lru_cache(maxsize=1 << 12)(check_no_secret)


@lru_cache(maxsize=1 << 12)
def _lei(code: str) -> str:
    return validation.identifier("lei", code)


def _words(value: object, field: str) -> str:
    return value if type(value) is str else validation.stripped(value, field)


def _text(value: object) -> str:
    return validation.name(value) if value != "" else ""


_EMPTY: Final[dict[str, object]] = {"links": {}, "valid_from": 0, "valid_to": 0}
_CHECKS: Final[dict[str, Any]] = {
    "operating": _operating, "name": _text, "kind": _kind, "country": _country,
    "currency": lambda v: validation.listing_currency(v) if v != "" else "",
    "lei": lambda v: _lei(_words(v, "lei")) if v != "" else "",
    "links": _links,
    "valid_from": lambda v: validation.time_ns(v, "valid_from"),
    "valid_to": lambda v: validation.time_ns(v, "valid_to"),
}  # fmt: skip
if tuple(_CHECKS) != FIELDS:
    raise ImportError("every field of a venue needs its check")
