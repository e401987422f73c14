"""The node's APIs that clients and tutorials call: `info`, `health` and `platform`.

Sources: api/info/service.go, api/health/service.go and vms/platformvm/service.go.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any

from vmsdk import bls
from vmsdk.errors import InvalidInput, MissingExtra, NotFound
from vmsdk.host.chain import Chain
from vmsdk.host.config import ChainConfig
from vmsdk.host.errors import HostError
from vmsdk.host.http import jsonrpc
from vmsdk.host.http.endpoint import Endpoint, EndpointResponse
from vmsdk.host.http.jsonrpc import RPCError
from vmsdk.host.runtime import release_number
from vmsdk.host.service import ServiceError
from vmsdk.ids import ID, NodeID, vm_id
from vmsdk.nodeservices import CurrentValidator
from vmsdk.timestamp import Timestamp

Params = Mapping[str, Any]

# Source: version/constants.go.
_DATABASE_VERSION = "v1.4.5"
_NETWORK_NAMES = {1: "mainnet", 5: "fuji", 12345: "local"}
_PLATFORM = vm_id("platformvm")
_AVM = vm_id("avm")
_EVM = vm_id("evm")
_FXS = ("secp256k1fx", "nftfx", "propertyfx")
# Both the P-chain and the primary network have this ID.
_PRIMARY = ID.EMPTY


class NodeAPI:
    """The APIs of the node of *config*. *chain* returns its chain, or None without one."""

    def __init__(self, config: ChainConfig, chain: Callable[[], Chain | None]) -> None:
        self._config = config
        self._chain = chain

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by path."""
        platform = _service(self, "platform")
        health = _service(self, "health")

        def get_or_call(method: Callable[[Params], dict[str, Any]]) -> Endpoint:
            return lambda request: _health_page(method) if request.method == "GET" else health(request)

        return {
            "/ext/info": _service(self, "info"),
            "/ext/P": platform,
            "/ext/bc/P": platform,
            f"/ext/bc/{_PRIMARY}": platform,
            "/ext/health": get_or_call(self.health_health),
            "/ext/health/readiness": get_or_call(self.health_readiness),
            "/ext/health/liveness": get_or_call(self.health_liveness),
        }

    # info -----------------------------------------------------------------------------------------

    def info_getNodeVersion(self, params: Params) -> Any:
        number = release_number(self._config.protocol)
        versions = dict.fromkeys(("avm", "evm", "platform"), f"v{number}")
        chain = self._chain()
        if chain is not None:
            versions[str(chain.config.vm_id)] = chain.version()
        return {
            "version": f"avalanchego/{number}",
            "databaseVersion": _DATABASE_VERSION,
            "rpcProtocolVersion": str(self._config.protocol.version),
            "gitCommit": "",
            "vmVersions": versions,
        }

    def info_getNodeID(self, params: Params) -> Any:
        identity = self._config.identity
        result: dict[str, Any] = {"nodeID": str(identity.node_id)}
        try:
            proof = identity.proof_of_possession
        except MissingExtra:
            return result  # The node ID needs no BLS library.
        return result | {
            "nodePOP": {
                "publicKey": "0x" + identity.public_key.hex(),
                "proofOfPossession": "0x" + proof.hex(),
            }
        }

    def info_getNodeIP(self, params: Params) -> Any:
        return {"ip": "127.0.0.1:9651"}

    def info_getNetworkID(self, params: Params) -> Any:
        return {"networkID": str(self._config.network_id)}

    def info_getNetworkName(self, params: Params) -> Any:
        number = self._config.network_id
        return {"networkName": _NETWORK_NAMES.get(number, f"network-{number}")}

    def info_getBlockchainID(self, params: Params) -> Any:
        alias = str(params.get("alias", ""))
        found = self._lookup(alias)
        if found is None:
            raise RPCError(f"there is no ID with alias: {alias}")
        return {"blockchainID": str(found)}

    def info_isBootstrapped(self, params: Params) -> Any:
        name = str(params.get("chain", ""))
        if not name:
            raise RPCError("argument 'chain' not given")
        if self._lookup(name) is None:
            raise RPCError(f"there is no chain with alias/ID '{name}'")
        return {"isBootstrapped": True}

    def info_peers(self, params: Params) -> Any:
        chain = self._chain()
        wanted = {str(each) for each in params.get("nodeIDs") or ()}
        peers = [] if chain is None else chain.services.network.connected()
        now = _rfc3339(Timestamp.now())
        found = [
            {
                "ip": "127.0.0.1:9651",
                "publicIP": "127.0.0.1:9651",
                "nodeID": str(peer.node_id),
                "version": f"{peer.name}/{'.'.join(map(str, peer.version))}",
                "upgradeTime": 0,
                "lastSent": now,
                "lastReceived": now,
                "observedUptime": "100",
                "trackedSubnets": [str(self._config.subnet_id)],
                "supportedACPs": [],
                "objectedACPs": [],
                "benched": [],
            }
            for peer in peers
            if not wanted or str(peer.node_id) in wanted
        ]
        return {"numPeers": str(len(found)), "peers": found}

    def info_getVMs(self, params: Params) -> Any:
        vms: dict[str, list[str]] = {str(_PLATFORM): ["platform"], str(_AVM): ["avm"], str(_EVM): ["evm"]}
        chain = self._chain()
        if chain is not None:
            vms[str(chain.config.vm_id)] = []
        return {"vms": vms, "fxs": {str(vm_id(name)): name for name in _FXS}}

    def info_uptime(self, params: Params) -> Any:
        return {"rewardingStakePercentage": "100.0000", "weightedAveragePercentage": "100.0000"}

    def info_upgrades(self, params: Params) -> Any:
        chain = self._chain()
        if chain is None:
            raise RPCError("the chain is not running")
        return {
            _camel(each.name): _upgrade(getattr(chain.upgrades, each.name)) for each in fields(chain.upgrades)
        }

    # health ---------------------------------------------------------------------------------------

    def health_health(self, params: Params) -> dict[str, Any]:
        chain = self._chain()
        if chain is None:
            return _report({"bootstrapped": ([], "the chain is not running", 0)})
        begun = time.perf_counter()
        try:
            details, error = chain.health(), None
        except HostError as failure:
            details, error = None, str(failure)
        name = chain.config.alias or str(chain.config.chain_id)
        return _report({name: (details, error, time.perf_counter() - begun), "bootstrapped": ([], None, 0)})

    def health_readiness(self, params: Params) -> dict[str, Any]:
        error = "the chain is not running" if self._chain() is None else None
        return _report({"bootstrapped": ([], error, 0)})

    def health_liveness(self, params: Params) -> dict[str, Any]:
        return _report({})

    # platform -------------------------------------------------------------------------------------

    def platform_getHeight(self, params: Params) -> Any:
        return {"height": str(self._running().services.validators.current_height)}

    def platform_getProposedHeight(self, params: Params) -> Any:
        return {"height": str(self._running().services.validators.minimum_height)}

    def platform_getTimestamp(self, params: Params) -> Any:
        return {"timestamp": _rfc3339(Timestamp.now())}

    def platform_getStakingAssetID(self, params: Params) -> Any:
        return {"assetID": str(self._config.avax_asset_id)}

    def platform_getBlockchains(self, params: Params) -> Any:
        config = self._running().config
        name = config.alias or str(config.chain_id)
        rows = [
            (config.x_chain_id, "X-Chain", _PRIMARY, _AVM),
            (config.c_chain_id, "C-Chain", _PRIMARY, _EVM),
            (config.chain_id, name, config.subnet_id, config.vm_id),
        ]
        return {
            "blockchains": [
                {"id": str(chain_id), "name": name, "subnetID": str(subnet_id), "vmID": str(vm)}
                for chain_id, name, subnet_id, vm in rows
            ]
        }

    def platform_getBlockchainStatus(self, params: Params) -> Any:
        name = str(params.get("blockchainID", ""))
        if not name:
            raise RPCError("argument 'blockchainID' not given")
        if self._lookup(name) is not None:
            return {"status": "Validating"}
        _id("blockchainID", name)
        return {"status": "Unknown"}

    def platform_validatedBy(self, params: Params) -> Any:
        chain_id = _id("blockchainID", params.get("blockchainID"))
        try:
            return {"subnetID": str(self._running().services.validators.subnet_of(chain_id))}
        except NotFound as error:
            raise RPCError(f'problem retrieving blockchain "{chain_id}": {error}') from None

    def platform_validates(self, params: Params) -> Any:
        subnet_id = _id("subnetID", params.get("subnetID"))
        config = self._config if (chain := self._chain()) is None else chain.config
        chains = {
            _PRIMARY: [config.x_chain_id, config.c_chain_id],
            config.subnet_id: [config.chain_id],
        }
        return {"blockchainIDs": [str(each) for each in chains.get(subnet_id, ())]}

    def platform_getCurrentValidators(self, params: Params) -> Any:
        validators = self._running().services.validators
        subnet_id = _id("subnetID", params.get("subnetID") or str(_PRIMARY))
        wanted = {str(each) for each in params.get("nodeIDs") or ()}
        found = validators.validators_at(validators.current_height, subnet_id)
        return {
            "validators": [_current(one) for one in found if not wanted or str(NodeID(one.node_id)) in wanted]
        }

    def platform_getValidatorsAt(self, params: Params) -> Any:
        validators = self._running().services.validators
        height = params.get("height", "proposed")
        try:
            at = validators.minimum_height if height == "proposed" else int(height)
            found = validators.validators_at(at, _id("subnetID", params.get("subnetID") or str(_PRIMARY)))
        except (ValueError, TypeError):
            raise RPCError(f"height must be a number or 'proposed', not {height!r}") from None
        except ServiceError as error:
            raise RPCError(f"failed to get validator set: {error}") from None
        return {
            "validators": {
                str(NodeID(one.node_id)): {"publicKey": _public_key(one), "weight": str(one.weight)}
                for one in found
                if one.is_active
            }
        }

    # Inside ---------------------------------------------------------------------------------------

    def _running(self) -> Chain:
        chain = self._chain()
        if chain is None:
            raise RPCError("the chain is not running: it is starting or has stopped")
        return chain

    def _lookup(self, name: str) -> ID | None:
        chain = self._chain()
        if chain is None:
            return {"P": _PRIMARY, str(_PRIMARY): _PRIMARY}.get(name)
        aliases = chain.services.aliases
        found = aliases.find(name)
        if found is None:
            try:
                found = ID.from_string(name)
            except InvalidInput:
                return None
        return found if found == _PRIMARY or aliases.names(found) else None


