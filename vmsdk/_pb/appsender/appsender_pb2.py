# Made by proto/generate.py from proto/appsender/appsender.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n#vmsdk/_pb/appsender/appsender.proto\x12\x0fvmsdk.appsender\x1a\x1bgoogle/protobuf/empty.proto\"g\n\x11SendAppRequestMsg\x12\x19\n\x08node_ids\x18\x01 \x03(\x0cR\x07nodeIds\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x18\n\x07request\x18\x03 \x01(\x0cR\x07request\"h\n\x12SendAppResponseMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1a\n\x08response\x18\x03 \x01(\x0cR\x08response\"\x8d\x01\n\x0fSendAppErrorMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1d\n\nerror_code\x18\x03 \x01(\x11R\terrorCode\x12#\n\rerror_message\x18\x04 \x01(\tR\x0c\x65rrorMessage\"\x9c\x01\n\x10SendAppGossipMsg\x12\x19\n\x08node_ids\x18\x01 \x03(\x0cR\x07nodeIds\x12\x1e\n\nvalidators\x18\x02 \x01(\x04R\nvalidators\x12%\n\x0enon_validators\x18\x03 \x01(\x04R\rnonValidators\x12\x14\n\x05peers\x18\x04 \x01(\x04R\x05peers\x12\x10\n\x03msg\x18\x05 \x01(\x0cR\x03msg\"q\n\x1bSendCrossChainAppRequestMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x18\n\x07request\x18\x03 \x01(\x0cR\x07request\"t\n\x1cSendCrossChainAppResponseMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1a\n\x08response\x18\x03 \x01(\x0cR\x08response\"\x99\x01\n\x19SendCrossChainAppErrorMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1d\n\nerror_code\x18\x03 \x01(\x11R\terrorCode\x12#\n\rerror_message\x18\x04 \x01(\tR\x0c\x65rrorMessage2\xe3\x04\n\tAppSender\x12L\n\x0eSendAppRequest\x12\".vmsdk.appsender.SendAppRequestMsg\x1a\x16.google.protobuf.Empty\x12N\n\x0fSendAppResponse\x12#.vmsdk.appsender.SendAppResponseMsg\x1a\x16.google.protobuf.Empty\x12H\n\x0cSendAppError\x12 .vmsdk.appsender.SendAppErrorMsg\x1a\x16.google.protobuf.Empty\x12J\n\rSendAppGossip\x12!.vmsdk.appsender.SendAppGossipMsg\x1a\x16.google.protobuf.Empty\x12`\n\x18SendCrossChainAppRequest\x12,.vmsdk.appsender.SendCrossChainAppRequestMsg\x1a\x16.google.protobuf.Empty\x12\x62\n\x19SendCrossChainAppResponse\x12-.vmsdk.appsender.SendCrossChainAppResponseMsg\x1a\x16.google.protobuf.Empty\x12\\\n\x16SendCrossChainAppError\x12*.vmsdk.appsender.SendCrossChainAppErrorMsg\x1a\x16.google.protobuf.Emptyb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.appsender.appsender_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_SENDAPPREQUESTMSG']._serialized_start=85
  _globals['_SENDAPPREQUESTMSG']._serialized_end=188
  _globals['_SENDAPPRESPONSEMSG']._serialized_start=190
  _globals['_SENDAPPRESPONSEMSG']._serialized_end=294
  _globals['_SENDAPPERRORMSG']._serialized_start=297
  _globals['_SENDAPPERRORMSG']._serialized_end=438
  _globals['_SENDAPPGOSSIPMSG']._serialized_start=441
  _globals['_SENDAPPGOSSIPMSG']._serialized_end=597
  _globals['_SENDCROSSCHAINAPPREQUESTMSG']._serialized_start=599
  _globals['_SENDCROSSCHAINAPPREQUESTMSG']._serialized_end=712
  _globals['_SENDCROSSCHAINAPPRESPONSEMSG']._serialized_start=714
  _globals['_SENDCROSSCHAINAPPRESPONSEMSG']._serialized_end=830
  _globals['_SENDCROSSCHAINAPPERRORMSG']._serialized_start=833
  _globals['_SENDCROSSCHAINAPPERRORMSG']._serialized_end=986
  _globals['_APPSENDER']._serialized_start=989
  _globals['_APPSENDER']._serialized_end=1600
# @@protoc_insertion_point(module_scope)
