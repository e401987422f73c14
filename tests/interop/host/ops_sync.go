package main

import (
	"context"
	"errors"

	"github.com/ava-labs/avalanchego/snow/engine/snowman/block"
)

type summaryResult struct {
	ID     []byte `json:"id"`
	Height uint64 `json:"height"`
	Bytes  []byte `json:"bytes"`
}

func describeSummary(summary block.StateSummary, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if summary == nil {
		return nil, errors.New("the node's client gave neither a summary nor an error")
	}
	id := summary.ID()
	return summaryResult{ID: id[:], Height: summary.Height(), Bytes: summary.Bytes()}, nil
}

func stateSyncEnabled(ctx context.Context, h *host, _ none) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		enabled, err := p.vm.StateSyncEnabled(ctx)
		return map[string]any{"enabled": enabled}, err
	})
}

func getOngoingStateSummary(ctx context.Context, h *host, _ none) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		return describeSummary(p.vm.GetOngoingSyncStateSummary(ctx))
	})
}

func getLastStateSummary(ctx context.Context, h *host, _ none) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		return describeSummary(p.vm.GetLastStateSummary(ctx))
	})
}

func parseStateSummary(ctx context.Context, h *host, args bytesArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		return describeSummary(p.vm.ParseStateSummary(ctx, args.Bytes))
	})
}

func getStateSummary(ctx context.Context, h *host, args heightArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		return describeSummary(p.vm.GetStateSummary(ctx, args.Height))
	})
}

// acceptStateSummary parses a summary and accepts it; mode is 1 skipped, 2 static, 3 dynamic.
func acceptStateSummary(ctx context.Context, h *host, args bytesArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		summary, err := p.vm.ParseStateSummary(ctx, args.Bytes)
		if err != nil {
			return nil, err
		}
		mode, err := summary.Accept(ctx)
		return map[string]any{"mode": mode}, err
	})
}
