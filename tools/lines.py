"""JSON Lines from a pipe: as they come, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NoReturn

LINE_SIZE_BYTES_MAX: Final = 1 << 20
_READ_SIZE_BYTES: Final = 1 << 16


def parsed(line: bytes | None) -> dict[str, Any]:
    """The object of a line. Raises InvalidInput."""
    import json

    from alphapulse.log import InvalidInput

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise InvalidInput("reading JSON", problem="a key stands twice in one object")
        return found

    if line is None:
        raise InvalidInput(
            "reading JSON", problem="the line is too long", size_bytes_max=LINE_SIZE_BYTES_MAX
        )
    try:
        fields = json.loads(line, object_pairs_hook=once, parse_constant=_no_number)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInput("reading JSON", problem=str(error)[:200]) from error
    if not isinstance(fields, dict):
        raise InvalidInput("reading JSON", problem="it is no object", cure="write {…} in each line")
    return fields


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def batches(stream: BinaryIO) -> Iterator[list[bytes | None]]:
    """The lines that can be read without waiting, again and again; None for one that is too long.

    Memory stays bounded: a longer line is dropped as it comes.
    """
    rest, skipping = b"", False
    read = getattr(stream, "read1", stream.read)
    while data := read(_READ_SIZE_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        batch: list[bytes | None] = list(lines)
        if skipping and lines:
            batch[0], skipping = None, False
        if len(rest) > LINE_SIZE_BYTES_MAX:
            rest, skipping = b"", True
        yield [
            line if line is None or len(line) <= LINE_SIZE_BYTES_MAX else None for line in batch
        ]
    if skipping or rest:
        yield [None if skipping else rest]
