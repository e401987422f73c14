"""Importing ``vmsdk._pb`` affects neither the standard library nor other libraries nor the
handshake.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, pkgutil, vmsdk._pb
for module in pkgutil.walk_packages(vmsdk._pb.__path__, "vmsdk._pb."):
    importlib.import_module(module.name)
"""

# A file of another library that includes the metrics protocol, with the same names as on the wire.
ANOTHER_LIBRARY = """
from google.protobuf import descriptor_pb2, descriptor_pool
pool = descriptor_pool.Default()
file = descriptor_pb2.FileDescriptorProto(
    name="io/prometheus/client/metrics.proto", package="io.prometheus.client", syntax="proto2"
)
file.message_type.add(name="MetricFamily").field.add(name="name", number=1, type=9, label=1)
pool.AddSerializedFile(file.SerializeToString())
assert [field.name for field in pool.FindMessageTypeByName("io.prometheus.client.MetricFamily").fields] == ["name"]
"""  # noqa: E501


def python(program: str) -> str:
    """Return what the program prints when run by another Python, where warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_importing_everything_gives_no_warning_and_adds_no_top_level_module() -> None:
    added = python(
        "import sys\n"
        # What the runtimes themselves load doesn't count.
        "import grpc, google.protobuf.internal.builder, google.protobuf.symbol_database, typing_extensions\n"
        "before = set(sys.modules)\n"
        f"{IMPORT_ALL}\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    names = set(added.strip("[]\n").replace("'", "").split(", "))
    assert "vmsdk" in names
    assert names - set(sys.stdlib_module_names) <= {"vmsdk", "google"}


def test_importing_everything_leaves_io_and_http_to_the_standard_library() -> None:
    python(
        f"{IMPORT_ALL}\n"
        "import http, http.client, io, os, sys\n"
        "library = os.path.dirname(os.__file__)\n"
        "assert http.__file__ == os.path.join(library, 'http', '__init__.py'), http\n"
        "assert http.HTTPStatus.OK == 200\n"
        "assert io.BytesIO(b'x').read() == b'x'\n"
        "assert not {'vm', 'net', 'rpcdb', 'sdk', 'warp'} & set(sys.modules)\n"
    )


@pytest.mark.parametrize("order", ["first", "last"])
def test_another_library_may_include_the_same_protocol(order: str) -> None:
    programs = [ANOTHER_LIBRARY, IMPORT_ALL]
    python("\n".join(programs if order == "first" else reversed(programs)))


def test_the_handshake_loads_only_its_own_messages_and_no_grpc() -> None:
    loaded = python(
        "import sys, vmsdk._pb.vm.runtime.runtime_grpc\n"
        "print('\\n'.join(name for name in sys.modules if name.endswith('_pb2') or name == 'grpc'))\n"
    )
    assert loaded.split() == ["google.protobuf.empty_pb2", "vmsdk._pb.vm.runtime.runtime_pb2"]
