"""Fee schedules: what a trade costs at a venue, exactly. Pure functions, no I/O.

A schedule is a list of lines. Lines of one *component* (trading, clearing, …) compete: for a side
those that name it count, else those for both sides, and of these the tier with the highest
`volume_from` that is not above the trader's volume decides. Components add up. A value below zero
is a rebate. Nothing passes through a float and nothing is rounded: how a venue rounds is not known
here, so amounts are exact fractions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final, NamedTuple, NoReturn

import msgspec

from alphapulse.log import AlphaPulseError, InvalidInput
from alphapulse.registry.terms import code
from alphapulse.registry.validation import (
    exact_or_zero,
    line,
    one_of,
    refuse,
    refuse_others,
    signed,
    stripped,
)

from .traded import is_product

SIDES: Final = ("maker", "taker", "both")
BASES: Final = ("percent", "per_unit", "per_order", "gas", "spread")
CHARGED: Final = ("quote", "base", "received")
"""Or the code of a currency."""
CONFIDENCES: Final = ("published", "documented", "inferred", "unknown")
LINES_MAX: Final = 1_000
PERCENT_MAX: Final = 100
_OF_VALUE: Final = ("percent", "spread")
_DIGITS_MAX: Final = 18
"""Which fit 64 bits whatever they are."""
_PLACES_MAX: Final = 200
"""Of a quantity or price: 256 bits have 78."""
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_POWERS: Final = tuple(10**places for places in range(_DIGITS_MAX + 1))
_NOTHING: Final = (0, 1)
_HIGH_PERCENT: Final = Fraction(5)
_JUMP: Final = 10
"""A tier that costs a tenth of the one before, or less: a slip of the decimal point does that."""

Exact = int | str | Decimal | Fraction
Ratio = tuple[int, int]
"""Numerator and denominator, not in lowest terms: reducing at each step would cost most of it."""


class FeeUnknown(AlphaPulseError, LookupError):
    problem = "no line of the schedule is about this side"
    cure = "`alphapulse fees show VENUE` shows the lines there are"


class FeeNotComputable(AlphaPulseError, ValueError):
    problem = "something that the fee depends on is missing"
    cure = "give it"


class FeeLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of a schedule, its numbers exact decimal text. Made with `fee_line`."""

    side: str = "both"
    """maker, taker or both."""
    basis: str = "percent"
    """percent: of the value of the trade. per_unit: for each unit or contract. per_order: as it is.
    gas: units of gas. spread: percent of the value, taken in the price."""
    value: str = "0"
    """`0.1` with basis percent is 0.1 %, ten bps. Below zero: a rebate."""
    charged: str = "quote"
    """What it is counted and taken in. quote: the price's currency, or what a contract settles in.
    base: the thing itself. received: what the trade brings. Or a code."""
    minimum: str = ""
    maximum: str = ""
    """Of one order, in what is charged; empty = none."""
    maximum_percent: str = ""
    """The same as percent of the value of the trade."""
    volume_from: str = "0"
    """From which volume of the trader on, in the schedule's unit and window."""
    component: str = "trading"
    confidence: str = "unknown"
    """published: by the venue; documented: by another; inferred; unknown."""


