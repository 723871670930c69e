"""The writing half of the facade, once for threads and once for coroutines.

`Writing` has a method for each command and leaves open what giving a command yields: a receipt
when the caller waits in a thread (`Registry`), an awaitable of one for coroutines
(`AsyncWriting`, as `registry.aio`). Both hand their commands to one `Writer`, so threads and
coroutines that write at the same time share commits. What is wrong with the arguments raises
InvalidInput at the call.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from alphapulse.log import AlphaPulseError, InvalidInput, Status

from . import validation
from .candidate_finder import LookAlike
from .candidates import Candidates
from .commands import REASON_SIZE_BYTES_MAX, Acknowledge, Amend, Register, SetStatus
from .commands_candidates import Confirm, Propose, Refuse, direction
from .commands_feeds import StateRules, policy_named
from .commands_listings import AddListing, AddToGroup, EndListing
from .commands_proposals import ConfirmProposal, RefuseProposal, Seen
from .commands_relations import Relate, Unrelate, be_two
from .deciding import Receipt
from .errors import Ambiguous, UnknownInstrument
from .held import Origin
from .instruments import AnyInstrument, Listing, Synthetic
from .lookup import Lookup
from .tickets import Outcome, Unit
from .venue_door import AsyncVenueDoor
from .writer import Writer

One = TypeVar("One", covariant=True)
Many = TypeVar("Many", covariant=True)

_LOGGER: Final = logging.getLogger("alphapulse")
UNITS_PER_SESSION: Final = 1_000
TEXT_SIZE_BYTES_MAX: Final = 200
"""Of a source, of a request id and of a group."""


class Writing(ABC, Generic[One, Many]):
    """Commands as methods. `One` stands for a receipt and `Many` for a list of them.

    request_id: a command is never carried out again under its id: what it led to is told again,
    also after a restart and from another process, and nothing is written. One that changes nothing
    leaves an event that says so. The same id with another command raises RequestReused. A command
    that was refused is not remembered.
    """

    lookup: Lookup
    alike: Candidates

    @abstractmethod
    def _carry_out(self, unit: Unit) -> One:
        """See `whole`."""

    @abstractmethod
    def _carry_out_all(self, units: Sequence[Unit]) -> Many: ...

    def register(
        self, instrument: AnyInstrument, *, source: str = "", request_id: str = ""
    ) -> One:
        """Registers one instrument, or adds what is new about a known one.

        Raises InvalidInput, LogBusy, LogFull, ViewFull, ReadOnly, ChainBroken, IdSpaceFull; of a
        formula also UnknownInstrument, Ambiguous, UnknownComponent and FormulaCycle. Cost:
        in batches 60 µs of processing each on a slow machine, half that on a fast one; alone, what
        a session costs too, and one flush, shared with whoever writes at the same time.
        """
        origin = self.origin(source, request_id)
        command = Register.of(self._exact(instrument, request_id))
        return self._carry_out(Unit((command,), origin))

    def register_many(
        self, instruments: Iterable[AnyInstrument], *, source: str = "", request_id: str = ""
    ) -> Many:
        """Receipts in order of input; one commit for each 1,000.

        Everything is validated first: a bad instrument raises InvalidInput with its index and
        nothing is written. What is refused later (IdSpaceFull, RequestReused) raises too: the rest
        of its thousand is written, the thousands after it are not. request_id: each instrument's
        own is `REQUEST_ID/INDEX`, so the same list again completes what was cut short.
        """
        origin = self.origin(source, request_id)
        units: list[Unit] = []
        for index, instrument in enumerate(instruments):
            if request_id:
                origin = self.origin(source, f"{request_id}/{index}")
            try:
                exact = self._exact(instrument, origin.request_id)
                units.append(Unit((Register.of(exact),), origin))
            except (InvalidInput, UnknownInstrument, Ambiguous) as error:
                error.facts["index"] = index
                raise
        return self._carry_out_all(units)

    def seen(
        self, instrument: AnyInstrument, *, policy: str = "", source: str = "",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Says that a source came upon an instrument, named by its full key.

        What is known is left as it is. What is not is, by the policy, proposed to a person, once
        for its key (propose), or registered at once (auto); either way as an event,
        `instrument.seen`. policy: of this call; else the one that the rules state for the source;
        else propose. The receipt's outcome: proposed (its id is the proposal's), new, or unchanged
        (its offset is that of the registration or of the proposal, refused ones too).
        """
        origin = self.origin(source, request_id)
        command = Seen.of(self._exact(instrument, request_id), policy and policy_named(policy))
        return self._carry_out(Unit((command,), origin))

    def confirm_proposal(
        self, proposal: int, *, source: str = "operator", request_id: str = ""
    ) -> One:
        """Does what is proposed: registers what was seen, delists what is missing. The receipt is
        about the instrument. Raises UnknownProposal."""
        origin = self.origin(source, request_id)
        return self._carry_out(Unit((ConfirmProposal.make(proposal),), origin))

    def refuse_proposal(
        self, proposal: int, *, reason: str = "", source: str = "operator",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Does not do what is proposed; nobody is asked again for the same key, or the same
        absence. reason: up to 512 bytes. Raises UnknownProposal."""
        origin = self.origin(source, request_id)
        return self._carry_out(Unit((RefuseProposal.make(proposal, reason),), origin))

    def state_rules(
        self, *, precedence: Sequence[str] | None = None,
        seen: Mapping[str, str] | None = None, source: str = "operator", request_id: str = "",
    ) -> One:  # fmt: skip
        """Says what holds for sources from here on; what is None stays as it was.

        precedence: sources; where two that it names disagree, the word of the one that comes first
        stands, whoever came first. seen: source to policy, see `seen`.
        """
        origin = self.origin(source, request_id)
        return self._carry_out(Unit((StateRules.make(precedence, seen),), origin))

    def amend(
        self, id: int, *, valid_from: str | int = 0, valid_to: str | int = 0, source: str = "",
        request_id: str = "", **changes: object,
    ) -> One:  # fmt: skip
        """Corrects fields by name (`symbol="NEW"`, `name=None`); always applies.

        valid_from: since when that is true; before the instrument was there it dates that back, and
        may do so with no field beside. A time that lies ahead announces it. valid_to: until when;
        from then on goes on what was known to hold. A rebalance of a synthetic is `formula="…"`; it
        is refused as in a registration.
        """
        origin = self.origin(source, request_id)
        if changes.get("formula"):
            changes["formula"] = self.lookup.formula(changes["formula"], request_id)
        begins = validation.time_ns(valid_from, "valid_from")
        ends = validation.time_ns(valid_to, "valid_to")
        command = Amend(validation.id64(id), changes, begins, ends)
        return self._carry_out(Unit((command,), origin))

    def set_status(
        self, id: int, status: str | Status, *, valid_from: str | int = 0, source: str = "",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Moves an instrument through its life; raises IllegalTransition."""
        origin = self.origin(source, request_id)
        wanted = status if isinstance(status, Status) else validation.status(status)
        begins = validation.time_ns(valid_from, "valid_from")
        return self._carry_out(Unit((SetStatus(validation.id64(id), wanted, begins),), origin))

    def delist(
        self, id: int, *, valid_from: str | int = 0, source: str = "", request_id: str = ""
    ) -> One:
        return self.set_status(
            id, Status.DELISTED, valid_from=valid_from, source=source, request_id=request_id
        )

    def add_listing(
        self, listing: Listing, *, source: str = "", request_id: str = ""
    ) -> One:
        """Says that an instrument is listed at a venue; again with more, fills in or amends."""
        origin = self.origin(source, request_id)
        return self._carry_out(Unit((AddListing.make(listing),), origin))

    def end_listing(
        self, id: int, *, valid_to: str | int, source: str = "", request_id: str = ""
    ) -> One:
        """Ends the listing with this id; `valid_to` is the first instant without it."""
        origin = self.origin(source, request_id)
        command = EndListing(validation.id64(id), validation.time_ns(valid_to, "valid_to"))
        return self._carry_out(Unit((command,), origin))

    def add_to_group(self, id: int, source: str, group: str, *, request_id: str = "") -> One:
        """Counts an instrument to a named group of a source; see `siblings`."""
        of = self._fingerprint(id, "adding to a group")
        source = validation.text(source, "source", TEXT_SIZE_BYTES_MAX)
        named = validation.text(group, "group", TEXT_SIZE_BYTES_MAX)
        command = AddToGroup(of, source, named)
        return self._carry_out(Unit((command,), self.origin(source, request_id)))

    def relate(
        self, id: int, relation: str, other: int, *, ratio: str | int | None = None,
        valid_from: str | int = 0, valid_to: str | int = 0, source: str = "",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Says how two instruments are related; see `relation_rules.RULES`. Again with more, fills
        in or amends.

        ratio: `N/D`: one of the first stands for so much of the other. Raises InvalidInput,
        UnknownInstrument, and RelationCycle when it would lead back to where it starts.
        """
        command = Relate.make(
            *self._sides(id, relation, other), ratio=ratio, valid_from=valid_from, valid_to=valid_to
        )
        return self._carry_out(Unit((command,), self.origin(source, request_id)))

    def unrelate(
        self, id: int, relation: str, other: int, *, valid_to: str | int, source: str = "",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Ends a relation; `valid_to` is the first instant without it. Raises UnknownRelation."""
        command = Unrelate.make(*self._sides(id, relation, other), valid_to)
        return self._carry_out(Unit((command,), self.origin(source, request_id)))

    def _exact(self, instrument: AnyInstrument, request_id: str = "") -> AnyInstrument:
        """With the ids that are meant by the KEYs in a formula."""
        if not isinstance(instrument, Synthetic) or not instrument.formula:
            return instrument
        return replace(instrument, formula=self.lookup.formula(instrument.formula, request_id))

    def _sides(self, id: int, relation: str, other: int) -> tuple[bytes, str, bytes]:
        doing = "relating instruments"
        be_two(id, other)
        return self._fingerprint(id, doing), relation, self._fingerprint(other, doing)

    def _fingerprint(self, id: int, doing: str) -> bytes:
        match = self.lookup.match(validation.id64(id))
        if match is None:
            raise UnknownInstrument(doing, id=f"0x{id:016x}")
        return match.record.fingerprint

    def propose(self, pairs: Iterable[LookAlike], *, source: str = "") -> Many:
        """Writes what `Registry.look_alikes` found, for a person to decide; what it found before
        adds nothing. Receipts in order; one commit for each 1,000. Raises NotAlike when what looked
        alike was amended since: the rest of its thousand is written.
        """
        origin = self.origin(source)
        return self._carry_out_all(
            [Unit((Propose(*pair.fingerprints),), origin) for pair in pairs]
        )

    def confirm(
        self, id: int, relation: str, *, start: int | None = None,
        ratio: str | int | None = None, valid_from: str | int = 0, reason: str = "",
        source: str = "operator", request_id: str = "",
    ) -> One:  # fmt: skip
        """Says that a candidate was right and relates the two, both or neither; its receipt, with
        the conflicts of the relation.

        relation, ratio, valid_from: as for `relate`. start: id of the one that the relation starts
        from, for all but `same_as`. Raises UnknownCandidate, InvalidInput, and what `relate` does.
        """
        body = self.alike.body(validation.id64(id))
        kind, backwards = direction(body, relation, start)
        sides = body.instrument_fingerprint, body.other_fingerprint
        of, other = sides[::-1] if backwards else sides
        relate = Relate.make(of, kind.name, other, ratio=ratio, valid_from=valid_from)
        reason = self._reason(reason) if reason != "" else ""
        commands = (relate, Confirm(id, kind, backwards, reason))
        return self._carry_out(Unit(commands, self.origin(source, request_id)))

    def refuse(
        self, id: int, *, reason: str, source: str = "operator", request_id: str = ""
    ) -> One:
        """Says that a candidate is none. It comes up again only on other evidence. reason: up to
        512 bytes, and never empty. Raises UnknownCandidate, InvalidInput."""
        if not self._reason(reason):
            validation.refuse("reason", "it is missing", reason, "say why, for whoever asks later")
        command = Refuse(validation.id64(id), self._reason(reason))
        return self._carry_out(Unit((command,), self.origin(source, request_id)))

    @staticmethod
    def _reason(reason: str) -> str:
        return validation.text(reason, "reason", REASON_SIZE_BYTES_MAX)

    def acknowledge(
        self, alert: int, *, reason: str = "", source: str = "operator", request_id: str = ""
    ) -> One:
        """Closes the alert raised at this offset. reason: up to 512 bytes. Raises UnknownAlert."""
        origin = self.origin(source, request_id)
        return self._carry_out(Unit((Acknowledge.make(alert, reason),), origin))

    @staticmethod
    def origin(source: str = "", request_id: str = "") -> Origin:
        """Who says so, checked; for units that are given to `execute`. Raises InvalidInput."""
        if source != "":
            source = validation.text(source, "source", TEXT_SIZE_BYTES_MAX)
        if request_id != "":
            request_id = validation.text(request_id, "request_id", TEXT_SIZE_BYTES_MAX)
            if not request_id:
                validation.refuse("request_id", "it is empty", "", "leave it out, or give one")
        return Origin(source, b"", request_id)


class AsyncWriting(
    Writing[Coroutine[Any, Any, Receipt], Coroutine[Any, Any, list[Receipt]]], AsyncVenueDoor
):
    """What `Registry` has for writing, for coroutines: `await registry.aio.register(usdc)`.

    The event loop is never blocked by a flush or by another process that writes; validating is done
    on it, which takes µs for one instrument. A cancelled coroutine withdraws what it asked for
    while that still waits; what a commit has taken by then stays written.
    """

    def __init__(self, writer: Writer, lookup: Lookup, alike: Candidates) -> None:
        self._writer = writer
        self.lookup = lookup
        self.alike = alike

    async def execute(self, units: Iterable[Unit]) -> AsyncIterator[Outcome]:
        """As `Registry.execute`, with `async for`."""
        for batch in batches(units):
            for outcome in told(await self._writer.submit_async(batch)):
                yield outcome

    async def _carry_out(self, unit: Unit) -> Receipt:
        return whole(receipts(told(await self._writer.submit_async((unit,)))))

    async def _carry_out_all(self, units: Sequence[Unit]) -> list[Receipt]:
        found: list[Receipt] = []
        for batch in batches(units):
            found += receipts(told(await self._writer.submit_async(batch)))
        return found


def batches(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """What goes into a session each."""
    batch: list[Unit] = []
    for unit in units:
        batch.append(unit)
        if len(batch) == UNITS_PER_SESSION:
            yield batch
            batch = []
    if batch:
        yield batch


def told(outcomes: list[Outcome]) -> list[Outcome]:
    """The same, once operators are told of collisions."""
    for outcome in outcomes:
        if isinstance(outcome, list):
            for receipt in outcome:
                if receipt.outcome == "collision":
                    _LOGGER.critical(
                        "id collision: 0x%016x is a fallback id; see `alphapulse alerts`",
                        receipt.id,
                    )
    return outcomes


def receipts(outcomes: Iterable[Outcome]) -> list[Receipt]:
    """Of units that all had to succeed; raises the first refusal."""
    found: list[Receipt] = []
    for outcome in outcomes:
        if isinstance(outcome, AlphaPulseError):
            raise outcome
        found += outcome
    return found


def whole(found: Sequence[Receipt]) -> Receipt:
    """Of one unit: the receipt of its last command, with the conflicts of all."""
    if len(found) == 1:
        return found[0]
    conflicts = tuple(offset for receipt in found for offset in receipt.conflicts)
    return found[-1]._replace(conflicts=conflicts)
