"""The genesis of a network with validators: the first node validates the P-chain alone."""

from __future__ import annotations

import json
import time
from typing import Any

from vmsdk.bls import PUBLIC_KEY_BYTES
from vmsdk.network.wallet import Validator

NETWORK_ID = 88888
"""A network for which nodes have no built-in genesis."""
SAMPLE_WEIGHT = 20
"""How many units of weight a node polls for each block (its flag `snow-sample-size`)."""

# The addresses of `LOCAL_ADDRESS`, and of 20 zero bytes, on networks that nodes don't know.
_OURS = "X-custom18jma8ppw3nhx5r4ap8clazz0dps7rv5u9xde7p"
_NOBODYS = "X-custom1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq4mlve4"
_STAKE = 10**15
_FUNDS = 2 * 10**16
_YEAR_S = 365 * 24 * 60 * 60
# The P-chain's gas capacity is 0 at its start, and grows by 100,000 a second: a network that starts
# this very second would refuse a transaction.
_AGE_S = 60


def genesis_of(validator: Validator) -> dict[str, Any]:
    """The content of the file that the flag `genesis-file` names."""
    key, proof = validator.proof[:PUBLIC_KEY_BYTES], validator.proof[PUBLIC_KEY_BYTES:]
    staker = {
        "nodeID": str(validator.node_id),
        "rewardAddress": _NOBODYS,
        "delegationFee": 0,
        "signer": {"publicKey": f"0x{key.hex()}", "proofOfPossession": f"0x{proof.hex()}"},
    }
    c_chain = {
        "config": {"chainId": NETWORK_ID},
        "difficulty": "0x0",
        "gasLimit": "0x5f5e100",
        "timestamp": "0x5fcb13d0",
        "alloc": {},
    }
    return {
        "networkID": NETWORK_ID,
        "allocations": [_allocation(_OURS, _FUNDS), _allocation(_NOBODYS, _STAKE)],
        "startTime": int(time.time()) - _AGE_S,
        "initialStakeDuration": _YEAR_S,
        "initialStakeDurationOffset": 0,
        "initialStakedFunds": [_NOBODYS],
        "initialStakers": [staker],
        "cChainGenesis": json.dumps(c_chain),
        "message": "",
    }


def _allocation(address: str, amount: int) -> dict[str, Any]:
    """An amount on the P-chain."""
    return {
        "ethAddr": "0x" + 40 * "0",
        "avaxAddr": address,
        "initialAmount": 0,
        "unlockSchedule": [{"amount": amount, "locktime": 0}],
    }
