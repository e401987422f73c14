"""A VM's FastAPI app through a real node: REST, its page of documentation, and a WebSocket that
feeds blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from vmsdk.network import LocalNetwork, NodeBinary

FEED = f"{Path(__file__).resolve().parents[2] / 'examples' / 'feed' / 'feedvm.py'}:FeedVM"
TIMEOUT_S = 60.0


def app_url(network: LocalNetwork, index: int = 0) -> str:
    """Where the app is at the node of that index."""
    return f"{network.chain.url(network.nodes[index])}/api"


@pytest.fixture(scope="module")
def network(node: NodeBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(FEED, node=node.path, nodes=2) as network:
        yield network


def test_a_message_posted_at_one_node_is_fed_by_the_other(network: LocalNetwork) -> None:
    posting, feeding = app_url(network), app_url(network, 1)
    height = network.chain.height(network.nodes[0]) + 1
    with connect(f"{feeding.replace('http', 'ws', 1)}/feed", proxy=None, open_timeout=TIMEOUT_S) as feed:
        posted = httpx.post(f"{posting}/messages", json={"text": "Grüße"}, timeout=TIMEOUT_S, trust_env=False)
        assert posted.status_code == 202
        block = json.loads(feed.recv(timeout=TIMEOUT_S))
        assert (block["height"], block["messages"]) == (height, ["Grüße"])
    read = httpx.get(f"{feeding}/blocks/{height}", timeout=TIMEOUT_S, trust_env=False)
    assert read.json() == block


def test_what_the_app_refuses_comes_with_its_status(network: LocalNetwork) -> None:
    url = app_url(network)
    assert httpx.get(f"{url}/blocks/999999", trust_env=False).status_code == 404
    assert httpx.post(f"{url}/messages", json={"text": ""}, trust_env=False).status_code == 422


def test_the_apps_documentation_is_served_below_the_chains_url(network: LocalNetwork) -> None:
    url = app_url(network)
    page = httpx.get(f"{url}/docs", trust_env=False)
    assert page.status_code == 200
    assert f"/ext/bc/{network.chain.name}/api/openapi.json" in page.text
    assert httpx.get(f"{url}/openapi.json", trust_env=False).json()["info"]["title"] == "Feed"
