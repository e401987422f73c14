# Made by proto/generate.py from proto/aliasreader/aliasreader.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\'vmsdk/_pb/aliasreader/aliasreader.proto\x12\x11vmsdk.aliasreader\"\x14\n\x02ID\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\"\x1d\n\x05\x41lias\x12\x14\n\x05\x61lias\x18\x01 \x01(\tR\x05\x61lias\"%\n\tAliasList\x12\x18\n\x07\x61liases\x18\x01 \x03(\tR\x07\x61liases2\xc9\x01\n\x0b\x41liasReader\x12\x39\n\x06Lookup\x12\x18.vmsdk.aliasreader.Alias\x1a\x15.vmsdk.aliasreader.ID\x12?\n\x0cPrimaryAlias\x12\x15.vmsdk.aliasreader.ID\x1a\x18.vmsdk.aliasreader.Alias\x12>\n\x07\x41liases\x12\x15.vmsdk.aliasreader.ID\x1a\x1c.vmsdk.aliasreader.AliasListb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.aliasreader.aliasreader_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_ID']._serialized_start=62
  _globals['_ID']._serialized_end=82
  _globals['_ALIAS']._serialized_start=84
  _globals['_ALIAS']._serialized_end=113
  _globals['_ALIASLIST']._serialized_start=115
  _globals['_ALIASLIST']._serialized_end=152
  _globals['_ALIASREADER']._serialized_start=155
  _globals['_ALIASREADER']._serialized_end=356
# @@protoc_insertion_point(module_scope)
