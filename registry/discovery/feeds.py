"""The feeds file: which files are of which format and from whom, and what holds for sources.

    precedence = ["exchange", "listing-csv"]   # whose word stands when two of them disagree

    [seen]                             # what becomes of unknown instruments that a source saw
    "chain-collector" = "auto"         # else "propose"

    [[feed]]
    pattern = "*.tokenlist.json"
    format = "token-list"              # else detected
    source = "uniswap"                 # else what the file says, as `import` does

    [[feed]]
    pattern = "xnas_*.csv"
    source = "exchange"
    complete = true                    # each file names all that the source knows
    missing_after = 3                  # complete files without an instrument until it is proposed
    drop_max_percent = 10              # a file that is shorter by more is short: it counts for none
    quarantined_max = 0                # so is one with more rows that cannot be read: it is broken

The first feed whose pattern fits the name is the file's. Among files that are there at one look
those of an earlier feed are imported first. `precedence` and `seen` are stated in the log, where
they stay in force until a feeds file says otherwise; one without them changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands_feeds import StateRules
from alphapulse.registry.importers import FORMATS
from alphapulse.registry.importing import AUTO
from alphapulse.registry.snapshots import DROP_MAX_PERCENT, PERCENT
from alphapulse.registry.writing import TEXT_SIZE_BYTES_MAX

FEEDS_FILE_SIZE_BYTES_MAX: Final = 1 << 20
MISSING_AFTER: Final = 3
_EXAMPLE: Final = 'write [[feed]] and under it pattern = "*.json"'


class Feed(NamedTuple):
    pattern: str
    """Of a file's name: `*`, `?` and `[…]` as in a shell, capitals told apart."""
    format: str = AUTO
    source: str = ""
    complete: bool = False
    """Whether each file names all that its source knows."""
    missing_after: int = MISSING_AFTER
    """After how many complete files without it an instrument is proposed to be delisted."""
    drop_max_percent: int = DROP_MAX_PERCENT
    """By how much a file may name fewer instruments than the complete one before."""
    quarantined_max: int = 0
    """With how many rows in quarantine a file still counts as complete."""

    def fits(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern)


class FeedsFile(NamedTuple):
    feeds: tuple[Feed, ...]
    rules: StateRules = StateRules()
    """What it states for sources."""


ANY: Final = FeedsFile((Feed("*"),))
"""What holds without a feeds file."""
_RANGES: Final = {
    "missing_after": range(1, 1_001), "drop_max_percent": range(PERCENT + 1),
    "quarantined_max": range(1_000_001),
}  # fmt: skip
"""Of the integers, which say something of complete files alone."""


def read_feeds(path: str | os.PathLike[str]) -> FeedsFile:
    """The feeds in a file, in its order; any file is one where it only states rules. Raises
    InvalidInput, naming the file, feed and key."""
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


def _feeds(doing: str, document: Mapping[str, object]) -> FeedsFile:
    for key in document:
        if key not in ("feed", "precedence", "seen"):
            _refuse(doing, key, "there is no such key", _EXAMPLE)
    rules = _rules(doing, document.get("precedence"), document.get("seen"))
    if "feed" not in document and document:
        return FeedsFile(ANY.feeds, rules)
    tables = document.get("feed")
    if not isinstance(tables, list) or not tables:
        _refuse(doing, "feed", "it is missing or no list of tables", _EXAMPLE)
    feeds = tuple(_feed(doing, number, table) for number, table in enumerate(tables, 1))
    return FeedsFile(feeds, rules)


def _rules(doing: str, precedence: object, seen: object) -> StateRules:
    if precedence is not None and not isinstance(precedence, list):
        _refuse(doing, "precedence", "it is no list", 'write precedence = ["exchange", "list"]')
    if seen is not None and not isinstance(seen, dict):
        _refuse(doing, "seen", "it is no table", 'write [seen] and under it "SOURCE" = "auto"')
    try:
        return StateRules.make(precedence, seen)
    except InvalidInput as error:
        error.doing = f"{doing}: {error.doing}"
        raise


def _feed(doing: str, number: int, table: object) -> Feed:
    doing = f"{doing}, feed {number}"
    if not isinstance(table, dict):
        _refuse(doing, "feed", "it is no table", _EXAMPLE)
    for key, value in table.items():
        if key not in Feed._fields:
            _refuse(doing, key, "there is no such key", f"use {', '.join(Feed._fields)}")
        _check_value(doing, key, value)
    feed = Feed(**{"pattern": "", **table})
    if not feed.pattern or "/" in feed.pattern:
        _refuse(
            doing, "pattern", "it is missing" if not feed.pattern else "names have no /",
            'give a pattern of file names: "*.json"',
        )  # fmt: skip
    if feed.format != AUTO and feed.format not in FORMATS:
        known = ", ".join(FORMATS)
        _refuse(doing, "format", f"there is no format {feed.format!r}", f"use {AUTO} or {known}")
    _check_complete(doing, feed, table)
    if feed.source:
        try:
            source = validation.text(feed.source, "source", TEXT_SIZE_BYTES_MAX)
        except InvalidInput as error:
            raise InvalidInput(
                doing, problem=error.why, cure=error.advice, key="source"
            ) from error
        feed = feed._replace(source=source)
    return feed


def _check_value(doing: str, key: str, value: object) -> None:
    if key == "complete":
        if not isinstance(value, bool):
            _refuse(doing, key, "it must be true or false", "write it without quotes")
    elif key in _RANGES:
        known = _RANGES[key]
        if type(value) is not int or value not in known:
            problem = f"it must be an integer from {known[0]} to {known[-1]}"
            _refuse(doing, key, problem, f"try {Feed._field_defaults[key]}")
    elif not isinstance(value, str) or not value:
        _refuse(doing, key, "it must be text that is not empty", "put it in quotes")


def _check_complete(doing: str, feed: Feed, table: Mapping[str, object]) -> None:
    if feed.complete and not feed.source:
        _refuse(doing, "source", "complete files need a source", "say whose instruments they are")
    for key in _RANGES:
        if key in table and not feed.complete:
            _refuse(doing, key, "it is about complete files", "add complete = true, or drop it")


def _refuse(doing: str, key: str, problem: str, cure: str) -> NoReturn:
    raise InvalidInput(doing, problem=problem, cure=cure, key=key)
