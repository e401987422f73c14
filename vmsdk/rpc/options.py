"""The options of every gRPC server that a plugin runs."""

from __future__ import annotations

# The node pings idle connections every 30 s. With gRPC's defaults a server takes that for abuse and
# hangs up ("too_many_pings"), and refuses messages over 4 MiB. Source: PingInterval and the limits of
# the node's vms/rpcchainvm/grpcutils.
MIN_PING_INTERVAL_MS = 5_000
KEEPALIVE_TIME_MS = 2 * 60 * 60 * 1_000
KEEPALIVE_TIMEOUT_MS = 20_000

SERVER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Two servers must never share a port by accident.
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
]
