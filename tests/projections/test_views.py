"""What each view keeps, and that its digest sums what is known, not how it came to be known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alphapulse.log import AssetClass, ConflictBody, Event, Space
from alphapulse.projections import (
    CONFLICT_FIELDS,
    VIEWS,
    fields_in_conflict,
    isin_key,
    pair_key,
    text_key,
)
from alphapulse.projections.alert_view import alert_key
from alphapulse.projections.entity_view import conflict_bit
from alphapulse.projections.request_view import request_key
from alphapulse.projections.views import VIEWS_BY_NAME
from alphapulse.registry import (
    AddListing,
    AddToGroup,
    Equity,
    Listing,
    Origin,
    Register,
    Registry,
    Relate,
    Token,
    Unit,
)
from alphapulse.registry.facts import AMENDABLE_FIELDS
from tests.places import in_memory

ISIN = "US0378331005"


def digests(registry: Registry) -> dict[str, bytes]:
    return {name: state.digest for name, state in registry.views.states().items()}


def token(number: int, **fields: Any) -> Token:
    return Token(chain="eip155:1", address=f"0x{number + 1:040x}", **fields)


# --- facts learnt in another order -----------------------------------------------------------


class Said(NamedTuple):
    """One statement: a source says some fields of one thing."""

    source: str
    about: str
    fields: dict[str, Any]

    def unit(self) -> Unit:
        number = {"token": 1, "group": 1, "link": 1, "other": 2}.get(self.about)
        about_itself = self.about in ("token", "other", "share")
        fields = self.fields if about_itself else {}
        made: Any = Equity(isin=ISIN, **fields) if number is None else token(number, **fields)
        subject = Register.of(made)
        if about_itself:
            return Unit((subject,), Origin(self.source))
        if self.about == "group":
            command: Any = AddToGroup(subject.fingerprint, self.source, "g")
        elif self.about == "link":
            far = Register.of(token(2))
            link = Relate.make(subject.fingerprint, "succeeds", far.fingerprint, **self.fields)
            return Unit((subject, far, link), Origin(self.source))
        else:
            listing = Listing(instrument=0, venue=self.about, currency="EUR", **self.fields)
            command = AddListing.make(listing, of=subject.fingerprint)
        # A listing tells of its instrument too, as the importers' rows do.
        return Unit((subject, command), Origin(self.source))


WORDS: dict[str, dict[str, list[Any]]] = {
    "token": {"symbol": ["T", "U"], "name": ["N", "M"], "decimals": [6, 18], "tick": ["1", "2"]},
    "other": {"symbol": ["T", "V"], "lot": ["1", "2"]},
    "share": {"symbol": ["S", "R"], "name": ["N", "M"], "cfi": ["ESVUFR", "ESVTFR"],
              "currency": ["USD", "EUR"]},
    "XETR": {"symbol": ["A", "B"], "valid_from": [5, 6], "valid_to": [9, 8], "tick": ["1", "2"]},
    "XNAS": {"symbol": ["A", "C"], "primary": [True, True]},
    "group": {},
    "link": {"ratio": ["1/1", "1/2"], "valid_from": [5, 6], "valid_to": [9, 8]},
}  # fmt: skip


@st.composite
def statements(draw: st.DrawFn, sources: tuple[str, ...] = ("a", "b")) -> list[Said]:
    """Each source has one word for each field, the sources' words may differ, and each field is
    said in one statement or several."""
    said = []
    words = {
        (source, about, field): draw(st.sampled_from(choices), label=f"{source} {about} {field}")
        for source in sources for about, fields in WORDS.items()
        for field, choices in fields.items()
    }  # fmt: skip
    for _ in range(draw(st.integers(2, 9))):
        source = draw(st.sampled_from(sources))
        about = draw(st.sampled_from(sorted(WORDS)))
        fields = draw(st.sets(st.sampled_from(sorted(WORDS[about]) or [""]))) - {""}
        known = {field: words[source, about, field] for field in sorted(fields)}
        said.append(Said(source, about, known))
    return said


def learn(home: Path, said: Iterable[Said], *, apart: bool) -> dict[str, bytes]:
    """The views' digests after these statements, one session each or one for all."""
    with Registry.open(home, durability="relaxed") as registry:
        units = [each.unit() for each in said]
        for batch in [[each] for each in units] if apart else [units]:
            for outcome in registry.execute(batch):
                assert isinstance(outcome, list), outcome
        for rebuilt in registry.rebuild(check=True):
            assert rebuilt.equal, rebuilt
        return digests(registry)


_EXAMPLES = settings.get_profile(settings.get_current_profile_name()).max_examples


