"""The two servers of the node as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.wire.host.rawstub import DEADLINE_S, RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.keystore import keystore_pb2
from vmsdk._pb.keystore.keystore_grpc import Keystore
from vmsdk._pb.messenger import messenger_pb2
from vmsdk._pb.messenger.messenger_grpc import Messenger
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.sharedmemory import sharedmemory_pb2
from vmsdk._pb.sharedmemory.sharedmemory_grpc import SharedMemory
from vmsdk.host.config import ChainConfig
from vmsdk.host.services import NodeServices

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
MakeStub = Callable[[str, type[Service]], RawStub]
StartServices = Callable[..., NodeServices]


def test_both_servers_have_a_health_service(services: NodeServices) -> None:
    for address in (services.db_address, services.address):
        with grpc.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            response = health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
            unknown = health_pb2.HealthCheckRequest(service="nobody")
            code, _ = error_of(
                lambda request, health=health: health.Check(request, timeout=DEADLINE_S), unknown
            )
            assert code is grpc.StatusCode.NOT_FOUND


def test_the_database_is_only_on_its_own_server(services: NodeServices, stub: MakeStub) -> None:
    code, _ = error_of(stub(services.address, Database).Get, rpcdb_pb2.GetRequest())
    assert code is UNIMPLEMENTED
    code, _ = error_of(stub(services.db_address, SharedMemory).Get, sharedmemory_pb2.GetRequest())
    assert code is UNIMPLEMENTED


def test_until_protocol_41_there_is_a_messenger_whose_queue_holds_one_message(
    start_services: StartServices, stub: MakeStub
) -> None:
    services = start_services(41)
    messenger = stub(services.address, Messenger)
    build_block = messenger_pb2.NotifyRequest(message=messenger_pb2.MESSAGE_BUILD_BLOCK)
    messenger.Notify(build_block)
    assert error_of(messenger.Notify, build_block) == (grpc.StatusCode.UNKNOWN, "full message queue")
    assert services.events.take(0) == messenger_pb2.MESSAGE_BUILD_BLOCK
    messenger.Notify(build_block)


def test_from_protocol_42_there_is_no_messenger(start_services: StartServices, stub: MakeStub) -> None:
    messenger = stub(start_services(42).address, Messenger)
    code, _ = error_of(messenger.Notify, messenger_pb2.NotifyRequest())
    assert code is UNIMPLEMENTED


def test_the_keystore_is_unimplemented(start_services: StartServices, stub: MakeStub) -> None:
    keystore = stub(start_services(38).address, Keystore)
    code, _ = error_of(keystore.GetDatabase, keystore_pb2.GetDatabaseRequest())
    assert code is UNIMPLEMENTED


def test_after_stop_nothing_responds_and_stopping_again_is_harmless(stub: MakeStub) -> None:
    services = NodeServices(ChainConfig()).start()
    db = stub(services.db_address, Database)
    db.Put(rpcdb_pb2.PutRequest(key=b"k"))
    services.stop()
    services.stop()
    code, _ = error_of(db.Put, rpcdb_pb2.PutRequest(key=b"k"))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_a_malformed_message_is_an_error_and_the_server_lives(services: NodeServices) -> None:
    with grpc.insecure_channel(services.db_address) as channel:
        raw: Any = channel.unary_unary(Database.Put.path)
        with pytest.raises(grpc.RpcError):
            raw(b"\xff\xff\xff", timeout=DEADLINE_S)
        assert raw(b"", timeout=DEADLINE_S) == b""
