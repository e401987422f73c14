//go:build p42plus

package main

import (
	"context"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
)

// eventQueue holds nothing: since protocol 42 the node asks the plugin.
type eventQueue struct{}

func newEventQueue() *eventQueue { return &eventQueue{} }

func (*eventQueue) initialize(
	ctx context.Context, vm *rpcchainvm.VMClient, chain *snow.Context, db database.Database,
	genesis, upgrade, config []byte, sender common.AppSender,
) error {
	return vm.Initialize(ctx, chain, db, genesis, upgrade, config, nil, sender)
}

func (*eventQueue) next(ctx context.Context, vm *rpcchainvm.VMClient) (common.Message, error) {
	return vm.WaitForEvent(ctx)
}
