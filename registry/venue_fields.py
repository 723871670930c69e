"""What was said of a venue, field by field, as people read it: the sibling of `fields`.

A venue is a field that is true, named by its key, and its own fields begin with that name: `venue
XNAS`, `venue XNAS name`. So is each word on an aspect of it: `fees binance`, and of every line
`fees binance spot maker trading 0` with what is charged. A status is of a side, and perhaps of a
listing: `status XNAS both 0x… is`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alphapulse.log import (
    TRADING_NAMES,
    VENUE_KIND_NAMES,
    AspectBody,
    EndpointsBody,
    FeesBody,
    HoursBody,
    TradingBody,
    VenueBody,
)

from .fields import Fields, Shown, id_text, time_text

_Told = Iterator[tuple[str, Shown | None]]


def venue_fields(body: VenueBody | AspectBody) -> Fields:
    """Of the full state of a venue or of one aspect of it."""
    if isinstance(body, VenueBody):
        name, told = f"venue {body.venue}", _of_venue(body)
    elif isinstance(body, EndpointsBody):
        name, told = f"endpoints {body.venue}", _of_endpoints(body)
    elif isinstance(body, FeesBody):
        name, told = f"fees {body.venue}", _of_fees(body)
    elif isinstance(body, HoursBody):
        name, told = f"hours {body.venue}", _of_hours(body)
    elif isinstance(body, TradingBody):
        name, told = f"status {body.venue} {body.side}", _of_trading(body)
        if body.listing:
            name += f" {id_text(body.listing)}"
    else:
        name, told = f"performance {body.venue}", iter(body.measures.items())
    fields: Fields = {name: True}
    fields.update((f"{name} {field}", value) for field, value in told if value)
    return fields


def _of_venue(body: VenueBody) -> _Told:
    yield "operating", body.operating
    yield "name", body.name
    yield "kind", VENUE_KIND_NAMES.get(body.kind, str(body.kind)) if body.kind else None
    yield "country", body.country
    yield "currency", body.currency
    yield "lei", body.lei
    for name, address in body.links.items():
        yield f"link {name}", address
    yield "valid_from", time_text(body.valid_from)
    yield "valid_to", time_text(body.valid_to)


def _of_endpoints(body: EndpointsBody) -> _Told:
    yield "valid_from", time_text(body.valid_from)
    for each in body.endpoints:
        yield f"{each['kind']} {each['address']}", _rest(each, ("kind", "address")) or True


def _of_fees(body: FeesBody) -> _Told:
    yield "valid_from", time_text(body.valid_from)
    for schedule in body.schedules:
        products = ",".join(schedule.get("products", ())) or "-"
        yield f"{products} volume", _rest(schedule, ("products", "lines"))
        for line in schedule["lines"]:
            side, component = line.get("side", "both"), line.get("component", "trading")
            place = f"{products} {side} {component} {line.get('volume_from', '0')}"
            rest = _rest(line, ("side", "component", "volume_from", "value", "basis", "charged"))
            what = f"{line.get('value', '0')} {line.get('basis', 'percent')}"
            yield place, f"{what} of {line.get('charged', 'quote')} {rest}".rstrip()


def _of_hours(body: HoursBody) -> _Told:
    yield "valid_from", time_text(body.valid_from)
    hours = body.hours
    yield "zone", hours.get("zone")
    yield "always", hours.get("always")
    yield "holidays_to", hours.get("holidays_to")
    for rule in hours.get("rules", ()):
        place = " ".join(str(rule[name]) for name in ("phase", "weekdays", "start", "end"))
        yield place, _rest(rule, ("phase", "weekdays", "start", "end")) or True
    for day in hours.get("days", ()):
        phases = (" ".join(map(str, each.values())) for each in day.get("phases", ()))
        yield str(day["date"]), f"{day['reason']}: {', '.join(phases) or 'closed'}"


def _of_trading(body: TradingBody) -> _Told:
    yield "is", TRADING_NAMES.get(body.status, str(body.status))
    yield "valid_from", time_text(body.valid_from)
    yield "until", time_text(body.until)
    yield "reason", body.reason


def _rest(said: Mapping[str, Any], without: tuple[str, ...]) -> str:
    """The other fields of a map, in its order: `first 2024-11-05`."""
    return " ".join(
        f"{name} {_listed(value)}" for name, value in said.items() if name not in without
    )


def _listed(value: object) -> str:
    if isinstance(value, Mapping):
        return "/".join(str(each) for each in value.values())
    return ",".join(map(_listed, value)) if isinstance(value, list | tuple) else str(value)
