"""Token lists: `{"name": …, "tokens": [{"chainId", "address", "symbol", "name", "decimals"}]}`.

The format of tokenlists.org. `extensions.opTokenId` names the group of one token on all its chains.
A placeholder address stands for the chain's native coin. Lists of Solana tokens number its clusters
101 to 103, as if they were EVM chains; their addresses tell them apart.

`extensions.bridgeInfo` is `{"10": {"tokenAddress": …}}`: the same token on other chains, by their
numbers. As proposed for the format it stands on both sides, the one on Ethereum and the one on the
chain that the bridge leads to, so the map itself has no direction; the chains have: what is on the
other chain is `bridged_from` what is on Ethereum. Between two other chains, or two networks of
Ethereum, nothing says which was first, and the relation is refused.
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
from alphapulse.registry.commands_relations import Relate
from alphapulse.registry.identity import fingerprint_of
from alphapulse.registry.instruments import Token
from alphapulse.registry.readers import facts_of

from .base import InputFile, Refused, Relation, Row, slug
from .json_document import DOCUMENT_SIZE_BYTES_MAX, flaw_of, integer, parsed, text

GROUP_SIZE_BYTES_MAX: Final = 200
ETHEREUM: Final = frozenset({1, 3, 4, 5, 42, 11155111, 17000, 560048})
"""Chain numbers of the main network and of its test networks, retired ones too."""
_PLACE: Final = "extensions.bridgeInfo"


class TokenList:
    name = "token-list"
    summary = 'a JSON document {"name", "tokens": [{"chainId", "address", "symbol", …}]}'
    needs = ("tokens",)
    marks = ("chainId", "address", "decimals", "logoURI")

    def sniff(self, path: Path, head: bytes) -> bool:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return text.startswith(b"{") and b'"tokens"' in text

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

    def rows(self, source: str) -> Iterator[Row | Relation | Refused]:
        bridged: list[tuple[str, bytes, dict[str, Any]]] = []
        for index, token in enumerate(self._tokens):
            self.done = index + 1
            place = f"tokens[{index}]"
            try:
                fields = _fields(token)
                register = _register(fields)
                yield Row(place, (register, *_grouping(fields, register, source)), token)
            except InvalidInput as error:
                yield Refused(place, str(error), token)
                continue
            if (fields.get("extensions") or {}).get("bridgeInfo"):
                bridged.append((place, register.facts.key, fields))
        for place, key, fields in bridged:
            yield from _relations(place, key, fields)


def _fields(token: object) -> dict[str, Any]:
    """Raises InvalidInput."""
    if not isinstance(token, dict):
        raise InvalidInput("reading a token", problem=f"it is {validation.shown(token)}",
                           cure="write an object in braces")  # fmt: skip
    if flaw := flaw_of(token):
        raise InvalidInput("reading a token", problem=flaw)
    return token


def _register(token: dict[str, Any]) -> Register:
    """Raises InvalidInput. symbol, name and decimals may be missing, which means not known."""
    chain_number = integer(token, "chainId", 10)
    if chain_number is None:
        validation.refuse("chainId", "it is missing", None, "give the EIP-155 chain number")
    if not 0 < chain_number < 1 << 63:
        validation.refuse("chainId", "it is no EIP-155 chain number", chain_number)
    address = text(token, "address")
    return Register.of(
        Token(
            chain=_chain(chain_number, address), address=address,
            symbol=text(token, "symbol"), name=text(token, "name"),
            decimals=integer(token, "decimals", 18),
        )
    )  # fmt: skip


def _grouping(token: dict[str, Any], register: Register, source: str) -> tuple[Command, ...]:
    """Raises InvalidInput."""
    group = _group(token)
    return (AddToGroup(register.fingerprint, source, group),) if group else ()


def _relations(
    place: str, key: bytes, token: dict[str, Any]
) -> Iterator[Relation | Refused]:  # fmt: skip
    """What the bridgeInfo of a good row says."""
    place = f"{place}.{_PLACE}"
    here = f"{text(token, 'address')} on chain {token['chainId']}"
    info = token["extensions"]["bridgeInfo"]
    if not isinstance(info, dict):
        problem = InvalidInput(f"reading field {_PLACE}", problem="it must be an object")
        yield Refused(place, str(problem), token, is_relation=True)
        return
    for number, there in info.items():
        at = place
        try:
            if not (number.isascii() and number.isdecimal() and len(number) < 19):
                validation.refuse(_PLACE, "its keys must be EIP-155 chain numbers", number)
            at = f"{place}.{number}"
            other, name = _across(int(number), there)
            of, origin = key, other
            if _is_original(token["chainId"], int(number)):
                of, origin = other, key
            relate = Relate.between(of, "bridged_from", origin)
            names = {fingerprint_of(key): here, fingerprint_of(other): name}
            yield Relation(at, relate, token, names)
        except InvalidInput as error:
            yield Refused(at, str(error), token, is_relation=True)


def _across(number: int, there: object) -> tuple[bytes, str]:
    """The token on the other side: its key, and its name for people."""
    if not isinstance(there, dict):
        validation.refuse(_PLACE, "it must hold objects with a tokenAddress", there)
    address = text(there, "tokenAddress")
    token = Token(chain=_chain(number, address), address=address)
    return facts_of(token).key, f"{address} on chain {number}"


def _is_original(here: int, there: int) -> bool:
    """Whether the token here is the one that the token there stands for. Raises InvalidInput."""
    if (here in ETHEREUM) == (there in ETHEREUM):
        validation.refuse(
            _PLACE, "one side must be on Ethereum, else nothing says which was first",
            f"{here} and {there}", "say the relation by hand",
        )  # fmt: skip
    return here in ETHEREUM


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
