"""Checks for the terms of pairs, pools, contracts, indices and outcomes; as in `validation`.

Canonical values out, or InvalidInput naming the field. Codes that a market made up are taken as
they are; only what is hex or a slug by its nature is written in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from alphapulse.log import format_time, number
from alphapulse.projections import cusip_in

from .formula import canonical_text
from .validation import (
    evm_address,
    exact,
    exact_or_zero,
    id64,
    identifier,
    one_of,
    reference,
    refuse,
    solana_address,
    stripped,
    text,
    time_ns,
)

CODE_SIZE_BYTES_MAX: Final = 64
NATIVE_ID_SIZE_BYTES_MAX: Final = 128
BANDS_MAX: Final = 100
_CODE_LENGTH_MIN: Final = 3
CHOICES: Final = {
    "payoff": ("linear", "inverse", "quanto"),
    "right": ("call", "put"),
    "style": ("european", "american", "bermudan"),
    "day_count": (
        "1/1", "30/360", "30E/360", "30E/360.ISDA", "ACT/360", "ACT/365.FIXED", "ACT/365L",
        "ACT/ACT.AFB", "ACT/ACT.ICMA", "ACT/ACT.ISDA", "BUS/252",
    ),
}  # fmt: skip
"""Words of fields with a closed vocabulary. Day counts are FpML's `dayCountFraction`."""
FREQUENCIES: Final = (0, 1, 2, 4, 12)
TOKENS_MAX: Final = 16
EXPIRY_DAYS_MAX: Final = {"option": 1, "future": 31}
"""How far an expiry may be from the maturity, by the days of UTC: zones; and of a future that is
named after its month, or settled in the days around, some weeks."""
_NS_A_DAY: Final = 86_400 * 10**9
_EVM_POOL_ID: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_ID: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TENOR: Final = re.compile(r"SPOT|ON|TN|SN|TOD|TOM|[1-9][0-9]{0,2}[DWMY]")
_LEI_FORM: Final = re.compile(r"[A-Z0-9]{18}[0-9]{2}")
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_EVM_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def instant(value: object, field: str) -> int:
    """A moment after 1970 as ns, exact: a day alone is refused, since it has many moments."""
    found = time_ns(value, field)
    if isinstance(value, str) and found and ":" not in value:
        refuse(field, "it is a day and no instant", value, "write it like 2026-12-18T14:30:00Z")
    if found < 0:
        refuse(field, "it is before 1970", value)
    return found


def day(value: object, field: str) -> str:
    """A whole date as text: `2026-12-18`."""
    clean = stripped(value, field)
    if not _DAY.fullmatch(clean):
        refuse(field, "it is not a whole date", value, "write it like 2026-12-18")
    try:
        return date.fromisoformat(clean).isoformat()
    except ValueError as error:
        refuse(field, str(error), value, "look it up in a calendar")


def code(value: object, field: str) -> str:
    """A market's own code of an asset, a product or a series: no blanks, its case as it is."""
    clean = text(value, field, CODE_SIZE_BYTES_MAX)
    if any(map(str.isspace, clean)):
        refuse(field, "it contains a blank", value, "write the code alone, such as USDT")
    return clean


def native_id(value: object, field: str = "native_id") -> str:
    """What a venue calls an instrument, as it writes it; some have blanks inside."""
    return text(value, field, NATIVE_ID_SIZE_BYTES_MAX)


def slug(value: object, field: str) -> str:
    """A name in lower case: letters, digits, - and _, up to 32."""
    clean = stripped(value, field).lower()
    if not _SLUG.fullmatch(clean):
        refuse(field, "it must be 1 to 32 letters, digits, - or _", value)
    return clean


def choice(value: object, field: str) -> str:
    """One of the words that `CHOICES` has for the field, given in any case."""
    return one_of(value, field, CHOICES[field])


def frequency(value: object, field: str) -> int:
    """Payments a year."""
    if type(value) is not int or value not in FREQUENCIES:
        refuse(field, "there is no such one", value, "use 1, 2, 4 or 12 a year, or 0 for none")
    return value


