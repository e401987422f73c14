"""Which methods there are at each protocol version: a node calls all of its own, and an unanswered
one is fatal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from vmsdk.protocol import PROTOCOLS

from .conftest import Serve
from .plainvm import PlainVM

# The schema of every release, from outside of this project's own code.
_SCHEMA = json.loads((Path(__file__).parents[2] / "vectors" / "schema.json").read_text(encoding="utf-8"))
METHODS: dict[str, dict[str, Any]] = _SCHEMA["vm"]["services"]["VM"]


def exists(method: str, version: int) -> bool:
    since, until = METHODS[method]["since"], METHODS[method]["until"]
    return bool(since <= version and (until is None or version <= until))


@pytest.mark.parametrize("version", PROTOCOLS)
def test_a_vm_answers_the_methods_of_its_protocol_version_and_no_others(serve: Serve, version: int) -> None:
    served = serve(PlainVM(), version, run=False)
    answered = set()
    for method in METHODS:
        call: Any = served.client.channel.unary_unary(f"/vm.VM/{method}")
        if call.future(b"", timeout=60, wait_for_ready=True).code() is not grpc.StatusCode.UNIMPLEMENTED:
            answered.add(method)
    assert answered == {method for method in METHODS if exists(method, version)}
