package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ava-labs/avalanchego/snow/consensus/snowman"
	"github.com/ava-labs/avalanchego/snow/engine/snowman/block"
)

type blockResult struct {
	ID       []byte `json:"id"`
	ParentID []byte `json:"parent_id"`
	Height   uint64 `json:"height"`
	Bytes    []byte `json:"bytes"`
	// The block's time, in seconds since the Unix epoch and nanoseconds.
	Seconds     int64 `json:"seconds"`
	Nanoseconds int   `json:"nanoseconds"`
	// VerifyWithContext: the plugin asks for the P-chain height when this block is verified.
	VerifyWithContext bool `json:"verify_with_context"`
	// Status is what the plugin says of the block, at protocol 35 only.
	Status string `json:"status,omitempty"`
}

func describe(ctx context.Context, b snowman.Block) (blockResult, error) {
	id, parentID, at := b.ID(), b.Parent(), b.Timestamp()
	result := blockResult{
		ID:          id[:],
		ParentID:    parentID[:],
		Height:      b.Height(),
		Bytes:       b.Bytes(),
		Seconds:     at.Unix(),
		Nanoseconds: at.Nanosecond(),
		Status:      blockStatus(b),
	}
	withContext, ok := b.(block.WithVerifyContext)
	if !ok {
		return result, nil
	}
	var err error
	result.VerifyWithContext, err = withContext.ShouldVerifyWithContext(ctx)
	return result, err
}

func (p *plugin) lastAccepted(ctx context.Context) (blockResult, error) {
	id, err := p.vm.LastAccepted(ctx)
	if err != nil {
		return blockResult{}, err
	}
	b, err := p.vm.GetBlock(ctx, id)
	if err != nil {
		return blockResult{}, err
	}
	return describe(ctx, b)
}

// given describes a block that the plugin has just given, and remembers it.
func (p *plugin) given(ctx context.Context, b snowman.Block, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("the node's client gave neither a block nor an error")
	}
	p.remember(b)
	return describe(ctx, b)
}

// engine holds the chain's lock while call runs.
func (h *host) engineCall(call func(*plugin) (any, error)) (any, error) {
	p, err := h.initialized()
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	return call(p)
}

func lastAccepted(ctx context.Context, h *host, _ none) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) { return p.lastAccepted(ctx) })
}

type contextArgs struct {
	PChainHeight *uint64 `json:"p_chain_height"`
}

func build(ctx context.Context, h *host, args contextArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		if args.PChainHeight != nil {
			b, err := p.vm.BuildBlockWithContext(ctx, &block.Context{PChainHeight: *args.PChainHeight})
			return p.given(ctx, b, err)
		}
		b, err := p.vm.BuildBlock(ctx)
		return p.given(ctx, b, err)
	})
}

type bytesArgs struct {
	Bytes []byte `json:"bytes"`
}

func parse(ctx context.Context, h *host, args bytesArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		b, err := p.vm.ParseBlock(ctx, args.Bytes)
		return p.given(ctx, b, err)
	})
}

type blocksArgs struct {
	Blocks [][]byte `json:"blocks"`
}

func batchedParse(ctx context.Context, h *host, args blocksArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		blocks, err := p.vm.BatchedParseBlock(ctx, args.Blocks)
		if err != nil {
			return nil, err
		}
		results := make([]any, len(blocks))
		for i, b := range blocks {
			if results[i], err = p.given(ctx, b, nil); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

type blockArgs struct {
	Block []byte `json:"block"`
}

func getBlock(ctx context.Context, h *host, args blockArgs) (any, error) {
	id, err := toID(args.Block)
	if err != nil {
		return nil, err
	}
	return h.engineCall(func(p *plugin) (any, error) {
		b, err := p.vm.GetBlock(ctx, id)
		return p.given(ctx, b, err)
	})
}

type ancestorsArgs struct {
	Block         []byte `json:"block"`
	MaxBlocks     int    `json:"max_blocks"`
	MaxSize       int    `json:"max_size"`
	MaxDurationNS int64  `json:"max_duration_ns"`
}

func getAncestors(ctx context.Context, h *host, args ancestorsArgs) (any, error) {
	id, err := toID(args.Block)
	if err != nil {
		return nil, err
	}
	return h.engineCall(func(p *plugin) (any, error) {
		blocks, err := p.vm.GetAncestors(ctx, id, args.MaxBlocks, args.MaxSize, time.Duration(args.MaxDurationNS))
		return map[string]any{"blocks": blocks}, err
	})
}

type heightArgs struct {
	Height uint64 `json:"height"`
}

func getBlockIDAtHeight(ctx context.Context, h *host, args heightArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		id, err := p.vm.GetBlockIDAtHeight(ctx, args.Height)
		return map[string]any{"id": id[:]}, err
	})
}

func setPreference(ctx context.Context, h *host, args blockArgs) (any, error) {
	id, err := toID(args.Block)
	if err != nil {
		return nil, err
	}
	return h.engineCall(func(p *plugin) (any, error) { return nil, p.vm.SetPreference(ctx, id) })
}

type verifyArgs struct {
	Block        []byte  `json:"block"`
	PChainHeight *uint64 `json:"p_chain_height"`
}

func verify(ctx context.Context, h *host, args verifyArgs) (any, error) {
	return h.decide(ctx, args.Block, func(b snowman.Block) error {
		if args.PChainHeight == nil {
			return b.Verify(ctx)
		}
		withContext, ok := b.(block.WithVerifyContext)
		if !ok {
			return fmt.Errorf("a %T cannot be verified with a P-chain height", b)
		}
		return withContext.VerifyWithContext(ctx, &block.Context{PChainHeight: *args.PChainHeight})
	})
}

func accept(ctx context.Context, h *host, args blockArgs) (any, error) {
	return h.decide(ctx, args.Block, func(b snowman.Block) error { return b.Accept(ctx) })
}

func reject(ctx context.Context, h *host, args blockArgs) (any, error) {
	return h.decide(ctx, args.Block, func(b snowman.Block) error { return b.Reject(ctx) })
}

// decide does something to a block, and tells how it looks afterwards.
func (h *host) decide(ctx context.Context, blockID []byte, do func(snowman.Block) error) (any, error) {
	id, err := toID(blockID)
	if err != nil {
		return nil, err
	}
	return h.engineCall(func(p *plugin) (any, error) {
		b, err := p.block(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := do(b); err != nil {
			return nil, err
		}
		return describe(ctx, b)
	})
}
