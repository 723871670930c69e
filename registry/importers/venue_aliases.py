"""Which MIC an exchange's everyday name means, for files that do not write MICs.

Only names with one meaning stand here. NSE and BSE are what several exchanges call themselves (in
India, Nairobi, Lagos; in India, Bulgaria, Botswana), so they hold only for ISINs of the country in
`isin_prefix`; TSE (Tokyo, Toronto, Tehran) is missing on purpose. A name that is not here is
refused, never guessed.

Sources: MICs, names and countries from ISO 10383 as of February 2025
(https://www.iso20022.org/market-identifier-codes); currencies from the exchanges' own rules, given
only where every share is traded in that one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from alphapulse.registry import validation


class Alias(NamedTuple):
    mic: str
    currency: str = ""
    """The one currency in which shares are traded there; empty where there are several."""
    isin_prefix: str = ""
    """The name means this exchange only beside an ISIN that begins like this."""


ALIASES: Final[dict[str, Alias]] = {
    "NSE": Alias("XNSE", "INR", "IN"),
    "NSE INDIA": Alias("XNSE", "INR"),
    "NATIONAL STOCK EXCHANGE OF INDIA": Alias("XNSE", "INR"),
    "BSE": Alias("XBOM", "INR", "IN"),
    "BOMBAY STOCK EXCHANGE": Alias("XBOM", "INR"),
    "BSE LTD": Alias("XBOM", "INR"),
    "NASDAQ": Alias("XNAS", "USD"),
    "NYSE": Alias("XNYS", "USD"),
    "NEW YORK STOCK EXCHANGE": Alias("XNYS", "USD"),
    "NYSE ARCA": Alias("ARCX", "USD"),
    "NYSE AMERICAN": Alias("XASE", "USD"),
    "LSE": Alias("XLON"),
    "LONDON STOCK EXCHANGE": Alias("XLON"),
    "XETRA": Alias("XETR"),
    "EURONEXT AMSTERDAM": Alias("XAMS"),
    "EURONEXT BRUSSELS": Alias("XBRU"),
    "EURONEXT LISBON": Alias("XLIS"),
    "EURONEXT PARIS": Alias("XPAR"),
    "SIX SWISS EXCHANGE": Alias("XSWX"),
    "NASDAQ COPENHAGEN": Alias("XCSE"),
    "NASDAQ HELSINKI": Alias("XHEL"),
    "NASDAQ STOCKHOLM": Alias("XSTO"),
    "TOKYO STOCK EXCHANGE": Alias("XTKS", "JPY"),
    "TORONTO STOCK EXCHANGE": Alias("XTSE"),
    "HKEX": Alias("XHKG"),
    "SGX": Alias("XSES"),
    "ASX": Alias("XASX"),
    "JSE": Alias("XJSE"),
}
_BY_MIC: Final = {alias.mic: Alias(alias.mic, alias.currency) for alias in ALIASES.values()}


def venue_of(name: str, isin: str, field: str = "exchange") -> Alias:
    """What `name`, in any case, means beside this ISIN. Raises InvalidInput."""
    wanted = " ".join(name.upper().split())
    found = ALIASES.get(wanted) or _BY_MIC.get(wanted)
    if found is None:
        validation.refuse(
            field, "no MIC is known for this exchange", name,
            "write its MIC in a column mic and import the file as listings-csv",
        )  # fmt: skip
    if not isin.upper().startswith(found.isin_prefix):
        validation.refuse(
            field, f"several exchanges are called so, and {isin[:2]} does not tell which", name,
            f"write {found.mic} if that is meant",
        )  # fmt: skip
    return found
