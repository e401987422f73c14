"""Channels of the node to a plugin."""

from __future__ import annotations

from typing import Any

import grpc

# Source: vms/rpcchainvm/grpcutils/client.go, the same in every protocol version.
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A proxy in the environment is for the world outside, never for 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
)


def connect(address: str) -> grpc.Channel:
    """A plaintext channel to *address*, ``127.0.0.1:port``. It connects at the first call."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
