"""Errors of deciding: what a writer asked for cannot be, and why."""

from __future__ import annotations

from typing import Any, Final

from alphapulse.log import AlphaPulseError, InvalidInput

_MIC_LENGTH: Final = 4


class UnknownInstrument(AlphaPulseError, LookupError):
    problem = "there is no such instrument"
    cure = "register it first; `alphapulse lookup KEY` shows near misses"


class UnknownVenue(AlphaPulseError, LookupError):
    problem = "there is no such venue"
    cure = "register it first: `alphapulse venue add KEY`; `alphapulse venues` shows all"

    def __init__(self, doing: str, **given: Any) -> None:
        super().__init__(doing, **given)
        name = str(self.facts.get("venue", "")).strip("'")
        if len(name) == _MIC_LENGTH and name.isalnum() and name.islower() and "cure" not in given:
            # Such a word is a slug of its own, and hardly ever meant as one.
            self.advice = f"a MIC has capitals: {name.upper()}; else {self.cure}"


class VenueOver(AlphaPulseError, ValueError):
    problem = "the venue is one no more by then"
    cure = "name an earlier --valid-from, or correct its end: `alphapulse venue set KEY --valid-to`"


class UnknownListing(AlphaPulseError, LookupError):
    problem = "the instrument has no such listing"
    cure = "`alphapulse listings KEY` shows those it has"


class UnknownRelation(AlphaPulseError, LookupError):
    problem = "the instruments are not related like this"
    cure = "`alphapulse related KEY` shows the relations there are"


class UnknownCandidate(AlphaPulseError, LookupError):
    problem = "there is no such candidate"
    cure = "`alphapulse candidates` shows them; `candidates propose` looks for new ones"


class NotAlike(AlphaPulseError, ValueError):
    problem = "nothing says that the instruments are one thing, or related"
    cure = "`alphapulse relate` says how they are related, if you know that they are"


class UnknownField(AlphaPulseError, LookupError):
    problem = "nothing of this name is known of it"
    cure = "`alphapulse blame KEY` shows every field that is"


class UnknownAlert(AlphaPulseError, LookupError):
    problem = "there is no alert at this offset"
    cure = "`alphapulse alerts` shows the open ones"


class UnknownProposal(AlphaPulseError, LookupError):
    problem = "there is no such proposal"
    cure = "`alphapulse proposals` shows the open ones"


class Ambiguous(AlphaPulseError, LookupError):
    problem = "several things match"
    cure = "name one by its id"


class IdSpaceFull(AlphaPulseError):
    problem = "every fallback id of this key is taken"
    cure = "start a home with more id bits (`alphapulse init --id-bits 64`) and replay into it"


class IllegalTransition(AlphaPulseError, ValueError):
    problem = "the status cannot change like this"
    cure = "see README, Life of an instrument"


class GenerationOver(AlphaPulseError, ValueError):
    problem = "the contract of this name is no longer traded, and had other terms"
    cure = "register the contract that has its name now with --generation"


class RequestReused(InvalidInput):
    problem = "this request id was used for something else"
    cure = "use a new request id for a new command"


class FormulaInvalid(InvalidInput):
    problem = "the formula cannot be read"
    cure = "write it like 0.5*0x9f3c000000000001 + 0.5*max(AAPL@XNAS, 1)"


class ValueMissing(AlphaPulseError, LookupError):
    problem = "a component has no value"
    cure = "give a value for each component"


class DivisionByZero(AlphaPulseError, ZeroDivisionError):
    problem = "a divisor is zero"
    cure = "look at the values of the components; the formula has no value for these"


class IllegalEvent(AlphaPulseError, ValueError):
    problem = "the event contradicts what the log says before it"
    cure = "run `alphapulse audit`"


class RelationCycle(IllegalEvent):
    problem = "the relation would lead back to where it starts"
    cure = "`alphapulse related KEY` shows the others; end the wrong one with `alphapulse unrelate`"


class FormulaCycle(IllegalEvent):
    problem = "the formula would use itself"
    cure = "take one of them out of its formula: `alphapulse amend KEY --formula`"


class UnknownComponent(IllegalEvent):
    problem = "the formula names an instrument that is not registered"
    cure = "register that first, or correct the formula"
