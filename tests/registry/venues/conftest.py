from __future__ import annotations

import json

import pytest

from tests.registry.venues.exporting import GOLDEN, unpacked


@pytest.fixture(scope="session")
def golden() -> dict[str, list[tuple[int, ...]]]:
    """By MIC the instants of each session of 2020 to 2026, ns, as exchange_calendars had them."""
    calendars = json.loads(GOLDEN.read_text())["calendars"]
    return {mic: unpacked(text) for mic, text in calendars.items()}
