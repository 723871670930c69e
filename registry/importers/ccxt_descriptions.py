"""Crypto venues as ccxt describes them: a list of extracts, or what `describe()` gives, of one
exchange or a map of several by their ids.

Of each: who it is, how it is reached, what it charges. ccxt writes rates as fractions (0.001 is
0.1 %) and names no unit or window of volumes, so none is said here. A tier table is what holds; a
base rate beside it that differs is a warning, as is whatever else is odd about a table. Rates of
`linear` or `spot` are a schedule of that product, and what stands under no product holds for all
others. Where nothing says in what a fee is taken, it is the quote currency.

Classes of ccxt for parts of one venue (binanceusdm) are venues of their own here: each has its own
addresses and fees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command

from .base import InputFile, Refused, Row
from .json_document import DOCUMENT_SIZE_BYTES_MAX, flaw_of, parsed, text

if TYPE_CHECKING:
    from alphapulse.registry.venues.fees import Doubt, FeeLine, FeeSchedule

SOURCE: Final = "ccxt"
COUNTRIES: Final = {"UK": "GB", "LX": "LU", "pt-BR": "BR", "EU": ""}
"""Words of ccxt that are no ISO 3166. The last is no country at all."""
CHARGED: Final = {"quote": "quote", "base": "base", "get": "received", None: "quote"}
PRODUCTS: Final = {
    "trading": (), "spot": ("spot",), "swap": ("swap",), "future": ("future",),
    "option": ("option",), "linear": ("linear",), "inverse": ("inverse",),
    "contract": ("future", "option", "swap"),
}  # fmt: skip
"""By the name of a part of ccxt's fees. Others, such as funding, are not about trading."""
_SIDES: Final = ("maker", "taker")
_FRACTION_TO_PERCENT: Final = 2
_MILLISECONDS_TO_SECONDS: Final = -3
"""Powers of ten."""
_DOING: Final = "reading a description of a venue"


class CcxtDescriptions:
    name = "ccxt-venues"
    summary = 'JSON of ccxt\'s describe(), one or many by id, or a list [{"id", "api", …}]'
    needs = ("id", "rateLimit")
    marks = ("urls", "fees", "api", "tierBased", "countries")

    def sniff(self, path: Path, head: bytes) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        keys = all(f'"{key}"'.encode() in start for key in self.needs)
        return start.startswith((b"[", b"{")) and keys and (b'"urls"' in start or b'"api"' in start)

    def open(self, file: InputFile) -> CcxtReading:
        return CcxtReading(file, file.read(DOCUMENT_SIZE_BYTES_MAX))


class CcxtReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        document = parsed(file, data)
        if isinstance(document, dict):
            document = [document] if isinstance(document.get("id"), str) else document
        if not isinstance(document, dict | list) or not document:
            file.refuse("it describes no venues: it must be a list, or an object by id")
        self._places: list[tuple[str, object]] = (
            [(validation.shown(id)[1:-1], each) for id, each in document.items()]
            if isinstance(document, dict)
            else [(f"[{index}]", each) for index, each in enumerate(document)]
        )
        self.source = SOURCE
        self.total = len(self._places)
        self.done = 0

    def rows(self, source: str) -> Iterator[Row | Refused]:
        said: dict[str, str] = {}
        for place, raw in self._places:
            self.done += 1
            try:
                if not isinstance(raw, dict):
                    raise InvalidInput(_DOING, problem=f"it is {validation.shown(raw)}",
                                       cure="write an object in braces")  # fmt: skip
                if flaw := flaw_of(raw):
                    raise InvalidInput(_DOING, problem=flaw)
                row = _row(place, raw)
                id = text(raw, "id")
                if id in said:
                    raise InvalidInput(_DOING, problem=f"{id} stands in {said[id]} too",
                                       cure="keep one of them")  # fmt: skip
                said[id] = place
                yield row
            except InvalidInput as error:
                yield Refused(place, str(error), raw)


