# Made by proto/generate.py from proto/sharedmemory/sharedmemory.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.sharedmemory import sharedmemory_pb2


class SharedMemory(Service):
    full_name = "sharedmemory.SharedMemory"

    Get: Final = Method("/sharedmemory.SharedMemory/Get", sharedmemory_pb2.GetRequest, sharedmemory_pb2.GetResponse)
    Indexed: Final = Method("/sharedmemory.SharedMemory/Indexed", sharedmemory_pb2.IndexedRequest, sharedmemory_pb2.IndexedResponse)
    Apply: Final = Method("/sharedmemory.SharedMemory/Apply", sharedmemory_pb2.ApplyRequest, sharedmemory_pb2.ApplyResponse)
