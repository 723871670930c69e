"""Keys of the secondary indexes: u64, never 0, and the same in every process and on every run.

Python's own `hash` differs between processes, and a cryptographic hash of every symbol would cost
more than the probe. So a key is exact where it can be (an ISIN as a base-36 number, text of up to
seven bytes as it is) and a Blake3 hash where it cannot. Equal keys of different texts cost a
look at the record, never a wrong answer: readers compare what the record says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blake3 import blake3

_LONG: Final = 1 << 63
_M63: Final = _LONG - 1
_MIX: Final = 0xD6E8FEB86659FD93


def isin_key(isin: str | bytes) -> int:
    """Exact: the eleven characters before the check digit in base 36, plus one."""
    return int(isin[:11], 36) + 1


def text_key(text: str) -> int:
    """Exact for up to seven UTF-8 bytes, which is most symbols; else 63 bits of Blake3.

    People may ask for anything, so a lone surrogate has a key too; nobody is linked under it.
    """
    return bytes_key(text.encode(errors="surrogatepass"))


def bytes_key(raw: bytes) -> int:
    """`text_key` of text that is UTF-8 already."""
    if len(raw) <= 7:
        return (int.from_bytes(raw, "little") << 3 | len(raw)) + 1
    return int.from_bytes(blake3(raw).digest(8), "little") | _LONG


def address_key(address: str) -> int:
    """Of a CAIP-19 reference: the low 64 bits of an EVM address, else as `text_key`."""
    if len(address) == 42 and address.startswith("0x"):
        return int(address[-16:], 16) or 1
    return text_key(address)


def pair_key(first: str, second: str) -> int:
    """Of two texts, in this order."""
    return mixed_key(text_key(first), text_key(second))


def mixed_key(first: int, second: int) -> int:
    """`pair_key` from the two `text_key`s."""
    return (first * _MIX ^ second) & _M63 or 1


def interleaved(
    first: Sequence[int], second: Sequence[int], cells: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Two keys of each cell for `link_all`, in the order in which they are linked one by one; of as
    many entities as there are cells."""
    keys = [key for pair in zip(first, second, strict=True) for key in pair]
    return keys[: 2 * len(cells)], [cell for cell in cells for _ in range(2)]


def hash_key(*parts: bytes) -> int:
    """64 bits of Blake3 over length-prefixed parts, for the primary keys of small views."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(4, "little")).update(part)
    return int.from_bytes(hasher.digest(8), "little") or 1
