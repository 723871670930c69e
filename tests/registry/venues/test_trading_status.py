"""States of trading: the table, and what a venue and a listing are by all words together."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import pytest

from alphapulse.log import TradingBody, TradingStatus, parse_time
from alphapulse.registry import Equity, Listing, Registry
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.venues import rules
from alphapulse.registry.venues.errors import NoSuchTransition
from alphapulse.registry.venues.trading_status import NEXT, SIDES
from alphapulse.registry.venues.venue import Venue
from tests.registry.homes import open_home, recorded_at

S = TradingStatus
XNAS = Venue(key="XNAS")
HOUR = 3_600 * 10**9
START = 1_767_225_600 * 10**9
Said = tuple[int, int, int, TradingStatus]
"""Offset, beginning, end and status of a word."""


def test_the_table_is_total_and_every_state_can_be_left_and_reached() -> None:
    assert set(NEXT) == set(S)
    for before, after in NEXT.items():
        assert before not in after and after
        assert any(before in others for others in NEXT.values())
    assert S.HALTED not in NEXT[S.CLOSED] and S.AUCTION not in NEXT[S.DOWN]


def right(words: list[Said], at: int, known: int) -> TradingStatus | None:
    """Of what was known, the newest word for each beginning; of those that hold, the last."""
    newest = {word[1]: word for word in words if word[0] <= known}
    held = [word for word in newest.values() if word[1] <= at and not 0 < word[2] <= at]
    return max(held, key=lambda word: word[1])[3] if held else None


def test_statuses_are_the_strictest_of_random_words_as_of_both_times(tmp_path: Path) -> None:
    """Against a model that looks through all words. Times are few, so that words meet, end together
    and correct each other."""
    seed = int(os.environ.get("ALPHAPULSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"ALPHAPULSE_TEST_SEED={seed}")
    rng = random.Random(seed)
    with open_home(tmp_path / "home") as registry:
        venues = registry.venues
        venues.add(XNAS)
        apple = registry.register(Equity(isin="US0378331005")).id
        listing = registry.add_listing(Listing(instrument=apple, venue="XNAS")).id
        first = registry.log.head
        scopes: tuple[str | int, ...] = ("XNAS", listing)
        said: dict[tuple[str | int, str], list[Said]] = {}
        for _ in range(120):
            what, side, status = rng.choice(scopes), rng.choice(SIDES), rng.choice(list(S))
            begins = START + rng.randrange(6) * HOUR
            until = rng.choice((0, begins + rng.randrange(1, 6) * HOUR))
            words = said.setdefault((what, side), [])
            before = right([word for word in words if word[1] != begins], begins - 1, 1 << 62)
            try:
                receipt = venues.set_status(
                    what, status.name, valid_from=begins, until=until, side=side
                )
            except NoSuchTransition:
                assert before is not None and status not in {before, *NEXT[before]}
                continue
            if receipt.outcome != "unchanged":
                assert before is None or status in {before, *NEXT[before]}
                words.append((receipt.offset, begins, until, status))
        for _ in range(300):
            what, side = rng.choice(scopes), rng.choice(SIDES)
            at = START + rng.randrange(-1, 26) * HOUR // 2
            known = rng.choice((None, rng.randrange(first, registry.log.head)))
            found = [
                word for (scope, of), words in said.items()
                if scope in ("XNAS", what) and (side == "both" or of in ("both", side))
                and (word := right(words, at, 1 << 62 if known is None else known))
            ]  # fmt: skip
            expected = max(found, default=S.OPEN)
            assert venues.status(what, side, at, known=known).status is expected, (what, side, at)


def test_transitions_are_judged_at_their_own_time(registry: Registry) -> None:
    venues = registry.venues
    venues.add(XNAS)
    venues.set_status("XNAS", "closed", valid_from="2026-03-01", until="2026-03-05")
    with pytest.raises(NoSuchTransition, match="closed cannot become halted"):
        venues.set_status("XNAS", "halted", valid_from="2026-03-02")
    venues.set_status("XNAS", "halted", valid_from="2026-03-06")  # it is over by then
    venues.set_status("XNAS", "halted", valid_from="2026-02-01", until="2026-02-02")
    venues.set_status("XNAS", "halted", valid_from="2026-03-01", reason="it was no closing")
    assert venues.status("XNAS", at="2026-03-02").status == S.HALTED
    assert audit_meaning(registry.log).ok


def test_a_correction_that_ends_sooner_leaves_nothing_to_be_judged_by(registry: Registry) -> None:
    venues = registry.venues
    venues.add(XNAS)
    venues.set_status("XNAS", "closed", valid_from="2026-03-01")
    venues.set_status("XNAS", "closed", valid_from="2026-03-01", until="2026-03-05")
    venues.set_status("XNAS", "halted", valid_from="2026-03-06")  # nobody says what it was before
    assert venues.status("XNAS", at="2026-03-07").status is S.HALTED
    assert audit_meaning(registry.log).ok
    venues.set_status("XNAS", "down", valid_from="2026-04-01", until="2026-04-09")
    venues.set_status("XNAS", "open", valid_from="2026-04-02")
    venues.set_status("XNAS", "open", valid_from="2026-04-02", until="2026-04-03")
    with pytest.raises(NoSuchTransition, match="down cannot become auction"):
        venues.set_status("XNAS", "auction", valid_from="2026-04-04")


def test_what_was_judged_by_corrected_words_once_is_legal_still(registry: Registry) -> None:
    """Before corrections counted, the newest of all words that began before was asked."""

    def once(words: Iterable[TradingBody], at: int) -> S | None:
        held = [word for word in words if word.valid_from < at and not 0 < word.until < at]
        return S(max(held, key=lambda word: word.valid_from).status) if held else None

    venues = registry.venues
    venues.add(XNAS)
    venues.set_status("XNAS", "closed", valid_from="2020-06-01")
    venues.set_status("XNAS", "down", valid_from="2021-01-01")
    venues.set_status("XNAS", "open", valid_from="2021-01-01", until="2021-02-01")
    with pytest.raises(NoSuchTransition, match="closed cannot become halted"):
        venues.set_status("XNAS", "halted", valid_from="2021-06-01")
    with mock.patch.object(rules, "status_before", once):
        venues.set_status("XNAS", "halted", valid_from="2021-06-01")
    venues.set_status("XNAS", "closed", valid_from="2022-04-01")
    venues.set_status("XNAS", "closed", valid_from="2022-04-01", until="2022-05-01")
    venues.set_status("XNAS", "halted", valid_from="2022-06-01")  # and this only by what holds
    assert audit_meaning(registry.log).ok
    with mock.patch.object(rules, "status_before", return_value=None):
        offset = venues.set_status("XNAS", "halted", valid_from="2020-09-01").offset
    assert audit_meaning(registry.log).first_bad_offset == offset, "wrong by either reading"


def test_a_venue_that_is_none_any_more_is_closed(registry: Registry) -> None:
    venues = registry.venues
    with recorded_at("2026-01-01T00:00:00Z"):
        venues.add(Venue(key="XOLD", valid_from="2010-01-01"))
        id = registry.register(Equity(isin="US0378331005", symbol="AAPL")).id
        listing = registry.add_listing(Listing(instrument=id, venue="XOLD")).id
        halt = venues.set_status("XOLD", "halted", valid_from="2019-01-01").offset
    assert venues.status("XOLD", at="2021-01-01").status is S.HALTED  # fills the cache
    with recorded_at("2026-02-01T00:00:00Z"):
        end = venues.amend("XOLD", valid_to="2020-01-01", source="list").offset
    for what in ("XOLD", listing):
        found = venues.status(what, at="2020-01-01")
        assert (found.status, found.scope, found.reason) == (
            S.CLOSED, "venue", "it is a venue no more"
        )
        assert (found.since, found.until) == (parse_time("2020-01-01"), 0)
        assert (found.source, found.offset) == ("list", end)
        assert venues.status(what, at="2020-01-01", known=halt).status is S.HALTED
        assert venues.status(what, at="2019-06-01").status is S.HALTED
        early = venues.status(what, at="2009-12-31", known=halt)
        assert (early.status, early.until) == (S.CLOSED, parse_time("2010-01-01"))
        assert early.reason == "it is no venue yet"
        assert venues.status(what, at="2010-01-01").status is S.OPEN
    venues.set_status("XOLD", "down", valid_from="2019-12-31")
    assert venues.status("XOLD", at="2020-06-01").status is S.DOWN, "that is stricter"
    venues.add(XNAS)
    assert not venues.status("XNAS", at="1960-01-01").scope, "nobody says since when it is one"
    assert XNAS.is_valid(parse_time("1960-01-01"))
