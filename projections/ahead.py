"""What views saw of the log, as evidence: they are derived, but they cannot be ahead of it."""

from __future__ import annotations

from typing import NamedTuple

from alphapulse.log import EventLog

from . import engine
from .errors import ViewUnusable
from .generations import Generations
from .table import Table
from .views import VIEWS_BY_NAME


class Ahead(NamedTuple):
    """A view that has folded more events than the log has."""

    view: str
    applied: int
    head: int


def ahead_of(log: EventLog) -> Ahead | None:
    """A view in force that saw more of this log than is left of it; None when there is none.

    Events are folded once they are committed, so that is a log whose tail is gone. A header tells
    it in three words that agree, so that one which was damaged tells nothing. Only looks: opening
    `Views` makes such a view again, and nothing knows of it any more. Cost: 0.2 ms.
    """
    generations, boot_id = Generations(log.home.views), engine.this_boot()
    current = generations.current()
    for name, view in VIEWS_BY_NAME.items():
        path = generations.path(name, current.get(name, 0))
        try:
            table = Table.open(path, view.schema, log.genesis.log_id, boot_id=boot_id)
        except ViewUnusable:
            continue  # whoever opens the views makes it again
        with table:
            applied = table.applied
            agree = applied == table.in_progress == table.totals.applied
        if agree and applied > (head := log.head):  # asked last: the log may be written to
            return Ahead(name, applied, head)
    return None