def tenor(value: object, field: str = "tenor") -> str:
    clean = stripped(value, field).upper()
    if not _TENOR.fullmatch(clean):
        refuse(field, "it is not a tenor", value,
               "write SPOT, ON, TN, SN, TOD, TOM, or a number and D, W, M or Y: 3M")  # fmt: skip
    return clean


def administrator(value: object, field: str = "administrator") -> str:
    """The LEI of who publishes an index, or a slug."""
    clean = stripped(value, field)
    return identifier("lei", clean, field) if _LEI_FORM.fullmatch(clean) else slug(clean, field)


def ladder(value: object, field: str = "ticks") -> str:
    """Price bands and the exact step in each: `0:0.010, 5:0.05` gives `0:0.01 5:0.05`.

    A step holds from its price on, up to the next band's. Prices go up; the steps may not.
    """
    bands: list[str] = []
    above = Decimal(-1)
    for band in stripped(value, field).replace(",", " ").split():
        start, colon, step = band.partition(":")
        if not colon:
            refuse(field, "a band is FROM:STEP", band, "write it like 0:0.0001 1:0.0005")
        start, step = exact_or_zero(start, field), exact(step, field)
        if _decimal(start) <= above:
            refuse(field, "the bands must be in the order of their prices", band, "sort them")
        above = _decimal(start)
        bands.append(f"{start}:{step}")
    if len(bands) > BANDS_MAX:
        refuse(field, f"it has {len(bands)} bands, at most {BANDS_MAX} are allowed", value)
    return " ".join(bands)


def instrument_id(value: object, field: str) -> int:
    """An id as a number, or as the registry shows it: `0x9f3c…`; 0 = none."""
    if isinstance(value, str):
        clean = value.strip()
        if not _ID.fullmatch(clean):
            refuse(field, "it is not an id", value, "write it like 0x9f3c000000000001")
        return int(clean, 16)
    return id64(value, field)


def pool_parts(chain: str, factory: object, pool: object) -> tuple[str, str]:
    """(factory, pool) of a chain as identity uses them. A pool may be a 32-byte id on eip155."""
    family = chain.partition(":")[0]
    if family == "solana":
        return solana_address(factory, "factory"), solana_address(pool)
    if family != "eip155":
        return reference(factory, "factory"), reference(pool)
    clean = stripped(pool, "address")
    if _EVM_POOL_ID.fullmatch(clean):
        return evm_address(factory, "factory"), clean.lower()
    return evm_address(factory, "factory"), evm_address(pool)


def contract_on(chain: str, contract: object) -> str:
    """The address of a contract on a chain, as identity uses it."""
    family = chain.partition(":")[0]
    if family == "eip155":
        return evm_address(contract, "contract")
    return solana_address(contract, "contract") if family == "solana" else reference(
        contract, "contract"
    )


def addresses(value: object, field: str = "tokens") -> str:
    """Addresses with blanks or commas between; those of an EVM chain in lower case."""
    found = [
        given.lower() if _EVM_ADDRESS.fullmatch(given) else reference(given, field)
        for given in stripped(value, field).replace(",", " ").split()
    ]
    if len(found) > TOKENS_MAX:
        refuse(field, f"it has {len(found)} addresses, at most {TOKENS_MAX} are allowed", value)
    return " ".join(found)


def opaque_id(value: object, field: str) -> str:
    """Printable ASCII without blanks, as it is; but 0x and hex digits in lower case."""
    clean = reference(value, field)
    return clean.lower() if _HEX.fullmatch(clean) else clean


def formula_text(value: object, field: str) -> str:
    """The canonical text of a formula whose components are ids."""
    return canonical_text(stripped(value, field))


