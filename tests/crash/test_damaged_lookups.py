"""Words of a view damaged in place, under a good header: lookups say so with the cure, in time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stdnum import isin as isins

from alphapulse.log import AlphaPulseError
from alphapulse.projections import TableReader, ViewUnusable, isin_key
from alphapulse.registry import Equity, Listing, Registry

ISIN, VENUES = "US0378331005", ("XETR", "XNAS", "XLON")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lookups") / "home"
    with Registry.open(home, durability="relaxed") as registry:
        id = registry.register(Equity(isin=ISIN, symbol="AAPL")).id
        for venue in VENUES:
            registry.add_listing(Listing(instrument=id, venue=venue))
        other = f"US037833101{isins.calc_check_digit('US037833101')}"
        one = registry.register(Equity(isin=other, symbol="ONE")).id
        registry.add_listing(Listing(instrument=one, venue="XETR"))
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "home")
    return tmp_path / "home"


def slot(table: TableReader, secondary: str, key: int) -> int:
    """Word number in the file of the posting word under a key."""
    number = table.index_number(secondary)
    start = table.geometry.index_at(number) >> 3
    stop = table.geometry.index_at(number + 1) >> 3
    return next(at + 1 for at in range(start, stop, 2) if table.words[at] == key)


def followed(registry: Registry) -> Iterator[tuple[str, int]]:
    """(view, word number) of every word between the ISIN and its listings' records."""
    instruments, listings = (registry.views.table(n) for n in ("instruments", "listings"))
    found = registry.by_isin(ISIN)
    assert found is not None
    yield "instruments", slot(instruments, "isin", isin_key(ISIN))
    primary = instruments.geometry.index_at(0) - 16 * (1 << instruments.geometry.primary_bits)
    yield "instruments", (primary >> 3) + instruments.cell(found.id)
    at = slot(listings, "instrument", found.id)
    yield "listings", at
    block = (listings.geometry.postings_at >> 3) + listings.words[at]
    for number in range(1, 2 + len(VENUES)):
        yield "listings", block + number
    for cell in listings.postings("instrument", found.id):
        yield "listings", (primary >> 3) + cell


def flip(home: Path, view: str, word: int, bit: int) -> None:
    (path,) = (home / "views").glob(f"{view}.*")
    with open(path, "r+b") as file:
        file.seek(8 * word + (bit >> 3))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1 << (bit & 7)]))


def test_any_bit_on_the_way_from_an_isin_to_its_listings(home: Path) -> None:
    """Nothing but our own errors, and some of them name the view and the cure."""
    with Registry.open(home, mode="r") as registry:
        found = registry.by_isin(ISIN)
        assert found is not None
        id = found.id
        places = list(followed(registry))
    assert len(places) == 7 + len(VENUES)
    cures, wrong = 0, 0
    with Registry.open(home, mode="r") as registry:
        uses: tuple[Callable[[], object], ...] = (
            lambda: list(registry.listings_by_isin(ISIN)),
            lambda: registry.listings_by_isin(ISIN)[0],
            lambda: list(registry.listings(id)),
            lambda: registry.listing_bodies(id),
            lambda: registry.by_isin(ISIN),
            lambda: registry.history(id),
        )
        for view, word in places:
            for bit in range(64):
                flip(home, view, word, bit)
                for use in uses:
                    try:
                        use()
                    except ViewUnusable as error:
                        cures += "alphapulse rebuild" in str(error)
                    except AlphaPulseError:
                        wrong += 1
                flip(home, view, word, bit)
        assert [len(list(registry.listings_by_isin(ISIN))), len(registry.listings(id))] == [3, 3]
    assert cures > 1000, (cures, wrong)
