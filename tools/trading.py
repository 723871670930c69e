"""What the venue of a listing says at a moment: is it open, when does it open, what is its fee, how
soon does it answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from .verb import Cli

if TYPE_CHECKING:
    from alphapulse.log import ListingBody
    from alphapulse.registry import Registry

UNSAID: Final[dict[str, object]] = {
    "trading": None, "open": None, "next_open": None, "fee": None, "fee_currency": None,
    "fee_rate": None, "latency_p50_ns": None,
}  # fmt: skip
"""Of what is listed nowhere, or no more."""


class Order(NamedTuple):
    """What a fee is asked for, in exact text."""

    quantity: str
    price: str


def order_of(text: str | None) -> Order | None:
    """`100@189.50`. Raises UsageError."""
    from alphapulse.log import InvalidInput
    from alphapulse.registry.venues.fees import check_exact

    if text is None:
        return None
    quantity, _, price = text.partition("@")
    try:
        check_exact(quantity, "quantity", positive=True)
        check_exact(price, "price")
        return Order(quantity, price)
    except InvalidInput as error:
        raise click.UsageError(
            f"--fee-for takes QUANTITY@PRICE, such as 100@189.50, not {text!r}"
        ) from error


class Trading:
    """Asks the venues of listings, all as of one moment."""

    def __init__(self, cli: Cli, registry: Registry, at: int, as_of: str | None) -> None:
        self._cli = cli
        self._venues = registry.venues
        self._at = at
        self._known = as_of

    def said(self, listing: int, body: ListingBody, order: Order | None) -> dict[str, object]:
        """The fields of UNSAID of one listing, as far as they are known."""
        from alphapulse.registry.fields import time_text

        venues, venue, at, known = self._venues, body.venue, self._at, self._known
        if venues.get(venue, known=known) is None:
            return UNSAID
        standing = venues.status(listing, at=at, known=known)
        found: dict[str, object] = {"trading": standing.status.name.lower()}
        if venues.has_hours(venue, at, known=known):
            next_open = venues.next_open(venue, at, known=known)
            found["open"] = venues.is_open(venue, at, known=known)
            found["next_open"] = None if next_open is None else time_text(next_open)
        if order is not None:
            found |= self._fee(body, order)
        window = venues.newest_window(venue, at, known=known)
        if window is not None and "ack_p50_ns" in window.measures:
            found["latency_p50_ns"] = int(window.measures["ack_p50_ns"])
        return UNSAID | found

    def _fee(self, body: ListingBody, order: Order) -> dict[str, object]:
        from alphapulse.registry.venues import FeeNotComputable, FeesUnknown, FeeUnknown, exact_text

        try:
            fee = self._venues.fee(
                body.venue, body.instrument, "taker", order.quantity, order.price, None,
                self._at, known=self._known, buying=True,
                currency=body.currency,
            )  # fmt: skip
        except (FeesUnknown, FeeUnknown):
            return {}  # then nothing is known of it, as of other columns
        except FeeNotComputable as error:
            self._cli.note(f"no fee at {body.venue}: {error.as_json()['error']}; {error.advice}")
            return {}
        return {
            "fee": exact_text(fee.amount), "fee_currency": fee.currency or None,
            "fee_rate": fee.rate,
        }  # fmt: skip
