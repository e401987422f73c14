package main

import (
	"context"
	"fmt"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/validators"
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
)

const (
	minimumPChainHeight = 90
	currentPChainHeight = 100
)

// validatorState is a P-chain that stands still. Its one subnet has four validators: two with keys of their own, one
// that shares the second's key, one without a key.
type validatorState struct {
	subnetID ids.ID
	chains   map[ids.ID]ids.ID
	set      map[ids.NodeID]*validators.GetValidatorOutput
}

func newValidatorState(who identity) (*validatorState, error) {
	second, err := keyFromBytes(seed(2, 32))
	if err != nil {
		return nil, err
	}
	keys := []*bls.PublicKey{who.publicKey, publicKey(second), publicKey(second), nil}
	set := map[ids.NodeID]*validators.GetValidatorOutput{}
	for i, key := range keys {
		var nodeID ids.NodeID
		copy(nodeID[:], seed(byte(1+i), 20))
		set[nodeID] = &validators.GetValidatorOutput{NodeID: nodeID, PublicKey: key, Weight: 10 * uint64(i+1)}
	}
	return &validatorState{
		subnetID: who.subnetID,
		chains: map[ids.ID]ids.ID{
			ids.Empty: ids.Empty, who.xChainID: ids.Empty, who.cChainID: ids.Empty, who.chainID: who.subnetID,
		},
		set: set,
	}, nil
}

func (*validatorState) GetMinimumHeight(context.Context) (uint64, error) {
	return minimumPChainHeight, nil
}

func (*validatorState) GetCurrentHeight(context.Context) (uint64, error) {
	return currentPChainHeight, nil
}

func (s *validatorState) GetSubnetID(_ context.Context, chainID ids.ID) (ids.ID, error) {
	subnetID, ok := s.chains[chainID]
	if !ok {
		return ids.Empty, fmt.Errorf("there is no chain with ID %s", chainID)
	}
	return subnetID, nil
}

func (s *validatorState) GetValidatorSet(_ context.Context, height uint64, subnetID ids.ID) (map[ids.NodeID]*validators.GetValidatorOutput, error) {
	if height > currentPChainHeight {
		return nil, fmt.Errorf("height %d is above the current height %d", height, currentPChainHeight)
	}
	if subnetID != s.subnetID {
		return nil, nil
	}
	return s.set, nil
}
