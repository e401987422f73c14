# Made by proto/generate.py from proto/sharedmemory/sharedmemory.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n)vmsdk/_pb/sharedmemory/sharedmemory.proto\x12\x12vmsdk.sharedmemory\"2\n\x08\x42\x61tchPut\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x14\n\x05value\x18\x02 \x01(\x0cR\x05value\"\x1f\n\x0b\x42\x61tchDelete\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\"t\n\x05\x42\x61tch\x12\x30\n\x04puts\x18\x01 \x03(\x0b\x32\x1c.vmsdk.sharedmemory.BatchPutR\x04puts\x12\x39\n\x07\x64\x65letes\x18\x02 \x03(\x0b\x32\x1f.vmsdk.sharedmemory.BatchDeleteR\x07\x64\x65letes\"\x9c\x01\n\rAtomicRequest\x12\'\n\x0fremove_requests\x18\x01 \x03(\x0cR\x0eremoveRequests\x12>\n\x0cput_requests\x18\x02 \x03(\x0b\x32\x1b.vmsdk.sharedmemory.ElementR\x0bputRequests\x12\"\n\rpeer_chain_id\x18\x03 \x01(\x0cR\x0bpeerChainId\"I\n\x07\x45lement\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x14\n\x05value\x18\x02 \x01(\x0cR\x05value\x12\x16\n\x06traits\x18\x03 \x03(\x0cR\x06traits\"D\n\nGetRequest\x12\"\n\rpeer_chain_id\x18\x01 \x01(\x0cR\x0bpeerChainId\x12\x12\n\x04keys\x18\x02 \x03(\x0cR\x04keys\"%\n\x0bGetResponse\x12\x16\n\x06values\x18\x01 \x03(\x0cR\x06values\"\xa0\x01\n\x0eIndexedRequest\x12\"\n\rpeer_chain_id\x18\x01 \x01(\x0cR\x0bpeerChainId\x12\x16\n\x06traits\x18\x02 \x03(\x0cR\x06traits\x12\x1f\n\x0bstart_trait\x18\x03 \x01(\x0cR\nstartTrait\x12\x1b\n\tstart_key\x18\x04 \x01(\x0cR\x08startKey\x12\x14\n\x05limit\x18\x05 \x01(\x05R\x05limit\"c\n\x0fIndexedResponse\x12\x16\n\x06values\x18\x01 \x03(\x0cR\x06values\x12\x1d\n\nlast_trait\x18\x02 \x01(\x0cR\tlastTrait\x12\x19\n\x08last_key\x18\x03 \x01(\x0cR\x07lastKey\"\x82\x01\n\x0c\x41pplyRequest\x12=\n\x08requests\x18\x01 \x03(\x0b\x32!.vmsdk.sharedmemory.AtomicRequestR\x08requests\x12\x33\n\x07\x62\x61tches\x18\x02 \x03(\x0b\x32\x19.vmsdk.sharedmemory.BatchR\x07\x62\x61tches\"\x0f\n\rApplyResponse2\xf8\x01\n\x0cSharedMemory\x12\x46\n\x03Get\x12\x1e.vmsdk.sharedmemory.GetRequest\x1a\x1f.vmsdk.sharedmemory.GetResponse\x12R\n\x07Indexed\x12\".vmsdk.sharedmemory.IndexedRequest\x1a#.vmsdk.sharedmemory.IndexedResponse\x12L\n\x05\x41pply\x12 .vmsdk.sharedmemory.ApplyRequest\x1a!.vmsdk.sharedmemory.ApplyResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.sharedmemory.sharedmemory_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_BATCHPUT']._serialized_start=65
  _globals['_BATCHPUT']._serialized_end=115
  _globals['_BATCHDELETE']._serialized_start=117
  _globals['_BATCHDELETE']._serialized_end=148
  _globals['_BATCH']._serialized_start=150
  _globals['_BATCH']._serialized_end=266
  _globals['_ATOMICREQUEST']._serialized_start=269
  _globals['_ATOMICREQUEST']._serialized_end=425
  _globals['_ELEMENT']._serialized_start=427
  _globals['_ELEMENT']._serialized_end=500
  _globals['_GETREQUEST']._serialized_start=502
  _globals['_GETREQUEST']._serialized_end=570
  _globals['_GETRESPONSE']._serialized_start=572
  _globals['_GETRESPONSE']._serialized_end=609
  _globals['_INDEXEDREQUEST']._serialized_start=612
  _globals['_INDEXEDREQUEST']._serialized_end=772
  _globals['_INDEXEDRESPONSE']._serialized_start=774
  _globals['_INDEXEDRESPONSE']._serialized_end=873
  _globals['_APPLYREQUEST']._serialized_start=876
  _globals['_APPLYREQUEST']._serialized_end=1006
  _globals['_APPLYRESPONSE']._serialized_start=1008
  _globals['_APPLYRESPONSE']._serialized_end=1023
  _globals['_SHAREDMEMORY']._serialized_start=1026
  _globals['_SHAREDMEMORY']._serialized_end=1274
# @@protoc_insertion_point(module_scope)
