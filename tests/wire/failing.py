"""Faults of the node's services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmsdk.host.service import NodeService, ServiceError


def fail_next(service: NodeService, method: str, message: str) -> None:
    """Make the next call of *method* fail with *message*, without being executed."""
    left = [message]

    def around(name: str, request: Any, invoke: Callable[[], Any]) -> Any:
        if name == method and left:
            raise ServiceError(left.pop())
        return invoke()

    service.around = around
