"""What times a question is about: `as_of` (or `known`) and `valid`, as callers write them."""

from __future__ import annotations

from alphapulse.log import EventLog, OffsetOutOfRange, offset_given, parse_time

from . import validation
from .related import Relations
from .valid_time import NOW, When, either

AsOf = int | str | None
"""An offset (after that event; a bare integer as text is one too), or RFC 3339 text (all that was
recorded by then); None = now."""
ValidAt = int | str | None
"""ns since 1970 UTC, or RFC 3339 text; None = now, or the moment of as_of."""


class TimesAsked:
    """Of the registry: what the arguments of its questions mean."""

    log: EventLog
    relations: Relations

    def stop_of(self, as_of: int | str, doing: str = "reading as_of") -> int:
        """The head that `as_of` means: after that event, or after all recorded by that time.

        A time may lie ahead and then means: as known now. Raises InvalidInput, and
        OffsetOutOfRange for an event that is not there yet.
        """
        offset = offset_given(doing, as_of)
        if offset is None:
            return self.log.offset_at(parse_time(str(as_of)) + 1)
        if offset >= (head := self.log.head):
            raise OffsetOutOfRange(
                doing, problem="the log has no such event yet", offset=offset, head=head
            )
        return offset + 1

    def when(self, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None) -> When:
        """What a question is about, for `lookup`. Raises InvalidInput, OffsetOutOfRange."""
        as_of = either(as_of, known, "as_of", "known")
        if valid is not None:
            return When(self._stop(as_of), validation.moment(valid, "valid"))
        return NOW if as_of is None else When(self._stop(as_of), None, self._moment(None, as_of))

    def _stop(self, as_of: AsOf) -> int | None:
        return None if as_of is None else self.stop_of(as_of)

    def _moment(self, valid: ValidAt, as_of: AsOf) -> int:
        if valid is None:
            return self.relations.moment(as_of)
        return validation.moment(valid, "valid")
