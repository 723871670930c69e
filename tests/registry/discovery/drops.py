"""Files as feeds leave them."""

from __future__ import annotations

from pathlib import Path

from alphapulse.registry import Discovery, Found
from tests.registry.homes import isin


def content(number: int, rows: int = 1) -> str:
    """A listing CSV; another number is other instruments."""
    lines = [f"{isin(number * 1_000 + row)},XNAS,S{number}R{row},USD" for row in range(rows)]
    return "\n".join(["isin,mic,symbol,currency", *lines, ""])


def drop(directory: Path, name: str, text: str) -> Path:
    """As a good feed does it: complete at once, by a rename."""
    part = directory / f".{name}.part"
    part.write_text(text)
    part.rename(directory / name)
    return directory / name




def told(discovery: Discovery) -> list[tuple[str, str]]:
    """(what, name) of what one look comes to."""
    return [(found.what, found.path.name) for found in discovery.look()]


def problem(found: Found) -> str:
    assert found.problem is not None
    return str(found.problem)
