# Made by proto/generate.py from proto/net/conn/conn.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x1dvmsdk/_pb/net/conn/conn.proto\x12\x0evmsdk.net.conn\x1a\x1bgoogle/protobuf/empty.proto\"%\n\x0bReadRequest\x12\x16\n\x06length\x18\x01 \x01(\x05R\x06length\"G\n\x0cReadResponse\x12\x12\n\x04read\x18\x01 \x01(\x0cR\x04read\x12\x19\n\x05\x65rror\x18\x02 \x01(\x0cH\x00R\x05\x65rror\x88\x01\x01\x42\x08\n\x06_error\"(\n\x0cWriteRequest\x12\x18\n\x07payload\x18\x01 \x01(\x0cR\x07payload\"L\n\rWriteResponse\x12\x16\n\x06length\x18\x01 \x01(\x05R\x06length\x12\x19\n\x05\x65rror\x18\x02 \x01(\tH\x00R\x05\x65rror\x88\x01\x01\x42\x08\n\x06_error\"(\n\x12SetDeadlineRequest\x12\x12\n\x04time\x18\x01 \x01(\x0cR\x04time\"[\n\x05\x45rror\x12\x38\n\nerror_code\x18\x01 \x01(\x0e\x32\x19.vmsdk.net.conn.ErrorCodeR\terrorCode\x12\x18\n\x07message\x18\x02 \x01(\tR\x07message*d\n\tErrorCode\x12\x1a\n\x16\x45RROR_CODE_UNSPECIFIED\x10\x00\x12\x12\n\x0e\x45RROR_CODE_EOF\x10\x01\x12\'\n#ERROR_CODE_OS_ERR_DEADLINE_EXCEEDED\x10\x02\x32\xb2\x03\n\x04\x43onn\x12\x41\n\x04Read\x12\x1b.vmsdk.net.conn.ReadRequest\x1a\x1c.vmsdk.net.conn.ReadResponse\x12\x44\n\x05Write\x12\x1c.vmsdk.net.conn.WriteRequest\x1a\x1d.vmsdk.net.conn.WriteResponse\x12\x37\n\x05\x43lose\x12\x16.google.protobuf.Empty\x1a\x16.google.protobuf.Empty\x12I\n\x0bSetDeadline\x12\".vmsdk.net.conn.SetDeadlineRequest\x1a\x16.google.protobuf.Empty\x12M\n\x0fSetReadDeadline\x12\".vmsdk.net.conn.SetDeadlineRequest\x1a\x16.google.protobuf.Empty\x12N\n\x10SetWriteDeadline\x12\".vmsdk.net.conn.SetDeadlineRequest\x1a\x16.google.protobuf.Emptyb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.net.conn.conn_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_ERRORCODE']._serialized_start=445
  _globals['_ERRORCODE']._serialized_end=545
  _globals['_READREQUEST']._serialized_start=78
  _globals['_READREQUEST']._serialized_end=115
  _globals['_READRESPONSE']._serialized_start=117
  _globals['_READRESPONSE']._serialized_end=188
  _globals['_WRITEREQUEST']._serialized_start=190
  _globals['_WRITEREQUEST']._serialized_end=230
  _globals['_WRITERESPONSE']._serialized_start=232
  _globals['_WRITERESPONSE']._serialized_end=308
  _globals['_SETDEADLINEREQUEST']._serialized_start=310
  _globals['_SETDEADLINEREQUEST']._serialized_end=350
  _globals['_ERROR']._serialized_start=352
  _globals['_ERROR']._serialized_end=443
  _globals['_CONN']._serialized_start=548
  _globals['_CONN']._serialized_end=982
# @@protoc_insertion_point(module_scope)
