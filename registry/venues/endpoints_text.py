"""Endpoints as people write them, in TOML and as JSON.

    [[endpoints]]
    kind = "websocket"                 # rest, websocket, fix, rpc or unix
    address = "wss://ws.example.com/{key}"
    environment = "live"               # optional, as all that follows: live or test
    region = "eu-west"
    authentication = "hmac"            # which kind; there is no field for a secret

    [[endpoints.limits]]
    count = 1200                       # at most so many
    seconds = 60
    scope = "weight"                   # of what

The other fields are those of `Endpoint`. JSON is a list of such objects, or an object with that
list as `endpoints`: also all that `venue show --json` prints, whose other fields are not read. A
file is taken whole or refused whole; `endpoints`, which checks the entries, names the wrong one.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec

from alphapulse.log import InvalidInput

_IS_JSON: Final = re.compile(rb"\s*(?:\{|\[\s*[{\]])")
"""TOML begins with no brace, and a table of it is no object in brackets."""
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_CURE: Final = "write [[endpoints]] in TOML, or a list of objects in JSON"


def read_endpoints(data: bytes) -> list[Any]:
    """The entries, as `set_endpoints` takes and checks them; none: there are none any more. Raises
    InvalidInput."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    found = _json(data) if _IS_JSON.match(data) else _toml(data)
    if isinstance(found, dict):
        if "endpoints" not in found or (found.keys() != {"endpoints"} and "venue" not in found):
            _refuse("it has other fields than endpoints, or none")
        found = found["endpoints"]
    if not isinstance(found, list):
        _refuse("it has no list of endpoints")
    return found


def _json(data: bytes) -> Any:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("reading endpoints", problem=str(error)[:200], cure=_CURE) from error


def _toml(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("reading endpoints", problem=str(error)[:200], cure=_CURE) from error


def _refuse(problem: str) -> NoReturn:
    raise InvalidInput("reading endpoints", problem=problem, cure=_CURE)
