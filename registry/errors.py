"""Errors of deciding: what a writer asked for cannot be, and why."""

from __future__ import annotations

from alphapulse.log import AlphaPulseError, InvalidInput


class UnknownInstrument(AlphaPulseError, LookupError):
    problem = "there is no such instrument"
    cure = "register it first; `alphapulse lookup KEY` shows near misses"


class UnknownListing(AlphaPulseError, LookupError):
    problem = "the instrument has no such listing"
    cure = "`alphapulse listings KEY` shows those it has"


class UnknownRelation(AlphaPulseError, LookupError):
    problem = "the instruments are not related like this"
    cure = "`alphapulse related KEY` shows the relations there are"


class UnknownField(AlphaPulseError, LookupError):
    problem = "nothing of this name is known of the instrument"
    cure = "`alphapulse blame KEY` shows every field that is"


class UnknownAlert(AlphaPulseError, LookupError):
    problem = "there is no alert at this offset"
    cure = "`alphapulse alerts` shows the open ones"


class Ambiguous(AlphaPulseError, LookupError):
    problem = "several things match"
    cure = "name one by its id"


class IdSpaceFull(AlphaPulseError):
    problem = "every fallback id of this key is taken"
    cure = "start a home with more id bits (`alphapulse init --id-bits 64`) and replay into it"


class IllegalTransition(AlphaPulseError, ValueError):
    problem = "the status cannot change like this"
    cure = "see README, Life of an instrument"


class RequestReused(InvalidInput):
    problem = "this request id was used for something else"
    cure = "use a new request id for a new command"


class IllegalEvent(AlphaPulseError, ValueError):
    problem = "the event contradicts what the log says before it"
    cure = "run `alphapulse audit`"


class RelationCycle(IllegalEvent):
    problem = "the relation would lead back to where it starts"
    cure = "`alphapulse related KEY` shows the others; end the wrong one with `alphapulse unrelate`"
