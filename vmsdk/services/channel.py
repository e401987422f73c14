"""The gRPC channel to one of the node's servers, with the options of the protocol."""

from __future__ import annotations

import socket

import grpc

KEEPALIVE_TIME_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000

# Source: vms/rpcchainvm/grpcutils/client.go of the node, in the C core's names.
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # Otherwise the C core stops after two pings without data in between.
    ("grpc.http2.max_pings_without_data", 0),
    # Proxies are not for servers on this machine.
    ("grpc.enable_http_proxy", 0),
    # Do not share the back-off of a channel to an earlier server on the same port.
    ("grpc.use_local_subchannel_pool", 1),
)


def connect(address: str) -> grpc.Channel:
    """A channel to the server at *address*, `host:port` or `unix:/path`. It connects at the first
    call.

    Make calls with `Call`, which waits for the connection without limit, as all calls of this
    protocol do. Closing the channel ends them. Raises `ValueError` for any other text.
    """
    return grpc.insecure_channel(target(address), options=CHANNEL_OPTIONS)


def target(address: str) -> str:
    """*address* as a target of the C core. IP addresses get a scheme that needs no resolver."""
    if address.startswith("unix:/"):
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is not a server's address: expected host:port, such as 127.0.0.1:9652")
    host = host.removeprefix("[").removesuffix("]")
    for family, form in ((socket.AF_INET, "ipv4:{}:{}"), (socket.AF_INET6, "ipv6:[{}]:{}")):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return form.format(host, port)
    return f"dns:///{address}"
