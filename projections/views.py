"""All views, in the order in which they fold: one file for each, or for a close family."""

from __future__ import annotations

from typing import Final

from .alert_view import AlertView
from .candidate_view import CandidateView
from .feed_views import FeedView, ImportView
from .instrument_view import InstrumentView
from .listing_view import ListingView
from .proposal_view import ProposalView
from .relation_view import RelationView
from .request_view import RequestView
from .venue_view import VenueView
from .view import View

VIEWS: Final[tuple[View, ...]] = (
    InstrumentView(), ListingView(), RelationView(), AlertView(), RequestView(), FeedView(),
    ImportView(), CandidateView(), ProposalView(), VenueView(),
)  # fmt: skip
VIEWS_BY_NAME: Final = {view.schema.name: view for view in VIEWS}
