# Made by proto/generate.py from proto/vm/runtime/runtime.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\"vmsdk/_pb/vm/runtime/runtime.proto\x12\x10vmsdk.vm.runtime\x1a\x1bgoogle/protobuf/empty.proto\"R\n\x11InitializeRequest\x12)\n\x10protocol_version\x18\x01 \x01(\rR\x0fprotocolVersion\x12\x12\n\x04\x61\x64\x64r\x18\x02 \x01(\tR\x04\x61\x64\x64r2T\n\x07Runtime\x12I\n\nInitialize\x12#.vmsdk.vm.runtime.InitializeRequest\x1a\x16.google.protobuf.Emptyb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.vm.runtime.runtime_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_INITIALIZEREQUEST']._serialized_start=85
  _globals['_INITIALIZEREQUEST']._serialized_end=167
  _globals['_RUNTIME']._serialized_start=169
  _globals['_RUNTIME']._serialized_end=253
# @@protoc_insertion_point(module_scope)
