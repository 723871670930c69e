"""What comes with the project: hours (`data/*.toml`, in the form that people write, by MIC), the
list of MICs, and what ccxt says of crypto venues.

data/SOURCES.md says where they are from. They are an offer: nothing holds for a venue of a registry
until it is written there.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from alphapulse.log import InvalidInput
from alphapulse.registry import validation

from .hours import Hours
from .hours_text import hours_of_toml

ALWAYS: Final = "always"
"""The hours of crypto venues, which have no MIC: open at every instant."""
_MICS: Final = ("XETR", "XFRA", "XHKG", "XLON", "XNAS", "XNYS", "XPAR", "XSWX", "XTKS")


FILES: Final = {"mic-list": "iso10383_mic.csv", "crypto-venues": "ccxt_venues.json"}
"""Files to import, by the names that people give them."""


def bundled_file(name: str) -> Path:
    """Of a name in `FILES`: a file for `import_file`. Raises InvalidInput."""
    if name not in FILES:
        raise InvalidInput(
            "looking for a bundled file", problem="there is none of this name",
            name=validation.shown(name), cure=f"use {' or '.join(FILES)}",
        )  # fmt: skip
    return Path(str(resources.files("alphapulse.registry.venues") / "data" / FILES[name]))


def bundled_names() -> tuple[str, ...]:
    """MICs, and `ALWAYS`."""
    return *_MICS, ALWAYS


@cache
def bundled_hours(name: str) -> Hours:
    """The hours of a MIC, or `ALWAYS`. Raises InvalidInput. Cost: 10 ms, once."""
    if name not in bundled_names():
        raise InvalidInput(
            "looking up bundled hours", problem="none come with this project",
            venue=validation.shown(name), cure=f"write them as TOML, or use {', '.join(_MICS)}",
        )  # fmt: skip
    file = resources.files("alphapulse.registry.venues") / "data" / f"{name}.toml"
    return hours_of_toml(file.read_bytes())
