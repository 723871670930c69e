"""States of trading: the table, and the strictest word."""

from __future__ import annotations

import itertools

from alphapulse.log import TradingStatus
from alphapulse.registry.venues.trading_status import NEXT, StatusWord, strictest

S = TradingStatus


def test_the_table_is_total_and_every_state_can_be_left_and_reached() -> None:
    assert set(NEXT) == set(S)
    for before, after in NEXT.items():
        assert before not in after and after
        assert any(before in others for others in NEXT.values())
    assert S.HALTED not in NEXT[S.CLOSED] and S.AUCTION not in NEXT[S.DOWN]


def test_the_strictest_word_that_holds_wins_in_any_order() -> None:
    words = [
        StatusWord(S.AUCTION), StatusWord(S.HALTED, "sell"), StatusWord(S.DOWN, until=100),
    ]  # fmt: skip
    for order in itertools.permutations(words):
        assert strictest(order, 99) == S.DOWN
        assert strictest(order, 100) == S.HALTED
        assert strictest(order, 100, "sell") == S.HALTED
        assert strictest(order, 100, "buy") == S.AUCTION
    assert strictest([], 0) == S.OPEN
