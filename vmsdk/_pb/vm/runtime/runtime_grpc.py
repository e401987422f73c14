# Made by proto/generate.py from proto/vm/runtime/runtime.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.vm.runtime import runtime_pb2


class Runtime(Service):
    full_name = "vm.runtime.Runtime"

    Initialize: Final = Method("/vm.runtime.Runtime/Initialize", runtime_pb2.InitializeRequest, empty_pb2.Empty)
