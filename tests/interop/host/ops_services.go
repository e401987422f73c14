package main

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/ava-labs/avalanchego/chains/atomic"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
	"github.com/ava-labs/avalanchego/vms/platformvm/warp"
)

type gatherArgs struct {
	// Plugin: ask the plugin alone, past the node's own merge. Works before Initialize, too.
	Plugin bool `json:"plugin"`
}

// gather is a scrape of the node's metrics: what it shows of this chain, in the text format.
func gather(_ context.Context, h *host, args gatherArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	gatherer := prometheus.Gatherer(p.metrics)
	if args.Plugin {
		gatherer = p.vm
	}
	families, err := gatherer.Gather()
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return nil, err
		}
	}
	return map[string]any{"text": text.String()}, nil
}

type elementArgs struct {
	Key    []byte   `json:"key"`
	Value  []byte   `json:"value"`
	Traits [][]byte `json:"traits"`
}

type sharedMemoryArgs struct {
	Puts       []elementArgs `json:"puts"`
	Removes    [][]byte      `json:"removes"`
	Keys       [][]byte      `json:"keys"`
	Traits     [][]byte      `json:"traits"`
	StartTrait []byte        `json:"start_trait"`
	StartKey   []byte        `json:"start_key"`
	Limit      int           `json:"limit"`
}

// peer is the shared memory as the X-chain sees it: the other end of the plugin's.
func (h *host) peer() atomic.SharedMemory { return h.memory.NewSharedMemory(h.identity.xChainID) }

// peerApply sends to the plugin's chain, and removes what that has sent.
func peerApply(_ context.Context, h *host, args sharedMemoryArgs) (any, error) {
	requests := &atomic.Requests{RemoveRequests: args.Removes}
	for _, put := range args.Puts {
		requests.PutRequests = append(requests.PutRequests, &atomic.Element{
			Key: put.Key, Value: put.Value, Traits: put.Traits,
		})
	}
	return nil, h.peer().Apply(map[ids.ID]*atomic.Requests{h.identity.chainID: requests})
}

// peerGet reads what the plugin's chain has sent.
func peerGet(_ context.Context, h *host, args sharedMemoryArgs) (any, error) {
	values, err := h.peer().Get(h.identity.chainID, args.Keys)
	return map[string]any{"values": values}, err
}

func peerIndexed(_ context.Context, h *host, args sharedMemoryArgs) (any, error) {
	values, lastTrait, lastKey, err := h.peer().Indexed(
		h.identity.chainID, args.Traits, args.StartTrait, args.StartKey, args.Limit,
	)
	return map[string]any{"values": values, "last_trait": lastTrait, "last_key": lastKey}, err
}

type validatorResult struct {
	NodeID    []byte `json:"node_id"`
	Weight    uint64 `json:"weight"`
	PublicKey []byte `json:"public_key,omitempty"`
}

// describeValidators tells the one validator set, with uncompressed keys, by ascending node ID.
func describeValidators(_ context.Context, h *host, _ none) (any, error) {
	results := make([]validatorResult, 0, len(h.validators.set))
	for nodeID, v := range h.validators.set {
		result := validatorResult{NodeID: nodeID.Bytes(), Weight: v.Weight}
		if v.PublicKey != nil {
			result.PublicKey = bls.PublicKeyToUncompressedBytes(v.PublicKey)
		}
		results = append(results, result)
	}
	slices.SortFunc(results, func(a, b validatorResult) int { return bytes.Compare(a.NodeID, b.NodeID) })
	return map[string]any{"validators": results}, nil
}

type warpArgs struct {
	Payload   []byte `json:"payload"`
	Signature []byte `json:"signature"`
}

// warpVerify checks a signature of this node over a message of this chain with the payload.
func warpVerify(_ context.Context, h *host, args warpArgs) (any, error) {
	message, err := warp.NewUnsignedMessage(h.identity.networkID, h.identity.chainID, args.Payload)
	if err != nil {
		return nil, err
	}
	signature, err := bls.SignatureFromBytes(args.Signature)
	if err != nil {
		return nil, err
	}
	id := message.ID()
	return map[string]any{
		"valid": bls.Verify(h.identity.publicKey, signature, message.Bytes()),
		"bytes": message.Bytes(),
		"id":    id[:],
	}, nil
}

func compressed(key *bls.PublicKey) []byte { return bls.PublicKeyToCompressedBytes(key) }
