//go:build p38plus

package main

import (
	"context"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/validators"
)

// GetCurrentValidatorSet describes each validator as one that was added by a transaction, whose ID is its node ID
// with 12 zero bytes behind.
func (s *validatorState) GetCurrentValidatorSet(_ context.Context, subnetID ids.ID) (map[ids.ID]*validators.GetCurrentValidatorOutput, uint64, error) {
	set := map[ids.ID]*validators.GetCurrentValidatorOutput{}
	if subnetID != s.subnetID {
		return set, currentPChainHeight, nil
	}
	for nodeID, v := range s.set {
		var validationID ids.ID
		copy(validationID[:], nodeID[:])
		set[validationID] = &validators.GetCurrentValidatorOutput{
			ValidationID: validationID,
			NodeID:       nodeID,
			PublicKey:    v.PublicKey,
			Weight:       v.Weight,
			StartTime:    1_700_000_000,
			IsActive:     true,
		}
	}
	return set, currentPChainHeight, nil
}
