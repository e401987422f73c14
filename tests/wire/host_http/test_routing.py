"""Which requests reach which handler, at which protocol version."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.wire.host_http.conftest import CHAIN, NODE, StartFront
from tests.wire.host_http.fakevm import Exchange, FakeVM, as_dict, respond
from vmsdk.host.http import HTTPFront
from vmsdk.ids import ID

BOOTSTRAPPING = "API call rejected because chain is not done bootstrapping\n"
ROUTE = "Avalanche-Api-Route"


@pytest.fixture
def other_vm() -> Iterator[FakeVM]:
    fake = FakeVM()
    fake.simple = respond(200, b"the other")
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def vm_answers(vm: FakeVM) -> None:
    vm.simple = respond(200, b"the VM")


def get(front: HTTPFront, path: str, **options: Any) -> httpx.Response:
    return httpx.get(f"http://{front.address}{path}", trust_env=False, **options)


def test_edge_96_prefixes_are_reached_under_chain_id_and_alias_with_their_path_unstripped(
    vm: FakeVM, start_front: StartFront
) -> None:
    front = start_front(handlers={"": vm.address, "/rpc": vm.address})
    for path in (f"/ext/bc/{CHAIN}", "/ext/bc/fake", f"/ext/bc/{CHAIN}/rpc", "/ext/bc/fake/rpc"):
        assert get(front, path).text == "the VM"
        assert vm.requests[-1].url == path


def test_edge_96_a_malformed_prefix_is_refused_and_the_others_are_served(
    vm: FakeVM, start_front: StartFront
) -> None:
    front = start_front(handlers={})
    chain = ID.of(b"another chain")
    refused = front.add_chain(chain, [], {"foo": vm.address, "/a\nb": vm.address, "/rpc": vm.address})
    front.set_normal_op(chain, True)
    assert {refusal.prefix: str(refusal) for refusal in refused} == {
        "foo": "could not add route to chain's API handler: route is malformed: "
        'parse "foo": invalid URI for request',
        "/a\nb": "could not add route to chain's API handler: route is malformed: "
        'parse "/a\nb": net/url: invalid control character in URL',
    }
    assert get(front, f"/ext/bc/{chain}/rpc").status_code == 200
    assert get(front, f"/ext/bc/{chain}foo").status_code == 404


@pytest.mark.parametrize(
    "path", ["/ext/bc/fake/rpc/more", "/ext/bc/fake/", "/ext/bc/faker", "/ext/bc/unknown", "/", "/ext/health"]
)
def test_only_the_exact_path_is_a_route(vm: FakeVM, start_front: StartFront, path: str) -> None:
    front = start_front(handlers={"": vm.address, "/rpc": vm.address})
    response = get(front, path)
    assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert response.headers["Node-Id"] == str(NODE)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/block/7/raw", 200),
        ("/block/%2F/raw", 301),
        ("/block//raw", 301),
        ("/block/a/b/raw", 404),
        ("/tx/0123af", 200),
        ("/tx/xyz", 404),
        ("/tx/0123af%0A", 404),
    ],
)
def test_template_segments_match_any_text_or_their_expression(
    vm: FakeVM, start_front: StartFront, path: str, status: int
) -> None:
    front = start_front(handlers={"/block/{height}/raw": vm.address, "/tx/{id:[0-9a-f]+$}": vm.address})
    assert get(front, f"/ext/bc/fake{path}").status_code == status


@pytest.mark.parametrize("prefix", ["/{a", "/a}", "/{}", "/{x:}", "/{x}/{x}", "/{x:(a)}", "/{x:[}"])
def test_templates_that_no_node_could_match_are_refused(
    vm: FakeVM, start_front: StartFront, prefix: str
) -> None:
    front = start_front(handlers={})
    refused = front.add_chain(ID.of(b"another"), [], {prefix: vm.address})
    assert [refusal.prefix for refusal in refused] == [prefix]


def test_of_two_equal_prefixes_the_last_one_counts(
    vm: FakeVM, other_vm: FakeVM, start_front: StartFront
) -> None:
    front = start_front(handlers=[("/rpc", vm.address), ("/rpc", other_vm.address)])
    assert get(front, "/ext/bc/fake/rpc").text == "the other"


@pytest.mark.parametrize(
    ("path", "location"),
    [("/ext//bc/fake?a=1", "/ext/bc/fake?a=1"), ("/ext/bc/./x/../fake/", "/ext/bc/fake/")],
)
def test_an_unclean_path_is_redirected(start_front: StartFront, path: str, location: str) -> None:
    connection = http.client.HTTPConnection(start_front().address)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.headers["Location"]) == (301, location)
    connection.close()


def test_until_normal_operation_each_request_gets_503(vm: FakeVM, start_front: StartFront) -> None:
    front = start_front()
    front.set_normal_op(CHAIN, False)
    for headers in ({}, {ROUTE: str(CHAIN)}):
        response = get(front, "/ext/bc/fake", headers=headers)
        assert (response.status_code, response.text) == (503, BOOTSTRAPPING)
    assert not vm.requests
    front.set_normal_op(CHAIN, True)
    assert get(front, "/ext/bc/fake").status_code == 200


def test_without_a_chain_every_path_gets_503_with_the_reason(vm: FakeVM, start_front: StartFront) -> None:
    front = start_front()
    front.remove_chain(CHAIN)
    for path in ("/ext/bc/fake", "/"):
        response = get(front, path)
        assert (response.status_code, response.text) == (
            503,
            "no chain is running here: it is starting or has stopped; try again soon\n",
        )


def test_a_removed_chain_is_not_served_and_its_names_are_free(
    vm: FakeVM, other_vm: FakeVM, start_front: StartFront
) -> None:
    front = start_front()
    with pytest.raises(ValueError, match="/ext/bc/fake belongs to another chain"):
        front.add_chain(ID.of(b"another"), ["fake"], {})
    front.add_chain(other := ID.of(b"another"), [], {})
    front.remove_chain(CHAIN)
    assert get(front, "/ext/bc/fake").status_code == 404
    front.remove_chain(other)
    front.add_chain(CHAIN, ["fake"], {"": other_vm.address})
    front.set_normal_op(CHAIN, True)
    assert get(front, "/ext/bc/fake").text == "the other"
    with pytest.raises(KeyError, match=str(ID.EMPTY)):
        front.remove_chain(ID.EMPTY)


@pytest.mark.parametrize("version", [42, 43])
def test_protocols_42_and_43_route_by_a_header_with_exactly_one_value(
    vm: FakeVM, other_vm: FakeVM, start_front: StartFront, version: int
) -> None:
    front = start_front(version, http_handler=other_vm.address)
    routed = get(front, "/any/path?x", headers={ROUTE: str(CHAIN)})
    assert routed.text == "the other"
    assert other_vm.requests[0].url == "/any/path?x"
    assert as_dict(other_vm.requests[0].request_headers)[ROUTE] == [str(CHAIN)]
    assert get(front, "/ext/bc/fake", headers={ROUTE: "fake"}).status_code == 404
    twice = get(front, "/", headers=[(ROUTE, str(CHAIN)), (ROUTE, "proposervm")])
    assert (twice.status_code, twice.text) == (400, "")
    assert get(front, "/ext/bc/fake").text == "the VM"


def test_protocols_42_and_43_have_no_header_route_without_a_handler(start_front: StartFront) -> None:
    front = start_front(43, http_handler="")
    assert get(front, "/", headers={ROUTE: str(CHAIN)}).status_code == 404


@pytest.mark.parametrize("version", [44, 45, 46])
def test_from_protocol_44_the_first_value_names_the_chain_and_a_second_belongs_to_the_proposervm(
    other_vm: FakeVM, start_front: StartFront, version: int
) -> None:
    front = start_front(version, http_handler=other_vm.address)
    assert get(front, "/", headers={ROUTE: str(CHAIN)}).text == "the other"
    for second in ("proposervm", "else"):
        response = get(front, "/", headers=[(ROUTE, str(CHAIN)), (ROUTE, second)])
        assert response.status_code == 404
    assert get(front, "/", headers={ROUTE: str(ID.EMPTY)}).status_code == 404
    assert len(other_vm.requests) == 1


def test_from_protocol_44_the_proposervm_has_its_prefix(vm: FakeVM, start_front: StartFront) -> None:
    handlers = {"/proposervm": vm.address}
    assert get(start_front(43, handlers=handlers), "/ext/bc/fake/proposervm").text == "the VM"
    response = get(start_front(44, handlers=handlers), "/ext/bc/fake/proposervm")
    assert (response.status_code, len(vm.requests)) == (404, 1)


@pytest.mark.parametrize("version", [35, 40, 41])
def test_until_protocol_41_the_route_header_means_nothing_to_http_1(
    vm: FakeVM, start_front: StartFront, version: int
) -> None:
    front = start_front(version)
    assert get(front, "/ext/bc/fake", headers={ROUTE: "nonsense"}).text == "the VM"


def test_protocol_41_routes_http_2_by_the_chain_id_header_alone(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"by Handle")

    vm.handle = handle
    front = start_front(41, handlers={"": vm.address})
    with httpx.Client(http1=False, http2=True, base_url=f"http://{front.address}", trust_env=False) as client:
        assert client.get("/any", headers={"chain-id": str(CHAIN)}).text == "by Handle"
        assert client.get("/ext/bc/fake").status_code == 400
        assert client.get("/ext/bc/fake", headers={"chain-id": "fake"}).status_code == 404
        front.set_normal_op(CHAIN, False)
        assert client.get("/any", headers={"chain-id": str(CHAIN)}).text == BOOTSTRAPPING


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("192.0.2.1:80", 200),
        ("[::1]:80", 200),
        ("rebound.example", 403),
    ],
)
def test_a_host_name_that_is_not_allowed_is_refused(start_front: StartFront, host: str, status: int) -> None:
    response = get(start_front(), "/ext/bc/fake", headers={"Host": host})
    assert response.status_code == status
    if status == 403:
        assert response.text == "invalid host specified\n"


def test_the_node_responds_to_a_preflight_request(vm: FakeVM, start_front: StartFront) -> None:
    front = start_front()
    asked = {
        "Origin": "http://page",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = httpx.options(f"http://{front.address}/ext/bc/fake", headers=asked, trust_env=False)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
    refused = httpx.options(
        f"http://{front.address}/ext/bc/fake",
        headers=asked | {"Access-Control-Request-Method": "DELETE"},
        trust_env=False,
    )
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert not vm.requests
