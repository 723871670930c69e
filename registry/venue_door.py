"""The way from a registry to its venues, which are loaded when somebody asks about one."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from .cross import VenueMapQuestions

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .deciding import Receipt
    from .venues.facade import Venues
    from .venues.writing import VenueWriting


class VenueDoor(VenueMapQuestions):
    """What `Registry` has of venues. Loading them takes 30 ms, which a lookup does without."""

    log: Any
    views: Any
    stop_of: Any
    _carry_out: Any

    @cached_property
    def venues(self) -> Venues:
        """Venues, their hours, fees, endpoints and status: questions and commands."""
        from .venues.facade import Venues

        return Venues(self.log, self.views, self._carry_out, self.stop_of)


class AsyncVenueDoor:
    """What `registry.aio` has of venues."""

    _carry_out: Any

    @cached_property
    def venues(self) -> VenueWriting[Coroutine[Any, Any, Receipt]]:
        """The commands about venues: `await registry.aio.venues.add(venue)`."""
        from .venues.writing import VenueWriting

        return VenueWriting(self._carry_out)
