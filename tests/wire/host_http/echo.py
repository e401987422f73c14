"""A WebSocket server over a taken-over connection, for the fake VM to play."""

from __future__ import annotations

import wsproto
from wsproto import events

from tests.wire.host_http.fakevm import Connection, Exchange


async def echo_messages(exchange: Exchange) -> None:
    """Take over the connection, accept the WebSocket, echo messages, close when the client does."""
    connection = await exchange.hijack()
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    protocol.initiate_upgrade_connection(
        [
            (header.key.encode(), value.encode())
            for header in exchange.request.header
            for value in header.values
        ]
        + [(b"Host", exchange.request.host.encode())],
        exchange.request.request_uri,
    )
    try:
        await _converse(connection, protocol)
    finally:
        await connection.hang_up()
        await connection.close()


async def _converse(connection: Connection, protocol: wsproto.WSConnection) -> None:
    while True:
        for event in protocol.events():
            answer = _answer(event)
            if answer is not None:
                await connection.write(protocol.send(answer))
            if isinstance(event, events.CloseConnection):
                return
        response = await connection.read_buffered(65_536)
        if not response.read:
            return
        protocol.receive_data(response.read)


def _answer(event: events.Event) -> events.Event | None:
    if isinstance(event, events.Request):
        return events.AcceptConnection()
    if isinstance(event, events.Message):
        return event  # Text and bytes alike, fragment by fragment.
    if isinstance(event, events.CloseConnection | events.Ping):
        return event.response()
    return None
