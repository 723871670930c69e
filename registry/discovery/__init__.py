"""Discovery: directories in which feeds leave files, and importing each file once.

What was imported is remembered in the log itself, by content, so nothing here needs to survive a
kill. `Registry.discover` is the way in.
"""

from .discovery import (
    FEEDS_FILE,
    ONCE_SETTLES,
    RESCAN_S,
    SETTLE_S,
    Discovery,
    DiscoveryStatistics,
    Found,
)
from .feeds import ANY, Feed, FeedsFile, read_feeds
from .folder import usable_directories
from .snapshot import Taken

__all__ = [
    "ANY",
    "FEEDS_FILE",
    "ONCE_SETTLES",
    "RESCAN_S",
    "SETTLE_S",
    "Discovery",
    "DiscoveryStatistics",
    "Feed",
    "FeedsFile",
    "Found",
    "Taken",
    "read_feeds",
    "usable_directories",
]
