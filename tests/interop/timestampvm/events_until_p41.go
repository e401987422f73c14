//go:build !p42plus

package main

import (
	"context"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

// events tells the node that there is work, over the channel that the node's library gives.
type events struct{ toEngine chan<- common.Message }

func (e *events) workArrived() {
	select {
	case e.toEngine <- common.PendingTxs:
	default: // the node has not taken the message before yet
	}
}

func (vm *vm) Initialize(
	_ context.Context, _ *snow.Context, db database.Database, genesis, _, _ []byte,
	toEngine chan<- common.Message, _ []*common.Fx, _ common.AppSender,
) error {
	vm.events = events{toEngine: toEngine}
	return vm.start(db, genesis)
}