def agree(values: Mapping[str, str | int], said: Set[str]) -> None:
    """Refuses values that contradict each other, when one of them is among the fields just said.

    For who says several at once: what two sources say apart, in whichever order, is not refused.
    """
    if len(values.keys() & _JUDGED) < 2:
        return

    def both(first: str, second: str) -> bool:
        return not said.isdisjoint((first, second)) and first in values and second in values

    if both("last_trade", "expiry") and int(values["last_trade"]) > int(values["expiry"]):
        refuse(
            "last_trade", f"it is after the expiry, {format_time(int(values['expiry']))}",
            format_time(int(values["last_trade"])),
        )  # fmt: skip
    if both("maturity", "expiry"):
        _near("option" if "strike" in values else "future", values)
    if both("min_size", "max_size") and _decimal(values["min_size"]) > _decimal(values["max_size"]):
        refuse("max_size", f"it is below min_size, {values['min_size']}", values["max_size"])
    if both("tick", "ticks"):
        steps = [band.partition(":")[2] for band in str(values["ticks"]).split()]
        least = min(steps, key=_decimal)
        if values["tick"] != least:
            refuse("tick", f"the smallest step of ticks is {least}", values["tick"])
    if both("isin", "cusip"):
        _contains(str(values["isin"]), str(values["cusip"]))
    if both("issue_date", "maturity") and str(values["maturity"]) <= str(values["issue_date"]):
        refuse("maturity", f"it is not after the issue_date, {values['issue_date']}",
               values["maturity"])  # fmt: skip
    if both("denomination", "min_denomination") and (
        _decimal(values["min_denomination"]) < _decimal(values["denomination"])
    ):  # fmt: skip
        refuse("min_denomination", f"it is below the denomination, {values['denomination']}",
               values["min_denomination"])  # fmt: skip
    if both("payoff", "settlement") or not said.isdisjoint(("base", "quote")):
        _pays(values)


_JUDGED: Final = frozenset(
    {"last_trade", "expiry", "maturity", "issue_date", "min_size", "max_size", "tick", "ticks",
     "isin", "cusip", "denomination", "min_denomination", "payoff", "settlement"}
)  # fmt: skip
"""What `agree` looks at: no rule is about fewer than two of these."""


def _contains(isin: str, cusip: str) -> None:
    contained = cusip_in(isin)
    if contained and contained != cusip:
        refuse(
            "cusip", f"the ISIN {isin} contains {contained}, its CUSIP", cusip,
            "correct the wrong one; where both changed, say both",
        )  # fmt: skip


def _pays(values: Mapping[str, str | int]) -> None:
    """What a contract settles in must be what its payoff says."""
    payoff, settlement = values.get("payoff"), str(values.get("settlement", ""))
    if not payoff or not settlement:
        return
    for word, field in (("linear", "quote"), ("inverse", "base")):
        asset = str(values.get(field, ""))
        if not asset:
            continue
        wrong = settlement == asset if payoff == "quanto" else (
            payoff == word and not _stands_for(settlement, asset)
        )  # fmt: skip
        if wrong:
            meant = "neither base nor quote" if payoff == "quanto" else f"the {field}, {asset}"
            refuse("payoff", f"{payoff} settles in {meant}, and the settlement is {settlement}",
                   payoff, "correct the payoff or the settlement")  # fmt: skip


def _stands_for(code: str, other: str) -> bool:
    """A code that contains the other one may: USDC for USD, WBTC for BTC, SATS for 1000SATS."""
    short, long = sorted((code, other), key=len)
    return code == other or (len(short) >= _CODE_LENGTH_MIN and short in long)


def _near(name: str, values: Mapping[str, str | int]) -> None:
    maturity, expiry = date.fromisoformat(str(values["maturity"])), int(values["expiry"])
    days = (date(1970, 1, 1) + timedelta(days=expiry // _NS_A_DAY) - maturity).days
    if abs(days) > EXPIRY_DAYS_MAX[name]:
        refuse(
            "expiry", f"it is {abs(days)} days {'after' if days > 0 else 'before'} the maturity,"
            f" {maturity}; of this class ({name}) it is at most {EXPIRY_DAYS_MAX[name]} away",
            format_time(expiry), "correct the expiry, or the maturity if that is wrong",
        )  # fmt: skip


def _decimal(value: str | int) -> Decimal:
    return number(value).to_decimal()
