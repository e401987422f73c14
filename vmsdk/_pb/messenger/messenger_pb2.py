# Made by proto/generate.py from proto/messenger/messenger.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n#vmsdk/_pb/messenger/messenger.proto\x12\x0fvmsdk.messenger\"C\n\rNotifyRequest\x12\x32\n\x07message\x18\x01 \x01(\x0e\x32\x18.vmsdk.messenger.MessageR\x07message\"\x10\n\x0eNotifyResponse*\\\n\x07Message\x12\x17\n\x13MESSAGE_UNSPECIFIED\x10\x00\x12\x17\n\x13MESSAGE_BUILD_BLOCK\x10\x01\x12\x1f\n\x1bMESSAGE_STATE_SYNC_FINISHED\x10\x02\x32V\n\tMessenger\x12I\n\x06Notify\x12\x1e.vmsdk.messenger.NotifyRequest\x1a\x1f.vmsdk.messenger.NotifyResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.messenger.messenger_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_MESSAGE']._serialized_start=143
  _globals['_MESSAGE']._serialized_end=235
  _globals['_NOTIFYREQUEST']._serialized_start=56
  _globals['_NOTIFYREQUEST']._serialized_end=123
  _globals['_NOTIFYRESPONSE']._serialized_start=125
  _globals['_NOTIFYRESPONSE']._serialized_end=141
  _globals['_MESSENGER']._serialized_start=237
  _globals['_MESSENGER']._serialized_end=323
# @@protoc_insertion_point(module_scope)
