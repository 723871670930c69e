"""The commands about venues as methods, once for threads and once for coroutines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command
from alphapulse.registry.tickets import Unit
from alphapulse.registry.writing import Writing

from .bundled import bundled_hours
from .commands import AddVenue, AmendVenue, SetEndpoints, SetFees, SetHours, SetTrading
from .endpoints import endpoints
from .fees import FeeSchedule
from .hours import Hours
from .rules import schedules
from .venue import Venue

One = TypeVar("One", covariant=True)
BUNDLED = "bundled"
"""The source of hours that come with the project."""


class VenueWriting(Generic[One]):
    """`One` is a receipt, or for coroutines an awaitable of one. Request ids as for all commands.

    venue: MIC or slug. valid_from: RFC 3339 or ns; 0 = since it is recorded (of hours: always).
    Each method raises InvalidInput, and what writing raises; all but `add` also UnknownVenue and
    VenueOver.
    """

    def __init__(self, carry_out: Callable[[Unit], One]) -> None:
        self._carry_out = carry_out

    def _unit(self, command: Command, source: str, request_id: str) -> One:
        return self._carry_out(Unit((command,), Writing.origin(source, request_id)))

    def add(self, venue: Venue, *, source: str = "", request_id: str = "") -> One:
        """Registers a venue, or says more of it."""
        return self._unit(AddVenue.make(venue), source, request_id)

    def amend(
        self, venue: str, *, source: str = "operator", request_id: str = "", **changes: object
    ) -> One:
        """Corrects fields by name (`name="New"`, `lei=None`); always applies."""
        return self._unit(AmendVenue.make(venue, changes), source, request_id)

    def set_endpoints(
        self, venue: str, fields: Iterable[Mapping[str, object]], *, valid_from: str | int = 0,
        source: str = "operator", request_id: str = "",
    ) -> One:  # fmt: skip
        """All ways to reach a venue; each by the fields of `Endpoint`."""
        begins = validation.time_ns(valid_from, "valid_from")
        command = SetEndpoints(validation.venue(venue), endpoints(fields), begins)
        return self._unit(command, source, request_id)

    def set_fees(
        self, venue: str, *given: FeeSchedule, valid_from: str | int = 0,
        source: str = "operator", request_id: str = "",
    ) -> One:  # fmt: skip
        """All that a venue charges. What is odd about it is a `venue.warning` each, and holds."""
        begins = validation.time_ns(valid_from, "valid_from")
        command = SetFees(validation.venue(venue), schedules(given), begins)
        return self._unit(command, source, request_id)

    def set_hours(
        self, venue: str, hours: Hours | None = None, *, valid_from: str | int = 0,
        source: str = "", request_id: str = "",
    ) -> One:  # fmt: skip
        """hours: as `define` or a reader gives them; None = those that come with the project."""
        key, begins = validation.venue(venue), validation.time_ns(valid_from, "valid_from")
        if hours is None:
            hours, source = bundled_hours(key), source or BUNDLED
        return self._unit(SetHours(key, hours, begins), source or "operator", request_id)

    def set_status(
        self, venue: str | int, status: str, *, valid_from: str | int | None = None,
        until: str | int = 0, side: str = "both", reason: str = "", source: str = "operator",
        request_id: str = "",
    ) -> One:  # fmt: skip
        """Says whether a venue trades or, by its id, a listing.

        valid_from: since when [now]; a request that can be sent again must say it. until: the first
        instant at which it holds no more: then what held before it does. Raises NoSuchTransition,
        UnknownListing.
        """
        if valid_from is None:
            if request_id:
                raise InvalidInput(
                    "setting a status", problem="a request that can be sent again must say when",
                    cure="give valid_from too",
                )  # fmt: skip
            valid_from = time.time_ns()
        listing = venue if isinstance(venue, int) else 0
        command = SetTrading.make(
            "" if listing else venue, status, valid_from=valid_from, until=until, side=side,
            listing=listing, reason=reason,
        )  # fmt: skip
        return self._unit(command, source, request_id)