class FeeSchedule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a venue charges for some of its products."""

    lines: tuple[FeeLine, ...]
    products: tuple[str, ...] = ()
    """`spot`, `swap`, `equity`, …, sorted; empty = everything that no other schedule names."""
    volume_unit: str = ""
    """Code of a currency, base or quote; empty = the source does not say."""
    volume_days: int = 0
    """Over how many days volume is summed; 0 = the source does not say."""


class Trade(NamedTuple):
    """What a fee is asked for. quantity: units, or contracts. price: quote for one unit.

    multiplier: units in a contract. payoff: empty for what is not a contract, else linear, inverse
    (multiplier counts quote, value is in what it settles in) or quanto. buying: None = not known.
    """

    side: str
    quantity: Exact
    price: Exact
    base: str = ""
    quote: str = ""
    settlement: str = ""
    multiplier: Exact = 1
    payoff: str = ""
    buying: bool | None = None


class Charge(NamedTuple):
    """One part of a fee: exact amount (below zero: a rebate) in `currency`, the `rate` that gave
    it, the place of its line in the schedule, the bound that decided (`minimum`, `maximum`), and
    the products that the schedule names: a venue has one for each."""

    amount: Fraction
    currency: str
    rate: str
    line: int
    bound: str = ""
    products: tuple[str, ...] = ()


class Doubt(NamedTuple):
    """What is odd about a schedule. line: its place, from 0."""

    line: int
    problem: str


# --- reading ---------------------------------------------------------------------------------


def fee_line(fields: Mapping[str, object]) -> FeeLine:
    """A line from its fields by name, each validated. Raises InvalidInput naming the field."""
    refuse_others(fields, FeeLine.__struct_fields__, "a fee line")
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    if "value" not in given:
        refuse("value", "it is missing", "", "say what it costs, 0 when that is nothing")
    found = FeeLine(
        side=one_of(given.get("side", "both"), "side", SIDES),
        basis=one_of(given.get("basis", "percent"), "basis", BASES),
        value=signed(given["value"], "value"), charged=_charged(given.get("charged", "quote")),
        minimum=_bound(given, "minimum"), maximum=_bound(given, "maximum"),
        maximum_percent=_bound(given, "maximum_percent"),
        volume_from=exact_or_zero(given.get("volume_from", "0"), "volume_from"),
        component=code(given.get("component", "trading"), "component"),
        confidence=one_of(given.get("confidence", "unknown"), "confidence", CONFIDENCES),
    )  # fmt: skip
    _agree(found)
    return found


def _charged(value: object) -> str:
    clean = stripped(value, "charged")
    return clean.lower() if clean.lower() in CHARGED else code(clean, "charged")


def _bound(given: Mapping[str, object], field: str) -> str:
    return exact_or_zero(given[field], field) if field in given else ""


def _agree(found: FeeLine) -> None:
    bounds = (found.minimum, found.maximum, found.maximum_percent)
    if found.value[0] == "-" and any(bounds):
        refuse("value", "a rebate has no minimum or maximum", found.value, "leave them out")
    if found.minimum and found.maximum and Decimal(found.minimum) > Decimal(found.maximum):
        refuse("minimum", "it is above the maximum", found.minimum)
    if found.basis in _OF_VALUE and abs(Decimal(found.value)) > PERCENT_MAX:
        refuse("value", f"it is over {PERCENT_MAX} percent", found.value)
    if found.basis == "gas" and (found.charged in CHARGED or found.value[0] == "-"):
        refuse("charged", "gas is paid in a coin", found.charged, "name it by its code: ETH")


def fee_schedule(
    lines: Iterable[FeeLine], *, products: Iterable[object] = (), volume_unit: object = "",
    volume_days: object = 0,
) -> FeeSchedule:  # fmt: skip
    """A schedule of lines that can be told apart. Raises InvalidInput naming the line, from 0.

    Lines that are odd but clear are `doubts`, and no error.
    """
    found = tuple(lines)
    if not 0 < len(found) <= LINES_MAX:
        refuse("lines", f"a schedule has 1 to {LINES_MAX}", len(found))
    seen: dict[tuple[str, str, Decimal], int] = {}
    shapes: dict[tuple[str, str], tuple[str, str]] = {}
    for number, each in enumerate(found):
        before = seen.setdefault((each.component, each.side, Decimal(each.volume_from)), number)
        if before != number:
            _refuse_line(number, f"line {before} is for the same side, component and volume")
        shape = shapes.setdefault((each.component, each.side), (each.basis, each.charged))
        if shape != (each.basis, each.charged):
            _refuse_line(number, "another tier of it has another basis or currency")
    for component, side in shapes:
        if (component, side, Decimal(0)) not in seen:
            raise InvalidInput(
                "reading a fee schedule", problem=f"{component} of side {side} has no line from 0",
                cure="say what traders without volume pay",
            )  # fmt: skip
    unit = stripped(volume_unit, "volume_unit")
    return FeeSchedule(
        lines=found, products=tuple(sorted({code(each, "products") for each in products})),
        volume_unit=unit if unit.lower() not in CHARGED else unit.lower(),
        volume_days=line(volume_days, "volume_days"),
    )  # fmt: skip


def _refuse_line(number: int, problem: str) -> NoReturn:
    raise InvalidInput(
        "reading a fee schedule", problem=problem, cure="give another component, or leave it out",
        line=number,
    )  # fmt: skip


def doubts(schedule: FeeSchedule) -> list[Doubt]:
    """What is odd: volumes that fall from line to line, rates that rise with volume, that leap to a
    tenth or less, or that look like a fraction written as percent, and the other way round; and
    products that no instrument is one of."""
    found = [
        Doubt(0, f"no instrument is a {word!r}: products are spot, swap, equity, swap.inverse, …")
        for word in schedule.products if not is_product(word)
    ]  # fmt: skip
    before: dict[tuple[str, str], FeeLine] = {}
    for number, each in enumerate(schedule.lines):
        value, last = Fraction(each.value), before.get((each.component, each.side))
        if each.basis in _OF_VALUE and abs(value) >= _HIGH_PERCENT:
            found.append(Doubt(number, f"{each.value} % is very high: is it a fraction, or bps?"))
        if last is not None:
            found += [Doubt(number, problem) for problem in _steps(last, each)]
        before[each.component, each.side] = each
    return found


def _steps(last: FeeLine, each: FeeLine) -> Iterable[str]:
    value, was = Fraction(each.value), Fraction(last.value)
    if Fraction(each.volume_from) < Fraction(last.volume_from):
        yield f"volume {each.volume_from} comes after {last.volume_from}"
    elif value > was:
        yield f"{each.value} from volume {each.volume_from} on is more than {last.value} before"
    elif value > 0 and was >= _JUMP * value:
        yield f"{each.value} after {last.value} is a leap: to 1/{_JUMP} of it or less"


# --- asking ----------------------------------------------------------------------------------


class _Compiled(NamedTuple):
    """Tiers of one component and side. A volume v is in the last one whose start is not above
    floor(v × scale): so integers are compared, a tenth of what fractions take."""

    starts: list[int]
    """Where each begins, × scale."""
    scale: int
    places: list[int]
    """Of their lines."""

    def place(self, volume: Ratio) -> int:
        return self.places[bisect_right(self.starts, volume[0] * self.scale // volume[1]) - 1]


class _Plain(NamedTuple):
    """A line of the usual sort: percent of the value, in quote, without bounds."""

    top: int
    bottom: int
    """What one of the value costs."""
    rate: str
    place: int


class Fees:
    """A schedule, made ready to be asked. Cost: 10 µs a line to make."""

    def __init__(self, schedule: FeeSchedule) -> None:
        self.schedule = schedule
        self._products = schedule.products
        self._by_side = {side: list(self._tiers(side)) for side in ("maker", "taker")}
        self._ratios = [Fraction(each.value).as_integer_ratio() for each in schedule.lines]
        self._plain = {
            side: (tiers[0].starts, tiers[0].scale, list(map(self._plain_line, tiers[0].places)))
            for side, tiers in self._by_side.items()
            if len(tiers) == 1 and all(map(self._is_plain, tiers[0].places))
        }

    def _is_plain(self, place: int) -> bool:
        line = self.schedule.lines[place]
        bounds = line.minimum or line.maximum or line.maximum_percent
        return line.basis in _OF_VALUE and line.charged == "quote" and not bounds

    def _plain_line(self, place: int) -> _Plain:
        top, bottom = self._ratios[place]
        return _Plain(top, bottom * 100, f"{self.schedule.lines[place].value} %", place)

    def _tiers(self, side: str) -> Iterable[_Compiled]:
        lines = self.schedule.lines
        for component in dict.fromkeys(each.component for each in lines):
            own = [n for n, each in enumerate(lines) if each.component == component]
            exact = [n for n in own if lines[n].side == side]
            places = exact or [n for n in own if lines[n].side == "both"]
            places.sort(key=lambda n: Fraction(lines[n].volume_from))
            starts = [Fraction(lines[n].volume_from) for n in places]
            scale = lcm(*(start.denominator for start in starts))
            if places:
                yield _Compiled([int(start * scale) for start in starts], scale, places)

    def plain_charge(
        self, side: str, quantity: Exact, price: Exact, volume: Exact | None, money: str,
        multiplier: Ratio,
    ) -> Charge | None:  # fmt: skip
        """The one charge of `charges` in the usual case, a third of its cost; None where it is not
        that case. money: what the value of the trade is in, which is units × price."""
        plain = self._plain.get(side)
        if plain is None:
            return None
        starts, scale, lines = plain
        if volume is None:
            line = lines[0]
        else:
            top, bottom = _volume(volume)
            line = lines[bisect_right(starts, top * scale // bottom) - 1]
        units, units_of = _ratio(quantity, "quantity", positive=True)
        worth, worth_of = _ratio(price, "price")
        amount = Fraction(
            line[0] * units * multiplier[0] * abs(worth),
            line[1] * units_of * multiplier[1] * worth_of,
        )
        return Charge(amount, money, line[2], line[3], "", self._products)

    def charges(
        self, trade: Trade, *, volume: Exact | None = None,
        rates: Mapping[str, Exact] | None = None, gas_price: Exact | None = None,
    ) -> list[Charge]:  # fmt: skip
        """A charge for each component, in the order of the lines.

        volume: the trader's, in the schedule's unit and window; None = the first tier. rates: the
        value of one of a currency, in the currency that the trade's value is in. gas_price: of a
        unit of gas, in the coin. Raises FeeUnknown, FeeNotComputable, InvalidInput. Cost: 5 µs.
        """
        tiers = self._by_side.get(trade.side)
        if tiers is None:
            refuse("side", "there is no such one", trade.side, "use maker or taker")
        if not tiers:
            raise FeeUnknown("computing a fee", side=trade.side)
        at = _NOTHING if volume is None else _volume(volume)
        value = _Value(trade)
        return [self._charge(tier.place(at), value, rates or {}, gas_price) for tier in tiers]

    def _charge(
        self, place: int, value: _Value, rates: Mapping[str, Exact], gas_price: Exact | None
    ) -> Charge:
        line, (top, bottom) = self.schedule.lines[place], self._ratios[place]
        unit = ""
        if line.basis in _OF_VALUE:
            whole, of, currency = value.leg(line.charged, rates)
            top, bottom, unit = top * whole, bottom * of * 100, " %"
        else:
            currency = value.currency(line.charged)
            if line.basis == "per_unit":
                top, bottom, unit = top * value.quantity[0], bottom * value.quantity[1], " per unit"
            elif line.basis == "gas":
                if gas_price is None:
                    raise FeeNotComputable(
                        "computing a fee", problem="the line counts gas", cure="give the gas price"
                    )
                price = _ratio(gas_price, "gas_price")
                top, bottom, unit = top * price[0], bottom * price[1], " gas"
            else:
                unit = " per order"
        amount, bound = self._bounded(line, Fraction(top, bottom), value, rates)
        return Charge(
            amount, currency, line.value + unit, place, bound, self._products
        )

    @staticmethod
    def _bounded(
        line: FeeLine, amount: Fraction, value: _Value, rates: Mapping[str, Exact]
    ) -> tuple[Fraction, str]:
        """A minimum first, so that what is at most a share of the value stays so."""
        bound = ""
        if line.minimum and amount < (minimum := Fraction(line.minimum)):
            amount, bound = minimum, "minimum"
        if line.maximum and amount > (maximum := Fraction(line.maximum)):
            amount, bound = maximum, "maximum"
        if line.maximum_percent:
            whole, of, _ = value.leg(line.charged, rates)
            maximum = Fraction(line.maximum_percent) * Fraction(whole, of * 100)
            if amount > maximum:
                amount, bound = maximum, "maximum"
        return amount, bound


class _Value:
    """A trade, in numbers: what goes one way and what the other."""

    __slots__ = ("_legs", "_trade", "quantity")

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        quantity = _ratio(trade.quantity, "quantity", positive=True)
        price = _ratio(trade.price, "price")
        many = _ratio(trade.multiplier, "multiplier", positive=True)
        self.quantity = quantity
        units = quantity[0] * many[0], quantity[1] * many[1]
        if trade.payoff == "inverse":
            if price[0] <= 0:
                refuse("price", "of an inverse contract it is above zero", str(trade.price))
            worth = units[0] * price[1], units[1] * price[0]
        else:
            worth = units[0] * abs(price[0]), units[1] * price[1]
        money = trade.settlement or trade.quote if trade.payoff else trade.quote
        self._legs: dict[str, tuple[Ratio, str]] = {"quote": (worth, money)}
        self._legs["base"] = self._legs["quote"] if trade.payoff else (units, trade.base)

    def _named(self, charged: str) -> str:
        if charged != "received":
            return charged
        if self._trade.payoff:
            return "quote"
        if self._trade.buying is None:
            raise FeeNotComputable(
                "computing a fee", problem="it is charged in what the trade brings",
                cure="say whether it is a purchase or a sale",
            )  # fmt: skip
        return "base" if self._trade.buying else "quote"

    def currency(self, charged: str) -> str:
        leg = self._legs.get(self._named(charged))
        return leg[1] if leg else charged

    def leg(self, charged: str, rates: Mapping[str, Exact]) -> tuple[int, int, str]:
        """The trade's value in what is charged: numerator, denominator, currency."""
        named = self._named(charged)
        for (top, bottom), currency in self._legs.values():
            if named == currency:
                return top, bottom, currency
        leg = self._legs.get(named)
        if leg is not None:
            return *leg[0], leg[1]
        (top, bottom), currency = self._legs["quote"]
        if named not in rates:
            raise FeeNotComputable(
                "computing a fee",
                problem=f"it is charged in {named}, and the trade's value is in {currency or '?'}",
                cure=f"give the rate: what one {named} is worth in {currency or 'its currency'}",
            )
        rate = _ratio(rates[named], f"rate of {named}", positive=True)
        return top * rate[1], bottom * rate[0], named


