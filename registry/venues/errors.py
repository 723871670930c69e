"""Errors about venues: what is not known, and what cannot be."""

from __future__ import annotations

from alphapulse.log import AlphaPulseError
from alphapulse.registry.errors import IllegalTransition


class HoursUnknown(AlphaPulseError, LookupError):
    problem = "no hours of this venue are known for that time"
    cure = "say them: `alphapulse hours set VENUE FILE`, or --bundled for those that come along"


class FeesUnknown(AlphaPulseError, LookupError):
    problem = "no fees of this venue are known for that time"
    cure = "say them: `alphapulse fees set VENUE FILE`"


class NoSuchTransition(IllegalTransition):
    cure = "see registry/venues/VENUES.md"


class WindowClosed(AlphaPulseError, ValueError):
    problem = "a window up to later was summarised already"
    cure = "nothing: what was said of closed windows stays; `alphapulse performance show` shows it"
