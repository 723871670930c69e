"""JSON documents that are read as a whole: what all formats made of them share.

Their size is limited, and memory is about ten times it. No number passes through a float, and what
JSON parsers commonly let pass (a key twice, NaN) is found by `flaw_of` in the row it stands in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from alphapulse.registry import validation

from .base import InputFile

DOCUMENT_SIZE_BYTES_MAX: Final = 64 << 20
_INTEGER_LENGTH_MAX: Final = 40
_NUMBER_SHOWN_MAX: Final = 40
_DEPTH_MAX: Final = 20


class _Doubled(dict[str, Any]):
    """An object in which a key stands twice."""

    key = ""


class _NoNumber:
    """Stands where a number should: NaN and Infinity, or more digits in an exponent than Decimal
    can count with."""

    def __init__(self, text: str, why: str = "which is not JSON") -> None:
        self.flaw = f"it contains {text[:_NUMBER_SHOWN_MAX]}, {why}"
        self._text = text

    def __str__(self) -> str:
        return self._text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, seen = _Doubled(found), set()
    for key, _ in pairs:
        if key in seen:
            doubled.key = key
        seen.add(key)
    return doubled


def _integer(text: str) -> int | Decimal:
    # int() of thousands of digits is slow, and refused by Python with an error of its own.
    return int(text) if len(text) <= _INTEGER_LENGTH_MAX else Decimal(text)


def _decimal(text: str) -> Decimal | _NoNumber:
    try:
        return Decimal(text)
    except InvalidOperation:  # 1e9999999999999999999
        return _NoNumber(text, "a number beyond all bounds")


def loads(text: str) -> Any:
    """What `json.loads` gives and raises; integers are int, other numbers Decimal."""
    return json.loads(
        text, object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer,
        parse_constant=_NoNumber,
    )  # fmt: skip


def parsed(file: InputFile, data: bytes) -> Any:
    """The document: integers are int, other numbers Decimal. Raises InvalidInput with the place."""
    try:
        document = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        file.refuse("it is not UTF-8", cure="save it as UTF-8", line=line, at_byte=error.start)
    try:
        return loads(document)
    except json.JSONDecodeError as error:
        file.refuse(
            f"it is not JSON: {error.msg}", cure="fetch it again, it may be cut short",
            line=error.lineno, column=error.colno,
        )  # fmt: skip
    except RecursionError:
        file.refuse("it is nested too deeply", cure="fetch it again")


def flaw_of(value: object, depth: int = 0) -> str:
    """What no parser may agree on, anywhere inside; empty when there is none."""
    if isinstance(value, _NoNumber):
        return value.flaw
    if not isinstance(value, dict | list):
        return ""
    if flaw := doubled_key(value):
        return flaw
    if depth == _DEPTH_MAX:
        return f"it is nested over {_DEPTH_MAX} deep"
    for item in value.values() if isinstance(value, dict) else value:
        if flaw := flaw_of(item, depth + 1):
            return flaw
    return ""


def doubled_key(value: object) -> str:
    """As `flaw_of`, but only whether a key stands twice in this object."""
    if not isinstance(value, _Doubled):
        return ""
    return f"the key {validation.shown(value.key)} stands twice in one object"


_MISSING: Final = object()


def text(fields: Mapping[str, Any], field: str) -> str:
    value = fields.get(field, "")
    if not isinstance(value, str):
        validation.refuse(field, "it must be text", value)
    return value


def integer(
    fields: Mapping[str, Any], field: str, example: int, name: str = ""
) -> int | None:
    """name: of the field for messages, where its own does not say in which object it stands."""
    value = fields.get(field, _MISSING)
    if value is _MISSING:
        return None
    if type(value) is not int:
        given = str(value) if isinstance(value, Decimal) else value
        cure = f"write it like {example}, no quotes"
        validation.refuse(name or field, "it must be an integer", given, cure)
    return value
