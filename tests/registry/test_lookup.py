from __future__ import annotations

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import (
    Ambiguous,
    Bond,
    Coin,
    Equity,
    Etf,
    Listing,
    Registry,
    Token,
    native_coin,
)
from alphapulse.registry.lookup import split_address
from alphapulse.registry.valid_time import When

from .homes import APPLE, isin, record, token

USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
HOLDER = "0x" + "ab" * 20


def found(registry: Registry, key: str, by: str = "", stop: int | None = None) -> list[int]:
    return [match.id for match in registry.lookup.find(key, by, When(stop))[1]]


def form(registry: Registry, key: str) -> str:
    return registry.lookup.find(key)[0]


@pytest.fixture
def usdc(registry: Registry) -> int:
    return registry.register(
        Token(chain="eip155:1", address=USDC, symbol="USDC", name="USD Coin", decimals=6)
    ).id


def test_each_form(registry: Registry, usdc: int) -> None:
    apple = registry.register(APPLE)
    registry.add_listing(Listing(instrument=apple.id, venue="XETR", symbol="APC"))
    forms = {
        f"0x{apple.id:016x}": ("id", apple.id),
        f"0x{apple.id:X}": ("id", apple.id),
        f"0x{usdc:x}": ("id", usdc),
        apple.fingerprint.hex(): ("fingerprint", apple.id),
        "0x" + apple.fingerprint.hex().upper(): ("fingerprint", apple.id),
        "US0378331005": ("isin", apple.id),
        " us0378331005 ": ("isin", apple.id),
        "AAPL": ("symbol", apple.id),
        "APC": ("symbol", apple.id),
        "APC@XETR": ("symbol", apple.id),
        "USDC": ("symbol", usdc),
        f"eip155:1:{USDC}": ("address", usdc),
        f"eip155:1:{USDC.lower()}": ("address", usdc),
        f"ethereum:{USDC}": ("address", usdc),
        f"eip155:1/erc20:{USDC}": ("address", usdc),
    }
    for key, (name, id) in forms.items():
        assert registry.lookup.find(key)[0] == name, key
        assert found(registry, key) == [id]
        assert found(registry, key, name) == [id]


@pytest.mark.parametrize(
    "key",
    ["nothing", "", "0x0", "0x00", "0xffffffffffffffff", "aapl", "APC@XFRA", "@XETR", "APC@",
     "US5949181045", "US0378331006", "00" * 16, f"eip155:10:{USDC}", f"optimism:{USDC}",
     f"eip155:1/erc721:{USDC}", "eip155:1:0x123", "a:b:c:d", "[red]", "0x", "x" * 10_000, "AAPL@",
     "\x00", "\ud800"],
)  # fmt: skip
def test_what_is_not_there_is_no_error(registry: Registry, usdc: int, key: str) -> None:
    registry.register(APPLE)
    assert registry.lookup.find(key) == ("", [])
    registry.lookup.near(key)


@pytest.mark.parametrize(
    "key, by",
    [("12", "id"), ("0xzz", "id"), ("0x" + "1" * 17, "id"), ("abcd", "fingerprint"),
     ("0x" + "1" * 31, "fingerprint"), ("US0378331006", "isin"), ("AAPL", "isin"),
     ("AAPL", "address"), ("eip155:1:0x12", "address"), ("AAPL", "ticker"), ("AAPL", "Symbol")],
)  # fmt: skip
def test_a_form_that_is_asked_for_must_fit(registry: Registry, key: str, by: str) -> None:
    with pytest.raises(InvalidInput):
        registry.lookup.find(key, by)


def test_plain_digits_are_symbols_and_0x_is_an_id(registry: Registry) -> None:
    meme = registry.register(token(1, symbol="420")).id
    hexed = registry.register(token(2, symbol=f"0x{meme:x}")).id
    assert (form(registry, "420"), found(registry, "420")) == ("symbol", [meme])
    assert found(registry, f"0x{meme:x}") == [meme]  # ids are tried before symbols
    assert found(registry, f"0x{meme:x}", "symbol") == [hexed]
    assert found(registry, "0x420") == []


