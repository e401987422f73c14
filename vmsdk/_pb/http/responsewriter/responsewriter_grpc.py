# Made by proto/generate.py from proto/http/responsewriter/responsewriter.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.http.responsewriter import responsewriter_pb2


class Writer(Service):
    full_name = "http.responsewriter.Writer"

    Write: Final = Method("/http.responsewriter.Writer/Write", responsewriter_pb2.WriteRequest, responsewriter_pb2.WriteResponse)
    WriteHeader: Final = Method("/http.responsewriter.Writer/WriteHeader", responsewriter_pb2.WriteHeaderRequest, empty_pb2.Empty)
    Flush: Final = Method("/http.responsewriter.Writer/Flush", empty_pb2.Empty, empty_pb2.Empty)
    Hijack: Final = Method("/http.responsewriter.Writer/Hijack", empty_pb2.Empty, responsewriter_pb2.HijackResponse)
