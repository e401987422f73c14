# Made by proto/generate.py from proto/validatorstate/validator_state.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.validatorstate import validator_state_pb2


class ValidatorState(Service):
    full_name = "validatorstate.ValidatorState"

    GetMinimumHeight: Final = Method("/validatorstate.ValidatorState/GetMinimumHeight", empty_pb2.Empty, validator_state_pb2.GetMinimumHeightResponse)
    GetCurrentHeight: Final = Method("/validatorstate.ValidatorState/GetCurrentHeight", empty_pb2.Empty, validator_state_pb2.GetCurrentHeightResponse)
    GetSubnetID: Final = Method("/validatorstate.ValidatorState/GetSubnetID", validator_state_pb2.GetSubnetIDRequest, validator_state_pb2.GetSubnetIDResponse)
    GetValidatorSet: Final = Method("/validatorstate.ValidatorState/GetValidatorSet", validator_state_pb2.GetValidatorSetRequest, validator_state_pb2.GetValidatorSetResponse)
    GetCurrentValidatorSet: Final = Method("/validatorstate.ValidatorState/GetCurrentValidatorSet", validator_state_pb2.GetCurrentValidatorSetRequest, validator_state_pb2.GetCurrentValidatorSetResponse)
    GetWarpValidatorSets: Final = Method("/validatorstate.ValidatorState/GetWarpValidatorSets", validator_state_pb2.GetWarpValidatorSetsRequest, validator_state_pb2.GetWarpValidatorSetsResponse)
    GetWarpValidatorSet: Final = Method("/validatorstate.ValidatorState/GetWarpValidatorSet", validator_state_pb2.GetWarpValidatorSetRequest, validator_state_pb2.GetWarpValidatorSetResponse)
