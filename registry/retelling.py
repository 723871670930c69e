"""What is said again of a listing or relation that is known: the rules that both share.

What is not given says nothing; the rest fills in, amends or conflicts, in the period that it is
about (`periods`). Whose word it contradicts is told by following that period back through what was
known before, so that nobody corrects another one's word of some other time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, cast

from alphapulse.log import Space

from .deciding import Disagreement, Receipt, Word, endorse, raise_conflicts, weigh
from .held import DataBody, Held, Origin
from .periods import DATES, Followed, T, Turned, has_date, place
from .state import State


class Retelling(ABC, Generic[T]):
    """Of one entity, by one source. words: by field, its dates among them; none that say nothing.

    `where` its words belong, and what is known `then`, in the period that they are about.
    """

    space: ClassVar[Space]

    def __init__(
        self, state: State, origin: Origin, held: Held, words: Mapping[str, Any]
    ) -> None:
        self.state = state
        self.origin = origin
        self.held = held
        self.words = words
        self.begins, self.ends = (int(words.get(field, 0)) for field in DATES)
        """ns, 0 = it names none."""
        self._be_of(Turned(cast("T", held.body)))

    def _be_of(self, turned: Turned[T]) -> None:
        self.turned: Turned[T] = turned
        self.known: T = turned.state
        self.where = place(self.known, self.begins, self.ends, self.state.now)
        self.then: T = self.where.state(self.known, self.begins)

    # What listings and relations have of their own

    @abstractmethod
    def value(self, period: T, field: str) -> Any:
        """What is known of a field; false when nothing is."""

    @abstractmethod
    def text(self, value: object) -> str:
        """As conflicts hold it."""

    @abstractmethod
    def fields(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """As a body holds them."""

    @abstractmethod
    def amend(self, fields: Mapping[str, Any]) -> int:
        """Writes the state with these fields; its offset. Raises InvalidInput."""

    def is_otherwise(self) -> bool:
        """Whether it says another thing than dates. Where it is not known since when it holds, what
        is said for the first time was not otherwise before."""
        return any(
            value != known and (known or self.then.valid_from)
            for field, value in self.words.items()
            if field not in DATES for known in (self.value(self.then, field),)
        )  # fmt: skip

    def cut(self, turned: Turned[T]) -> Turned[T]:
        """What else is otherwise once a period was cut."""
        return turned

    def is_void(self, field: str, changes: Mapping[str, Any]) -> bool:
        """Whether its word about a field says nothing here. changes: those before it."""
        # An end is not that of what began on another day.
        return field == "valid_to" and not self.then.valid_to and self.begins not in (
            0, changes.get("valid_from", self.then.valid_from)
        )  # fmt: skip

    def is_free(self, field: str, changes: Mapping[str, Any]) -> bool:
        """Whether its word stands whoever said the known one."""
        return self.where.is_new or self.turned.is_announced or not self.value(self.then, field)

    def check(self, changes: Mapping[str, Any]) -> None:
        """Raises InvalidInput for what must not be said."""
        self.where.refuse_to_put_off(changes, self.state.now)

    # What they share

    def decide(self) -> Receipt:
        if self.is_otherwise():
            turned = self.where.turned(
                self.known, self.begins, self.ends, self.state.now, self._is_own
            )
            self._be_of(self.cut(turned) if turned.is_cut else turned)
        changes, conflicts = self._weigh()
        self.check(changes)
        state, held, origin = self.state, self.held, self.origin
        asset_class = self.known.asset_class
        endorsed = endorse(state, self.space, held, asset_class, self._agreed(), origin)
        offset, outcome = held.data_offset if endorsed is None else endorsed, "unchanged"
        if changes:
            fields = self.where.said(self.known, self.fields(changes), self.begins)
            offset, outcome = self.amend(fields), "amended"
        raised = raise_conflicts(state, self.space, held.id, asset_class, conflicts, origin)
        if outcome == "unchanged" and endorsed is None and raised:
            offset = raised[0]
        return Receipt(held.id, held.entity.fingerprint, offset, outcome, raised)

    def _is_own(self, since: int) -> bool:
        return self.said_by("valid_from", since).source == self.origin.source

    def _weigh(self) -> tuple[dict[str, Any], list[Disagreement]]:
        """The words that are taken, and those that are in conflict."""
        changes = dict[str, Any]()
        conflicts = list[Disagreement]()
        for field, value in self.words.items():
            known = self.value(self.then, field)
            if value == known or self.is_void(field, changes):
                continue
            if self.is_free(field, changes):
                changes[field] = value
                continue
            said_by = self.said_by(field, known)
            said = Disagreement(
                field, self.text(known), said_by.source, self.text(value), self.origin.source
            )
            word = Word.CORRECTS
            # Of what it cuts off it says how it was after that, and corrects nothing of its own.
            if not self.turned.is_cut or said_by.source != self.origin.source:
                word = weigh(self.state, self.space, self.held.id, said_by, self.origin, said)
            if word != Word.CONFLICTS:
                changes[field] = value
            if word != Word.CORRECTS:
                conflicts.append(said.turned() if word == Word.OUTRANKS else said)
        return changes, conflicts

    def _agreed(self) -> Iterator[tuple[str, Callable[[DataBody], object]]]:
        """As `endorse` takes it; the days of a period that it makes nobody has said before."""
        is_made = self.known is not self.held.body
        for field, value in self.words.items():
            if value == self.value(self.then, field) and not (is_made and field in DATES):
                yield field, self._reader(field, value)

    def said_by(self, field: str, value: object) -> Origin:
        """Who said this value of a field first, in the period that it is about."""
        return self.state.said_by(self.held, field, self._reader(field, value))

    def _reader(self, field: str, value: object) -> Callable[[DataBody], object]:
        """For `State.said_by`. Of a date: whether any period has it, as who names it may."""
        if field in DATES:
            date = int(str(value))
            return lambda body: has_date(cast("T", body), field, date)
        is_new = self.where.is_new
        follow = Followed(
            self.begins if is_new else self.then.valid_from,
            self.ends if is_new else self.then.valid_to,
        )

        def read(body: DataBody) -> object:
            period = follow.within(cast("T", body))
            return None if period is None else self.value(period, field)

        return read
