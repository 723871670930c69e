"""The feeds file: which files are of which format and from whom.

    [[feed]]
    pattern = "*.tokenlist.json"
    format = "token-list"        # else detected
    source = "uniswap"           # else what the file says, as `import` does

The first feed whose pattern fits the name is the file's. Their order is also that of precedence
among files that are there at one look: those of an earlier feed are imported first, so its word is
held, and a later one that disagrees raises a conflict.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.importers import FORMATS
from alphapulse.registry.importing import AUTO
from alphapulse.registry.writing import TEXT_SIZE_BYTES_MAX

FEEDS_FILE_SIZE_BYTES_MAX: Final = 1 << 20
_EXAMPLE: Final = 'write [[feed]] and under it pattern = "*.json"'


class Feed(NamedTuple):
    pattern: str
    """Of a file's name: `*`, `?` and `[…]` as in a shell, capitals told apart."""
    format: str = AUTO
    source: str = ""

    def fits(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern)


ANY: Final = (Feed("*"),)
"""What holds without a feeds file."""


def read_feeds(path: str | os.PathLike[str]) -> tuple[Feed, ...]:
    """The feeds in a file, in its order. Raises InvalidInput, naming the file, feed and key."""
    import tomllib  # takes 5 ms to load, which most users of a registry do not need

    doing = f"reading the feeds file {Path(path)}"
    try:
        with open(path, "rb") as file:
            data = file.read(FEEDS_FILE_SIZE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(
            doing, problem=f"it cannot be read: {why}", cure="name a file that you may read"
        ) from error
    if len(data) > FEEDS_FILE_SIZE_BYTES_MAX:
        raise InvalidInput(
            doing, problem=f"it has over {FEEDS_FILE_SIZE_BYTES_MAX} bytes", cure=_EXAMPLE
        )
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # what is no UTF-8 or no TOML is a ValueError
        raise InvalidInput(
            doing, problem=f"it is not TOML: {error}", cure="correct it there"
        ) from error
    return _feeds(doing, document)


def _feeds(doing: str, document: Mapping[str, object]) -> tuple[Feed, ...]:
    for key in document:
        if key != "feed":
            _refuse(doing, key, "there is no such key", _EXAMPLE)
    tables = document.get("feed")
    if not isinstance(tables, list) or not tables:
        _refuse(doing, "feed", "it is missing or no list of tables", _EXAMPLE)
    return tuple(_feed(doing, number, table) for number, table in enumerate(tables, 1))


def _feed(doing: str, number: int, table: object) -> Feed:
    doing = f"{doing}, feed {number}"
    if not isinstance(table, dict):
        _refuse(doing, "feed", "it is no table", _EXAMPLE)
    for key, value in table.items():
        if key not in Feed._fields:
            _refuse(doing, key, "there is no such key", f"use {', '.join(Feed._fields)}")
        if not isinstance(value, str) or not value:
            _refuse(doing, key, "it must be text that is not empty", "put it in quotes")
    feed = Feed(**{"pattern": "", **table})
    if not feed.pattern or "/" in feed.pattern:
        _refuse(
            doing, "pattern", "it is missing" if not feed.pattern else "names have no /",
            'give a pattern of file names: "*.json"',
        )  # fmt: skip
    if feed.format != AUTO and feed.format not in FORMATS:
        known = ", ".join(FORMATS)
        _refuse(doing, "format", f"there is no format {feed.format!r}", f"use {AUTO} or {known}")
    if feed.source:
        try:
            source = validation.text(feed.source, "source", TEXT_SIZE_BYTES_MAX)
        except InvalidInput as error:
            raise InvalidInput(
                doing, problem=error.why, cure=error.advice, key="source"
            ) from error
        feed = feed._replace(source=source)
    return feed


def _refuse(doing: str, key: str, problem: str, cure: str) -> NoReturn:
    raise InvalidInput(doing, problem=problem, cure=cure, key=key)
