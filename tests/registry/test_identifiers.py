"""Looking up by FIGI, CUSIP, SEDOL, LEI and native id: who carries one, and who did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import Bond, Equity, Listing, Registry, SpotPair
from alphapulse.registry.instruments import from_mapping
from tests.registry.homes import open_home

LEI, COUNTRY, SHARE, LISTED = (
    "HWUPKR0MPOU8FGXBT394", "BBG000B9XRY4", "BBG001S5N8V8", "BBG000B9Y5X2"
)  # fmt: skip
APPLE = Equity(
    isin="US0378331005", symbol="AAPL", cusip="037833100", sedol="2046251", lei=LEI,
    composite_figi=COUNTRY, figi=SHARE,
)  # fmt: skip
NOTE = Bond(isin="US037833BY53", lei=LEI)
BY = {"figi": SHARE, "cusip": "037833100", "sedol": "2046251"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def found(registry: Registry, scheme: str, value: str, **when: int) -> list[int]:
    return [record.id for record in registry.by_identifier(scheme, value, **when)]


def test_each_identifier_finds_who_carries_it(registry: Registry) -> None:
    apple, note = registry.register(APPLE).id, registry.register(NOTE).id
    listing = Listing(instrument=apple, venue="XNAS", symbol="AAPL", figi=LISTED)
    registry.add_listing(listing)
    for _ in ("now", "after a rebuild, which folds whole blocks"):
        for scheme, value in {**BY, "isin": "US0378331005"}.items():
            assert found(registry, scheme, f" {value.lower()} ") == [apple]
            assert registry.lookup.find(value) == (scheme, registry.lookup.find(value)[1])
        for figi in (SHARE, COUNTRY, LISTED):
            assert found(registry, "figi", figi) == [apple]
        assert found(registry, "lei", LEI) == [apple, note]
        assert [match.id for match in registry.lookup.find(LEI)[1]] == [apple, note]
        registry.rebuild()


def test_a_symbol_comes_before_an_identifier_unless_it_is_named(registry: Registry) -> None:
    apple = registry.register(APPLE).id
    other = registry.register(Equity(isin="US5949181045", symbol="2046251")).id
    form, matches = registry.lookup.find("2046251")
    assert (form, [match.id for match in matches]) == ("symbol", [other])
    assert [match.id for match in registry.lookup.find("2046251", by="sedol")[1]] == [apple]


def test_who_carried_it_then_and_who_carries_it_now(registry: Registry) -> None:
    apple = registry.register(APPLE).id
    known = registry.log.head - 1
    registry.amend(apple, sedol="0263494", lei="")
    assert found(registry, "sedol", "2046251") == found(registry, "lei", LEI) == []
    for _ in ("live", "rebuilt"):
        assert found(registry, "sedol", "2046251", as_of=known) == [apple]
        assert found(registry, "lei", LEI, as_of=known) == [apple]
        assert found(registry, "sedol", "0263494") == [apple]
        assert found(registry, "sedol", "0263494", as_of=known) == []
        registry.rebuild()
    near = registry.lookup.near("2046251")
    assert [(why, match.id) for why, match in near] == [("it carried this SEDOL before", apple)]
    (why, match), *_ = registry.lookup.near("0263495")
    assert (why, match.id) == ("the SEDOL with its right check digit", apple)


@pytest.mark.parametrize("scheme, value", [("figi", SHARE), ("cusip", "037833100")])
def test_the_birth_identifier_finds_it_for_ever(
    registry: Registry, scheme: str, value: str
) -> None:
    born = registry.register(from_mapping(Equity, {scheme: value})).id
    registry.amend(born, **{scheme: {"figi": LISTED, "cusip": "594918104"}[scheme]})
    assert found(registry, scheme, value) == [born]


@pytest.mark.parametrize("isin, cusip", [("US5949181045", "594918104"),
                                         ("CA0679011084", "067901108")])  # fmt: skip
def test_a_cusip_in_an_isin_finds_it_said_or_not(
    registry: Registry, isin: str, cusip: str
) -> None:
    id = registry.register(Equity(isin=isin)).id
    other = registry.register(Equity(isin="IE00B4BNMY34", cusip=cusip)).id
    for _ in ("live", "rebuilt"):
        assert sorted(found(registry, "cusip", cusip)) == sorted([id, other])
        registry.rebuild()
    registry.amend(id, cusip=cusip)
    assert sorted(found(registry, "cusip", cusip)) == sorted([id, other])


def test_what_is_no_identifier(registry: Registry) -> None:
    registry.register(APPLE)
    assert found(registry, "cusip", "12345@*#6") == []
    for scheme, value in (("sedol", "2046252"), ("lei", LEI[:-1]), ("figi", "BBG"), ("cusip", "")):
        with pytest.raises(InvalidInput, match=scheme):
            registry.by_identifier(scheme, value)
        assert registry.lookup.find(value) == ("", [])
    with pytest.raises(InvalidInput, match=r"no scheme 'cfi'.*figi, cusip, sedol, lei, native_id"):
        registry.by_identifier("cfi", "ESVUFR")


def test_a_native_id_is_not_a_symbol(registry: Registry) -> None:
    pair = registry.register(SpotPair(venue="binance", native_id="BTCUSDT", symbol="BTC/USDT")).id
    assert found(registry, "native_id", "BTCUSDT") == [pair]
    assert found(registry, "native_id", "BTC/USDT") == []
    assert registry.lookup.find("BTCUSDT", by="native_id")[0] == "native_id"
