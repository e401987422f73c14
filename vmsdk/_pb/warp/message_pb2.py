# Made by proto/generate.py from proto/warp/message.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x1cvmsdk/_pb/warp/message.proto\x12\nvmsdk.warp\"n\n\x0bSignRequest\x12\x1d\n\nnetwork_id\x18\x01 \x01(\rR\tnetworkId\x12&\n\x0fsource_chain_id\x18\x02 \x01(\x0cR\rsourceChainId\x12\x18\n\x07payload\x18\x03 \x01(\x0cR\x07payload\",\n\x0cSignResponse\x12\x1c\n\tsignature\x18\x01 \x01(\x0cR\tsignature2C\n\x06Signer\x12\x39\n\x04Sign\x12\x17.vmsdk.warp.SignRequest\x1a\x18.vmsdk.warp.SignResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.warp.message_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_SIGNREQUEST']._serialized_start=44
  _globals['_SIGNREQUEST']._serialized_end=154
  _globals['_SIGNRESPONSE']._serialized_start=156
  _globals['_SIGNRESPONSE']._serialized_end=200
  _globals['_SIGNER']._serialized_start=202
  _globals['_SIGNER']._serialized_end=269
# @@protoc_insertion_point(module_scope)
