"""Texts for tests with hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st


def texts(*, min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Any that has a UTF-8, as `st.text` without an alphabet, which in a new checkout first tries
    to encode each of a million code points; all but the surrogates have one."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=max_size)