def test_an_id_may_be_written_with_32_digits_as_a_fingerprint_only(registry: Registry) -> None:
    receipt = registry.register(APPLE)
    assert found(registry, f"0x{receipt.id:032x}") == []
    assert registry.lookup.by_fingerprint(receipt.fingerprint[::-1]) is None


def test_the_first_form_with_matches_wins_and_all_its_matches_are_shown(registry: Registry) -> None:
    one = registry.register(Equity(isin=isin(1), symbol="US0378331005")).id
    assert found(registry, "US0378331005") == [one]  # nobody has this ISIN: the symbol is tried
    apple = registry.register(APPLE).id
    assert (form(registry, "US0378331005"), found(registry, "US0378331005")) == ("isin", [apple])
    assert found(registry, "US0378331005", "symbol") == [one]
    several = [registry.register(token(n, symbol="USDC")).id for n in range(3)]
    assert found(registry, "USDC") == several
    assert [each.id for each in registry.by_symbol("USDC")] == several


def test_a_symbol_with_an_at_sign(registry: Registry) -> None:
    own = registry.register(token(1, symbol="A@XETR")).id
    apple = registry.register(APPLE).id
    registry.add_listing(Listing(instrument=apple, venue="XETR", symbol="B@C"))
    assert found(registry, "A@XETR") == [own]
    assert found(registry, "B@C") == found(registry, "B@C@XETR") == [apple]


def test_symbols_at_a_venue_do_not_count_elsewhere(registry: Registry) -> None:
    one, two = (registry.register(Equity(isin=isin(n), symbol=f"S{n}")).id for n in range(2))
    registry.add_listing(Listing(instrument=one, venue="XNAS", symbol="ABC", currency="USD"))
    registry.add_listing(Listing(instrument=one, venue="XNAS", symbol="ABC", currency="EUR"))
    registry.add_listing(Listing(instrument=two, venue="XLON", symbol="ABC"))
    registry.add_listing(Listing(instrument=two, venue="binance:test", symbol="ABC"))
    assert [r.id for r in registry.by_symbol("ABC", venue="XNAS")] == [one]
    assert [r.id for r in registry.by_symbol("ABC", venue="XLON")] == [two]
    assert found(registry, "ABC@binance:test") == [two]
    assert [r.id for r in registry.by_symbol("ABC", venue="binance")] == []
    assert [r.id for r in registry.by_symbol("ABC")] == [one, two]
    assert [r.id for r in registry.by_symbol("S0", venue="XNAS")] == []
    with pytest.raises(InvalidInput):
        registry.by_symbol("ABC", venue="not a venue")


def test_long_symbols(registry: Registry) -> None:
    """Longer than a message has room for, and two that agree in what it has."""
    stem = "A" * 30
    one, two = (registry.register(token(n, symbol=f"{stem}{n}")).id for n in range(2))
    assert [found(registry, f"{stem}{n}") for n in range(2)] == [[one], [two]]
    assert found(registry, stem) == []


@pytest.mark.parametrize(
    "placeholder",
    ["0x" + "0" * 40, "0x" + "e" * 40, "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE",
     "0xDeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000"],
)  # fmt: skip
def test_placeholder_addresses_are_the_native_coin(registry: Registry, placeholder: str) -> None:
    ether = registry.register(native_coin("eip155:10")).id
    for each in (f"eip155:10:{placeholder}", f"optimism:{placeholder}"):
        assert found(registry, each) == [ether]
    assert found(registry, "eip155:10/slip44:60") == [ether]
    assert registry.resolve(Token(chain="eip155:10", address=placeholder)) == ether
    assert registry.resolve(Coin(chain="eip155:10", slip44=60)) == ether
    assert registry.register(Token(chain="eip155:10", address=placeholder)).id == ether
    assert registry.by_address("eip155:1", placeholder) is None
    assert registry.log.head == 1


