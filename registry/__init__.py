"""Deciding what to write, and the doors: identity, collisions, commands, lookups, the facade.

Every decision is a pure function of the state at the head, made inside the log's write session.
Outside of it the views answer questions and decide nothing.
"""

from alphapulse.log import AlphaPulseError, InstrumentRecord, InvalidInput, Pattern, Status
from alphapulse.projections import Listings

from .audit import audit
from .candidate_finder import Crowd, LookAlike, LookAlikes
from .candidates import Candidate, Evidence
from .chains import CHAINS
from .changes import Blame, Change
from .commands import Acknowledge, Amend, Command, Register, SetStatus
from .commands_candidates import Confirm, Propose, Refuse
from .commands_feeds import StateRules, policy_named
from .commands_listings import AddListing, AddToGroup, EndListing
from .commands_proposals import ConfirmProposal, RefuseProposal, Seen
from .commands_relations import Relate, Unrelate
from .cross import Crossing, Pair
from .deciding import Receipt
from .discovery import Discovery, Feed, FeedsFile, Found, read_feeds
from .errors import (
    Ambiguous,
    DivisionByZero,
    FormulaCycle,
    FormulaInvalid,
    GenerationOver,
    IdSpaceFull,
    IllegalEvent,
    IllegalTransition,
    NotAlike,
    RelationCycle,
    RequestReused,
    UnknownAlert,
    UnknownCandidate,
    UnknownComponent,
    UnknownField,
    UnknownInstrument,
    UnknownListing,
    UnknownProposal,
    UnknownRelation,
    ValueMissing,
)
from .facts import Facts, facts_from
from .formula import Formula, canonical_text, evaluate
from .formula import parse as parse_formula
from .held import Origin
from .identity import fingerprint_of, key_text
from .importing import ImportReport, Problem, import_file, open_for_dry_run
from .instruments import (
    CLASSES,
    AnyInstrument,
    Bond,
    Coin,
    Currency,
    DexPool,
    Equity,
    Etf,
    Future,
    FxPair,
    Index,
    Listing,
    Option,
    Perpetual,
    PredictionOutcome,
    SpotPair,
    Synthetic,
    Token,
    class_named,
    from_mapping,
    native_coin,
)
from .lifecycle import import_log, replay_into, restore
from .lookup import FORMS, Lookup, Match
from .planning import FieldChange, Planned
from .readers import facts_of
from .registry import Registry, RegistryStatistics
from .related import Joined, Related
from .relation_rules import LINKS, RULES
from .tickets import Outcome, Unit
from .times_asked import AsOf, ValidAt
from .valid_time import When
from .validation import time_ns
from .writing import AsyncWriting

__all__ = [
    "CHAINS",
    "CLASSES",
    "FORMS",
    "LINKS",
    "RULES",
    "Acknowledge",
    "AddListing",
    "AddToGroup",
    "AlphaPulseError",
    "Ambiguous",
    "Amend",
    "AnyInstrument",
    "AsOf",
    "AsyncWriting",
    "Blame",
    "Bond",
    "Candidate",
    "Change",
    "Coin",
    "Command",
    "Confirm",
    "ConfirmProposal",
    "Crossing",
    "Crowd",
    "Currency",
    "DexPool",
    "Discovery",
    "DivisionByZero",
    "EndListing",
    "Equity",
    "Etf",
    "Evidence",
    "Facts",
    "Feed",
    "FeedsFile",
    "FieldChange",
    "Formula",
    "FormulaCycle",
    "FormulaInvalid",
    "Found",
    "Future",
    "FxPair",
    "GenerationOver",
    "IdSpaceFull",
    "IllegalEvent",
    "IllegalTransition",
    "ImportReport",
    "Index",
    "InstrumentRecord",
    "InvalidInput",
    "Joined",
    "Listing",
    "Listings",
    "LookAlike",
    "LookAlikes",
    "Lookup",
    "Match",
    "NotAlike",
    "Option",
    "Origin",
    "Outcome",
    "Pair",
    "Pattern",
    "Perpetual",
    "Planned",
    "PredictionOutcome",
    "Problem",
    "Propose",
    "Receipt",
    "Refuse",
    "RefuseProposal",
    "Register",
    "Registry",
    "RegistryStatistics",
    "Relate",
    "Related",
    "RelationCycle",
    "RequestReused",
    "Seen",
    "SetStatus",
    "SpotPair",
    "StateRules",
    "Status",
    "Synthetic",
    "Token",
    "Unit",
    "UnknownAlert",
    "UnknownCandidate",
    "UnknownComponent",
    "UnknownField",
    "UnknownInstrument",
    "UnknownListing",
    "UnknownProposal",
    "UnknownRelation",
    "Unrelate",
    "ValidAt",
    "ValueMissing",
    "When",
    "audit",
    "canonical_text",
    "class_named",
    "evaluate",
    "facts_from",
    "facts_of",
    "fingerprint_of",
    "from_mapping",
    "import_file",
    "import_log",
    "key_text",
    "native_coin",
    "open_for_dry_run",
    "parse_formula",
    "policy_named",
    "read_feeds",
    "replay_into",
    "restore",
    "time_ns",
]
