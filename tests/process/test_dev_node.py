"""`vmsdk dev` answers what clients ask a node, in a node's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .devcommand import TIMESTAMP_VM, Dev

LOCAL_ID = "11111111111111111111111111111111LpoYY"


class Client:
    """Posts to the node as curl does in the nodes' documentation."""

    def __init__(self, base: str, chain_id: str) -> None:
        self.base = base
        self.chain_id = chain_id

    def post(self, path: str, method: str, params: Any = None, content_type: str = "application/json") -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params})}
        return httpx.post(
            self.base + path,
            content=json.dumps(body),
            headers={"content-type": content_type},
            trust_env=False,
        )

    def result(self, path: str, method: str, **params: Any) -> Any:
        response = self.post(path, method, params).json()
        assert response.keys() == {"jsonrpc", "result", "id"}, response
        return response["result"]

    def error(self, path: str, method: str, params: Any = None) -> str:
        response = self.post(path, method, params).json()
        assert (response["error"]["code"], response["error"]["data"]) == (-32000, None)
        return str(response["error"]["message"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Dev(TIMESTAMP_VM, "--alone", folder=tmp_path_factory.mktemp("dev")) as dev:
        chain_id = dev.line(r"chain ID: (\S+)")[1]
        yield Client(dev.url().removesuffix("/ext/bc/timestampvm"), chain_id)
        dev.interrupt()
        assert dev.wait() == 0


def test_info_describes_the_node(client: Client) -> None:
    version = client.result("/ext/info", "info.getNodeVersion")
    assert version.keys() == {"version", "databaseVersion", "rpcProtocolVersion", "gitCommit", "vmVersions"}
    assert (version["version"], version["rpcProtocolVersion"]) == ("avalanchego/1.14.2", "45")
    vm_id = next(iter(version["vmVersions"].keys() - {"avm", "evm", "platform"}))
    assert version["vmVersions"][vm_id] == "1.0.0"
    assert client.result("/ext/info", "info.getVMs")["vms"][vm_id] == []
    assert client.result("/ext/info", "info.getNodeID")["nodeID"].startswith("NodeID-")
    assert client.result("/ext/info", "info.getNetworkID") == {"networkID": "12345"}
    assert client.result("/ext/info", "info.getNetworkName") == {"networkName": "local"}
    assert client.result("/ext/info", "info.peers") == {"numPeers": "0", "peers": []}
    assert client.result("/ext/info", "info.uptime")["rewardingStakePercentage"] == "100.0000"
    upgrades = client.result("/ext/info", "info.upgrades")
    assert upgrades["apricotPhase1Time"] == "2020-12-05T05:00:00Z"
    assert upgrades["apricotPhase4MinPChainHeight"] == 0
    assert upgrades["cortinaXChainStopVertexID"] == LOCAL_ID


@pytest.mark.warp
def test_info_proves_that_the_node_has_its_bls_key(client: Client) -> None:
    proof = client.result("/ext/info", "info.getNodeID")["nodePOP"]
    assert len(proof["proofOfPossession"]) == 2 + 2 * 96


def test_info_knows_the_chain_by_its_names(client: Client) -> None:
    for name in ("timestampvm", client.chain_id, "P", "X", LOCAL_ID):
        assert client.result("/ext/info", "info.isBootstrapped", chain=name) == {"isBootstrapped": True}
    found = client.result("/ext/info", "info.getBlockchainID", alias="timestampvm")
    assert found == {"blockchainID": client.chain_id}
    assert (
        client.error("/ext/info", "info.isBootstrapped", {"chain": "Q"})
        == "there is no chain with alias/ID 'Q'"
    )
    assert client.error("/ext/info", "info.isBootstrapped") == "argument 'chain' not given"


def test_platform_describes_the_chain_and_its_validators(client: Client) -> None:
    assert client.result("/ext/bc/P", "platform.getHeight") == {"height": "0"}
    chains = client.result("/ext/bc/P", "platform.getBlockchains")["blockchains"]
    own = next(each for each in chains if each["id"] == client.chain_id)
    assert (own.keys(), own["name"]) == ({"id", "name", "subnetID", "vmID"}, "timestampvm")
    status = client.result("/ext/bc/P", "platform.getBlockchainStatus", blockchainID=client.chain_id)
    assert status == {"status": "Validating"}
    by = client.result("/ext/bc/P", "platform.validatedBy", blockchainID=client.chain_id)
    assert by == {"subnetID": own["subnetID"]}
    validates = client.result("/ext/bc/P", "platform.validates", subnetID=own["subnetID"])
    assert validates == {"blockchainIDs": [client.chain_id]}
    (validator,) = client.result("/ext/bc/P", "platform.getCurrentValidators", subnetID=own["subnetID"])[
        "validators"
    ]
    node_id = client.result("/ext/info", "info.getNodeID")["nodeID"]
    assert (validator["nodeID"], validator["weight"]) == (node_id, "100")
    at = client.result("/ext/bc/P", "platform.getValidatorsAt", height=0, subnetID=own["subnetID"])
    assert at["validators"][node_id]["weight"] == "100"
    assert "unfinalized height" in client.error(
        "/ext/bc/P", "platform.getValidatorsAt", {"height": 9, "subnetID": own["subnetID"]}
    )


def test_health_is_served_by_get_and_by_post(client: Client) -> None:
    for path, method in (("", "health"), ("/readiness", "readiness"), ("/liveness", "liveness")):
        page = httpx.get(f"{client.base}/ext/health{path}", trust_env=False)
        assert (page.status_code, page.headers["content-type"]) == (200, "application/json")
        assert page.json()["healthy"] is True
        assert (
            client.result("/ext/health", f"health.{method}")["checks"].keys() == page.json()["checks"].keys()
        )
    checks = client.result("/ext/health", "health.health", tags=[])["checks"]
    assert checks["timestampvm"]["message"] == {"database": None, "health": None}
    assert checks["timestampvm"].keys() == {"message", "timestamp", "duration"}


def test_wrong_calls_get_the_nodes_own_words(client: Client) -> None:
    assert client.error("/ext/info", "info.getNothing") == 'rpc: can\'t find method "info.GetNothing"'
    assert client.error("/ext/info", "health.health") == 'rpc: can\'t find service "health.Health"'
    assert client.error("/ext/info", "nothing") == 'rpc: service/method request ill-formed: "nothing"'
    assert client.error("/ext/info", "info.Peers") == "method must start with a non-uppercase letter"
    assert client.error("/ext/info", "info.peers", ["NodeID"]).startswith("couldn't unmarshal an argument")
    response = client.post("/ext/info", "info.peers", content_type="text/plain")
    assert (response.status_code, response.text) == (415, "rpc: unrecognized Content-Type: text/plain")
    response = httpx.get(f"{client.base}/ext/info", trust_env=False)
    assert (response.status_code, response.text) == (405, "rpc: POST method required, received GET")
    response = httpx.post(
        f"{client.base}/ext/info", content="{", headers={"content-type": "application/json"}, trust_env=False
    )
    assert response.json()["error"]["code"] == -32700
