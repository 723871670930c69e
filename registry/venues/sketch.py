"""Quantiles of latencies: a DDSketch, whose bins are integers, so that sketches merge exactly.

A value falls into a bin that is 2 % wide, and a quantile is the middle of its bin: within 1 % of
the exact one, whatever was measured (Masson, Rim, Lee: DDSketch, VLDB 2019). Merging adds up the
counts of bins, so 60 minutes make the very hour, in any order. Sketches that sample (KLL, REQ) or
cluster (t-digest) merge to something that depends on the order, or on chance.

The library is `ddsketch`, Datadog's own and what its tracer runs on; pure Python, and of its needs
only `six` is installed. Of its mappings the linear one is taken: it finds a bin by IEEE arithmetic
alone, so equal values have equal bins on every machine; only the width of the bins comes from a
logarithm, which is held to its value at import.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LinearlyInterpolatedMapping
from ddsketch.store import DenseStore

from alphapulse.log import NotDecodable

ACCURACY: Final = 0.01
_BINS_MAX: Final = 8_192
"""More than any u64 can tell apart."""
_COUNT_MAX: Final = 1 << 53
"""The library counts in floats, which are exact up to here."""
if math.log1p(2 * ACCURACY / (1 - ACCURACY)).hex() != "0x1.47b0e059d0597p-6":
    raise ImportError("this machine's log1p would give the bins of a sketch another width")


class Sketch:
    """Counts of whole numbers from 0 on. Cost: 2 µs to add, 20 µs a quantile."""

    def __init__(self, bins: Iterable[tuple[int, int]] = (), zeros: int = 0) -> None:
        # The library's classes are typed by comments, of which mypy knows nothing.
        self._store: Any = DenseStore()
        for key, count in bins:
            self._store.add(key, count)
        self._zeros = zeros
        self._sketch: Any = BaseDDSketch(
            LinearlyInterpolatedMapping(ACCURACY), self._store, DenseStore(), float(zeros)
        )

    def add(self, value: int) -> None:
        assert value >= 0
        self._zeros += value == 0
        self._sketch.add(value)

    def merge(self, other: Sketch) -> None:
        self._zeros += other._zeros
        self._sketch.merge(other._sketch)

    @property
    def count(self) -> int:
        return int(self._sketch.count)

    def quantile(self, q: float) -> int | None:
        """The value that a share `q` of the others is not above; None when there is none."""
        found = self._sketch.get_quantile_value(q)
        return None if found is None else round(found)

    def bins(self) -> Iterator[tuple[int, int]]:
        """Key and count of each bin that has any, keys rising; values of 0 are not in them."""
        for at, count in enumerate(self._store.bins, self._store.offset):
            if count:
                yield at, int(count)

    def encode(self) -> bytes:
        """Varints: the count of zeros, the count of bins, the first key (zigzag), its count, and
        for each further bin how far its key is from the one before, and its count."""
        bins = list(self.bins())
        numbers = [self._zeros, len(bins)]
        last: int | None = None
        for key, count in bins:
            numbers += [_zigzag(key) if last is None else key - last, count]
            last = key
        return b"".join(map(_varint, numbers))


def decode_sketch(data: bytes) -> Sketch:
    """What `encode` wrote. Raises NotDecodable."""
    numbers = list(_varints(data))
    if len(numbers) < 2 or numbers[1] > _BINS_MAX or len(numbers) != 2 + 2 * numbers[1]:
        raise NotDecodable("reading a sketch", problem="its bins are not those it counts")
    bins, key = [], 0
    for at in range(2, len(numbers), 2):
        key = key + numbers[at] if at > 2 else _unzigzag(numbers[at])
        bins.append((key, numbers[at + 1]))
    good = all(abs(key) <= _BINS_MAX and 0 < count <= _COUNT_MAX for key, count in bins)
    found = Sketch(bins, numbers[0]) if good else Sketch()
    if not good or numbers[0] > _COUNT_MAX or found.encode() != data:
        raise NotDecodable("reading a sketch", problem="its bins are not as they are written")
    return found


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _unzigzag(value: int) -> int:
    return value >> 1 if not value & 1 else -(value + 1 >> 1)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the low ones first; the high bit says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            yield value
            value = shift = 0
        elif (shift := shift + 7) > 56:
            raise NotDecodable("reading a sketch", problem="a number is too long")
    if shift:
        raise NotDecodable("reading a sketch", problem="it is cut short")
