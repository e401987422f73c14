# Made by proto/generate.py from proto/validatorstate/validator_state.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n.vmsdk/_pb/validatorstate/validator_state.proto\x12\x14vmsdk.validatorstate\x1a\x1bgoogle/protobuf/empty.proto\"2\n\x18GetMinimumHeightResponse\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\"2\n\x18GetCurrentHeightResponse\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\"/\n\x12GetSubnetIDRequest\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\"2\n\x13GetSubnetIDResponse\x12\x1b\n\tsubnet_id\x18\x01 \x01(\x0cR\x08subnetId\"M\n\x16GetValidatorSetRequest\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\x12\x1b\n\tsubnet_id\x18\x02 \x01(\x0cR\x08subnetId\"\x81\x02\n\tValidator\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x16\n\x06weight\x18\x02 \x01(\x04R\x06weight\x12\x1d\n\npublic_key\x18\x03 \x01(\x0cR\tpublicKey\x12\x1d\n\nstart_time\x18\x04 \x01(\x04R\tstartTime\x12\x1b\n\tmin_nonce\x18\x05 \x01(\x04R\x08minNonce\x12\x1b\n\tis_active\x18\x06 \x01(\x08R\x08isActive\x12#\n\rvalidation_id\x18\x07 \x01(\x0cR\x0cvalidationId\x12&\n\x0fis_l1_validator\x18\x08 \x01(\x08R\risL1Validator\"Z\n\x17GetValidatorSetResponse\x12?\n\nvalidators\x18\x01 \x03(\x0b\x32\x1f.vmsdk.validatorstate.ValidatorR\nvalidators\"<\n\x1dGetCurrentValidatorSetRequest\x12\x1b\n\tsubnet_id\x18\x01 \x01(\x0cR\x08subnetId\"\x88\x01\n\x1eGetCurrentValidatorSetResponse\x12?\n\nvalidators\x18\x01 \x03(\x0b\x32\x1f.vmsdk.validatorstate.ValidatorR\nvalidators\x12%\n\x0e\x63urrent_height\x18\x02 \x01(\x04R\rcurrentHeight\"5\n\x1bGetWarpValidatorSetsRequest\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\"Q\n\x1aGetWarpValidatorSetRequest\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\x12\x1b\n\tsubnet_id\x18\x02 \x01(\x0cR\x08subnetId\"m\n\x1cGetWarpValidatorSetsResponse\x12M\n\x0evalidator_sets\x18\x01 \x03(\x0b\x32&.vmsdk.validatorstate.WarpValidatorSetR\rvalidatorSets\"\x85\x01\n\x1bGetWarpValidatorSetResponse\x12!\n\x0ctotal_weight\x18\x01 \x01(\x04R\x0btotalWeight\x12\x43\n\nvalidators\x18\x02 \x03(\x0b\x32#.vmsdk.validatorstate.WarpValidatorR\nvalidators\"\x97\x01\n\x10WarpValidatorSet\x12\x1b\n\tsubnet_id\x18\x01 \x01(\x0cR\x08subnetId\x12!\n\x0ctotal_weight\x18\x02 \x01(\x04R\x0btotalWeight\x12\x43\n\nvalidators\x18\x03 \x03(\x0b\x32#.vmsdk.validatorstate.WarpValidatorR\nvalidators\"a\n\rWarpValidator\x12\x1d\n\npublic_key\x18\x01 \x01(\x0cR\tpublicKey\x12\x16\n\x06weight\x18\x02 \x01(\x04R\x06weight\x12\x19\n\x08node_ids\x18\x03 \x03(\x0cR\x07nodeIds2\x9d\x06\n\x0eValidatorState\x12Z\n\x10GetMinimumHeight\x12\x16.google.protobuf.Empty\x1a..vmsdk.validatorstate.GetMinimumHeightResponse\x12Z\n\x10GetCurrentHeight\x12\x16.google.protobuf.Empty\x1a..vmsdk.validatorstate.GetCurrentHeightResponse\x12\x62\n\x0bGetSubnetID\x12(.vmsdk.validatorstate.GetSubnetIDRequest\x1a).vmsdk.validatorstate.GetSubnetIDResponse\x12n\n\x0fGetValidatorSet\x12,.vmsdk.validatorstate.GetValidatorSetRequest\x1a-.vmsdk.validatorstate.GetValidatorSetResponse\x12\x83\x01\n\x16GetCurrentValidatorSet\x12\x33.vmsdk.validatorstate.GetCurrentValidatorSetRequest\x1a\x34.vmsdk.validatorstate.GetCurrentValidatorSetResponse\x12}\n\x14GetWarpValidatorSets\x12\x31.vmsdk.validatorstate.GetWarpValidatorSetsRequest\x1a\x32.vmsdk.validatorstate.GetWarpValidatorSetsResponse\x12z\n\x13GetWarpValidatorSet\x12\x30.vmsdk.validatorstate.GetWarpValidatorSetRequest\x1a\x31.vmsdk.validatorstate.GetWarpValidatorSetResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.validatorstate.validator_state_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_GETMINIMUMHEIGHTRESPONSE']._serialized_start=101
  _globals['_GETMINIMUMHEIGHTRESPONSE']._serialized_end=151
  _globals['_GETCURRENTHEIGHTRESPONSE']._serialized_start=153
  _globals['_GETCURRENTHEIGHTRESPONSE']._serialized_end=203
  _globals['_GETSUBNETIDREQUEST']._serialized_start=205
  _globals['_GETSUBNETIDREQUEST']._serialized_end=252
  _globals['_GETSUBNETIDRESPONSE']._serialized_start=254
  _globals['_GETSUBNETIDRESPONSE']._serialized_end=304
  _globals['_GETVALIDATORSETREQUEST']._serialized_start=306
  _globals['_GETVALIDATORSETREQUEST']._serialized_end=383
  _globals['_VALIDATOR']._serialized_start=386
  _globals['_VALIDATOR']._serialized_end=643
  _globals['_GETVALIDATORSETRESPONSE']._serialized_start=645
  _globals['_GETVALIDATORSETRESPONSE']._serialized_end=735
  _globals['_GETCURRENTVALIDATORSETREQUEST']._serialized_start=737
  _globals['_GETCURRENTVALIDATORSETREQUEST']._serialized_end=797
  _globals['_GETCURRENTVALIDATORSETRESPONSE']._serialized_start=800
  _globals['_GETCURRENTVALIDATORSETRESPONSE']._serialized_end=936
  _globals['_GETWARPVALIDATORSETSREQUEST']._serialized_start=938
  _globals['_GETWARPVALIDATORSETSREQUEST']._serialized_end=991
  _globals['_GETWARPVALIDATORSETREQUEST']._serialized_start=993
  _globals['_GETWARPVALIDATORSETREQUEST']._serialized_end=1074
  _globals['_GETWARPVALIDATORSETSRESPONSE']._serialized_start=1076
  _globals['_GETWARPVALIDATORSETSRESPONSE']._serialized_end=1185
  _globals['_GETWARPVALIDATORSETRESPONSE']._serialized_start=1188
  _globals['_GETWARPVALIDATORSETRESPONSE']._serialized_end=1321
  _globals['_WARPVALIDATORSET']._serialized_start=1324
  _globals['_WARPVALIDATORSET']._serialized_end=1475
  _globals['_WARPVALIDATOR']._serialized_start=1477
  _globals['_WARPVALIDATOR']._serialized_end=1574
  _globals['_VALIDATORSTATE']._serialized_start=1577
  _globals['_VALIDATORSTATE']._serialized_end=2374
# @@protoc_insertion_point(module_scope)
