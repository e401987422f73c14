# Made by proto/generate.py from proto/http/http.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.http import http_pb2


class HTTP(Service):
    full_name = "http.HTTP"

    Handle: Final = Method("/http.HTTP/Handle", http_pb2.HTTPRequest, http_pb2.HTTPResponse)
    HandleSimple: Final = Method("/http.HTTP/HandleSimple", http_pb2.HandleSimpleHTTPRequest, http_pb2.HandleSimpleHTTPResponse)
