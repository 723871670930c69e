"""What the command line prints: JSON Lines, plain text for pipes, colours and boxes for terminals.

Names and symbols come from feeds and are untrusted: whatever could move a cursor, hide or reorder
text is shown as an escape, here and nowhere else, so no verb can forget it. `rich` only ever gets
`Text`, never markup, so `[Legacy]` in a name is text. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

    from alphapulse.log import AlphaPulseError

GAP: Final = "  "
STYLES: Final = {
    "active": "green", "new": "green", "ok": "green", "equal": "green", "yes": "green",
    "amended": "yellow", "pending": "yellow", "halted": "yellow", "warning": "yellow",
    "collision": "bold red", "critical": "bold red", "FAILED": "bold red", "differs": "bold red",
    "delisted": "dim", "expired": "dim", "migrated": "dim", "unchanged": "dim",
}  # fmt: skip
"""Colour of a cell on a terminal, by its whole text. A pipe gets the words alone."""
_TIMES: Final = ("valid_from", "valid_to", "expiry", "last_trade", "symbol_from", " until")
"""How the names of fields that are times end."""
_UNSAFE_IN_JSON: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


def escape(text: str) -> str:
    r"""Text that is safe on a terminal: `a\x1b[2J\u202eb`. Spaces other than U+0020 show too."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )  # fmt: skip


def width_of(text: str) -> int:
    """Columns that escaped text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character)
        else 2 if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )  # fmt: skip


def shown(value: object) -> str:
    """A value of a JSON form as people read it: nothing for what is not known."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def short_time(value: object) -> str:
    """`2025-11-24T16:00:00.000000001Z` as `2025-11-24 16:00:00`; a midnight as its date alone."""
    text = shown(value)
    day, _, clock = text.partition("T")
    return day if clock == "00:00:00.000000000Z" else f"{day} {clock[:8]}".rstrip()


def duration(value_ns: object) -> str | None:
    """`1.25 ms`: three or four digits and a unit."""
    if not isinstance(value_ns, int):
        return None
    for unit, size_ns in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if value_ns >= size_ns:
            return f"{value_ns / size_ns:.4g} {unit}"
    return f"{value_ns} ns"


def short_value(field: object, value: object) -> object:
    """The value of a field of an instrument: times as tables show them."""
    return short_time(value) if str(field).endswith(_TIMES) else value


def short_hash(value: object) -> str:
    """Enough of a digest to compare by eye; `--json` has all of it."""
    return shown(value)[:12]


def json_line(record: Mapping[str, object]) -> bytes:
    """One line of JSON. What a terminal would obey is written as an escape: the value is equal."""
    import msgspec

    line = msgspec.json.encode(record)
    if line.isascii() and b"\x7f" not in line:
        return line + b"\n"
    return _UNSAFE_IN_JSON.sub(_json_escape, line.decode()).encode() + b"\n"


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


class Column(NamedTuple):
    """Of a table: `key` names the field of a row's dict."""

    key: str
    title: str = ""
    right: bool = False
    whole: bool = False
    """Never wrapped or cut on a terminal: ids and offsets are copied from there."""


