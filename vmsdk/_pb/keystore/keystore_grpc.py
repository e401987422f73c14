# Made by proto/generate.py from proto/keystore/keystore.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.keystore import keystore_pb2


class Keystore(Service):
    full_name = "keystore.Keystore"

    GetDatabase: Final = Method("/keystore.Keystore/GetDatabase", keystore_pb2.GetDatabaseRequest, keystore_pb2.GetDatabaseResponse)
