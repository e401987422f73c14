# Made by proto/generate.py from proto/net/conn/conn.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.net.conn import conn_pb2


class Conn(Service):
    full_name = "net.conn.Conn"

    Read: Final = Method("/net.conn.Conn/Read", conn_pb2.ReadRequest, conn_pb2.ReadResponse)
    Write: Final = Method("/net.conn.Conn/Write", conn_pb2.WriteRequest, conn_pb2.WriteResponse)
    Close: Final = Method("/net.conn.Conn/Close", empty_pb2.Empty, empty_pb2.Empty)
    SetDeadline: Final = Method("/net.conn.Conn/SetDeadline", conn_pb2.SetDeadlineRequest, empty_pb2.Empty)
    SetReadDeadline: Final = Method("/net.conn.Conn/SetReadDeadline", conn_pb2.SetDeadlineRequest, empty_pb2.Empty)
    SetWriteDeadline: Final = Method("/net.conn.Conn/SetWriteDeadline", conn_pb2.SetDeadlineRequest, empty_pb2.Empty)
