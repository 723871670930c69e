"""What must be written so that a field has a value from one day to another, and else what it had.

The log can only say "from then on" (`valid_time`). So a value that holds from A until B takes two
events, and a third for each later day from which something else is known to hold: the second says
from B on what held there before, and the others say again what the first two have covered. An event
says the fields in which it differs from the one before it. So to say of an earlier day what the
newest event says already takes two as well: one that says otherwise from that day on, and the one
that is meant, from the same day. All of them are of one unit: nobody sees a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .facts import Value
from .valid_time import Said, words_at

Words = Mapping[str, Value | None]
"""Of some fields; None = not known."""


class Step(NamedTuple):
    """Fields that have these values from a time (ns) on."""

    since: int
    words: Words


def steps(said: list[Said], wanted: Words, since: int, until: int) -> list[Step]:
    """What to write, in that order, so that fields have the `wanted` values from `since` until
    `until` (0 = for good), and after it what is known now. Nothing when they have them already.

    said: what is known of the instrument, oldest first; it may begin later than `since`.
    """

    def held(at: int) -> dict[str, Value | None]:
        words = words_at(said, at)
        return {field: words.get(field) for field in wanted}

    later = sorted({each.since for each in said if each.since > since})
    inside = [held(at) for at in (since, *later) if not until or at < until]
    if all(each == wanted for each in inside):
        return []
    newest = said[-1].words
    covered = {
        field: next(each[field] for each in inside if each[field] != value)
        for field, value in wanted.items()
        if newest.get(field) == value and any(each[field] != value for each in inside)
    }
    found = [Step(since, covered)] if covered else []
    found.append(Step(since, wanted))
    for at in (until, *(at for at in later if at > until)) if until else ():
        if (words := held(at)) != found[-1].words:
            found.append(Step(at, words))
    return found
