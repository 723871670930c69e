"""Endpoints: what is taken, and that no secret is."""

from __future__ import annotations

import json
import traceback
from importlib import resources

import msgspec
import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry.venues import bundled
from alphapulse.registry.venues.endpoints import Endpoint, address_text, endpoint, endpoints

FULL = {
    "kind": "fix", "address": "tls://fix.example.com:4198", "environment": "test",
    "region": "eu-west", "authentication": "certificate", "fix_version": "fix.4.4",
    "sender": "ALPHA", "target": "VENUE", "limits": [{"count": "50", "scope": "orders"}],
}  # fmt: skip


def test_every_field_comes_back() -> None:
    found = endpoint(FULL)
    assert found.fix_version == "FIX.4.4" and found.limits[0].seconds == "1"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Endpoint) == found
    assert set(msgspec.to_builtins(found)) == set(Endpoint.__struct_fields__)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("rest", "https://api.{hostname}"),
        ("rest", "https://{hostname}/api/contract/v2"),
        ("websocket", "wss://stream.example.com:9443/ws"),
        ("rpc", "https://mainnet.example.io/v3/{key}"),
        ("rpc", "http://127.0.0.1:8545"),
        ("unix", "unix:/run/venue/gateway.sock"),
        ("rest", "https://api.example.com/v1?recvWindow=5000"),
        ("websocket", "wss://ws.example.com/?streams=trades&listenKey={key}"),
        ("rest", "https://api.londonstockexchangegroup.com/intercontinentalexchange"),
        ("rest", "https://api.example.com/getTradingPairsInformation/api-keys"),
        ("rest", "https://a1b2.eu-west-1.example.com/v2/perpetuals2024"),
    ],
)
def test_addresses_as_they_are(kind: str, address: str) -> None:
    assert endpoint({"kind": kind, "address": address}).address == address


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@api.example.com",
        "https://user@api.example.com",
        "https://api.example.com/?api_key=abc",
        "https://api.example.com/?apiKey=abc",
        "https://api.example.com/?Token=abc",
        "https://api.example.com/?signature=00",
        "https://api.example.com/?x=0123456789abcdef0123456789abcdef",
        "https://rpc.example.io/v3/0123456789abcdef0123456789abcdef",
        "https://rpc.example.io/v2/aB3-dE5_gH7iJ9kL1mN3oP5q",
        "https://api.example.com/#secret",
        "https://api.example.com/#token=hunter2",
        "https://api.example.com/?client_secret=hunter2",
        "https://api.example.com/?apisecret=hunter2",
        "https://api.example.com/?API_SECRET=hunter2",
        "https://api.example.com/?auth=hunter2",
        "https://api.example.com/?JWT=hunter2",
        "https://api.example.com/?X-API-KEY=hunter2",
        "https://api.example.com/?a=1;sessionToken=hunter2",
        "https://api.example.com/?user%5Fpassw=hunter2",
        "https://api.example.com/?credentials=",
        "wss://ws.example.com/ws?listenKey=hunter2",
        "https://api.example.com/p;token=hunter2",
        "https://api.example.com/p;to%6ben=hunter2/x",
        "https://api.example.com/v3/abcdefghijklmnopqrstuvwxyzABCDEF",
        "https://api.example.com/v3/qzjvkxbnwmplrtsdfghcqyte",
        "https://api.example.com/v3/gH7iJ9kL1mN3oP5q",
        "https://api.example.com/v3/0123456789abcdef",
        "https://api.example.com/v3/123456789012345678901234",
        "https://api.example.com/?0123456789abcdef0123456789abcdef",
        "https://0123456789abcdef0123456789abcdef.rpc.example.com/",
        "https://api.example.com/?x=gH7iJ9kL1mN3oP5q%2FgH7iJ9kL%3D%3D",
    ],
)
def test_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"looks like a secret|user or a password") as caught:
        endpoint({"kind": "rpc", "address": address})
    for hidden in ("hunter2", "0123456789abcdef", "aB3-dE5", "abcdefgh", "gH7iJ9", "qzjvk"):
        assert hidden not in str(caught.value)


def test_the_addresses_of_ccxt_are_all_taken() -> None:
    data = resources.files("alphapulse.registry.venues") / "data" / bundled.FILES["crypto-venues"]
    addresses = [each for venue in json.loads(data.read_bytes()) for each in venue["api"]]
    assert len(addresses) > 190
    for address in addresses:
        assert endpoint({"kind": "rpc", "address": address}).address == address


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "rest", "address": "wss://bob:hunter2@api.example.com"},
        {"kind": "rest", "address": "bob:hunter2@api.example.com"},
        {"kind": "rest", "address": "https://bob:hunter2/@api.example.com"},
        {"kind": "rest", "address": "https://bob:hunter2@"},
        {"kind": "rest", "address": "https://bob:hunter2@api.example.com/\u202e"},
        {"kind": "rest", "address": "https://bob:hunter2@api.example.com/" + "x/" * 300},
        {"kind": "rest", "address": "ftp://example.com/?key=hunter2"},
        {"kind": "rest", "address": "ftp://example.com/p;token=hunter2"},
        {"kind": "fix", "address": "tls://bob:hunter2@fix.example.com"},
        {"kind": "unix", "address": "unix:hunter2@gateway.sock"},
        {"kind": "rest", "address": "https://api.example.com", "authentication": "hunter2"},
    ],
)
def test_nor_is_it_where_something_else_is_wrong(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        endpoints([fields])
    assert caught.value.doing.startswith("endpoint 1: ")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(InvalidInput) as caught:
        address_text(fields["address"], ("gopher",), "link")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "kind"),
        ({"kind": "carrier_pigeon", "address": "x"}, "kind"),
        ({"kind": "rest"}, "address"),
        ({"kind": "rest", "address": "wss://x.example.com"}, "https or http"),
        ({"kind": "rest", "address": "https://"}, "no host"),
        ({"kind": "rest", "address": "https://a b.example.com"}, "no host"),
        ({"kind": "rest", "address": "https://[::1"}, "address"),
        ({"kind": "fix", "address": "tls://fix.example.com"}, "port"),
        ({"kind": "fix", "address": "tls://fix.example.com:99999"}, "address"),
        ({"kind": "unix", "address": "unix:gateway.sock"}, "absolute"),
        ({"kind": "rest", "address": "https://x.example.com", "password": "x"}, "secrets have no"),
        ({"kind": "rest", "address": "https://x.example.com", "sender": "A"}, "of kind fix"),
        ({"kind": "fix", "address": "tls://x.example.com:1", "fix_version": "FIX.9"}, "version"),
        ({"kind": "rest", "address": "https://x.example.com", "limits": [{"count": 0}]}, "count"),
        ({"kind": "rest", "address": "https://x.example.com", "limits": "10"}, "limits"),
        ({"kind": "rest", "address": "https://x.example.com", "limits": [{"n": 1}]}, "count"),
    ],
)  # fmt: skip
def test_bad_ones_are_refused_by_field(fields: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        endpoint(fields)


def test_order_and_repeats_make_no_difference() -> None:
    a = {"kind": "rest", "address": "https://a.example.com"}
    b = {"kind": "rest", "address": "https://b.example.com"}
    assert endpoints([a, b, a]) == endpoints([b, a])
    with pytest.raises(InvalidInput, match="at most 256"):
        endpoints({**a, "address": f"https://a{n}.example.com"} for n in range(257))
