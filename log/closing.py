"""What has a `close` can stand in a `with`."""

from __future__ import annotations

from typing import Self


class Closing:
    """Leaving the `with` closes it, whether an error ends it or not."""

    __slots__ = ()

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