def _row(place: str, raw: Mapping[str, Any]) -> Row:
    # What is about venues takes 25 ms to load, which no other import needs.
    from alphapulse.registry.venues.commands import AddVenue, SetEndpoints, SetFees
    from alphapulse.registry.venues.endpoints import endpoints
    from alphapulse.registry.venues.rules import schedules
    from alphapulse.registry.venues.venue import Venue

    scheme, key, _ = validation.venue_parts(text(raw, "id"), "id")
    if scheme != "slug":
        validation.refuse("id", "it is a MIC and no exchange of ccxt", raw["id"])
    add = AddVenue.make(
        Venue(
            key=key, name=text(raw, "name"), country=_country(raw), links=_links(raw),
            kind="dex" if raw.get("dex") is True else "crypto_exchange",
        )
    )  # fmt: skip
    commands: list[Command] = [add]
    if reached := endpoints(_endpoints(raw)):
        commands.append(SetEndpoints(add.venue.key, reached, only_news=True))
    odd: tuple[str, ...] = ()
    if parts := [_schedule(each) for each in _parts(raw)]:
        in_order = schedules(part.schedule for part in parts)
        noted = tuple(
            (in_order.index(part.schedule), doubt) for part in parts for doubt in part.doubts
        )
        fees = SetFees(add.venue.key, in_order, only_news=True, noted=noted)
        commands.append(fees)
        odd = tuple(
            f"{add.venue.key}: {_named(in_order[number], doubt.line)}: {doubt.problem}"
            for number, doubt in fees.doubts()
        )
    return Row(place, tuple(commands), raw, odd, first_decides=True)


def _named(schedule: FeeSchedule, line: int) -> str:
    products = " ".join(schedule.products)
    return f"line {line}, {products + ' ' * bool(products)}{schedule.lines[line].side}"


def _country(raw: Mapping[str, Any]) -> str:
    """The only one. Of several, nothing says which."""
    found = raw.get("countries") or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        validation.refuse("countries", "it must be a list of texts", found)
    only = str(found[0]) if len(found) == 1 else ""
    return COUNTRIES.get(only, only)