class Output:
    """Where results go. Made for each run of a verb; `stream` for whoever wants the bytes."""

    def __init__(self, *, json: bool, stream: BinaryIO | None = None) -> None:
        self.json = json
        self.hints = True
        """Whether to say what to type next."""
        self._stream = stream
        self._console: Console | None = None
        if stream is None and not json and sys.stdout.isatty():
            from rich.console import Console

            self._console = Console(
                file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True
            )

    def records(self, records: Iterable[Mapping[str, object]]) -> None:
        """JSON Lines, one for each record."""
        for record in records:
            self._write(json_line(record))

    def line(self, text: str = "", style: str = "") -> None:
        """One line of text, escaped."""
        text = escape(text)
        if self._console is None:
            self._write(text.encode("utf-8", "backslashreplace") + b"\n")
        else:
            from rich.text import Text

            self._console.print(Text(text, style=style or STYLES.get(text, "")))

    def cells(self, *cells: tuple[str, int]) -> None:
        """One line of a stream of lines: (text, width) each, negative widths align right."""
        padded = [_pad(escape(text), width) for text, width in cells]
        if self._console is None:
            line = GAP.join(padded).rstrip()
            self._write(line.encode("utf-8", "backslashreplace") + b"\n")
            return
        from rich.text import Text

        joined = Text()
        for (text, _), cell in zip(cells, padded, strict=True):
            joined.append(cell + GAP, STYLES.get(text, ""))
        joined.rstrip()
        self._console.print(joined)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """One thing, a line for each thing known of it; what is empty is left out."""
        known = [(name, escape(value)) for name, value in pairs if value]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            if self._console is None:
                line = f"{name.ljust(width)}{GAP}{value}\n"
                self._write(line.encode("utf-8", "backslashreplace"))
            else:
                from rich.text import Text

                line_text = Text(name.ljust(width) + GAP, style="dim")
                line_text.append(value, style=STYLES.get(value, "not dim"))
                self._console.print(line_text)

    def table(
        self, columns: Sequence[Column], rows: Sequence[Mapping[str, object]]
    ) -> None:
        """Aligned columns. A column without any value is left out."""
        cells = [[escape(shown(row[column.key])) for column in columns] for row in rows]
        kept = [index for index in range(len(columns)) if any(row[index] for row in cells)]
        columns = [columns[index] for index in kept]
        cells = [[row[index] for index in kept] for row in cells]
        titles = [column.title or column.key.replace("_", " ") for column in columns]
        if self._console is not None:
            self._rich_table(columns, titles, cells)
            return
        widths = [
            max(width_of(title), *(width_of(row[index]) for row in cells))
            for index, title in enumerate(titles)
        ]
        for row in (titles, *cells):
            padded = [
                _pad(cell, -width if column.right else width)
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self._write(
                GAP.join(padded).rstrip().encode("utf-8", "backslashreplace") + b"\n"
            )

    def _rich_table(
        self, columns: Sequence[Column], titles: Sequence[str], cells: Sequence[Sequence[str]]
    ) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        assert self._console is not None
        table = Table(
            box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold"
        )
        for column, title in zip(columns, titles, strict=True):
            table.add_column(
                title, justify="right" if column.right else "left", no_wrap=column.whole,
                overflow="fold", min_width=width_of(title) if column.whole else None,
            )  # fmt: skip
        for row in cells:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        self._console.print(table, soft_wrap=False)

    def flush(self) -> None:
        if self._console is None:
            self._binary().flush()
        else:
            sys.stdout.flush()

    def _binary(self) -> BinaryIO:
        return self._stream if self._stream is not None else sys.stdout.buffer

    def _write(self, data: bytes) -> None:
        self._binary().write(data)


def _pad(cell: str, width: int) -> str:
    missing = " " * max(abs(width) - width_of(cell), 0)
    return missing + cell if width < 0 else cell + missing


# stderr: notes, alerts, errors, progress


def note(text: str) -> None:
    """A remark for people. Verbs leave it out with --json."""
    click.echo(escape(text), err=True)


def error_dict(error: AlphaPulseError) -> dict[str, str]:
    """`error`, `doing` and `cure`; what the error lists to choose from stands in the cure."""
    fields, lines = error.as_json(), getattr(error, "lines", ())
    if lines:
        fields["cure"] = f"{fields['cure']}: {'; '.join(lines)}"
    return fields


def print_error(error: AlphaPulseError, *, as_json: bool) -> None:
    """One error on stderr: for people two lines, and what the error lists in between."""
    sys.stdout.flush()
    if as_json:
        print_error_json(error_dict(error))
        return
    problem = error.as_json()["error"].partition(": ")[2]
    click.echo(f"error: {escape(error.doing)}: {escape(problem)}", err=True)
    for line in getattr(error, "lines", ()):
        click.echo(f"       {escape(line)}", err=True)
    click.echo(f"cure: {escape(error.advice)}", err=True)


def print_error_json(fields: Mapping[str, str]) -> None:
    """ASCII only: arguments may hold bytes that are no text."""
    click.echo(json.dumps(dict(fields)), err=True)


class Report(Protocol):
    """Called with events or rows done, how many there are if known, and of what."""

    def __call__(self, done: int, total: int | None = None, label: str = "") -> None: ...


@contextmanager
def progress(label: str, *, stream: TextIO | None = None) -> Iterator[Report]:
    """A bar on stderr while the body runs, and nothing at all when that is no terminal."""
    if not (stream or sys.stderr).isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done, total=None, label="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream or sys.stderr, markup=False, highlight=False, emoji=False)
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task(escape(label), total=None)

        def report(done: int, total: int | None = None, label: str = "") -> None:
            bar.update(task, completed=done, total=total)
            if label:
                bar.update(task, description=escape(label))

        yield report
