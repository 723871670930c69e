"""Token lists: `{"name": …, "tokens": [{"chainId", "address", "symbol", "name", "decimals"}]}`.

The format of tokenlists.org. `extensions.opTokenId` names the group of one token on all its chains.
A placeholder address stands for the chain's native coin. Lists of Solana tokens number its clusters
101 to 103, as if they were EVM chains; their addresses tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.chains import SOLANA_CLUSTERS
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddToGroup
from alphapulse.registry.instruments import Token

from .base import InputFile, Refused, Row, slug
from .json_document import DOCUMENT_SIZE_BYTES_MAX, flaw_of, integer, parsed, text

GROUP_SIZE_BYTES_MAX: Final = 200


class TokenList:
    name = "token-list"
    summary = 'a JSON document {"name", "tokens": [{"chainId", "address", "symbol", …}]}'

    def sniff(self, path: Path, head: bytes) -> bool:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return text.startswith(b"{") and (b'"tokens"' in text or path.suffix.lower() == ".json")

    def open(self, file: InputFile) -> TokenListReading:
        data = file.read(DOCUMENT_SIZE_BYTES_MAX)
        return TokenListReading(file, data)


class TokenListReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        document = parsed(file, data)
        if not isinstance(document, dict) or not isinstance(document.get("tokens"), list):
            file.refuse(
                'it is no token list: it needs a list "tokens"',
                cure='see tokenlists.org; it looks like {"name": …, "tokens": [{…}]}',
            )
        self._tokens: list[object] = document.pop("tokens")
        if flaw := flaw_of(document):
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


def _commands(token: object, source: str) -> tuple[Command, ...]:
    """Raises InvalidInput. symbol, name and decimals may be missing, which means not known."""
    if not isinstance(token, dict):
        raise InvalidInput("reading a token", problem=f"it is {validation.shown(token)}",
                           cure="write an object in braces")  # fmt: skip
    if flaw := flaw_of(token):
        raise InvalidInput("reading a token", problem=flaw)
    chain_number = integer(token, "chainId", 10)
    if chain_number is None:
        validation.refuse("chainId", "it is missing", None, "give the EIP-155 chain number")
    if not 0 < chain_number < 1 << 63:
        validation.refuse("chainId", "it is no EIP-155 chain number", chain_number)
    address = text(token, "address")
    register = Register.of(
        Token(
            chain=_chain(chain_number, address), address=address,
            symbol=text(token, "symbol"), name=text(token, "name"),
            decimals=integer(token, "decimals", 18),
        )
    )  # fmt: skip
    group = _group(token)
    if not group:
        return (register,)
    return register, AddToGroup(register.fingerprint, source, group)


def _chain(number: int, address: str) -> str:
    """101 to 103 are clusters of Solana where the address is none of an EVM chain."""
    cluster = SOLANA_CLUSTERS.get(str(number))
    if cluster is None or address.strip()[:2].lower() == "0x":
        return f"eip155:{number}"
    return cluster


def _group(token: dict[str, Any]) -> str:
    extensions = token.get("extensions")
    if extensions is None:
        return ""
    if not isinstance(extensions, dict):
        validation.refuse("extensions", "it must be an object", extensions)
    return validation.text(
        extensions.get("opTokenId", ""), "extensions.opTokenId", GROUP_SIZE_BYTES_MAX
    )
