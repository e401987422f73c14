package main

import (
	"context"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

type appArgs struct {
	NodeID     []byte `json:"node_id"`
	RequestID  uint32 `json:"request_id"`
	DeadlineMS int64  `json:"deadline_ms"`
	Bytes      []byte `json:"bytes"`
	Code       int32  `json:"code"`
	Message    string `json:"message"`
}

// appCall is not under the chain's lock, in a node neither.
func (h *host) appCall(args appArgs, call func(p *plugin, nodeID ids.NodeID) error) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	nodeID, err := ids.ToNodeID(args.NodeID)
	if err != nil {
		return nil, err
	}
	return nil, call(p, nodeID)
}

func appRequest(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.appCall(args, func(p *plugin, nodeID ids.NodeID) error {
		deadline := time.Now().Add(time.Duration(args.DeadlineMS) * time.Millisecond)
		return p.vm.AppRequest(ctx, nodeID, args.RequestID, deadline, args.Bytes)
	})
}

func appRequestFailed(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.appCall(args, func(p *plugin, nodeID ids.NodeID) error {
		failure := &common.AppError{Code: args.Code, Message: args.Message}
		return p.vm.AppRequestFailed(ctx, nodeID, args.RequestID, failure)
	})
}

func appResponse(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.appCall(args, func(p *plugin, nodeID ids.NodeID) error {
		return p.vm.AppResponse(ctx, nodeID, args.RequestID, args.Bytes)
	})
}

func appGossip(ctx context.Context, h *host, args appArgs) (any, error) {
	return h.appCall(args, func(p *plugin, nodeID ids.NodeID) error {
		return p.vm.AppGossip(ctx, nodeID, args.Bytes)
	})
}

// nextSent takes the oldest message that the plugin sent, or waits for one.
func nextSent(ctx context.Context, h *host, args timeoutArgs) (any, error) {
	ctx, cancel := limited(ctx, args.TimeoutMS)
	defer cancel()
	select {
	case m := <-h.sender.messages:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type senderArgs struct {
	// Failure: what each call of the sender fails with, if not empty.
	Failure string `json:"failure"`
	// Loop: hand what the plugin sends back to it, too.
	Loop bool `json:"loop"`
}

func configureSender(_ context.Context, h *host, args senderArgs) (any, error) {
	h.sender.configure(args.Failure, args.Loop)
	return nil, nil
}
