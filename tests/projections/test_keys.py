from __future__ import annotations

from string import ascii_uppercase, digits

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.projections.keys import (
    address_key,
    bytes_key,
    hash_key,
    isin_key,
    pair_key,
    text_key,
)
from tests.texts import texts

TEXT = texts(max_size=12)
MAX = (1 << 64) - 1
ISIN = ascii_uppercase + digits


def test_keys_never_change() -> None:
    """They stand in files that other processes made."""
    assert isin_key("US0378331005") == int("US037833100", 36) + 1 == 112_528_682_807_483_089
    assert text_key("") == 1
    assert text_key("AAPL") == (int.from_bytes(b"AAPL", "little") << 3 | 4) + 1
    assert text_key("a longer symbol") >> 63 == 1
    assert address_key("0x" + "0" * 39 + "5") == 5
    assert address_key("0x" + "0" * 40) == 1
    assert address_key("0xab") == text_key("0xab")


@given(TEXT, TEXT)
def test_texts_have_keys_of_their_own(one: str, other: str) -> None:
    assert 0 < text_key(one) <= MAX
    assert (text_key(one) == text_key(other)) == (one == other)
    assert text_key(one) == bytes_key(one.encode())


@given(TEXT, TEXT)
def test_pairs_have_an_order(one: str, other: str) -> None:
    assert 0 < pair_key(one, other) < 1 << 63
    if one != other:
        assert pair_key(one, other) != pair_key(other, one)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_hashes_know_where_parts_end(one: list[bytes], other: list[bytes]) -> None:
    assert 0 < hash_key(*one) <= MAX
    assert (hash_key(*one) == hash_key(*other)) == (one == other)


@given(st.from_regex(r"[A-Z]{2}[A-Z0-9]{9}[0-9]", fullmatch=True, alphabet=ISIN))
def test_isin_keys_are_exact(isin: str) -> None:
    assert 0 < isin_key(isin) <= MAX
    assert isin_key(isin) == isin_key(isin[:11] + "0")  # the check digit follows from the rest
    other = isin[:10] + ("A" if isin[10] != "A" else "B") + isin[11]
    assert isin_key(other) != isin_key(isin)
