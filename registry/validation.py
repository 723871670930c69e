"""Checks for what people and feeds give us: canonical values out, or InvalidInput.

Every function takes the value and, where it can differ, the field's name for the message. Nothing
is guessed and nothing is repaired silently: surrounding blanks go, identifiers are written in
upper case, EVM addresses in lower case, and everything else is taken as it is or refused. Messages
show at most 40 characters of a value, escaped.

Check digits are python-stdnum's. CAIP-2 and CAIP-19 are at https://standards.chainagnostic.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn

from alphapulse.log import (
    STATUSES_BY_NAME,
    InvalidInput,
    Status,
    number,
    parse_time,
)

from .chains import SOLANA_CLUSTERS, chain_from

SYMBOL_SIZE_BYTES_MAX: Final = 256
NAME_SIZE_BYTES_MAX: Final = 512
ADDRESS_LENGTH_MAX: Final = 128
DECIMALS_MAX: Final = 77
"""A u256 has 78 digits; more decimals than 77 cannot express one whole unit."""
LINE_MAX: Final = 0xFFFF

_SHOWN_MAX: Final = 40
_I64_MAX: Final = (1 << 63) - 1
# What can fake or break a line of text: controls, line separators, bidirectional controls; and what
# is no text at all: surrogates and noncharacters. A fixed list: asking unicodedata what is assigned
# would make the verdict on one file depend on the Python version that reads it.
_REFUSED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_CAIP2: Final = re.compile(r"([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})", re.ASCII)
_REFERENCES: Final = {
    "eip155": re.compile(r"[1-9][0-9]{0,18}"),
    "bip122": re.compile(r"[0-9a-f]{32}"),
    "cosmos": re.compile(r"[-a-zA-Z0-9]{1,32}"),
    "polkadot": re.compile(r"[0-9a-f]{32}"),
    "solana": re.compile(r"[1-9A-HJ-NP-Za-km-z]{32}"),
}
"""Where CAIP-2 profiles say more; without it `eip155:01` would be another chain than `eip155:1`,
`solana:101` another than the cluster that token lists number so, and `cosmos:evmos_9001-2` another
than `chains.cosmos_chain` makes of that id."""
_NAMESPACE: Final = re.compile(r"[-a-z0-9]{3,8}")
_EVM_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_EVM_ITEM: Final = re.compile(r"0x[0-9a-fA-F]{40}(?:/[0-9]{1,78})?")
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_BASE58: Final = {
    character: value
    for value, character in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_MIC: Final = re.compile(r"[A-Z0-9]{4}")
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_LISTING_CURRENCY: Final = re.compile(r"[A-Z0-9]{1,12}")


def shown(value: object) -> str:
    """A value as messages show it: escaped and short, whatever it is."""
    if isinstance(value, str):
        return repr(value[:_SHOWN_MAX]) + ("…" if len(value) > _SHOWN_MAX else "")
    if isinstance(value, int) and abs(value) >= 10**_SHOWN_MAX:
        return f"an integer of {value.bit_length()} bits"
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


def refuse(field: str, problem: str, value: object, cure: str | None = None) -> NoReturn:
    raise InvalidInput(f"reading field {field}", problem=problem, value=shown(value), cure=cure)


def stripped(value: object, field: str) -> str:
    if not isinstance(value, str):
        refuse(field, "it must be text", value)
    return value.strip()


def given_text(value: object, field: str) -> str:
    """Text that is only compared with other text: as it is."""
    if not isinstance(value, str):
        refuse(field, "it must be text", value)
    return value


def one_of(value: object, field: str, words: Iterable[str]) -> str:
    """One of the words, given in any case."""
    clean = stripped(value, field).lower()
    for word in words:
        if word.lower() == clean:
            return word
    return refuse(field, "there is no such one", value, f"use one of {', '.join(words)}")


def refuse_others(given: Iterable[str], known: Iterable[str], of: str, hint: str = "") -> None:
    """Raises InvalidInput, naming a given field that is none of the known ones, and never what it
    holds, which may be a secret. of: whose fields, with its article. hint: more of the cure."""
    if unknown := {*given} - {*known}:
        raise InvalidInput(
            f"reading {of}", problem="there is no such field", field=shown(min(unknown)),
            cure=f"use {', '.join(known)}{hint}",
        )  # fmt: skip


# --- text and numbers ------------------------------------------------------------------------


def text(value: object, field: str, size_bytes_max: int) -> str:
    """Surrounding blanks removed, otherwise as it is: no normalisation, emoji are fine."""
    clean = value.strip() if type(value) is str else stripped(value, field)
    if len(clean) <= size_bytes_max and clean.isascii() and clean.isprintable():
        return clean
    if found := _REFUSED.search(clean[: size_bytes_max + 1]):
        refuse(
            field, f"it contains U+{ord(found[0]):04X}, which can fake or break a line", clean,
            "remove the character",
        )  # fmt: skip
    size = len(clean) if len(clean) > size_bytes_max else len(clean.encode())
    if size > size_bytes_max:
        at_least = "" if clean.isascii() else "at least "
        refuse(
            field, f"it has {at_least}{size} bytes, at most {size_bytes_max} are allowed", clean,
            "shorten it",
        )  # fmt: skip
    return clean


def symbol(value: object, field: str = "symbol") -> str:
    return text(value, field, SYMBOL_SIZE_BYTES_MAX)


def name(value: object, field: str = "name") -> str:
    return text(value, field, NAME_SIZE_BYTES_MAX)


def _integer(value: object, field: str, low: int, high: int) -> int:
    if type(value) is not int:
        refuse(field, "it must be an integer", value)
    if not low <= value <= high:
        refuse(field, f"it must be {low} to {high}", value)
    return value


def id64(value: object, field: str = "id") -> int:
    """An id as the registry gives it; text such as `0x12` is for the command line."""
    return _integer(value, field, 0, (1 << 64) - 1)


def offset(value: object, field: str) -> int:
    return _integer(value, field, 0, _I64_MAX)


def decimals(value: object, field: str = "decimals") -> int:
    return _integer(value, field, 0, DECIMALS_MAX)


def line(value: object, field: str = "line") -> int:
    """Also a generation, or the number of an adjustment."""
    return _integer(value, field, 0, LINE_MAX)


def slip44(value: object, field: str = "slip44") -> int:
    return _integer(value, field, 0, (1 << 31) - 1)


_FRACTION: Final = re.compile(r"([+-]?[0-9]{1,18})/([0-9]{1,18})")


def _quotient(value: str, field: str) -> str:
    """`1/256` as decimal text; other text as it is."""
    found = _FRACTION.fullmatch(value.strip())
    if found is None:
        return value
    above, below = int(found[1]), int(found[2])
    digits = below.bit_length()  # 2 and 5 divide it no more often than that
    mantissa, rest = divmod(above * 10**digits, below) if below else (0, 1)
    if rest:
        refuse(
            field, "it has no end as a decimal" if below else "it divides by zero", value,
            "write decimal text, as exact as whoever says so does",
        )  # fmt: skip
    return f"{mantissa}e-{digits}"


def signed(value: object, field: str) -> str:
    """An exact number as canonical decimal text: `-0.010` gives `-0.01`, `1/256` 0.00390625."""
    if type(value) is str and "/" in value:
        value = _quotient(value, field)
    try:
        return str(number(value))  # type: ignore[arg-type]  # number() refuses other types itself
    except InvalidInput as error:
        refuse(field, error.why, value, error.advice)


def exact(value: object, field: str) -> str:
    """A positive exact number as canonical decimal text: `0.010` gives `0.01`."""
    found = signed(value, field)
    if found == "0" or found[0] == "-":
        refuse(field, "it must be above zero", value)
    return found


def exact_or_zero(value: object, field: str) -> str:
    found = signed(value, field)
    if found[0] == "-":
        refuse(field, "it must not be below zero", value)
    return found


def time_ns(value: object, field: str) -> int:
    """Nanoseconds since 1970 UTC from an int or RFC 3339 text; 0 and empty text give 0, which means
    that no time is known. So text that names that very instant is refused."""
    if value == "":
        return 0
    found = moment(value, field)
    if not found and isinstance(value, str):
        refuse(
            field, "the first instant of 1970 stands for a time that is not known", value,
            "leave it out, or give 1970-01-01T00:00:00.000000001Z",
        )  # fmt: skip
    return found


def moment(value: object, field: str) -> int:
    """Nanoseconds since 1970 UTC from an int or RFC 3339 text, to ask about."""
    if isinstance(value, str):
        try:
            return parse_time(value)
        except InvalidInput as error:
            refuse(field, error.why, value, error.advice)
    return _integer(value, field, -_I64_MAX, _I64_MAX)


def is_backward(valid_from: int, valid_to: int) -> bool:
    """Whether an end (ns) is no later than its beginning; 0 of either is a time not known."""
    return bool(valid_from and valid_to) and valid_to <= valid_from


def status(value: object, field: str = "status") -> Status:
    found = STATUSES_BY_NAME.get(stripped(value, field))
    if found is None:
        refuse(field, "it is not a status", value, f"use one of {', '.join(STATUSES_BY_NAME)}")
    return found


# --- identifiers with check digits -----------------------------------------------------------

_SCHEMES: Final = {
    "isin": ("isin", 12, "two letters of a country, nine letters or digits, a check digit"),
    "cusip": ("cusip", 9, "eight letters or digits and a check digit"),
    "figi": ("figi", 12, "BBG, eight consonants or digits, a check digit"),
    "composite_figi": ("figi", 12, "BBG, eight consonants or digits, a check digit"),
    "sedol": ("gb.sedol", 7, "six consonants or digits and a check digit"),
    "lei": ("lei", 20, "eighteen letters or digits and two check digits"),
    "cfi": ("cfi", 6, "six letters of ISO 10962, such as FFICSX"),
}
"""By scheme: its module in python-stdnum, how long it is, what it is made of."""
IDENTIFIER_SCHEMES: Final = tuple(_SCHEMES)


@cache
def _stdnum(module: str) -> ModuleType:
    """Loaded when it is first needed: python-stdnum takes 45 ms, a fifth of a command's time."""
    return import_module(f"stdnum.{module}")


