"""How a venue is reached: endpoints, validated. There is no field for a secret, and an address that
seems to hold one is refused where it enters. What is stored was judged then: a guess that is made
better later must not make a log illegal. Pure functions, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from string import hexdigits
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from alphapulse.log import InvalidInput
from alphapulse.registry.terms import code, slug
from alphapulse.registry.validation import (
    exact,
    one_of,
    refuse,
    refuse_others,
    shown,
    stripped,
    text,
)

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
    r"secret|token|key|auth|jwt|passw|passphrase|signature|credential|^(?:pass|pwd|sig)$",
    re.IGNORECASE,
)
_SECRET_PART: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[-_A-Za-z0-9]{24,}")
"""Providers put keys into paths: such a part has letters and digits and is long."""
_RUN: Final = re.compile(r"[A-Za-z0-9]{16,}")
_CHANGE: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[a-z])(?=[A-Z])")
_CHANGES_MAX: Final = 4
_UNPRONOUNCEABLE: Final = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
_WORDS_LETTERS_MAX: Final = 31
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


def endpoint(fields: Mapping[str, object], *, stored: bool = False) -> Endpoint:
    """From fields by name, each validated; `limits` is a list of such. stored: it is in the log, so
    whether its address seems to hold a secret is not asked. Raises InvalidInput."""
    refuse_others(fields, Endpoint.__struct_fields__, "an endpoint", "; secrets have no place")
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    kind = one_of(given.get("kind"), "kind", KINDS)
    found = Endpoint(
        kind=kind, address=_address(kind, given.get("address")),
        environment=one_of(given.get("environment", "live"), "environment", ENVIRONMENTS),
        region=slug(given["region"], "region") if "region" in given else "",
        authentication=_authentication(given),
        fix_version=_fix_version(given.get("fix_version")),
        sender=code(given["sender"], "sender") if "sender" in given else "",
        target=code(given["target"], "target") if "target" in given else "",
        limits=_limits(given.get("limits", ())),
    )  # fmt: skip
    if kind != "fix" and (found.fix_version or found.sender or found.target):
        refuse("kind", "a FIX version and comp ids belong to an endpoint of kind fix", kind)
    if not stored:
        check_no_secret(found.address)
    return found


def endpoints(
    all_fields: Iterable[Mapping[str, object]], *, stored: bool = False
) -> tuple[Endpoint, ...]:
    """In one order whatever theirs, each once, so that equal facts have equal bytes. stored: as of
    `endpoint`. An error names the entry, from 1."""
    found = set()
    for number, fields in enumerate(all_fields, 1):
        with at(f"endpoint {number}"):
            if not isinstance(fields, Mapping):
                refuse("endpoint", "it is no table of fields", None)
            found.add(endpoint(fields, stored=stored))
    if len(found) > ENDPOINTS_MAX:
        refuse("endpoints", f"a venue has at most {ENDPOINTS_MAX}", len(found))
    return tuple(sorted(found, key=order_of))


def _authentication(given: Mapping[str, object]) -> str:
    if "authentication" not in given:
        return ""
    try:
        return one_of(given["authentication"], "authentication", AUTHENTICATIONS)
    except InvalidInput as error:
        raise _without(error, None) from None  # what was given may be the very secret


def address_text(value: object, schemes: Sequence[str], field: str) -> str:
    """The address of a page. Ask `check_no_secret` where it enters. Raises InvalidInput."""
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
        any(sign in value for sign in "@?#;=%") or _SECRET_PART.search(value) or is_random(value)
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
    return clean


def check_no_secret(address: str) -> None:
    """Raises InvalidInput where an address that was found good seems to hold a secret."""
    parts = urlsplit(_PLACEHOLDER.sub("x", address))
    if parts.scheme == "unix":
        return
    _check_parameters(address)
    host = parts.hostname or ""
    *labels, _, _ = ["", *host.split(".")]  # nobody has a key in a registered domain
    path = unquote(parts.path)
    if (
        parts.fragment or any(map(is_random, labels)) or is_random(path)
        or any(_SECRET_PART.fullmatch(part) for part in re.split("[/;=]", path))
    ):  # fmt: skip
        _refuse_secret("a part of it looks like a secret")


def _check_parameters(address: str) -> None:
    """Those of the query, and those that a path has after `;`. A placeholder is no secret."""
    path, _, query = address.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True, separator="&")
    for part in path.split(";")[1:] + query.split(";")[1:]:
        pairs += parse_qsl(part.partition("/")[0], keep_blank_values=True)
    for name, given in pairs:
        if is_random(name) or _SECRET_PART.fullmatch(name):
            _refuse_secret("the name of a parameter looks like a secret")
        if _PLACEHOLDER.fullmatch(given):
            continue
        if _SECRET_NAME.search(name) or _SECRET_PART.fullmatch(given) or is_random(given):
            _refuse_secret(f"its parameter {name[:20]!r} looks like a secret")


def is_random(text: str) -> bool:
    """Whether there is a run of letters and digits in it that no person would choose: long, and
    neither words nor a name with a number. Keys are 16 or more."""
    return any(map(_is_random_run, _RUN.findall(text)))


def _is_random_run(run: str) -> bool:
    if run.isalpha() and not all(letter in hexdigits for letter in run):
        is_long = len(run) > _WORDS_LETTERS_MAX
        return is_long or (len(run) >= 24 and _UNPRONOUNCEABLE.search(run) is not None)
    is_hex = not run.isdigit() and all(digit in hexdigits for digit in run)
    return len(run) >= 24 or is_hex or len(_CHANGE.findall(run)) > _CHANGES_MAX


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