def test_the_same_address_on_two_chains_is_two_instruments(registry: Registry, usdc: int) -> None:
    other = registry.register(Token(chain="eip155:137", address=USDC, symbol="USDC.e")).id
    assert other != usdc
    by_address = [registry.by_address(chain, USDC) for chain in ("eip155:1", "polygon")]
    assert [each.id for each in by_address if each is not None] == [usdc, other]


def test_addresses_are_case_sensitive_but_on_evm(registry: Registry) -> None:
    mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
    id = registry.register(Token(chain="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", address=mint)).id
    assert found(registry, f"solana:{mint}") == [id]
    assert found(registry, f"solana:{mint.lower()}") == []


@pytest.mark.parametrize(
    "key, parts",
    [("eip155:1:0xab", ("eip155:1", "0xab", "")), ("ethereum:0xab", ("ethereum", "0xab", "")),
     ("eip155:1/erc20:0xab", ("eip155:1", "0xab", "erc20")),
     ("cosmos:cosmoshub-4/ibc:a:b", ("cosmos:cosmoshub-4", "a:b", "ibc")),
     ("cosmos:cosmoshub-4:a:b", ("cosmos:cosmoshub-4", "a:b", ""))],
)  # fmt: skip
def test_splitting_an_address(key: str, parts: tuple[str, str, str]) -> None:
    assert split_address(key) == parts


# --- as it was -------------------------------------------------------------------------------


def test_an_old_symbol_finds_it_then_and_not_now(registry: Registry) -> None:
    id = registry.register(token(1, symbol="OLD")).id
    registry.register(token(2))
    registry.amend(id, symbol="NEW")
    for as_of, symbol, other in ((0, "OLD", "NEW"), (1, "OLD", "NEW"), (2, "NEW", "OLD")):
        assert [r.id for r in registry.by_symbol(symbol, as_of=as_of)] == [id]
        assert registry.by_symbol(other, as_of=as_of) == []
        then = registry.get(id, as_of=as_of)
        assert then is not None
        assert then.symbol == symbol
        assert found(registry, symbol, stop=as_of + 1) == [id]
        assert found(registry, f"0x{id:x}", stop=as_of + 1) == [id]
    assert (registry.by_symbol("OLD"), len(registry.by_symbol("NEW"))) == ([], 1)
    assert found(registry, "OLD", stop=0) == found(registry, f"0x{id:x}", stop=0) == []


def test_an_old_isin_finds_it_then(registry: Registry) -> None:
    """Its first ISIN always does, since that is who it is; a later one only while it had it."""
    id = registry.register(APPLE).id
    registry.amend(id, isin=isin(1))
    registry.amend(id, isin=isin(2))

    def by(number: int, as_of: int | None) -> int | None:
        match = registry.by_isin(isin(number), as_of=as_of)
        return None if match is None else match.id

    assert [by(1, n) for n in (0, 1, 2, None)] == [None, id, None, None]
    assert [by(2, n) for n in (0, 1, 2, None)] == [None, None, id, id]
    for as_of in (0, 1, 2, None):
        born = registry.by_isin("US0378331005", as_of=as_of)
        assert born is not None
        assert born.id == id


def test_two_that_carry_one_isin_are_ambiguous(registry: Registry) -> None:
    one, two = (registry.register(Equity(isin=isin(n))).id for n in range(2))
    registry.amend(two, isin=isin(0))
    with pytest.raises(Ambiguous) as caught:
        registry.by_isin(isin(0))
    assert caught.value.facts["ids"] == [f"0x{one:016x}", f"0x{two:016x}"]
    assert found(registry, isin(0)) == [one, two]
    before = registry.by_isin(isin(0), as_of=1)
    assert before is not None
    assert before.id == one


