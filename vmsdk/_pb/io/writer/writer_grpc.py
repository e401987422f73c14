# Made by proto/generate.py from proto/io/writer/writer.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.io.writer import writer_pb2


class Writer(Service):
    full_name = "io.writer.Writer"

    Write: Final = Method("/io.writer.Writer/Write", writer_pb2.WriteRequest, writer_pb2.WriteResponse)
