# Made by proto/generate.py from proto/io/reader/reader.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n vmsdk/_pb/io/reader/reader.proto\x12\x0fvmsdk.io.reader\"%\n\x0bReadRequest\x12\x16\n\x06length\x18\x01 \x01(\x05R\x06length\"G\n\x0cReadResponse\x12\x12\n\x04read\x18\x01 \x01(\x0cR\x04read\x12\x19\n\x05\x65rror\x18\x02 \x01(\x0cH\x00R\x05\x65rror\x88\x01\x01\x42\x08\n\x06_error\"\\\n\x05\x45rror\x12\x39\n\nerror_code\x18\x01 \x01(\x0e\x32\x1a.vmsdk.io.reader.ErrorCodeR\terrorCode\x12\x18\n\x07message\x18\x02 \x01(\tR\x07message*;\n\tErrorCode\x12\x1a\n\x16\x45RROR_CODE_UNSPECIFIED\x10\x00\x12\x12\n\x0e\x45RROR_CODE_EOF\x10\x01\x32M\n\x06Reader\x12\x43\n\x04Read\x12\x1c.vmsdk.io.reader.ReadRequest\x1a\x1d.vmsdk.io.reader.ReadResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.io.reader.reader_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_ERRORCODE']._serialized_start=259
  _globals['_ERRORCODE']._serialized_end=318
  _globals['_READREQUEST']._serialized_start=53
  _globals['_READREQUEST']._serialized_end=90
  _globals['_READRESPONSE']._serialized_start=92
  _globals['_READRESPONSE']._serialized_end=163
  _globals['_ERROR']._serialized_start=165
  _globals['_ERROR']._serialized_end=257
  _globals['_READER']._serialized_start=320
  _globals['_READER']._serialized_end=397
# @@protoc_insertion_point(module_scope)
