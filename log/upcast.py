"""Old versions of a kind's map, step by step, to the newest. One chain serves every path.

A step takes the map of version v as it was written and gives the map of version v+1. Frames are
never rewritten: the step runs each time an old frame is decoded. A version newer than ours is
refused, since guessing at it could lose facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import FormatTooNew, NotDecodable
from .kinds import KIND_NAMES, Kind

RawBody = dict[str, Any]
Step = Callable[[RawBody], RawBody]

VERSIONS: Final[dict[int, int]] = {int(kind): 1 for kind in Kind}
"""The version written today, for each kind."""

STEPS: Final[dict[tuple[int, int], Step]] = {}
"""(kind, version) to the step from that version to the next."""


def check_steps(versions: Mapping[int, int], steps: Mapping[tuple[int, int], Step]) -> None:
    """Every version ever written needs a step to the next one; raises ImportError if one lacks."""
    for kind, newest in versions.items():
        for version in range(1, newest):
            if (kind, version) not in steps:
                raise ImportError(f"{KIND_NAMES[kind]} has no upcast step from version {version}")


check_steps(VERSIONS, STEPS)


def upcast(
    kind: int,
    version: int,
    raw: RawBody,
    versions: Mapping[int, int] = VERSIONS,
    steps: Mapping[tuple[int, int], Step] = STEPS,
) -> RawBody:
    """The map as the newest version would have written it."""
    check_version(kind, version, versions)
    for step in range(version, versions[kind]):
        raw = steps[kind, step](raw)
    return raw


def check_version(kind: int, version: int, versions: Mapping[int, int] = VERSIONS) -> None:
    newest = versions.get(kind)
    if newest is None or version > newest:
        raise FormatTooNew(
            "decoding an event", kind=KIND_NAMES.get(kind, kind), version=version, known=newest
        )
    if version < 1:
        raise NotDecodable("decoding an event", kind=KIND_NAMES[kind], version=version)
