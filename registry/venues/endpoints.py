"""How a venue is reached: endpoints, validated. There is no field for a secret, and an address that
seems to hold one is refused. Pure functions, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from alphapulse.log import InvalidInput
from alphapulse.registry.terms import code, slug
from alphapulse.registry.validation import exact, refuse, shown, stripped, text

from .hours_text import at
from .plainly import order_of

KINDS: Final = {
    "rest": ("https", "http"),
    "websocket": ("wss", "ws"),
    "fix": ("tcp", "tls"),
    "rpc": ("https", "http", "wss", "ws"),
    "unix": ("unix",),
}
"""By kind of endpoint: the schemes of its address."""
AUTHENTICATIONS: Final = (
    "none", "api_key", "hmac", "rsa", "ed25519", "jwt", "oauth2", "certificate", "password",
)  # fmt: skip
ENVIRONMENTS: Final = ("live", "test")
ADDRESS_SIZE_BYTES_MAX: Final = 512
ENDPOINTS_MAX: Final = 256
LIMITS_MAX: Final = 32
_FIX_VERSION: Final = re.compile(r"FIX\.[4-5]\.[0-4](?:SP[1-2])?|FIXT\.1\.1")
_SECRET_NAME: Final = re.compile(
    r"(?:api|access|auth|private|secret)[-_]?key|key|secret|token|(?:access|auth)[-_]?token|"
    r"pass(?:word|phrase|wd)?|pwd|signature|sig|credentials?", re.IGNORECASE
)  # fmt: skip
_SECRET_VALUE: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[-_A-Za-z0-9]{24,}")
"""Providers put keys into paths: such a part has letters and digits and is long."""
_PLACEHOLDER: Final = re.compile(r"\{[A-Za-z][A-Za-z0-9_]*\}")


class RateLimit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """At most `count` within `seconds`, exact decimal text. scope: of what; empty = of all."""

    count: str
    seconds: str = "1"
    scope: str = ""


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One way to reach a venue. Made with `endpoint`."""

    kind: str
    """rest, websocket, fix, rpc or unix."""
    address: str
    """With its scheme; parts that differ by user are `{name}`. fix: `tls://host:port`. unix:
    `unix:/path`."""
    environment: str = "live"
    region: str = ""
    authentication: str = ""
    """Which kind; empty = not known."""
    fix_version: str = ""
    sender: str = ""
    target: str = ""
    """SenderCompID and TargetCompID of FIX."""
    limits: tuple[RateLimit, ...] = ()


def endpoint(fields: Mapping[str, object]) -> Endpoint:
    """From fields by name, each validated; `limits` is a list of such. Raises InvalidInput."""
    unknown = fields.keys() - set(Endpoint.__struct_fields__)
    if unknown:
        refuse("endpoint", "it has no such field", sorted(unknown)[0],
               f"use {', '.join(Endpoint.__struct_fields__)}; secrets have no place")  # fmt: skip
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    kind = _word(given, "kind", tuple(KINDS))
    found = Endpoint(
        kind=kind, address=_address(kind, given.get("address")),
        environment=_word(given, "environment", ENVIRONMENTS, "live"),
        region=slug(given["region"], "region") if "region" in given else "",
        authentication=_authentication(given),
        fix_version=_fix_version(given.get("fix_version")),
        sender=code(given["sender"], "sender") if "sender" in given else "",
        target=code(given["target"], "target") if "target" in given else "",
        limits=_limits(given.get("limits", ())),
    )  # fmt: skip
    if kind != "fix" and (found.fix_version or found.sender or found.target):
        refuse("kind", "a FIX version and comp ids belong to an endpoint of kind fix", kind)
    return found


def endpoints(all_fields: Iterable[Mapping[str, object]]) -> tuple[Endpoint, ...]:
    """In one order whatever theirs, each once, so that equal facts have equal bytes. An error
    names the entry, from 1."""
    found = set()
    for number, fields in enumerate(all_fields, 1):
        with at(f"endpoint {number}"):
            if not isinstance(fields, Mapping):
                refuse("endpoint", "it is no table of fields", None)
            found.add(endpoint(fields))
    if len(found) > ENDPOINTS_MAX:
        refuse("endpoints", f"a venue has at most {ENDPOINTS_MAX}", len(found))
    return tuple(sorted(found, key=order_of))


def _word(
    given: Mapping[str, object], field: str, words: Sequence[str], default: str | None = None
) -> str:
    if field not in given and default is not None:
        return default
    clean = stripped(given.get(field), field).lower()
    if clean not in words:
        refuse(field, "there is no such one", given[field], f"use one of {', '.join(words)}")
    return clean


