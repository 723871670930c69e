"""Structs as plain maps, in one form whatever made them.

msgspec leaves out a field at its default only where it is the very object of the default, which
holds for empty text and small numbers and for no other text: `"both"` that somebody typed would be
written, and that of the default not. What goes into the log must have one spelling, so fields are
compared here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec


def plain_of(value: msgspec.Struct) -> dict[str, Any]:
    """A map of the fields that are not at their default: text, numbers, lists and such maps."""
    return {
        name: _plain(held)
        for name, default in _defaults(type(value))
        if (held := getattr(value, name)) != default
    }


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    """Of each field; asking msgspec evaluates the annotations again, which takes 400 µs."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return plain_of(value)
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def order_of(value: msgspec.Struct) -> bytes:
    """To sort by."""
    return msgspec.json.encode(plain_of(value), order="sorted")
