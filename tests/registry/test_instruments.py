from __future__ import annotations

import json

import pytest

from alphapulse.log import CLASSES_BY_NAME, InvalidInput
from alphapulse.registry.instruments import (
    CLASSES,
    NAMES,
    AnyInstrument,
    Coin,
    Equity,
    Listing,
    Token,
    class_named,
    from_mapping,
    native_coin,
)


def test_a_json_line_becomes_an_instrument() -> None:
    line = '{"isin": "US0378331005", "symbol": "AAPL", "decimals": null, "tick": "0.01"}'
    found = from_mapping(class_named("equity"), json.loads(line))
    assert found == Equity(isin="US0378331005", symbol="AAPL", tick="0.01")


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"chain": "eip155:1"}, "address is missing"),
        ({"chain": "eip155:1", "address": 5}, r"$.address"),
        ({"chain": "eip155:1", "address": "0x", "decimals": 6.0}, r"$.decimals"),
        ({"chain": "eip155:1", "address": "0x", "decimals": True}, r"$.decimals"),
        ({"chain": "eip155:1", "address": "0x", "tick": 0.1}, r"$.tick"),
        ({"chain": "eip155:1", "address": "0x", "ticker": "A"}, "unknown field `ticker`"),
        ({"chain": "eip155:1", "address": "0x", "y" * 10**6: "A"}, "unknown field"),
    ],
)
def test_errors_name_the_field(fields: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_mapping(Token, fields)
    assert says in str(caught.value)
    assert "reading a token" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", [*CLASSES.values(), Listing])
def test_errors_name_the_class_as_english_does(kind: type[AnyInstrument]) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_mapping(kind, {"nonsense": 1})
    vowel = NAMES.get(kind, "l")[0] in "aeiou" or kind is CLASSES["fx_pair"]
    name = NAMES.get(kind, "listing").replace("_", " ")
    assert caught.value.doing == f"reading {'an' if vowel else 'a'} {name}"


def test_a_listing_line() -> None:
    found = from_mapping(
        Listing, {"instrument": "US0378331005", "venue": "XETR", "primary": False, "symbol": "APC"}
    )
    assert found == Listing(instrument="US0378331005", venue="XETR", symbol="APC")
    with pytest.raises(InvalidInput, match="primary"):
        from_mapping(Listing, {"instrument": 1, "venue": "XETR", "primary": "yes"})


def test_classes_have_the_names_of_the_wire() -> None:
    assert CLASSES.keys() <= CLASSES_BY_NAME.keys()
    assert class_named(" Equity") is Equity
    assert class_named("Dex-Pool") is CLASSES["dex_pool"]
    for name in ("stock", "", None, 5):
        with pytest.raises(InvalidInput, match="token, coin, equity"):
            class_named(name)


def test_native_coin() -> None:
    assert native_coin("eip155:137") == Coin(
        chain="eip155:137", slip44=966, symbol="POL", decimals=18
    )
    with pytest.raises(InvalidInput, match="give slip44"):
        native_coin("eip155:999999")