def test_a_listing_symbol_then(registry: Registry) -> None:
    id = registry.register(APPLE).id
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="APC"), source="a")
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="APX"), source="a")
    for as_of, here, gone in ((1, "APC", "APX"), (2, "APX", "APC")):
        assert [r.id for r in registry.by_symbol(here, venue="XETR", as_of=as_of)] == [id]
        assert registry.by_symbol(gone, venue="XETR", as_of=as_of) == []
        assert [body.symbol for _, body in registry.listing_bodies(id, as_of=as_of)] == [here]
    assert registry.listing_bodies(id, as_of=0) == registry.by_symbol("APC", as_of=0) == []


def test_an_address_then(registry: Registry, usdc: int) -> None:
    registry.amend(usdc, symbol="USDX")
    then, now = (registry.by_address("ethereum", USDC, as_of=n) for n in (0, 1))
    assert then is not None
    assert now is not None
    assert (then.symbol, then.revision, now.symbol, now.revision) == ("USDC", 1, "USDX", 2)
    assert registry.lookup.by_address("ethereum", USDC, when=When(0)) is None


# --- nothing found ---------------------------------------------------------------------------


def test_near_misses(registry: Registry, usdc: int) -> None:
    apple = registry.register(APPLE).id
    registry.add_listing(Listing(instrument=apple, venue="XETR", symbol="Apc"))

    def near(key: str) -> list[tuple[str, int]]:
        return [(why, match.id) for why, match in registry.lookup.near(key)]

    assert near("usdc") == near("Usdc") == [("the symbol in another case", usdc)]
    assert near("APC") == near("apc") == [("the symbol in another case", apple)]
    assert near("US0378331006") == [("the ISIN with its right check digit", apple)]
    assert near("us0378331000") == [("the ISIN with its right check digit", apple)]
    for key in (f"eip155:10:{USDC}", f"optimism:{USDC.lower()}", f"eip155:10/erc20:{USDC}", USDC):
        assert near(key) == [("the same address on eip155:1", usdc)]
    assert near("US5949181046") == near("nothing") == near(f"eip155:1:{HOLDER}") == []


def test_near_misses_of_a_symbol_at_a_venue_and_of_a_former_symbol(registry: Registry) -> None:
    apple = registry.register(APPLE).id
    registry.add_listing(Listing(instrument=apple, venue="XNAS", symbol="AAPL"))
    registry.register(Coin(chain="eip155:97", slip44=1))

    def near(key: str) -> list[tuple[str, int]]:
        return [(why, match.id) for why, match in registry.lookup.near(key)]

    for key in ("aapl@XNAS", "AAPL@xnas", "aapl@xnas"):
        assert near(key) == [("the symbol or venue in another case", apple)]
    assert near("AAPL@XETR") == [("the symbol, but not at XETR", apple)]
    assert near("eip155:1") == []
    goog = registry.register(Equity(isin="US02079K3059", symbol="GOOG")).id
    registry.amend(goog, symbol="GOOGL")
    assert near("GOOG") == [("it had this symbol before", goog)]
    registry.amend(goog, symbol=None)
    assert near("GOOG") == near("GOOGL") == [("it had this symbol before", goog)]


def test_near_misses_are_few_and_each_once(registry: Registry) -> None:
    for number in range(15):
        registry.register(token(number, symbol="USDC"))
    matches = registry.lookup.near("usdc")
    assert len(matches) == 10
    assert len({match.id for _, match in matches}) == 10
    assert len(registry.lookup.near("usdc", most=3)) == 3


def test_a_security_without_isin_is_found_by_its_symbol(registry: Registry) -> None:
    etf = registry.register(Etf(cusip="037833100", symbol="E")).id
    bond = registry.register(Bond(figi="BBG001S5N8V8", symbol="B")).id
    assert (found(registry, "E"), found(registry, "B")) == ([etf], [bond])
    assert record(registry, etf).isin == ""
    registry.amend(etf, isin="US0378331005")
    assert found(registry, "US0378331005") == [etf]
    assert registry.register(Etf(cusip="037833100")).id == etf
