"""A client of any service, made of the generated table and nothing else of vmsdk."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from vmsdk._pb._service import Service

DEADLINE_S = 60


class RawStub:
    """Each method of *service* by its name: takes a request, gives the response."""

    def __init__(self, channel: grpc.Channel, service: type[Service]) -> None:
        for name, method in service.methods.items():
            call = method.on(channel)
            setattr(self, name, self._with_deadline(call))

    @staticmethod
    def _with_deadline(call: Any) -> Any:
        return lambda request: call(request, timeout=DEADLINE_S)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def error_of(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    """The status and text with which *call* fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details() or ""