def _urls(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    found = raw.get("urls") or {}
    if not isinstance(found, dict):
        validation.refuse("urls", "it must be an object", found)
    return found


def _links(raw: Mapping[str, Any]) -> dict[str, str]:
    """The front page. The others of ccxt are for its own readers, or name who referred them."""
    found = _urls(raw).get("www")
    return {"web": found} if isinstance(found, str) else {}


def _leaves(value: object) -> Iterator[str]:
    """Every text inside, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)


def _endpoints(raw: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """`{hostname}` is put in where the description has it; other placeholders stay."""
    urls, host = _urls(raw), raw.get("hostname")
    limits = _limits(raw)
    for environment, addresses in (
        ("live", raw.get("api") if "urls" not in raw else urls.get("api")),
        ("test", urls.get("test")),
    ):
        for address in _leaves(addresses):
            if isinstance(host, str) and environment == "live":
                address = address.replace("{hostname}", host)
            is_stream = address.lower().startswith("ws")
            yield {
                "kind": "websocket" if is_stream else "rest", "address": address,
                "environment": environment, "limits": [] if is_stream else limits,
            }  # fmt: skip


def _limits(raw: Mapping[str, Any]) -> list[dict[str, str]]:
    """ccxt counts milliseconds between two requests."""
    given = raw.get("rateLimit")
    if given is None:
        return []
    return [{"count": "1", "seconds": _scaled(given, _MILLISECONDS_TO_SECONDS, "rateLimit")}]


# --- fees ------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One part of ccxt's fees, as it stands there."""

    name: str
    products: tuple[str, ...]
    said: Mapping[str, Any]


class _Read(NamedTuple):
    schedule: FeeSchedule
    doubts: list[Doubt]
    """What the schedule itself does not show."""


def _parts(raw: Mapping[str, Any]) -> Iterator[Part]:
    """Those that say a rate. An extract has its main part at the top, the others in `subFees`."""
    is_extract = raw.get("fees") is None
    fees = raw.get("subFees") or {} if is_extract else raw["fees"]
    if not isinstance(fees, dict):
        validation.refuse("fees", "it must be an object", fees)
    if is_extract:
        fees = {**fees, "trading": raw}
    for name, part in fees.items():
        said = part.get("trading", part) if isinstance(part, dict) else None
        if name not in PRODUCTS or not isinstance(said, dict):
            continue
        if any(said.get(field) not in (None, {}, []) for field in (*_SIDES, "tiers")):
            yield Part(name, PRODUCTS[name], said)


def _schedule(part: Part) -> _Read:
    from alphapulse.registry.venues.fees import fee_schedule

    said = part.said
    if said.get("percentage") is False:
        raise InvalidInput(_DOING, problem="its rates are amounts, and nothing says of what",
                           cure="write its fees by hand", part=part.name)  # fmt: skip
    lines: list[FeeLine] = []
    doubts: list[Doubt] = []
    for side in _SIDES:
        own, odd = _lines(part, side, len(lines))
        lines += own
        doubts += odd
    return _Read(fee_schedule(lines, products=part.products), doubts)


def _lines(part: Part, side: str, first: int) -> tuple[list[FeeLine], list[Doubt]]:
    """first: the place that the first of them gets in the schedule."""
    from alphapulse.registry.venues.fees import Doubt, fee_line

    base, tiers, problem = part.said.get(side), part.said.get("tiers"), ""
    if isinstance(tiers, list) and len(tiers) == 1 and isinstance(tiers[0], dict):
        tiers, problem = tiers[0], "the table stands within a list"
    if tiers and not isinstance(tiers, dict):
        validation.refuse("tiers", "it must be an object with maker and taker", tiers)
    table = tiers.get(side) if isinstance(tiers, dict) else None
    if isinstance(base, list) and not table:
        base, table, problem = None, base, "a table stands where the base rate should be"
    if not table:
        table = [] if base is None else [[0, base]]
    if not isinstance(table, list) or not all(
        isinstance(row, list) and len(row) == len(("volume", "rate")) for row in table
    ):
        validation.refuse("tiers", "it must be a list of pairs, volume and rate", table)
    charged = part.said.get("feeSide")
    if not isinstance(charged, str | None) or charged not in CHARGED:
        validation.refuse("feeSide", "its meaning is not known", charged, "use quote, base or get")
    lines = [
        fee_line({
            "side": side, "value": _percent(rate, side), "charged": CHARGED[charged],
            "volume_from": _number(volume, "tiers"), "confidence": "documented",
        })
        for volume, rate in table
    ]  # fmt: skip
    if lines and not problem:
        if base is None:
            problem = f"there is no base rate beside the tiers, which begin with {lines[0].value} %"
        elif _percent(base, side) != lines[0].value:
            problem = f"the base rate is {_percent(base, side)} %, and tier 0 {lines[0].value} %"
    return lines, [Doubt(first, problem)] if lines and problem else []


def _percent(rate: object, field: str) -> str:
    """Of a fraction: `0.001` gives `0.1`, exactly."""
    return _scaled(rate, _FRACTION_TO_PERCENT, field)


def _number(value: object, field: str) -> str:
    return _scaled(value, 0, field)


def _scaled(value: object, power: int, field: str) -> str:
    """A number of the document times a power of ten, as exact decimal text. Raises InvalidInput."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        validation.refuse(field, "it must be a number", value)
    sign, digits, exponent = Decimal(value).as_tuple()
    assert isinstance(exponent, int), "`flaw_of` has found what is no number"
    return validation.signed(f"{'-' * sign}{''.join(map(str, digits))}e{exponent + power}", field)
