//go:build !p42plus

package main

import (
	"context"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
)

// eventQueue is the channel that the plugin's Notify calls feed. The node's has room for one message too.
type eventQueue struct{ messages chan common.Message }

func newEventQueue() *eventQueue { return &eventQueue{messages: make(chan common.Message, 1)} }

func (q *eventQueue) initialize(
	ctx context.Context, vm *rpcchainvm.VMClient, chain *snow.Context, db database.Database,
	genesis, upgrade, config []byte, sender common.AppSender,
) error {
	return vm.Initialize(ctx, chain, db, genesis, upgrade, config, q.messages, nil, sender)
}

func (q *eventQueue) next(ctx context.Context, _ *rpcchainvm.VMClient) (common.Message, error) {
	select {
	case message := <-q.messages:
		return message, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