def _service(api: NodeAPI, name: str) -> Endpoint:
    prefix = name + "_"
    methods = [each.removeprefix(prefix) for each in dir(api) if each.startswith(prefix)]
    return jsonrpc.service(name, {method: getattr(api, prefix + method) for method in methods})


def _health_page(check: Callable[[Params], dict[str, Any]]) -> EndpointResponse:
    report = check({})
    return EndpointResponse(200 if report["healthy"] else 503, "application/json", json.dumps(report) + "\n")


def _report(checks: Mapping[str, tuple[Any, str | None, float]]) -> dict[str, Any]:
    """Return a node's report of *checks*: details, error, and seconds."""
    now = _rfc3339(Timestamp.now())
    return {
        "checks": {
            name: {
                **({} if details is None else {"message": details}),
                **({} if error is None else {"error": error}),
                "timestamp": now,
                "duration": int(seconds * 1e9),
            }
            for name, (details, error, seconds) in checks.items()
        },
        "healthy": all(error is None for _, error, _ in checks.values()),
    }


def _current(one: CurrentValidator) -> dict[str, Any]:
    common = {
        "startTime": str(one.start_time),
        "weight": str(one.weight),
        "nodeID": str(NodeID(one.node_id)),
    }
    if not one.is_l1_validator:
        return {"txID": str(ID(one.validation_id)), "endTime": str(2**64 - 1), **common}
    return {
        **common,
        "validationID": str(ID(one.validation_id)),
        "publicKey": _public_key(one),
        "minNonce": str(one.min_nonce),
        "balance": "0" if not one.is_active else str(10**9),
    }


def _public_key(one: CurrentValidator) -> str | None:
    """Return the compressed key in hexadecimal; None if there is none, or no BLS library."""
    try:
        return "0x" + bls.compress(one.public_key).hex() if one.public_key else None
    except MissingExtra:
        return None


def _id(name: str, text: Any) -> ID:
    try:
        return ID.from_string(str(text))
    except InvalidInput as error:
        raise RPCError(f"problem parsing {name} {str(text)!r}: {error}") from None


def _rfc3339(timestamp: Timestamp) -> str:
    moment = datetime.fromtimestamp(timestamp.seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{timestamp.nanos:09}".rstrip("0") if timestamp.nanos else ""
    return f"{moment}{fraction}Z"


def _upgrade(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return _rfc3339(value)
    if isinstance(value, timedelta):
        return int(value.total_seconds() * 1e9)
    return str(value) if isinstance(value, ID) else value


def _camel(name: str) -> str:
    first, *rest = name.replace("p_chain", "pChain").replace("x_chain", "xChain").split("_")
    return first + "".join("ID" if part == "id" else part[0].upper() + part[1:] for part in rest)
