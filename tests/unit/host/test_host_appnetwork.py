"""Application messages to a VM that has exited."""

from __future__ import annotations

import pytest

from vmsdk.errors import AppError
from vmsdk.host.appnetwork import AppNetwork
from vmsdk.ids import NodeID


def test_a_request_after_the_end_fails_at_once() -> None:
    network = AppNetwork(NodeID(b"a" * 20))
    network.close()
    answer = network.request(NodeID(b"b" * 20), b"x", timeout_s=600)
    with pytest.raises(AppError) as caught:
        answer.result(0)
    assert caught.value.code == AppError.TIMED_OUT