@settings(max_examples=max(10, _EXAMPLES // 5))  # each makes two homes
@given(data=st.data())
def test_facts_learnt_in_another_order_have_the_same_digests(data: st.DataObject) -> None:
    said = data.draw(statements())
    order = data.draw(st.permutations(said))
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        one = learn(Path(folder) / "one", said, apart=True)
        other = learn(Path(folder) / "other", order, apart=False)
    assert one == other


def test_in_the_first_group_of_a_home_no_past_day_lies_ahead(tmp_path: Path) -> None:
    """Nothing is recorded yet when it is decided; time has passed all the same."""
    dated = {"symbol": "A", "tick": "1", "valid_from": 5}
    said = [Said("a", "XETR", {"symbol": "B"}), Said("b", "XETR", dated)]
    apart, together = (learn(tmp_path / str(how), said, apart=how) for how in (True, False))
    assert apart == together


# --- each view -------------------------------------------------------------------------------


def rows(registry: Registry, name: str) -> tuple[bytes, int]:
    state = registry.views.states()[name]
    return state.digest, state.rows


def aux(registry: Registry, id: int) -> frozenset[str]:
    table = registry.views.table("instruments")
    return fields_in_conflict(table.trailer(table.find(id)).aux)


def test_every_field_that_can_be_disputed_has_a_bit() -> None:
    others = {"status", "primary", "valid_from", "valid_to"}
    assert set(CONFLICT_FIELDS) >= AMENDABLE_FIELDS | others
    bits = [conflict_bit(field) for field in CONFLICT_FIELDS]
    assert len(set(bits)) == len(bits) <= 63
    assert all(fields_in_conflict(bit) == {f} for f, bit in zip(CONFLICT_FIELDS, bits, strict=True))
    assert conflict_bit("no such field") not in bits
    assert fields_in_conflict(conflict_bit("no such field") | bits[0]) == {CONFLICT_FIELDS[0]}


def test_a_field_in_open_conflict_does_not_count(registry: Registry) -> None:
    """Nor does it once more until every conflict on it is closed."""
    id = registry.register(token(1, symbol="T", name="N"), source="a").id
    plain, empty = rows(registry, "instruments"), rows(registry, "alerts")
    alerts = [
        registry.register(token(1, symbol=symbol), source=source).conflicts[0]
        for symbol, source in (("U", "b"), ("V", "b"), ("U", "c"))
    ]
    alerts += registry.register(token(1, name="M"), source="b").conflicts
    assert aux(registry, id) == {"symbol", "name"}
    disputed = rows(registry, "instruments")
    assert disputed[0] != plain[0]
    registry.acknowledge(alerts[3])
    assert aux(registry, id) == {"symbol"}
    for alert in (alerts[1], alerts[0]):
        registry.acknowledge(alert)
        assert aux(registry, id) == {"symbol"}
        assert rows(registry, "alerts")[1] > 0
    registry.acknowledge(alerts[2])
    assert aux(registry, id) == frozenset()
    assert rows(registry, "instruments") == plain
    assert rows(registry, "alerts") == empty
    registry.register(token(1, symbol="W"), source="b")
    assert aux(registry, id) == {"symbol"}
    assert all(each.equal for each in registry.rebuild(check=True))


def test_what_does_not_count(registry: Registry) -> None:
    """Revision, source, valid-from of a change, and when it became known."""
    first = registry.register(token(1, symbol="T"), source="a").id
    before = rows(registry, "instruments")
    registry.amend(first, symbol="U", valid_from="2020-01-01")
    assert rows(registry, "instruments") != before
    registry.amend(first, symbol="T", source="b")
    assert rows(registry, "instruments") == before


def test_the_digest_is_a_sum(registry: Registry) -> None:
    digests_seen = set()
    for number in range(5):
        registry.register(token(number, symbol="T"))
        digests_seen.add(rows(registry, "instruments")[0])
    assert len(digests_seen) == 5
    assert rows(registry, "instruments")[1] == 5
    assert rows(registry, "listings") == (bytes(32), 0)


def test_who_once_carried_it_stays_linked(registry: Registry) -> None:
    id = registry.register(Equity(isin=ISIN, symbol="OLD"), source="a").id
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="A"), source="a")
    registry.amend(id, symbol="NEW")
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="B"), source="a")
    table, listings = registry.views.table("instruments"), registry.views.table("listings")
    for symbol in ("OLD", "NEW"):
        (cell,) = table.postings("symbol", text_key(symbol))
        assert table.key_of(cell) == id
    assert len(table.postings("isin", isin_key(ISIN))) == 1
    for symbol in ("A", "B"):
        keys = {"symbol": text_key(symbol), "venue_symbol": pair_key("XETR", symbol)}
        for index, key in keys.items():
            (cell,) = listings.postings(index, key)
            assert listings.payload(listings.position_of(cell))[24:32] == id.to_bytes(8, "little")
    assert len(listings.postings("instrument", id)) == 1
    assert len(listings.postings("venue", text_key("XETR"))) == 1


def test_alert_keys_tell_apart_what_is_another_disagreement() -> None:
    base = ConflictBody(
        asset_class=AssetClass.TOKEN, field="name", held="h", held_source="s", offered="o",
        offered_source="t",
    )  # fmt: skip
    several = [(1, 5, base), (2, 5, base), (1, 6, base)]
    several += [(1, 5, replace(base, **{f: "x"})) for f in ("field", "offered", "offered_source")]
    assert len({alert_key(*each) for each in several}) == len(several)
    for field in ("held", "held_source"):
        assert alert_key(1, 5, replace(base, **{field: "x"})) == alert_key(1, 5, base)


def test_request_keys() -> None:
    key, digest = request_key("r1")
    assert key == int.from_bytes(digest[:8], "little")
    assert request_key("r2")[0] != key
    assert len(digest) == 32


def test_views_are_known_by_name() -> None:
    assert list(VIEWS_BY_NAME) == [
        "instruments", "listings", "relations", "alerts", "requests", "feeds", "imports",
        "candidates", "proposals", "venues",
    ]  # fmt: skip
    assert all(VIEWS_BY_NAME[view.schema.name] is view for view in VIEWS)


def test_a_listing_does_not_look_like_an_instrument(registry: Registry) -> None:
    """Ids of the spaces may be equal; a view looks at its own space only."""
    id = registry.register(token(1, symbol="T"), source="a").id
    listing = registry.add_listing(Listing(instrument=id, venue="XETR", symbol="A"), source="a")
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="B"), source="b")
    events: list[Event] = list(registry.read())
    assert [event.space for event in events] == [Space.INSTRUMENT, Space.LISTING, Space.LISTING]
    assert registry.views.table("instruments").find(listing.id) == -1
    assert registry.views.table("instruments").row_count == 1
    assert registry.views.table("listings").find(id) == -1
    assert aux(registry, id) == frozenset()