def identifier(scheme: str, value: object, field: str = "") -> str:
    """An identifier of a scheme in `IDENTIFIER_SCHEMES`, upper case, its check digit verified.
    field: when it is not called after its scheme.

    Cost: 3 µs for an ISIN, 7 to 12 µs for others, nearly all of it in python-stdnum.
    """
    given = stripped(value, field or scheme)
    if scheme == "isin" and _is_isin(given):
        return given
    name, length, form = _SCHEMES[scheme]
    if len(given) < length:  # then python-stdnum need not be loaded
        refuse(field or scheme, f"it must have {length} characters: {form}", given)
    module = _stdnum(name)
    compact: str = module.compact(given[:64])
    if len(compact) != length or not compact.isascii():
        refuse(field or scheme, f"it must have {length} characters: {form}", given)
    from stdnum.exceptions import InvalidChecksum, ValidationError

    try:
        module.validate(compact)
    except InvalidChecksum:
        needed = _right_check(scheme, compact)
        refuse(
            field or scheme,
            f"it fails only its check digit; {compact[: -len(needed)]} would need {needed}", given,
            "look for a typing error in the whole identifier",
        )  # fmt: skip
    except ValidationError as error:
        if scheme == "isin" and not compact.isalnum():
            refuse(field or scheme, f"it must be {form}", given)
        problem = f"{compact[:2]} begins no ISIN" if scheme == "isin" else str(error).rstrip(".")
        refuse(field or scheme, f"{problem}; it must be {form}", given)
    return compact


