"""The node's database as the SDK calls it, against a bare stub and against one call for each key.

The server is the development host's, in a process of its own. Run it alone with
`python -m benchmarks.database`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.table import Row, compare, markdown, per_second
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database as Methods
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient

PAIRS = 200
VALUE = bytes(100)


def run() -> list[Row]:
    """Measure, with a server of its own."""
    with ExitStack() as stack:
        server = stack.enter_context(_server())  # which ends at the end of its input
        assert server.stdout is not None
        channel = stack.enter_context(connect(server.stdout.readline().strip()))
        stub = channel.unary_unary(
            Methods.Get.path,
            request_serializer=pb.GetRequest.SerializeToString,
            response_deserializer=pb.GetResponse.FromString,
        )
        database = DatabaseClient(channel)
        stack.callback(database.stop)
        keys = [b"%04d" % number for number in range(PAIRS)]

        def put_all_in_a_batch() -> None:
            with database.batch() as batch:
                for key in keys:
                    batch.put(key, VALUE)

        def put_each() -> None:
            for key in keys:
                database.put(key, VALUE)

        def get_each_by_the_stub() -> None:
            for key in keys:
                stub(pb.GetRequest(key=key), wait_for_ready=True)

        def get_each() -> None:
            for key in keys:
                database.get(key)

        def iterate() -> None:
            for _ in database.iterate():
                pass

        put_all_in_a_batch()
        return [
            _compare("get vs. a bare stub", get_each, get_each_by_the_stub, "at least 0.95"),
            _compare("get_many vs. one get per key", lambda: database.get_many(keys), get_each),
            _compare("iterate vs. one get per key", iterate, get_each),
            _compare("a batch vs. one put per key", put_all_in_a_batch, put_each),
        ]


def _compare(name: str, ours: Callable[[], object], floor: Callable[[], object], goal: str = "") -> Row:
    return compare(
        name, "keys/s", lambda: per_second(ours, PAIRS), lambda: per_second(floor, PAIRS), goal=goal
    )


def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.database", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _serve() -> None:
    from vmsdk.host.services import NodeServices

    with NodeServices() as services:
        print(services.db_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve()
    else:
        print(markdown(run()))