def _authentication(given: Mapping[str, object]) -> str:
    try:
        return _word(given, "authentication", AUTHENTICATIONS, "")
    except InvalidInput as error:
        raise _without(error, None) from None  # what was given may be the very secret


def address_text(value: object, schemes: Sequence[str], field: str) -> str:
    """The address of a page, without a secret. Raises InvalidInput."""
    clean = _clean(value, field)
    if "://" not in clean:
        clean = f"https://{clean}"
    if clean.partition(":")[0].lower() not in schemes:
        refuse(field, f"it begins with {' or '.join(schemes)}", _harmless(clean))
    return _address("rest", clean)


def _clean(value: object, field: str) -> str:
    try:
        return text(value, field, ADDRESS_SIZE_BYTES_MAX)
    except InvalidInput as error:
        raise _without(error, _harmless(value)) from None  # a traceback would show the other one


def _without(error: InvalidInput, told: object) -> InvalidInput:
    """The same error, which repeats no more than this."""
    return InvalidInput(error.doing, problem=error.why, value=shown(told), cure=error.advice)


def _harmless(value: object) -> object:
    """What of an address an error may repeat: all of it, or nothing where a secret may be."""
    is_secret = isinstance(value, str) and (
        any(sign in value for sign in "@?#") or _SECRET_VALUE.search(value)
    )
    return None if is_secret else value


def _address(kind: str, value: object) -> str:
    clean = _clean(value, "address")
    told = _harmless(clean)
    scheme, colon, rest = clean.partition(":")
    if not colon or scheme.lower() not in KINDS[kind]:
        refuse("address", f"one of kind {kind} begins with {' or '.join(KINDS[kind])}", told,
               f"write it like {_example(kind)}")  # fmt: skip
    if kind == "unix":
        if not rest.startswith("/") or "\0" in rest:
            refuse("address", "it is no absolute path", told, f"write it like {_example(kind)}")
        return clean
    problem = ""
    try:
        parts = urlsplit(_PLACEHOLDER.sub("x", clean))
        port = parts.port
    except ValueError as error:
        problem = str(error) if told else "it cannot be read"
    if problem:
        refuse("address", problem, told, f"write it like {_example(kind)}")
    if not parts.hostname or any(map(str.isspace, clean)):
        refuse("address", "it names no host", told, f"write it like {_example(kind)}")
    if kind == "fix" and port is None:
        refuse("address", "FIX needs a port", told, f"write it like {_example(kind)}")
    if parts.username is not None or parts.password is not None:
        _refuse_secret("it holds a user or a password")
    for name, given in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_NAME.fullmatch(name) or _SECRET_VALUE.fullmatch(given):
            _refuse_secret(f"its parameter {name[:20]!r} looks like a secret")
    if parts.fragment or any(_SECRET_VALUE.fullmatch(part) for part in parts.path.split("/")):
        _refuse_secret("a part of it looks like a secret")
    return clean


def _refuse_secret(problem: str) -> None:
    """Without the value: an error is shown, and may be logged."""
    refuse("address", problem, None, "leave it out, or write {key} in its place")


def _example(kind: str) -> str:
    return {
        "rest": "https://api.example.com", "websocket": "wss://ws.example.com/v1",
        "fix": "tls://fix.example.com:4198", "rpc": "https://rpc.example.com/{key}",
        "unix": "unix:/run/gateway.sock",
    }[kind]  # fmt: skip


def _fix_version(value: object) -> str:
    if value is None:
        return ""
    clean = stripped(value, "fix_version").upper()
    if not _FIX_VERSION.fullmatch(clean):
        refuse("fix_version", "it is no version of FIX", value, "write it like FIX.4.4 or FIXT.1.1")
    return clean


def _limits(value: object) -> tuple[RateLimit, ...]:
    if not isinstance(value, list | tuple) or len(value) > LIMITS_MAX:
        refuse("limits", f"it is a list of at most {LIMITS_MAX}", value)
    found = set()
    for each in value:
        if not isinstance(each, Mapping) or each.keys() - set(RateLimit.__struct_fields__):
            refuse("limits", "each has count, seconds and scope", each)
        found.add(
            RateLimit(
                count=exact(each.get("count"), "count"),
                seconds=exact(each.get("seconds", "1"), "seconds"),
                scope=slug(each["scope"], "scope") if each.get("scope") else "",
            )
        )
    return tuple(sorted(found, key=order_of))
