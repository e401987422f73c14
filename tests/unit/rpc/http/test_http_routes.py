"""Which app a path belongs to when several could have it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from vmsdk.http.mount import Mount
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.http.site import Routes, Shared, Site

PREFIXES = ["", "/rpc", "/{path:.*}", "/api{path:|/.*}", "/api/v2{path:|/.*}", "/api/health"]


def site(prefix: str | None) -> Site:
    none: Any = None
    log = logging.getLogger("chain")
    shared = Shared(none, none, none, FaultLog(log), log)
    return Site(none, None if prefix is None else Mount(prefix), none, shared)


SITES = {prefix: site(prefix) for prefix in PREFIXES}
HEADER_ROUTED = site(None)
ROUTES = Routes()
for each in (*SITES.values(), HEADER_ROUTED):
    ROUTES.add(each)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/ext/bc/2Z", ""),
        ("/ext/bc/2Z/rpc", "/rpc"),
        ("/ext/bc/2Z/rpc/x", "/{path:.*}"),
        ("/ext/bc/2Z/", "/{path:.*}"),
        ("/ext/bc/2Z/api", "/api{path:|/.*}"),
        ("/ext/bc/2Z/api/x", "/api{path:|/.*}"),
        ("/ext/bc/2Z/api/v2/x", "/api/v2{path:|/.*}"),
        ("/ext/bc/2Z/api/health", "/api/health"),
    ],
)
def test_the_most_particular_prefix_has_a_path_whichever_server_the_node_chose(
    path: str, prefix: str
) -> None:
    matching = [each for each in PREFIXES if Mount(each).matches(path.removeprefix("/ext/bc/2Z"))]
    assert prefix in matching
    for reached in matching:
        assert ROUTES.site_for(path, SITES[reached]) is SITES[prefix]


def test_a_header_routed_request_stays_where_it_is() -> None:
    assert ROUTES.site_for("/ext/bc/2Z/rpc", HEADER_ROUTED) is HEADER_ROUTED


def test_a_path_of_no_chain_stays_where_it_is() -> None:
    assert ROUTES.site_for("/rpc", SITES["/{path:.*}"]) is SITES["/{path:.*}"]


def test_an_exact_prefix_keeps_what_it_was_sent_also_under_an_alias_with_a_slash() -> None:
    assert ROUTES.site_for("/ext/bc/my/alias/rpc", SITES["/rpc"]) is SITES["/rpc"]
