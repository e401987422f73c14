# Made by proto/generate.py from proto/io/writer/writer.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n vmsdk/_pb/io/writer/writer.proto\x12\x0fvmsdk.io.writer\"(\n\x0cWriteRequest\x12\x18\n\x07payload\x18\x01 \x01(\x0cR\x07payload\"N\n\rWriteResponse\x12\x18\n\x07written\x18\x01 \x01(\x05R\x07written\x12\x19\n\x05\x65rror\x18\x02 \x01(\tH\x00R\x05\x65rror\x88\x01\x01\x42\x08\n\x06_error2P\n\x06Writer\x12\x46\n\x05Write\x12\x1d.vmsdk.io.writer.WriteRequest\x1a\x1e.vmsdk.io.writer.WriteResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.io.writer.writer_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_WRITEREQUEST']._serialized_start=53
  _globals['_WRITEREQUEST']._serialized_end=93
  _globals['_WRITERESPONSE']._serialized_start=95
  _globals['_WRITERESPONSE']._serialized_end=173
  _globals['_WRITER']._serialized_start=175
  _globals['_WRITER']._serialized_end=255
# @@protoc_insertion_point(module_scope)