# Bulk imports check an ISIN for each row, which takes python-stdnum 12 µs. This says yes in 2 µs
# to what is an ISIN as it stands (a test compares the two); all else is left to python-stdnum.
_EXPANDED: Final = [str(int(c, 36)).encode() if c.isalnum() else b"" for c in map(chr, range(91))]
"""By the code of a digit or capital its value in digits, of which a letter has two."""
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
"""Twice a digit, and of two digits their sum. Each is as much above b"0" as its value."""
_ISIN_FORM: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")


def _is_isin(value: str) -> bool:
    if not _ISIN_FORM.fullmatch(value) or not _begins_isins(value[:2]):
        return False
    digits = b"".join(map(_EXPANDED.__getitem__, value.encode()))
    total = sum(digits[::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return (total - len(digits) * ord("0")) % 10 == 0


@lru_cache(maxsize=1024)
def _begins_isins(prefix: str) -> bool:
    module = _stdnum("isin")
    return bool(module.is_valid(module.from_natid(prefix, "0")))


def _right_check(scheme: str, compact: str) -> str:
    if scheme == "lei":
        return str(_stdnum("iso7064.mod_97_10").calc_check_digits(compact[:-2]))
    return str(_stdnum(_SCHEMES[scheme][0]).calc_check_digit(compact[:-1]))


def isin(value: object) -> str:
    return identifier("isin", value)


def identifier_near(scheme: str, value: str) -> str | None:
    """What differs from `value` in its check digit only, if that is all that is wrong."""
    name, length, _ = _SCHEMES[scheme]
    if len(value) < length:
        return None
    module = _stdnum(name)
    compact = str(module.compact(value[:64]))
    if len(compact) != length or not compact.isascii() or not compact.isalnum():
        return None
    try:
        needed = _right_check(scheme, compact)
    except ValueError:  # letters that no such identifier has
        return None
    near = compact[: -len(needed)] + needed
    return near if near != compact and module.is_valid(near) else None


# --- chains and addresses --------------------------------------------------------------------


def chain(value: object, field: str = "chain") -> str:
    """A CAIP-2 chain id such as `eip155:1`."""
    if type(value) is not str:
        refuse(field, "it must be text", value)
    return _chain(value, field)


@lru_cache(maxsize=4096)
def _chain(value: str, field: str) -> str:
    found = _CAIP2.fullmatch(value.strip())
    if found is None:
        meant = chain_from(value)
        hint = "it like eip155:1 for Ethereum" if meant == value else meant
        refuse(field, "it is not a CAIP-2 chain id", value, f"write {hint}")
    family, reference = found.groups()
    profile = _REFERENCES.get(family)
    if profile is not None and not profile.fullmatch(reference):
        cluster = SOLANA_CLUSTERS.get(reference) if family == "solana" else None
        cure = f"write {cluster}" if cluster else "see CAIP-2 for its form"
        refuse(field, f"{reference} is not a chain of {family}", value, cure)
    if family == "eip155" and int(reference) > _I64_MAX:
        refuse(field, "the chain number does not fit 63 bits", value)
    return found[0]


def namespace(value: object, field: str = "namespace") -> str:
    """A CAIP-19 asset namespace such as `erc20`."""
    clean = stripped(value, field)
    if not _NAMESPACE.fullmatch(clean):
        refuse(field, "it is not a CAIP-19 asset namespace", value, "write it like erc20 or token")
    return clean


def evm_address(value: object, field: str = "address") -> str:
    """0x and 40 hex digits, in lower case. The EIP-55 capitals are not checked."""
    clean = stripped(value, field)
    if not _EVM_ADDRESS.fullmatch(clean):
        refuse(field, "it is not 0x and 40 hex digits", value)
    return clean.lower()


def evm_item(value: object, field: str = "address") -> str:
    """An EVM address, optionally with `/` and the number of one item of the collection."""
    clean = stripped(value, field)
    if not _EVM_ITEM.fullmatch(clean):
        refuse(field, "it is not 0x, 40 hex digits and optionally / and a number", value)
    return clean.lower()


def solana_address(value: object, field: str = "address") -> str:
    """Base58 of 32 bytes, as it is."""
    clean = stripped(value, field)
    total = 0
    for character in clean if 32 <= len(clean) <= 44 else "":
        total = total * 58 + _BASE58.get(character, -(1 << 300))
    zeros = len(clean) - len(clean.lstrip("1"))
    if total < 0 or zeros + (total.bit_length() + 7) // 8 != 32:
        refuse(field, "it is not 32 bytes in base58", value)
    return clean


def reference(value: object, field: str = "address") -> str:
    """Any other asset reference: printable ASCII without blanks, as it is."""
    clean = stripped(value, field)
    if not _REFERENCE.fullmatch(clean):
        refuse(
            field, f"it must be 1 to {ADDRESS_LENGTH_MAX} printable ASCII characters, no blanks",
            value,
        )  # fmt: skip
    return clean


# --- venues and currencies -------------------------------------------------------------------


def venue_parts(value: object, field: str = "venue") -> tuple[str, str, str]:
    """(scheme, value, environment): `("mic", "XNAS", "live")` or `("slug", "binance", "test")`.

    Four capitals or digits are a MIC. Anything else is a slug in any case, with an optional
    `:live` (the default) or `:test`.
    """
    if type(value) is not str:
        refuse(field, "it must be text", value)
    return _venue_parts(value, field)


@lru_cache(maxsize=4096)
def _venue_parts(value: str, field: str) -> tuple[str, str, str]:
    clean = value.strip()
    if _MIC.fullmatch(clean):
        return "mic", clean, "live"
    slug, colon, environment = clean.partition(":")
    if colon and _MIC.fullmatch(slug):
        refuse(field, "a MIC has no environment", value, "write a slug in lower case")
    slug, environment = slug.lower(), environment.lower()
    if not _SLUG.fullmatch(slug) or (colon and environment not in ("live", "test")):
        refuse(
            field, "it is neither a MIC nor a slug", value,
            "write it like XNAS, binance or binance:test",
        )  # fmt: skip
    return "slug", slug, environment or "live"


def venue(value: object, field: str = "venue") -> str:
    """The canonical spelling: `XNAS`, `binance`, `binance:test`."""
    _, found, environment = venue_parts(value, field)
    return found if environment == "live" else f"{found}:{environment}"


def currency(value: object, field: str = "currency") -> str:
    """An ISO 4217 code, in use or historic. No folding of case: GBp is pence, not pounds."""
    clean = stripped(value, field)
    if clean not in ISO_4217:
        refuse(field, "it is not an ISO 4217 currency", value, "write it like USD")
    return clean


def listing_currency(value: object, field: str = "currency") -> str:
    """What a listing is quoted in: an ISO code, GBX and its like, or a crypto code such as USDT."""
    clean = stripped(value, field)
    if not _LISTING_CURRENCY.fullmatch(clean):
        refuse(
            field, "it must be 1 to 12 capitals or digits", value,
            "write it like USD or USDT; pence are GBX",
        )  # fmt: skip
    return clean


_ISO_4217: Final = """
ADF ADP AED AFA AFN ALK ALL AMD ANG AOA AOK AON AOR ARA ARL ARM ARP ARS ATS AUD AWG AZM AZN
BAD BAM BBD BDT BEC BEF BEL BGJ BGK BGL BGN BHD BIF BMD BND BOB BOP BOV BRB BRC BRE BRL BRN
BRR BSD BTN BUK BWP BYB BYN BZD CAD CDF CHE CHF CHW CLF CLP CNX CNY COP COU CRC CSD CSJ CSK
CUC CUP CVE CZK DDM DEM DJF DKK DOP DZD ECS ECV EGP ERN ESA ESB ESP ETB EUR FIM FJD FKP FRF
GBP GEK GEL GHC GHS GIP GMD GNE GNF GNS GQE GRD GTQ GWE GWP GYD HKD HNL HRD HRK HTG HUF IDR
IEP ILP ILR ILS INR IQD IRR ISJ ISK ITL JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAJ
LAK LBP LKR LRD LSL LSM LTT LUC LUF LUL LVR LYD MAD MAF MDL MGA MGF MKD MLF MMK MNT MOP MRU
MTP MUR MVQ MVR MWK MXN MXP MXV MYR MZE MZM MZN NAD NGN NIC NIO NLG NOK NPR NZD OMR PAB PEH
PEI PEN PES PGK PHP PKR PLN PLZ PTE PYG QAR RHD ROK ROL RON RSD RUB RUR RWF SAR SBD SCR SDD
SDG SDP SEK SGD SHP SIT SKK SLE SLL SOS SRD SRG SSP STN SUR SVC SYP SZL THB TJR TJS TLE TMT
TND TOP TRL TRY TTD TWD TZS UAH UAK UGS UGW UGX USD USN UYI UYN UYP UYU UYW UZS VEB VED VES
VNC VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XEU XOF XPD XPF XPT XRE XSU XUA
YDD YER YUD YUN ZAL ZAR ZMW ZRN ZRZ ZWG ZWL
"""
ISO_4217: Final = frozenset(_ISO_4217.split())
"""All codes of ISO 4217, withdrawn ones too (bonds outlive currencies), but no test codes."""
