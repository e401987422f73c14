# Made by proto/generate.py from proto/http/responsewriter/responsewriter.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n2vmsdk/_pb/http/responsewriter/responsewriter.proto\x12\x19vmsdk.http.responsewriter\x1a\x1bgoogle/protobuf/empty.proto\"2\n\x06Header\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x16\n\x06values\x18\x02 \x03(\tR\x06values\"e\n\x0cWriteRequest\x12;\n\x07headers\x18\x01 \x03(\x0b\x32!.vmsdk.http.responsewriter.HeaderR\x07headers\x12\x18\n\x07payload\x18\x02 \x01(\x0cR\x07payload\")\n\rWriteResponse\x12\x18\n\x07written\x18\x01 \x01(\x05R\x07written\"r\n\x12WriteHeaderRequest\x12;\n\x07headers\x18\x01 \x03(\x0b\x32!.vmsdk.http.responsewriter.HeaderR\x07headers\x12\x1f\n\x0bstatus_code\x18\x02 \x01(\x05R\nstatusCode\"\xc5\x01\n\x0eHijackResponse\x12#\n\rlocal_network\x18\x01 \x01(\tR\x0clocalNetwork\x12!\n\x0clocal_string\x18\x02 \x01(\tR\x0blocalString\x12%\n\x0eremote_network\x18\x03 \x01(\tR\rremoteNetwork\x12#\n\rremote_string\x18\x04 \x01(\tR\x0cremoteString\x12\x1f\n\x0bserver_addr\x18\x05 \x01(\tR\nserverAddr2\xc0\x02\n\x06Writer\x12Z\n\x05Write\x12\'.vmsdk.http.responsewriter.WriteRequest\x1a(.vmsdk.http.responsewriter.WriteResponse\x12T\n\x0bWriteHeader\x12-.vmsdk.http.responsewriter.WriteHeaderRequest\x1a\x16.google.protobuf.Empty\x12\x37\n\x05\x46lush\x12\x16.google.protobuf.Empty\x1a\x16.google.protobuf.Empty\x12K\n\x06Hijack\x12\x16.google.protobuf.Empty\x1a).vmsdk.http.responsewriter.HijackResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.http.responsewriter.responsewriter_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_HEADER']._serialized_start=110
  _globals['_HEADER']._serialized_end=160
  _globals['_WRITEREQUEST']._serialized_start=162
  _globals['_WRITEREQUEST']._serialized_end=263
  _globals['_WRITERESPONSE']._serialized_start=265
  _globals['_WRITERESPONSE']._serialized_end=306
  _globals['_WRITEHEADERREQUEST']._serialized_start=308
  _globals['_WRITEHEADERREQUEST']._serialized_end=422
  _globals['_HIJACKRESPONSE']._serialized_start=425
  _globals['_HIJACKRESPONSE']._serialized_end=622
  _globals['_WRITER']._serialized_start=625
  _globals['_WRITER']._serialized_end=945
# @@protoc_insertion_point(module_scope)
