# Made by proto/generate.py from proto/keystore/keystore.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n!vmsdk/_pb/keystore/keystore.proto\x12\x0evmsdk.keystore\"L\n\x12GetDatabaseRequest\x12\x1a\n\x08username\x18\x01 \x01(\tR\x08username\x12\x1a\n\x08password\x18\x02 \x01(\tR\x08password\"<\n\x13GetDatabaseResponse\x12\x1f\n\x0bserver_addr\x18\x02 \x01(\tR\nserverAddrJ\x04\x08\x01\x10\x02\x32\x62\n\x08Keystore\x12V\n\x0bGetDatabase\x12\".vmsdk.keystore.GetDatabaseRequest\x1a#.vmsdk.keystore.GetDatabaseResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.keystore.keystore_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_GETDATABASEREQUEST']._serialized_start=53
  _globals['_GETDATABASEREQUEST']._serialized_end=129
  _globals['_GETDATABASERESPONSE']._serialized_start=131
  _globals['_GETDATABASERESPONSE']._serialized_end=191
  _globals['_KEYSTORE']._serialized_start=193
  _globals['_KEYSTORE']._serialized_end=291
# @@protoc_insertion_point(module_scope)
