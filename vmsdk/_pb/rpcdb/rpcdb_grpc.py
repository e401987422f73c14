# Made by proto/generate.py from proto/rpcdb/rpcdb.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.rpcdb import rpcdb_pb2


class Database(Service):
    full_name = "rpcdb.Database"

    Has: Final = Method("/rpcdb.Database/Has", rpcdb_pb2.HasRequest, rpcdb_pb2.HasResponse)
    Get: Final = Method("/rpcdb.Database/Get", rpcdb_pb2.GetRequest, rpcdb_pb2.GetResponse)
    Put: Final = Method("/rpcdb.Database/Put", rpcdb_pb2.PutRequest, rpcdb_pb2.PutResponse)
    Delete: Final = Method("/rpcdb.Database/Delete", rpcdb_pb2.DeleteRequest, rpcdb_pb2.DeleteResponse)
    Compact: Final = Method("/rpcdb.Database/Compact", rpcdb_pb2.CompactRequest, rpcdb_pb2.CompactResponse)
    Close: Final = Method("/rpcdb.Database/Close", rpcdb_pb2.CloseRequest, rpcdb_pb2.CloseResponse)
    HealthCheck: Final = Method("/rpcdb.Database/HealthCheck", empty_pb2.Empty, rpcdb_pb2.HealthCheckResponse)
    WriteBatch: Final = Method("/rpcdb.Database/WriteBatch", rpcdb_pb2.WriteBatchRequest, rpcdb_pb2.WriteBatchResponse)
    NewIteratorWithStartAndPrefix: Final = Method("/rpcdb.Database/NewIteratorWithStartAndPrefix", rpcdb_pb2.NewIteratorWithStartAndPrefixRequest, rpcdb_pb2.NewIteratorWithStartAndPrefixResponse)
    IteratorNext: Final = Method("/rpcdb.Database/IteratorNext", rpcdb_pb2.IteratorNextRequest, rpcdb_pb2.IteratorNextResponse)
    IteratorError: Final = Method("/rpcdb.Database/IteratorError", rpcdb_pb2.IteratorErrorRequest, rpcdb_pb2.IteratorErrorResponse)
    IteratorRelease: Final = Method("/rpcdb.Database/IteratorRelease", rpcdb_pb2.IteratorReleaseRequest, rpcdb_pb2.IteratorReleaseResponse)
