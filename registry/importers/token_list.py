"""Token lists: `{"name": …, "tokens": [{"chainId", "address", "symbol", "name", "decimals"}]}`.

The format of tokenlists.org. `extensions.opTokenId` names the group of one token on all its chains.
A placeholder address stands for the chain's native coin. The document is read as a whole, so its
size is limited; memory is about ten times the size. No number passes through a float, and what
JSON parsers commonly let pass (a key twice, NaN) refuses the row it stands in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddToGroup
from alphapulse.registry.instruments import Token

from .base import InputFile, Refused, Row, slug

DOCUMENT_SIZE_BYTES_MAX: Final = 64 << 20
GROUP_SIZE_BYTES_MAX: Final = 200
_INTEGER_LENGTH_MAX: Final = 40
_DEPTH_MAX: Final = 20


class TokenList:
    name = "token-list"
    summary = 'a JSON document {"name", "tokens": [{"chainId", "address", "symbol", …}]}'

    def sniff(self, path: Path, head: bytes) -> bool:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return text.startswith(b"{") and (b'"tokens"' in text or path.suffix.lower() == ".json")

    def open(self, file: InputFile) -> TokenListReading:
        data = file.read(DOCUMENT_SIZE_BYTES_MAX)
        return TokenListReading(file, data)


class _Doubled(dict[str, Any]):
    """An object in which a key stands twice."""

    key = ""


class _NotFinite:
    """NaN or Infinity, which are not JSON."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


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


class TokenListReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        document = _parse(file, data)
        if not isinstance(document, dict) or not isinstance(document.get("tokens"), list):
            file.refuse(
                'it is no token list: it needs a list "tokens"',
                cure='see tokenlists.org; it looks like {"name": …, "tokens": [{…}]}',
            )
        self._tokens: list[object] = document.pop("tokens")
        if flaw := _flaw(document):
            file.refuse(flaw, cure="correct the document around its tokens")
        name = document.get("name", "")
        if not isinstance(name, str):
            file.refuse("its name must be text", name=validation.shown(name))
        self.source = slug(name) or slug(file.path.name.split(".")[0]) or TokenList.name
        self.total = len(self._tokens)
        self.done = 0

    def rows(self, source: str) -> Iterator[Row | Refused]:
        for index, token in enumerate(self._tokens):
            self.done = index + 1
            place = f"tokens[{index}]"
            try:
                yield Row(place, _commands(token, source), token)
            except InvalidInput as error:
                yield Refused(place, str(error), token)


def _parse(file: InputFile, data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        file.refuse("it is not UTF-8", cure="save it as UTF-8", line=line, at_byte=error.start)
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_float=Decimal, parse_int=_integer,
            parse_constant=_NotFinite,
        )  # fmt: skip
    except json.JSONDecodeError as error:
        file.refuse(
            f"it is not JSON: {error.msg}", cure="fetch it again, it may be cut short",
            line=error.lineno, column=error.colno,
        )  # fmt: skip
    except RecursionError:
        file.refuse("it is nested too deeply", cure="fetch it again")


def _flaw(value: object, depth: int = 0) -> str:
    """What no parser may agree on, anywhere inside; empty when there is none."""
    if isinstance(value, _NotFinite):
        return f"it contains {value}, which is not JSON"
    if isinstance(value, _Doubled):
        return f"the key {validation.shown(value.key)} stands twice in one object"
    if not isinstance(value, dict | list):
        return ""
    if depth == _DEPTH_MAX:
        return f"it is nested over {_DEPTH_MAX} deep"
    for item in value.values() if isinstance(value, dict) else value:
        if flaw := _flaw(item, depth + 1):
            return flaw
    return ""


_MISSING: Final = object()


def _text(token: dict[str, Any], field: str) -> str:
    value = token.get(field, "")
    if not isinstance(value, str):
        validation.refuse(field, "it must be text", value)
    return value


def _int(token: dict[str, Any], field: str, example: int) -> int | None:
    value = token.get(field, _MISSING)
    if value is _MISSING:
        return None
    if type(value) is not int:
        given = str(value) if isinstance(value, Decimal) else value
        cure = f"write it like {example}, no quotes"
        validation.refuse(field, "it must be an integer", given, cure)
    return value


def _commands(token: object, source: str) -> tuple[Command, ...]:
    """Raises InvalidInput. symbol, name and decimals may be missing, which means not known."""
    if not isinstance(token, dict):
        raise InvalidInput("reading a token", problem=f"it is {validation.shown(token)}",
                           cure="write an object in braces")  # fmt: skip
    if flaw := _flaw(token):
        raise InvalidInput("reading a token", problem=flaw)
    chain_number = _int(token, "chainId", 10)
    if chain_number is None:
        validation.refuse("chainId", "it is missing", None, "give the EIP-155 chain number")
    if not 0 < chain_number < 1 << 63:
        validation.refuse("chainId", "it is no EIP-155 chain number", chain_number)
    register = Register.of(
        Token(
            chain=f"eip155:{chain_number}", address=_text(token, "address"),
            symbol=_text(token, "symbol"), name=_text(token, "name"),
            decimals=_int(token, "decimals", 18),
        )
    )  # fmt: skip
    group = _group(token)
    if not group:
        return (register,)
    return register, AddToGroup(register.fingerprint, source, group)


def _group(token: dict[str, Any]) -> str:
    extensions = token.get("extensions")
    if extensions is None:
        return ""
    if not isinstance(extensions, dict):
        validation.refuse("extensions", "it must be an object", extensions)
    return validation.text(
        extensions.get("opTokenId", ""), "extensions.opTokenId", GROUP_SIZE_BYTES_MAX
    )
