"""Whether a venue trades: its states, and which may follow which."""

from __future__ import annotations

from typing import Final

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
