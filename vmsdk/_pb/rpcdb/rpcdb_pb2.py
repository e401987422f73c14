# Made by proto/generate.py from proto/rpcdb/rpcdb.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x1bvmsdk/_pb/rpcdb/rpcdb.proto\x12\x0bvmsdk.rpcdb\x1a\x1bgoogle/protobuf/empty.proto\"\x1e\n\nHasRequest\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\"E\n\x0bHasResponse\x12\x10\n\x03has\x18\x01 \x01(\x08R\x03has\x12$\n\x03\x65rr\x18\x02 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"\x1e\n\nGetRequest\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\"I\n\x0bGetResponse\x12\x14\n\x05value\x18\x01 \x01(\x0cR\x05value\x12$\n\x03\x65rr\x18\x02 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"4\n\nPutRequest\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x14\n\x05value\x18\x02 \x01(\x0cR\x05value\"3\n\x0bPutResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"!\n\rDeleteRequest\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\"6\n\x0e\x44\x65leteResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"<\n\x0e\x43ompactRequest\x12\x14\n\x05start\x18\x01 \x01(\x0cR\x05start\x12\x14\n\x05limit\x18\x02 \x01(\x0cR\x05limit\"7\n\x0f\x43ompactResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"\x0e\n\x0c\x43loseRequest\"5\n\rCloseResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"v\n\x11WriteBatchRequest\x12+\n\x04puts\x18\x01 \x03(\x0b\x32\x17.vmsdk.rpcdb.PutRequestR\x04puts\x12\x34\n\x07\x64\x65letes\x18\x02 \x03(\x0b\x32\x1a.vmsdk.rpcdb.DeleteRequestR\x07\x64\x65letes\":\n\x12WriteBatchResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"\x14\n\x12NewIteratorRequest\"T\n$NewIteratorWithStartAndPrefixRequest\x12\x14\n\x05start\x18\x01 \x01(\x0cR\x05start\x12\x16\n\x06prefix\x18\x02 \x01(\x0cR\x06prefix\"7\n%NewIteratorWithStartAndPrefixResponse\x12\x0e\n\x02id\x18\x01 \x01(\x04R\x02id\"%\n\x13IteratorNextRequest\x12\x0e\n\x02id\x18\x01 \x01(\x04R\x02id\"C\n\x14IteratorNextResponse\x12+\n\x04\x64\x61ta\x18\x01 \x03(\x0b\x32\x17.vmsdk.rpcdb.PutRequestR\x04\x64\x61ta\"&\n\x14IteratorErrorRequest\x12\x0e\n\x02id\x18\x01 \x01(\x04R\x02id\"=\n\x15IteratorErrorResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"(\n\x16IteratorReleaseRequest\x12\x0e\n\x02id\x18\x01 \x01(\x04R\x02id\"?\n\x17IteratorReleaseResponse\x12$\n\x03\x65rr\x18\x01 \x01(\x0e\x32\x12.vmsdk.rpcdb.ErrorR\x03\x65rr\"/\n\x13HealthCheckResponse\x12\x18\n\x07\x64\x65tails\x18\x01 \x01(\x0cR\x07\x64\x65tails*E\n\x05\x45rror\x12\x15\n\x11\x45RROR_UNSPECIFIED\x10\x00\x12\x10\n\x0c\x45RROR_CLOSED\x10\x01\x12\x13\n\x0f\x45RROR_NOT_FOUND\x10\x02\x32\xad\x07\n\x08\x44\x61tabase\x12\x38\n\x03Has\x12\x17.vmsdk.rpcdb.HasRequest\x1a\x18.vmsdk.rpcdb.HasResponse\x12\x38\n\x03Get\x12\x17.vmsdk.rpcdb.GetRequest\x1a\x18.vmsdk.rpcdb.GetResponse\x12\x38\n\x03Put\x12\x17.vmsdk.rpcdb.PutRequest\x1a\x18.vmsdk.rpcdb.PutResponse\x12\x41\n\x06\x44\x65lete\x12\x1a.vmsdk.rpcdb.DeleteRequest\x1a\x1b.vmsdk.rpcdb.DeleteResponse\x12\x44\n\x07\x43ompact\x12\x1b.vmsdk.rpcdb.CompactRequest\x1a\x1c.vmsdk.rpcdb.CompactResponse\x12>\n\x05\x43lose\x12\x19.vmsdk.rpcdb.CloseRequest\x1a\x1a.vmsdk.rpcdb.CloseResponse\x12G\n\x0bHealthCheck\x12\x16.google.protobuf.Empty\x1a .vmsdk.rpcdb.HealthCheckResponse\x12M\n\nWriteBatch\x12\x1e.vmsdk.rpcdb.WriteBatchRequest\x1a\x1f.vmsdk.rpcdb.WriteBatchResponse\x12\x86\x01\n\x1dNewIteratorWithStartAndPrefix\x12\x31.vmsdk.rpcdb.NewIteratorWithStartAndPrefixRequest\x1a\x32.vmsdk.rpcdb.NewIteratorWithStartAndPrefixResponse\x12S\n\x0cIteratorNext\x12 .vmsdk.rpcdb.IteratorNextRequest\x1a!.vmsdk.rpcdb.IteratorNextResponse\x12V\n\rIteratorError\x12!.vmsdk.rpcdb.IteratorErrorRequest\x1a\".vmsdk.rpcdb.IteratorErrorResponse\x12\\\n\x0fIteratorRelease\x12#.vmsdk.rpcdb.IteratorReleaseRequest\x1a$.vmsdk.rpcdb.IteratorReleaseResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.rpcdb.rpcdb_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_ERROR']._serialized_start=1383
  _globals['_ERROR']._serialized_end=1452
  _globals['_HASREQUEST']._serialized_start=73
  _globals['_HASREQUEST']._serialized_end=103
  _globals['_HASRESPONSE']._serialized_start=105
  _globals['_HASRESPONSE']._serialized_end=174
  _globals['_GETREQUEST']._serialized_start=176
  _globals['_GETREQUEST']._serialized_end=206
  _globals['_GETRESPONSE']._serialized_start=208
  _globals['_GETRESPONSE']._serialized_end=281
  _globals['_PUTREQUEST']._serialized_start=283
  _globals['_PUTREQUEST']._serialized_end=335
  _globals['_PUTRESPONSE']._serialized_start=337
  _globals['_PUTRESPONSE']._serialized_end=388
  _globals['_DELETEREQUEST']._serialized_start=390
  _globals['_DELETEREQUEST']._serialized_end=423
  _globals['_DELETERESPONSE']._serialized_start=425
  _globals['_DELETERESPONSE']._serialized_end=479
  _globals['_COMPACTREQUEST']._serialized_start=481
  _globals['_COMPACTREQUEST']._serialized_end=541
  _globals['_COMPACTRESPONSE']._serialized_start=543
  _globals['_COMPACTRESPONSE']._serialized_end=598
  _globals['_CLOSEREQUEST']._serialized_start=600
  _globals['_CLOSEREQUEST']._serialized_end=614
  _globals['_CLOSERESPONSE']._serialized_start=616
  _globals['_CLOSERESPONSE']._serialized_end=669
  _globals['_WRITEBATCHREQUEST']._serialized_start=671
  _globals['_WRITEBATCHREQUEST']._serialized_end=789
  _globals['_WRITEBATCHRESPONSE']._serialized_start=791
  _globals['_WRITEBATCHRESPONSE']._serialized_end=849
  _globals['_NEWITERATORREQUEST']._serialized_start=851
  _globals['_NEWITERATORREQUEST']._serialized_end=871
  _globals['_NEWITERATORWITHSTARTANDPREFIXREQUEST']._serialized_start=873
  _globals['_NEWITERATORWITHSTARTANDPREFIXREQUEST']._serialized_end=957
  _globals['_NEWITERATORWITHSTARTANDPREFIXRESPONSE']._serialized_start=959
  _globals['_NEWITERATORWITHSTARTANDPREFIXRESPONSE']._serialized_end=1014
  _globals['_ITERATORNEXTREQUEST']._serialized_start=1016
  _globals['_ITERATORNEXTREQUEST']._serialized_end=1053
  _globals['_ITERATORNEXTRESPONSE']._serialized_start=1055
  _globals['_ITERATORNEXTRESPONSE']._serialized_end=1122
  _globals['_ITERATORERRORREQUEST']._serialized_start=1124
  _globals['_ITERATORERRORREQUEST']._serialized_end=1162
  _globals['_ITERATORERRORRESPONSE']._serialized_start=1164
  _globals['_ITERATORERRORRESPONSE']._serialized_end=1225
  _globals['_ITERATORRELEASEREQUEST']._serialized_start=1227
  _globals['_ITERATORRELEASEREQUEST']._serialized_end=1267
  _globals['_ITERATORRELEASERESPONSE']._serialized_start=1269
  _globals['_ITERATORRELEASERESPONSE']._serialized_end=1332
  _globals['_HEALTHCHECKRESPONSE']._serialized_start=1334
  _globals['_HEALTHCHECKRESPONSE']._serialized_end=1381
  _globals['_DATABASE']._serialized_start=1455
  _globals['_DATABASE']._serialized_end=2396
# @@protoc_insertion_point(module_scope)
