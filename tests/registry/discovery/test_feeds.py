from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import Feed, read_feeds
from alphapulse.registry.commands_feeds import StateRules
from alphapulse.registry.discovery.feeds import FEEDS_FILE_SIZE_BYTES_MAX


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "feeds.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_feeds_in_their_order(tmp_path: Path) -> None:
    path = written(tmp_path, """
        [[feed]]
        pattern = "*.tokenlist.json"
        format = "token-list"
        source = "  uniswap "
        [[feed]]
        pattern = "nse_??.csv"
        """)  # fmt: skip
    feeds, rules = read_feeds(path)
    assert rules == StateRules()
    assert feeds == (
        Feed("*.tokenlist.json", "token-list", "uniswap"), Feed("nse_??.csv", "auto", ""),
    )  # fmt: skip
    assert feeds[1].fits("nse_01.csv") and not feeds[1].fits("NSE_01.csv")


def test_complete_feeds_and_rules(tmp_path: Path) -> None:
    path = written(tmp_path, """
        precedence = ["exchange", " vendor "]
        [seen]
        "collector" = "auto"
        [[feed]]
        pattern = "*.csv"
        source = "exchange"
        complete = true
        missing_after = 5
        drop_max_percent = 0
        [[feed]]
        pattern = "*"
        """)  # fmt: skip
    (first, second), rules = read_feeds(path)
    assert (first.complete, first.missing_after, first.drop_max_percent) == (True, 5, 0)
    assert (second.complete, second.missing_after, second.drop_max_percent) == (False, 3, 10)
    assert rules == StateRules(("exchange", "vendor"), (("collector", "auto"),))


COMPLETE = b"[[feed]]\npattern = '*'\nsource = 'a'\ncomplete = true\n"


@pytest.mark.parametrize(
    "text, words",
    [
        (b"[[feed]\npattern = 1", ("not TOML", "line 1")),
        (b"\xff\xfe", ("not TOML", "utf-8")),
        (b"a = " + b"[" * 100_000, ("not TOML",)),
        (b"#" * (FEEDS_FILE_SIZE_BYTES_MAX + 1), ("it has over 1048576 bytes",)),
        (b"", ("key=feed]", "missing")),
        (b"feed = []", ("key=feed]", "missing")),
        (b"feed = [1]", ("feed 1", "no table")),
        (b"[feeds]\npattern = '*'", ("key=feeds]", "no such key")),
        (b"[[feed]]\npattern = '*'\n[[feed]]\nsource = 'a'", ("feed 2", "key=pattern]")),
        (b"[[feed]]\npattern = 'a/*'", ("feed 1", "key=pattern]", "names have no /")),
        (b"[[feed]]\npattern = '*'\nformt = 'a'", ("feed 1", "key=formt]", "no such key")),
        (b"[[feed]]\npattern = '*'\nsource = 7", ("feed 1", "key=source]", "must be text")),
        (b"[[feed]]\npattern = '*'\nsource = ''", ("feed 1", "key=source]", "not empty")),
        (b"[[feed]]\npattern = '*'\nformat = 'xml'", ("feed 1", "key=format]", "'xml'", "auto")),
        (b"[[feed]]\npattern = '*'\nsource = \"a\\u0000b\"", ("feed 1", "key=source]")),
        (b"[[feed]]\npattern = '*'\nsource = '" + b"a" * 201 + b"'", ("feed 1", "key=source]")),
        (b"[[feed]]\npattern = '*'\ncomplete = true", ("key=source]", "need a source")),
        (b"[[feed]]\npattern = '*'\ncomplete = 1", ("key=complete]", "true or false")),
        (b"[[feed]]\npattern = '*'\nmissing_after = 2", ("key=missing_after]", "complete files")),
        (COMPLETE + b"missing_after = 0", ("key=missing_after]", "from 1 to 1000")),
        (COMPLETE + b"missing_after = true", ("key=missing_after]", "an integer")),
        (COMPLETE + b"drop_max_percent = 101", ("key=drop_max_percent]", "from 0 to 100")),
        (COMPLETE + b"quarantined_max = '1'", ("key=quarantined_max]", "an integer")),
        (b"precedence = 'a'\n" + COMPLETE, ("key=precedence]", "no list")),
        (b"precedence = [1]\n" + COMPLETE, ("field source", "text")),
        (b"precedence = ['a', 'a']\n" + COMPLETE, ("twice", "'a'")),
        (b"seen = 'a'\n" + COMPLETE, ("key=seen]", "no table")),
        (COMPLETE + b"[seen]\na = 'ask'", ("no such policy", "'ask'")),
    ],
)
def test_a_bad_file_says_where(tmp_path: Path, text: bytes, words: tuple[str, ...]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidInput) as raised:
        read_feeds(path)
    for word in (str(path), *words):
        assert word in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidInput, match="cannot be read"):
            read_feeds(path)
