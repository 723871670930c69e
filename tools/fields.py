"""Commands from fields: what flags and the lines of a program say, read in one place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .verb import find_one

if TYPE_CHECKING:
    from alphapulse.registry import Command, Register, Registry, Unit, When

Fields = dict[str, Any]
_ID: Final = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
_TIMES: Final = ("valid_from", "valid_to", "symbol_from", "expiry", "last_trade")
_ENDING: Final = {"end-listing": "listing", "unrelate": "relation"}
"""Verbs whose default is now, and what they end."""


def _register(registry: Registry, fields: Fields, when: When) -> Register:
    from alphapulse.registry import Register, class_named, from_mapping

    kind = class_named(fields.pop("class", None))
    _name_others(registry, fields, when)
    return Register.of(from_mapping(kind, _known(fields)))


def _seen(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import Seen, policy_named

    policy = fields.pop("policy", None)
    command = _register(registry, fields, when)
    return Seen(command, "" if policy is None else policy_named(policy))


def _amend(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import Amend

    times = {name: fields.pop(name, None) for name in ("valid_from", "valid_to")}
    id = _id_of(registry, fields, when)
    _name_others(registry, fields, when)
    return Amend(id, fields, **{name: _time(time, name) for name, time in times.items()})


def _delist(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import SetStatus, Status

    id, valid_from = _id_of(registry, fields, when), fields.pop("valid_from", None)
    _nothing_else(fields, "key, valid_from")
    return SetStatus(id, Status.DELISTED, _time(valid_from, "valid_from"))


def _status(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import SetStatus
    from alphapulse.registry.validation import status

    id, valid_from = _id_of(registry, fields, when), fields.pop("valid_from", None)
    wanted = status(fields.pop("status", None))
    _nothing_else(fields, "key, status, valid_from")
    return SetStatus(id, wanted, _time(valid_from, "valid_from"))


def _add_listing(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import AddListing, Listing, from_mapping

    id = _id_of(registry, fields, when)
    return AddListing.make(from_mapping(Listing, {**_known(fields), "instrument": id}))


def _end_listing(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.log import InvalidInput
    from alphapulse.registry import EndListing

    id, venue = _id_of(registry, fields, when), fields.pop("venue", None)
    now = fields.get("valid_to") is None
    narrowed = _known({name: fields.pop(name, None) for name in ("currency", "line")})
    valid_to = _end(fields)
    _nothing_else(fields, "key, venue, currency, line, valid_to")
    if venue is None:
        raise InvalidInput("ending a listing", problem="the venue is missing", cure="name it")
    as_of = when.known - 1 if when.known else None
    return EndListing(registry.find_listing(id, venue, as_of=as_of, **narrowed), valid_to, now)


def _relate(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import Relate

    of, relation, other = _sides(registry, fields, when)
    said = _known({name: fields.pop(name, None) for name in ("ratio", "valid_from", "valid_to")})
    _nothing_else(fields, "from, relation, to, ratio, valid_from, valid_to")
    return Relate.make(of, relation, other, **said)


def _unrelate(registry: Registry, fields: Fields, when: When) -> Command:
    from alphapulse.registry import Unrelate

    of, relation, other = _sides(registry, fields, when)
    now = fields.get("valid_to") is None
    valid_to = _end(fields)
    _nothing_else(fields, "from, relation, to, valid_to")
    return Unrelate.make(of, relation, other, valid_to, now=now)


def _sides(registry: Registry, fields: Fields, when: When) -> tuple[bytes, object, bytes]:
    from alphapulse.registry.commands_relations import be_two
    from alphapulse.registry.relation_rules import link_named

    relation = link_named(fields.pop("relation", None))
    of, other = (
        find_one(registry, _key_in(fields, name), when=when) for name in ("from", "to")
    )
    be_two(of.id, other.id)
    return of.record.fingerprint, relation.name.lower(), other.record.fingerprint


COMMANDS: Final[dict[str, Callable[[Registry, Fields, When], Command]]] = {
    "register": _register, "amend": _amend, "delist": _delist, "status": _status,
    "add-listing": _add_listing, "end-listing": _end_listing, "relate": _relate,
    "unrelate": _unrelate, "seen": _seen,
}  # fmt: skip


def _known(fields: Fields) -> Fields:
    """Without nulls, which mean "not known" here as they do in what we print."""
    return {name: value for name, value in fields.items() if value is not None}


def _time(value: object, field: str) -> int:
    from alphapulse.registry import time_ns

    return 0 if value is None else time_ns(value, field)


def _end(fields: Fields) -> int:
    """Now when nothing is given; a time that is given and says nothing is a mistake."""
    from alphapulse.registry.validation import refuse

    valid_to = fields.pop("valid_to", None)
    if valid_to is None:
        return time.time_ns()
    return _time(valid_to, "valid_to") or refuse(
        "valid_to", "it says no time", valid_to, "leave it out to mean now"
    )  # fmt: skip


def _id_of(registry: Registry, fields: Fields, when: When) -> int:
    key = _key_in(fields, "key", "instrument")
    return find_one(registry, key, when=None if is_lasting(registry, key) else when).id


def _key_in(fields: Fields, *names: str) -> str:
    from alphapulse.log import InvalidInput

    key = None
    for name in names:
        key = fields.pop(name, None) if key is None else key
    if not isinstance(key, str):
        raise InvalidInput(
            "reading the key", problem="it is missing or not text",
            cure=f'give "{names[0]}": an id, ISIN, address or symbol',
        )  # fmt: skip
    return key


def _name_others(registry: Registry, fields: Fields, when: When) -> None:
    """Keys of the underlying and in a formula become ids. An id that nobody has yet stays."""
    from alphapulse.log import AlphaPulseError
    from alphapulse.registry import canonical_text

    if fields.get("formula"):
        fields["formula"] = canonical_text(
            fields["formula"], lambda key: find_one(registry, key, when=when).id
        )
    key = fields.get("underlying")
    if isinstance(key, str) and key:
        if _ID.fullmatch(key) and not registry.lookup.find(key, when=when)[1]:
            return
        try:
            fields["underlying"] = find_one(registry, key, when=when).id
        except AlphaPulseError as error:
            error.doing = f"reading field underlying: {error.doing}"
            raise


def _nothing_else(fields: Fields, known: str) -> None:
    from alphapulse.log import InvalidInput

    if fields:
        raise InvalidInput(
            "reading the fields", problem="there is no such field", field=sorted(fields)[0][:40],
            cure=f"the fields are {known}, source, request_id",
        )  # fmt: skip


def unit_of(registry: Registry, verb: str, fields: Fields) -> Unit:
    """The command that the fields ask for. Raises AlphaPulseError.

    The key of a request that is sent again means whom it meant before the request was carried out,
    which may have changed that very key. Where it meant nobody, the request was another command:
    RequestReused.
    """
    from alphapulse.log import InvalidInput
    from alphapulse.projections import event_named
    from alphapulse.registry import RequestReused, Unit, UnknownInstrument

    check_times(fields)
    if fields.get("request_id") == "":
        raise InvalidInput(
            "reading field request_id", problem="it is empty",
            cure="leave it out, or give each command its own",
        )  # fmt: skip
    origin = _known({name: fields.pop(name, None) for name in ("source", "request_id")})
    said_by = registry.origin(**origin)
    first = registry.offset_of_request(said_by.request_id) if said_by.request_id else None
    if said_by.request_id and verb in _ENDING and not fields.get("valid_to"):
        raise InvalidInput(
            f"ending a {_ENDING[verb]}", problem="a request that can be sent again must say when",
            cure="give valid_to too",
        )  # fmt: skip
    try:
        command = COMMANDS[verb](registry, fields, registry.lookup.before_request(first))
    except UnknownInstrument as error:
        if first is None:
            raise
        raise RequestReused(
            error.doing, request_id=said_by.request_id[:40], offset=first,
            used_for=f"0x{event_named(registry.log, first).entity:016x}",
        ) from error  # fmt: skip
    return Unit((command,), said_by)


def check_times(fields: Fields) -> None:
    """2020 could be a year, an offset or nanoseconds: a flag and a line must not differ on it."""
    from alphapulse.registry.validation import refuse

    for field in _TIMES:
        value = fields.get(field)
        if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
            refuse(field, "a bare number is no time", value,
                   "write it like 2026-01-31 or 2026-01-31T09:30:00.123456789Z")  # fmt: skip


def is_lasting(registry: Registry, key: object) -> bool:
    """Whether a key means the same instrument for ever: no key, or the id or EVM address of one
    that is registered. What only looks like these may be a symbol: 0xBTC is one."""
    if not isinstance(key, str) or not key:
        return True
    if not key.startswith(("0x", "eip155:")):
        return False
    return registry.lookup.find(key)[0] in ("id", "fingerprint", "address")
