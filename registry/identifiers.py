"""`Registry.by_identifier`: asking for instruments by what agencies and venues call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from alphapulse.log import InstrumentRecord

from .lookup import Lookup
from .valid_time import When

if TYPE_CHECKING:
    from .times_asked import AsOf, ValidAt


class _Asked(Protocol):
    lookup: Lookup

    def when(
        self, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> When: ...


class IdentifierQuestions:
    """What `Registry` answers about identifiers."""

    def by_identifier(
        self: _Asked, scheme: str, value: str, *, as_of: AsOf = None, valid: ValidAt = None,
        known: AsOf = None,
    ) -> list[InstrumentRecord]:  # fmt: skip
        """All instruments that carry an identifier: `isin`, `figi` (at any of its levels: share
        class, country or listing), `cusip`, `sedol`, `lei` (of the issuer) or `native_id`.

        Whoever carried it at another time is found by asking about that one; who was registered
        under it, always. Raises InvalidInput for another scheme and a wrong check digit. Cost: 8 µs
        each.
        """
        when = self.when(as_of, valid, known)
        return [match.record for match in self.lookup.by_identifier(scheme, value, when)]
