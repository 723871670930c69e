"""Instruments as JSON Lines: what `alphapulse --json lookup` prints, or what `register -` takes.

    {"class": "equity", "isin": "US0378331005", "symbol": "AAPL", …}

Each line is one instrument by the fields of its class; null and empty text mean "not known". What
`lookup` shows beyond that is checked or passed over: the `key` must be that which the fields give;
`fingerprint`, `id`, `revision`, `offset`, `joined` and `components` are of the home it was printed
in. What has expired by its `expiry` has no status of its own, nor has what `lookup` shows as
pending until its `valid_from`. Synthetics come behind all others,
each behind those it is made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from alphapulse.log import AlphaPulseError, InvalidInput, Status
from alphapulse.registry import validation
from alphapulse.registry.commands import Register
from alphapulse.registry.formula import components_of
from alphapulse.registry.identity import id_candidates, key_text
from alphapulse.registry.instruments import NAMES, class_named

from .base import InputFile, Line, Refused, Row, slug
from .json_document import flaw_of, loads
from .said_again import UNSAID, UNSAID_CURE, Synthetic, in_order, raw, registration

_OF_THE_HOME: Final = frozenset(
    {"id", "fingerprint", "revision", "offset", "key", "joined", "components"}
)
_TIMES: Final = ("valid_from", "expiry", "last_trade")
_KEY_SHOWN_MAX: Final = 100
_CURE: Final = 'write an object in each line: {"class": "equity", "isin": …}'
_DOING: Final = "reading an instrument"


class InstrumentsJsonl:
    name = "instruments-jsonl"
    summary = "JSON Lines of `alphapulse --json lookup`"
    needs = ("class",)
    marks = ("fingerprint", "revision", "isin", "chain", "key")

    def sniff(self, path: Path, head: bytes) -> bool:
        """A first line that is a whole object with a class."""
        try:
            first = loads(head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0].decode())
        except (ValueError, RecursionError):
            return False
        return isinstance(first, dict) and isinstance(first.get("class"), str)

    def open(self, file: InputFile) -> InstrumentsReading:
        return InstrumentsReading(file)


class InstrumentsReading:
    """Streams: memory is the lines of the synthetics."""

    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self.content_hash = file.content_hash()
        self.source = slug(file.path.name.split(".")[0]) or InstrumentsJsonl.name
        self.total = file.size_bytes
        self.done = 0

    def rows(self, source: str) -> Iterator[Row | Refused]:
        synthetics: list[Synthetic] = []
        for line in self._file.lines(self.content_hash):
            self.done += line.size_bytes
            if not line.data.strip():
                continue
            place = f"line {line.number}"
            try:
                register = _register(_fields(line))
            except AlphaPulseError as error:
                yield Refused(place, str(error), raw(line))
                continue
            row = Row(place, (register,), raw(line))
            if formula := str(register.facts.values.get("formula", "")):
                _, id = next(id_candidates(register.fingerprint, 64))
                synthetics.append(Synthetic(id, components_of(formula), row))
            else:
                yield row
        yield from in_order(synthetics)


def _fields(line: Line) -> dict[str, Any]:
    """What the line says, exact numbers as text."""
    if line.is_cut:
        raise InvalidInput(_DOING, problem=f"its line has {line.size_bytes} bytes")
    try:
        said = loads(line.data.decode("utf-8-sig" if line.number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(_DOING, problem="the line is not JSON", cure=_CURE) from error
    if not isinstance(said, dict):
        raise InvalidInput(_DOING, problem=f"it is {validation.shown(said)}", cure=_CURE)
    if flaw := flaw_of(said):
        raise InvalidInput(_DOING, problem=flaw)
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in said.items() if value is not None and value != ""
    }


def _register(fields: dict[str, Any]) -> Register:
    kind = class_named(fields.pop("class", None))
    for time in _TIMES:
        if not isinstance(fields.get(time, ""), str):
            validation.refuse(time, "a bare number is no time", str(fields[time]),
                              "write it like 2026-01-31T09:30:00.123456789Z")  # fmt: skip
    if fields.get("status") == Status.EXPIRED.name.lower() and "expiry" in fields:
        del fields["status"]
    is_dated = {"valid_from", "revision"} <= fields.keys()  # else a person wrote the status
    if is_dated and fields.get("status") == Status.PENDING.name.lower():
        del fields["status"]
    facts = {field: value for field, value in fields.items() if field not in _OF_THE_HOME}
    more = {field: facts.pop(field) for field in ("status", "valid_from") if field in facts}
    register = registration(NAMES[kind], facts, **more)
    key = key_text(register.facts.key)
    if fields.get("key", key) != key:
        raise InvalidInput(
            _DOING, problem=UNSAID, key=str(fields["key"])[:_KEY_SHOWN_MAX], cure=UNSAID_CURE
        )
    names_none = "generation" in register.facts.values and "generation" not in facts
    return register._replace(newest=names_none)