def _volume(value: Exact) -> Ratio:
    found = _ratio(value, "volume")
    if found[0] < 0:
        refuse("volume", "it must not be below zero", str(value))
    return found


def _ratio(value: Exact, field: str, *, positive: bool = False) -> Ratio:
    if type(value) is str:
        # Nearly all text is a few digits and perhaps a point: a sixth of what `number` takes.
        whole, point, part = value.partition(".")
        digits = whole + part
        if (
            len(digits) <= _DIGITS_MAX and digits.isdecimal() and digits.isascii()
            and whole and (part or not point)
        ):  # fmt: skip
            top = int(digits)
            if top or not positive:
                return top, _POWERS[len(part)]
        long = _long(value)
        value = Decimal(signed(value, field)) if long is None else long
    elif type(value) is int and (value > 0 or not positive):
        return value, 1
    elif (
        type(value) is Decimal and -_PLACES_MAX <= value.adjusted() <= _PLACES_MAX
        and value.is_finite() and (value > 0 or not positive)
    ):  # fmt: skip
        return value.as_integer_ratio()
    if isinstance(value, bool) or not isinstance(value, int | Decimal | Fraction):
        refuse(field, f"a {type(value).__name__} is not exact", value, "give decimal text")
    if isinstance(value, Decimal):
        if not value.is_finite():
            refuse(field, "it is not a number", str(value))
        if abs(value.adjusted()) > _PLACES_MAX:
            refuse(field, f"it has over {_PLACES_MAX} places", str(value))
    if positive and value <= 0:
        refuse(field, "it must be above zero", str(value))
    return value.as_integer_ratio()


def check_exact(value: str, field: str, *, positive: bool = False) -> None:
    """Raises InvalidInput for text that `charges` would refuse as a quantity or price."""
    _ratio(value, field, positive=positive)


def _long(value: str) -> Decimal | None:
    """Decimal text of any length up to the bound, such as token amounts with 18 decimals."""
    is_long = len(value) <= _PLACES_MAX and _DECIMAL.fullmatch(value)
    return Decimal(value) if is_long else None


def exact_text(amount: Fraction) -> str:
    """Decimal text where it is one exactly, else a ratio: `0.125`, `-3`, `1/3`."""
    top, bottom = amount.as_integer_ratio()
    twos = (bottom & -bottom).bit_length() - 1
    rest, fives = bottom >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{top}/{bottom}"
    places = max(twos, fives)
    digits = str(abs(top) * 10**places // bottom).rjust(places + 1, "0")
    sign = "-" if top < 0 else ""
    return sign + (digits[:-places] + "." + digits[-places:] if places else digits)
