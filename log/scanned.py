"""A block that a pattern looks at by its columns, and whose frames are fetched when they match.

Columns are a tenth of a block. Copying the rest of it out of the store is what a scan would spend
its time on, and where few events match, nobody reads that. So a long block comes without its
frames; those that are asked for are copied by a second look at the store, and checked like others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING

from .block import Block
from .errors import NotDecodable
from .frame import Event, events_of

if TYPE_CHECKING:
    from .eventlog import EventLog

_MANY = 4
"""Where one event of so many or more is wanted, the whole block is fetched."""


class ScannedBlock(Block):
    """One of `EventLog.blocks(scanned=True)`, for columns and events; `data` may lack the frames.

    Those come from the log, which is to stay open.
    """

    __slots__ = ("_log",)
    may_lack_frames = True

    def __init__(self, data: bytes, log: EventLog) -> None:
        super().__init__(data)
        self._log = log

    def event(self, index: int, *, verify: bool = True) -> Event:
        if self._has_frames:
            return super().event(index, verify=verify)
        return self._whole().event(index, verify=verify)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[Event]:
        if self._has_frames:
            return super().events(start, stop)
        return self._whole().events(start, stop)

    def events_at(self, indexes: Sequence[int]) -> Iterator[Event]:
        """Raises, beside what they do of a whole block, NoLongerKept. Cost: 5 µs, 2 µs each."""
        if not indexes:
            return iter(())
        if self._has_frames:
            return super().events_at(indexes)
        if len(indexes) * _MANY < self.count:
            try:
                bounds = [self.frame_bounds(index) for index in indexes]
            except NotDecodable:
                pass  # those before it are good, and come first
            else:
                return self._fetched(indexes, bounds)
        return self._whole().events_at(indexes)

    def check_chain(self, previous: bytes) -> None:
        if self._has_frames:
            super().check_chain(previous)
        else:
            self._whole().check_chain(previous)

    def prefix(self, stop: int, previous_chain: bytes) -> bytes:
        if self._has_frames:
            return super().prefix(stop, previous_chain)
        return self._whole().prefix(stop, previous_chain)

    def _fetched(
        self, indexes: Sequence[int], bounds: Sequence[tuple[int, int]]
    ) -> Iterator[Event]:
        sizes = [end - start for start, end in bounds]
        ends = list(accumulate(sizes))
        frames = self._log.store.frames(self.first, bounds)
        if len(frames) != ends[-1]:
            return self._whole().events_at(indexes)  # it is gone, or shorter than it says
        offsets = [self.first + index for index in indexes]
        places = zip(offsets, map(sub, ends, sizes), ends, strict=True)
        return events_of(frames, places, lambda offset: self._whole().at(offset))

    @property
    def _has_frames(self) -> bool:
        return len(self.data) == self.size_bytes

    def _whole(self) -> Block:
        return self._log.whole_block(self.first)
