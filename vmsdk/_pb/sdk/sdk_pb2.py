# Made by proto/generate.py from proto/sdk/sdk.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x17vmsdk/_pb/sdk/sdk.proto\x12\tvmsdk.sdk\"?\n\x11PullGossipRequest\x12\x12\n\x04salt\x18\x02 \x01(\x0cR\x04salt\x12\x16\n\x06\x66ilter\x18\x03 \x01(\x0cR\x06\x66ilter\",\n\x12PullGossipResponse\x12\x16\n\x06gossip\x18\x01 \x03(\x0cR\x06gossip\"$\n\nPushGossip\x12\x16\n\x06gossip\x18\x01 \x03(\x0cR\x06gossip\"R\n\x10SignatureRequest\x12\x18\n\x07message\x18\x01 \x01(\x0cR\x07message\x12$\n\rjustification\x18\x02 \x01(\x0cR\rjustification\"1\n\x11SignatureResponse\x12\x1c\n\tsignature\x18\x01 \x01(\x0cR\tsignatureb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.sdk.sdk_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_PULLGOSSIPREQUEST']._serialized_start=38
  _globals['_PULLGOSSIPREQUEST']._serialized_end=101
  _globals['_PULLGOSSIPRESPONSE']._serialized_start=103
  _globals['_PULLGOSSIPRESPONSE']._serialized_end=147
  _globals['_PUSHGOSSIP']._serialized_start=149
  _globals['_PUSHGOSSIP']._serialized_end=185
  _globals['_SIGNATUREREQUEST']._serialized_start=187
  _globals['_SIGNATUREREQUEST']._serialized_end=269
  _globals['_SIGNATURERESPONSE']._serialized_start=271
  _globals['_SIGNATURERESPONSE']._serialized_end=320
# @@protoc_insertion_point(module_scope)
