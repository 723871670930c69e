"""The write session: the one place where the log grows.

Whoever holds the session holds the writer lock, so nothing changes between a decision and its
commit. `append` builds frames in memory; `commit` makes one block of them, checks the head once
more in the store's own transaction, and returns after the flush. A session may commit several
times. Leaving it commits what is pending, unless an error is on its way out: then nothing of it
is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from .block import (
    BLOCK_EVENTS_MAX,
    BLOCK_SIZE_BYTES_MAX,
    Block,
    block_overhead_bytes,
    encode_block,
)
from .bodies import AnyBody
from .codec import Codec
from .errors import Closed, TooLarge
from .facets import Columns, columns_of
from .frame import NO_PREVIOUS, encode_body, encode_frame
from .kinds import SEVERITIES
from .lock import Holding
from .store import Head

_FRAMES_SIZE_BYTES_SURE: Final = BLOCK_SIZE_BYTES_MAX - block_overhead_bytes(BLOCK_EVENTS_MAX)
"""Frames of so many bytes fit a block, however many they are."""

if TYPE_CHECKING:
    from .eventlog import EventLog


class Draft(NamedTuple):
    """An event that was decided and has no offset yet.

    `metadata` is encoded (`encode_metadata`), since thousands of events of one file share it.
    """

    kind: int
    space: int
    entity: int
    previous: int | None
    body: AnyBody
    metadata: bytes = b""
    valid_from: int = 0


class Staged(NamedTuple):
    """Encoded events that belong together; made by `stage`, for `has_room` and `add`."""

    first: int
    time: int
    frames: list[bytes]
    columns: list[Columns]
    size_bytes: int
    """Of the frames."""


class Commit(NamedTuple):
    """What a commit wrote: offsets first to last, and the block itself.

    durable: False when the store does not wait for stable storage (relaxed, or a memory disk).
    """

    first: int
    last: int
    time: int
    durable: bool
    block: Block


class WriteSession:
    """Made by `EventLog.writing()`. `head` counts what is pending."""

    def __init__(self, log: EventLog, wait_s: float) -> None:
        self._log = log
        self._wait_s = wait_s
        self._holding: Holding | None = None
        self._frames: list[bytes] = []
        self._columns: list[Columns] = []
        self._size_bytes = 0
        self._time = 0
        self._base = Head(0, b"", 0)

    def __enter__(self) -> WriteSession:
        holding = self._log.lock.hold(self._wait_s)
        try:
            self._log.check_writable()
            self._base = self._log.store.head()
        except BaseException:
            holding.release()
            raise
        self._holding = holding
        return self

    @property
    def head(self) -> int:
        """The offset that the next event gets."""
        return self._base.offset + len(self._frames)

    @property
    def committed(self) -> Head:
        return self._base

    def stage(self, drafts: Sequence[Draft], codec: Codec = Codec.ZSTD) -> Staged:
        """The frames of events that stay together, for the offsets from `head` on. Not pending yet.

        Raises TooLarge, ClockOff. Stage one at a time: `add` it, or forget it.
        """
        head = self.head
        if len(drafts) > BLOCK_EVENTS_MAX:
            raise TooLarge(
                "staging events that stay together", events=len(drafts),
                events_max=BLOCK_EVENTS_MAX,
            )  # fmt: skip
        time = self._time if self._frames else self._log.clock.next_time(self._base.time)
        frames: list[bytes] = []
        columns: list[Columns] = []
        size_bytes = 0
        for offset, draft in enumerate(drafts, head):
            kind, space, entity, previous, body, metadata, valid_from = draft
            if previous is None:
                previous = NO_PREVIOUS
            fixed, rest = encode_body(body)
            frame = encode_frame(
                kind, space, offset, time, valid_from, entity, previous, fixed, rest, metadata,
                codec,
            )  # fmt: skip
            frames.append(frame)
            size_bytes += len(frame)
            columns.append(columns_of(kind, SEVERITIES[kind], entity, body))
        return Staged(head, time, frames, columns, size_bytes)

    def has_room(self, staged: Staged) -> bool:
        """Whether these fit the pending block; else `commit` first. An empty block takes any."""
        count = len(self._frames) + len(staged.frames)
        size_bytes = self._size_bytes + staged.size_bytes
        if count <= BLOCK_EVENTS_MAX and size_bytes <= _FRAMES_SIZE_BYTES_SURE:
            return True
        return not self._frames or (
            count <= BLOCK_EVENTS_MAX
            and size_bytes + block_overhead_bytes(count) <= BLOCK_SIZE_BYTES_MAX
        )

    def add(self, staged: Staged) -> None:
        """Makes staged events pending."""
        assert staged.first == self.head, "staged events are added at once, or not at all"
        if not self._frames:
            self._time = staged.time
        self._frames += staged.frames
        self._columns += staged.columns
        self._size_bytes += staged.size_bytes

    def append(self, draft: Draft, codec: Codec = Codec.ZSTD) -> int:
        """The offset the event will have once committed; a full block is committed before.

        For events that stand alone: those decided together are staged together.
        """
        staged = self.stage((draft,), codec)
        if not self.has_room(staged):
            self.commit()
        self.add(staged)
        return staged.first

    @property
    def pending(self) -> int:
        """Count of events that `commit` would write."""
        return len(self._frames)

    @property
    def durable(self) -> bool:
        """Whether a commit of this log waits for stable storage."""
        return self._log.store.durable

    def discard(self) -> None:
        """Forgets what is pending."""
        self._frames, self._columns, self._size_bytes = [], [], 0

    def look_again(self) -> None:
        """Forgets what is pending and reads the head anew, after a commit raised HeadMoved."""
        self.discard()
        self._base = self._log.store.head()

    def commit(self, *, ring: bool = True) -> Commit | None:
        """Writes what is pending as one block and waits for the flush; None if there is nothing.

        ring: wake who waits for events; else the caller does, once what they will ask is ready.

        On an error nothing of it is in the log, and it is no longer pending. Raises Closed when
        the log was closed since the session began.
        """
        if not self._frames:
            return None
        if not self._log.lock.is_mine:
            raise Closed("committing", problem="the session's log was closed")
        frames, columns = self._frames, self._columns
        self.discard()
        block = Block(
            encode_block(self._base.offset, self._time, self._base.chain, frames, columns)
        )
        self._log.store.append(block.data, self._base.offset)
        self._base = Head(block.stop, block.chain, block.time)
        self._log.after_commit(self._base)
        if ring:
            self._log.ring()
        return Commit(block.first, block.stop - 1, block.time, self._log.store.durable, block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            if kind is None:
                self.commit()
        finally:
            if self._holding is not None:
                self._holding.release()
