"""The errors of views and their tables."""

from __future__ import annotations

from alphapulse.log import AlphaPulseError


class ViewFull(AlphaPulseError):
    problem = "there is no space for the view"
    cure = "free disk space; the previous generation of the view stays in use"


class ViewUnusable(AlphaPulseError):
    problem = "the view file cannot be used"
    cure = "it is derived: rebuild it from the log (`alphapulse rebuild`)"
