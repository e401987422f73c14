//go:build p44plus

package main

import (
	"context"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/validators"
)

func (s *validatorState) GetWarpValidatorSets(ctx context.Context, height uint64) (map[ids.ID]validators.WarpSet, error) {
	set, err := s.GetWarpValidatorSet(ctx, height, s.subnetID)
	if err != nil {
		return nil, err
	}
	return map[ids.ID]validators.WarpSet{s.subnetID: set}, nil
}

// GetWarpValidatorSet is part of the node's interface in protocol 44 only.
func (s *validatorState) GetWarpValidatorSet(ctx context.Context, height uint64, subnetID ids.ID) (validators.WarpSet, error) {
	set, err := s.GetValidatorSet(ctx, height, subnetID)
	if err != nil {
		return validators.WarpSet{}, err
	}
	return validators.FlattenValidatorSet(set)
}
