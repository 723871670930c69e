"""What makes the formula of a synthetic a legal one; see `formula` for how it is written.

It stands there in its one spelling, with its hash. That a formula uses itself through others would
send whoever works it out round for ever, so it is refused with the way it goes. The newest formula
of each synthetic counts, whatever date it names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

from alphapulse.log import AnyBody, AssetClass, InstrumentBody, InvalidInput

from .formula import canonical, formula_hash, parse

USES_MAX: Final = 100_000
"""Components that are looked at for a way back. What would lead to more is not added to a formula
that others may use."""
_PATH_SHOWN_MAX: Final = 20


class Uses(Protocol):
    def components(self, instrument: int) -> Iterable[int]:
        """Ids of what the newest formula of an instrument uses; none when it has no formula."""


def formula_of(body: AnyBody) -> str:
    """The canonical text; empty for what is no synthetic."""
    if not isinstance(body, InstrumentBody) or body.message[2] != AssetClass.SYNTHETIC:
        return ""
    return str(body.extension.terms.get("formula", ""))


def flaw(body: InstrumentBody) -> str:
    """Which rule of its own a synthetic's state breaks; empty when it breaks none."""
    text = formula_of(body)
    try:
        tree = parse(text)
    except InvalidInput as error:
        return f"its formula cannot be read: {error.why}"
    if canonical(tree) != text:
        return "its formula is not in its canonical form"
    if body.extension.terms.get("formula_hash") != formula_hash(text):
        return "the hash of its formula is another"
    return ""


def way_back(
    state: Uses, entity: int, used: Collection[int], *, is_new: bool = False
) -> list[int] | None:
    """Ids from a synthetic back to itself, were it made of these: the circle that they would close.

    is_new: it is not registered, so no formula can lead to it but its own. Empty when there is
    none, None when over USES_MAX components would have to be looked at. Cost: 8 µs for each
    component on the way; of a new one, nothing.
    """
    if is_new:
        return [entity, entity] if entity in used else []
    came_from: dict[int, int] = {}
    frontier: list[tuple[int, Iterable[int]]] = [(entity, used)]
    looked_at = 0
    while frontier:
        user, its = frontier.pop()
        for component in its:
            looked_at += 1
            if looked_at > USES_MAX:
                return None
            if component == entity:
                path = [entity, user]
                while path[-1] != entity:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if component not in came_from:
                came_from[component] = user
                frontier.append((component, state.components(component)))
    return []


def path_text(path: Sequence[int]) -> str:
    """`0x… uses 0x… uses 0x…`, of a long way only its ends."""
    ids = [f"0x{id:016x}" for id in path]
    if len(ids) > _PATH_SHOWN_MAX:
        half = _PATH_SHOWN_MAX // 2
        ids[half:-half] = [f"… {len(ids) - _PATH_SHOWN_MAX} more …"]
    return " uses ".join(ids)
