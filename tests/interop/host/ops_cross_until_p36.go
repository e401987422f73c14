//go:build !p37plus

package main

import (
	"context"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

// Messages between two chains of one node: here they come from the X-chain.
func init() {
	ops["cross_chain_request"] = with(crossChainRequest)
	ops["cross_chain_request_failed"] = with(crossChainRequestFailed)
	ops["cross_chain_response"] = with(crossChainResponse)
}

func (h *host) crossChainCall(call func(p *plugin, from ids.ID) error) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	return nil, call(p, h.identity.xChainID)
}

func crossChainRequest(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.crossChainCall(func(p *plugin, from ids.ID) error {
		deadline := time.Now().Add(time.Duration(args.DeadlineMS) * time.Millisecond)
		return p.vm.CrossChainAppRequest(ctx, from, args.RequestID, deadline, args.Bytes)
	})
}

func crossChainRequestFailed(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.crossChainCall(func(p *plugin, from ids.ID) error {
		failure := &common.AppError{Code: args.Code, Message: args.Message}
		return p.vm.CrossChainAppRequestFailed(ctx, from, args.RequestID, failure)
	})
}

func crossChainResponse(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.crossChainCall(func(p *plugin, from ids.ID) error {
		return p.vm.CrossChainAppResponse(ctx, from, args.RequestID, args.Bytes)
	})
}
