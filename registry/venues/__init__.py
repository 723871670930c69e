"""What a venue is like: its trading hours, what it charges, how it is reached, whether it trades.

Most parts are pure and write nothing. `define` checks dated rules and special days in local time, a
`Timetable` answers from them at any instant, `read_toml` and `read_csv` take them as people write
them, `bundled_hours` has those that come with the project, and `from_calendar` exports them from
exchange_calendars (extra `[calendars]`). `Fees` says exactly what a trade costs. `endpoint` has no
field for a secret.

What a registry knows of its venues is said by events: `commands` decides them, `rules` says which
are legal, `words` folds them, and `facade.Venues`, as `registry.venues`, is the door to it all.
"""

from alphapulse.registry.errors import UnknownVenue, VenueOver

from .bundled import ALWAYS, bundled_file, bundled_hours, bundled_names
from .calendars import CalendarsMissing, UnknownCalendar, calendar_names, from_calendar
from .calendars import source as calendar_source
from .endpoints import Endpoint, RateLimit, endpoint
from .endpoints_text import read_endpoints
from .errors import FeesUnknown, HoursUnknown, NoSuchTransition, WindowClosed
from .fees import (
    Charge,
    Doubt,
    FeeLine,
    FeeNotComputable,
    Fees,
    FeeSchedule,
    FeeUnknown,
    Trade,
    doubts,
    exact_text,
    fee_line,
    fee_schedule,
)
from .hours import (
    Hours,
    HoursInvalid,
    LocalTimeInvalid,
    Phase,
    PhasesOverlap,
    Rule,
    Span,
    SpecialDay,
    define,
    from_plain,
    phase_named,
    plain,
    rule,
    span,
    special_day,
)
from .hours_text import VenueHours, hours_of_toml, read_csv, read_toml, to_toml
from .performance import (
    SETTLE_NS,
    WINDOWS_NS,
    Figures,
    Latencies,
    Place,
    Summary,
    Windows,
    summary_of,
)
from .performing import Performance, Taken, Window, merge_windows
from .samples import (
    SKEW_NS_MAX,
    Sample,
    SampleRefused,
    sample,
    sample_dict,
    sample_of_line,
)
from .sessions import Session, SessionPhase, Timetable, TimetableStatistics
from .sketch import Sketch, decode_sketch
from .venue import Venue
from .zones import UnknownZone

__all__ = [
    "ALWAYS",
    "SETTLE_NS",
    "SKEW_NS_MAX",
    "WINDOWS_NS",
    "CalendarsMissing",
    "Charge",
    "Doubt",
    "Endpoint",
    "FeeLine",
    "FeeNotComputable",
    "FeeSchedule",
    "FeeUnknown",
    "Fees",
    "FeesUnknown",
    "Figures",
    "Hours",
    "HoursInvalid",
    "HoursUnknown",
    "Latencies",
    "LocalTimeInvalid",
    "NoSuchTransition",
    "Performance",
    "Phase",
    "PhasesOverlap",
    "Place",
    "RateLimit",
    "Rule",
    "Sample",
    "SampleRefused",
    "Session",
    "SessionPhase",
    "Sketch",
    "Span",
    "SpecialDay",
    "Summary",
    "Taken",
    "Timetable",
    "TimetableStatistics",
    "Trade",
    "UnknownCalendar",
    "UnknownVenue",
    "UnknownZone",
    "Venue",
    "VenueHours",
    "VenueOver",
    "Window",
    "WindowClosed",
    "Windows",
    "bundled_file",
    "bundled_hours",
    "bundled_names",
    "calendar_names",
    "calendar_source",
    "decode_sketch",
    "define",
    "doubts",
    "endpoint",
    "exact_text",
    "fee_line",
    "fee_schedule",
    "from_calendar",
    "from_plain",
    "hours_of_toml",
    "merge_windows",
    "phase_named",
    "plain",
    "read_csv",
    "read_endpoints",
    "read_toml",
    "rule",
    "sample",
    "sample_dict",
    "sample_of_line",
    "span",
    "special_day",
    "summary_of",
    "to_toml",
]
