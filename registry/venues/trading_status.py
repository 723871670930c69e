"""Whether a venue trades: its states, which may follow which, and the strictest that applies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from alphapulse.log import TradingStatus

_S: Final = TradingStatus
NEXT: Final[dict[TradingStatus, frozenset[TradingStatus]]] = {
    _S.OPEN: frozenset({_S.AUCTION, _S.CANCEL_ONLY, _S.HALTED, _S.CLOSED, _S.DOWN}),
    _S.AUCTION: frozenset({_S.OPEN, _S.CANCEL_ONLY, _S.HALTED, _S.CLOSED, _S.DOWN}),
    _S.CANCEL_ONLY: frozenset({_S.OPEN, _S.AUCTION, _S.HALTED, _S.CLOSED, _S.DOWN}),
    _S.HALTED: frozenset({_S.OPEN, _S.AUCTION, _S.CANCEL_ONLY, _S.CLOSED, _S.DOWN}),
    _S.CLOSED: frozenset({_S.OPEN, _S.AUCTION, _S.CANCEL_ONLY, _S.DOWN}),
    _S.DOWN: frozenset({_S.OPEN, _S.CANCEL_ONLY, _S.HALTED, _S.CLOSED}),
}
"""What is closed cannot be halted, and nobody opens an auction at once after an outage."""
if NEXT.keys() != set(TradingStatus):
    raise ImportError("the table of trading statuses is not total")
SIDES: Final = ("both", "buy", "sell")


class StatusWord(NamedTuple):
    """What was said of one scope: a venue or a listing, one side or both. until: ns, the first
    instant at which it holds no more; 0 = open."""

    status: TradingStatus
    side: str = "both"
    until: int = 0

    def holds(self, at: int, side: str) -> bool:
        return (not self.until or at < self.until) and (
            side == "both" or self.side in ("both", side)
        )


def strictest(words: Iterable[StatusWord], at: int, side: str = "both") -> TradingStatus:
    """Of all words that hold at `at` (ns), for one side or, `both`, for either; open when none
    does."""
    return max(
        (word.status for word in words if word.holds(at, side)), default=TradingStatus.OPEN
    )
