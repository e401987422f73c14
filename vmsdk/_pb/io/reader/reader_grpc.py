# Made by proto/generate.py from proto/io/reader/reader.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.io.reader import reader_pb2


class Reader(Service):
    full_name = "io.reader.Reader"

    Read: Final = Method("/io.reader.Reader/Read", reader_pb2.ReadRequest, reader_pb2.ReadResponse)
