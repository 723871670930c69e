"""Words of a view damaged in place, under a good header: lookups say so with the cure, in time.

And events that the log lost: nobody is told that he asked for the wrong thing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import lmdb
import pytest
from stdnum import isin as isins

from alphapulse.log import (
    AcknowledgedBody,
    AlphaPulseError,
    CollisionBody,
    ConflictBody,
    Corrupt,
    Draft,
    EventLog,
    Kind,
)
from alphapulse.projections import VIEWS, TableReader, ViewUnusable, isin_key, request_key
from alphapulse.projections.layout import PAYLOAD_SIZE_BYTES
from alphapulse.registry import Equity, Listing, Registry
from alphapulse.tools.verb import exit_code

from .lists import tokens

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


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with something in every view: a collision, a conflict, a relation, a request."""
    home = tmp_path_factory.mktemp("merged") / "home"
    with Registry.open(home, durability="relaxed", id_bits=8) as registry:
        id = registry.register(Equity(isin=ISIN, symbol="AAPL"), source="a", request_id="r").id
        registry.add_listing(Listing(instrument=id, venue="XETR", symbol="AAPL"))
        registry.amend(id, name="Apple", source="a")
        registry.register(Equity(isin=ISIN, symbol="OTHER"), source="b")
        receipt = registry.register(tokens(1)[0])
        for token in tokens(100)[1:]:
            if (receipt := registry.register(token)).outcome == "collision":
                break
        registry.add_to_group(receipt.id, "a", "g")
        registry.relate(id, "same_as", receipt.id)
    return home


def uses_of(registry: Registry) -> tuple[Callable[[], object], ...]:
    """Questions that follow each kind of offset in a view to the log."""
    apple = registry.by_isin(ISIN)
    (body,) = (b for e, _ in registry.alerts() if isinstance(b := e.body, CollisionBody))
    assert apple is not None
    id, other, holder, head = apple.id, body.assigned, body.holder, registry.log.head
    return (
        lambda: registry.lookup.find("AAPL"),
        lambda: registry.lookup.find("AAPL", when=registry.when(3)),
        lambda: registry.lookup.find("AAPL", when=registry.when(None, "2020-01-01")),
        lambda: registry.history(id), lambda: registry.history(holder),
        lambda: registry.listing_bodies(id), lambda: registry.listing_bodies(id, as_of=2),
        lambda: registry.siblings(other), lambda: registry.related(id),
        lambda: registry.related(id, as_of=head - 1), lambda: registry.alerts(),
        lambda: registry.offset_of_request("r"),
    )  # fmt: skip


def test_any_offset_that_a_view_names(merged: Path) -> None:
    """Wrong by one bit it leads nowhere, to another's event, or to what is as good."""
    cures = 0
    with Registry.open(merged, mode="r") as registry:
        uses, places = uses_of(registry), []
        for view in VIEWS:
            table = registry.views.table(view.schema.name)
            for _, position in islice(table.keys(), 4):
                at = position + PAYLOAD_SIZE_BYTES
                places += [(view.schema.name, at >> 3), (view.schema.name, (at >> 3) + 1)]
                if view.schema.name in ("alerts", "requests"):
                    places.append((view.schema.name, position >> 3))
        for view_name, word in places:
            for bit in (0, 2, 5, 51, 63):
                flip(merged, view_name, word, bit)
                for use in uses:
                    try:
                        use()
                    except ViewUnusable as error:
                        cures += "alphapulse rebuild" in str(error)
                flip(merged, view_name, word, bit)
        for use in uses:
            use()
    assert cures > 50, cures


def test_who_writes_is_told_of_the_view_too(merged: Path, tmp_path: Path) -> None:
    shutil.copytree(merged, tmp_path / "home")
    with Registry.open(tmp_path / "home", durability="relaxed") as registry:
        found = registry.by_isin(ISIN)
        assert found is not None
        table, head = registry.views.table("instruments"), registry.log.head
        word = (table.find(found.id) + PAYLOAD_SIZE_BYTES >> 3) + 1
        flip(tmp_path / "home", "instruments", word, 51)
        with pytest.raises(ViewUnusable, match="alphapulse rebuild"):
            registry.amend(found.id, symbol="NEW")
        requests = registry.views.table("requests")
        flip(tmp_path / "home", "requests", requests.find(request_key("r")[0]) >> 3, 40)
        with pytest.raises(ViewUnusable, match="alphapulse rebuild"):
            registry.register(Equity(isin=ISIN, symbol="AAPL"), source="a", request_id="r")
        assert registry.log.head == head
        registry.rebuild()
        assert registry.amend(found.id, symbol="NEW").offset == head
        again = registry.register(Equity(isin=ISIN, symbol="AAPL"), source="a", request_id="r")
        assert again.offset == 0


def test_a_fold_does_not_blame_the_log_for_what_a_record_says(merged: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(merged, home)
    with Registry.open(home, mode="r") as registry:
        (at,) = (e for e, _ in registry.alerts() if isinstance(e.body, ConflictBody))
        table = registry.views.table("instruments")
        position = table.find(at.entity)
        last = table.trailer(position).last_offset
    body = AcknowledgedBody(alert=at.offset)
    with EventLog.open(home) as log, log.writing() as session:  # which no view has folded yet
        session.append(Draft(Kind.ALERT_ACKNOWLEDGED, at.space, at.entity, last, body))
    flip(home, "instruments", (position + PAYLOAD_SIZE_BYTES >> 3) + 1, 51)
    with pytest.raises(ViewUnusable, match="a record is damaged"):
        Registry.open(home, durability="relaxed")
    with EventLog.open(home) as log:
        assert log.broken == ""


def test_a_block_of_zeros_is_damage_whoever_asks_for_it(merged: Path, tmp_path: Path) -> None:
    shutil.copytree(merged, tmp_path / "home")
    with lmdb.open(str(tmp_path / "home" / "log"), max_dbs=2) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True, db=blocks) as txn:
            size_bytes = len(txn.get(bytes(8)) or b"")
            assert size_bytes and txn.put(bytes(8), bytes(size_bytes))
    with Registry.open(tmp_path / "home", mode="r") as registry:
        id = registry.listings_by_isin(ISIN)[0].instrument
        uses: tuple[Callable[[], object], ...] = (
            lambda: registry.lookup.find(ISIN, when=registry.when(1)),
            lambda: registry.history(id), lambda: registry.body_at(0),
        )  # fmt: skip
        for use in uses:
            with pytest.raises(Corrupt, match="alphapulse audit") as caught:
                use()
            assert (caught.value.facts["offset"], exit_code(caught.value)) == (0, 1)
