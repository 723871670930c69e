"""Folds of the log into views: derived tables that any process maps and reads without locks.

The engine keeps them in step with the log, rebuilds what is missing or torn, and sums a digest
over each. Everything here can be thrown away and made again; nothing here decides anything.
"""

from .ahead import ahead_of
from .alert_view import alert_key
from .engine import Progress, Rebuilt, Views, ViewState
from .entity_view import CONFLICT_FIELDS, fields_in_conflict
from .errors import ViewFull, ViewUnusable
from .feed_views import find_import
from .history import DATA_KINDS, backwards, event_named, state_before, state_named
from .instrument_view import (
    CUSIP_COUNTRIES,
    IDENTIFIER_INDEXES,
    MANY_USED,
    USED_BY_NAME,
    cusip_in,
    native_id_of,
)
from .keys import address_key, hash_key, isin_key, pair_key, text_key
from .layout import APPLIED, PENDING_BIT, SUPERSEDED
from .listings import Listings, listings_of_isin
from .records import (
    ALL_MISSING,
    FLAG_EARLIER,
    FLAG_SYMBOL_DATED,
    AlertRecord,
    CandidateRecord,
    ImportRecord,
    ListingRecord,
    ProposalRecord,
    RelationRecord,
    RequestRecord,
    VenueRecord,
    fingerprint_key,
    group_key,
    pack_listing,
    unpack_dates,
    unpack_listed,
)
from .request_view import request_key
from .rows import canonical_row
from .table_reader import Cells, TableReader
from .venue_view import Aspect
from .views import VIEWS, VIEWS_BY_NAME

__all__ = [
    "ALL_MISSING",
    "APPLIED",
    "CONFLICT_FIELDS",
    "CUSIP_COUNTRIES",
    "DATA_KINDS",
    "FLAG_EARLIER",
    "FLAG_SYMBOL_DATED",
    "IDENTIFIER_INDEXES",
    "MANY_USED",
    "PENDING_BIT",
    "SUPERSEDED",
    "USED_BY_NAME",
    "VIEWS",
    "VIEWS_BY_NAME",
    "AlertRecord",
    "Aspect",
    "CandidateRecord",
    "Cells",
    "ImportRecord",
    "ListingRecord",
    "Listings",
    "Progress",
    "ProposalRecord",
    "Rebuilt",
    "RelationRecord",
    "RequestRecord",
    "TableReader",
    "VenueRecord",
    "ViewFull",
    "ViewState",
    "ViewUnusable",
    "Views",
    "address_key",
    "ahead_of",
    "alert_key",
    "backwards",
    "canonical_row",
    "cusip_in",
    "event_named",
    "fields_in_conflict",
    "find_import",
    "fingerprint_key",
    "group_key",
    "hash_key",
    "isin_key",
    "listings_of_isin",
    "native_id_of",
    "pack_listing",
    "pair_key",
    "request_key",
    "state_before",
    "state_named",
    "text_key",
    "unpack_dates",
    "unpack_listed",
]
