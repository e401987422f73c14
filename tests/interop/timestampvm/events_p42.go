//go:build p42plus

package main

import (
	"context"
	"net/http"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

// events wakes a waiting node when work arrives.
type events struct{ arrived chan struct{} }

func (e *events) workArrived() {
	select {
	case e.arrived <- struct{}{}:
	default: // a wake-up is on its way
	}
}

func (vm *vm) Initialize(
	_ context.Context, _ *snow.Context, db database.Database, genesis, _, _ []byte,
	_ []*common.Fx, _ common.AppSender,
) error {
	vm.events = events{arrived: make(chan struct{}, 1)}
	return vm.start(db, genesis)
}

func (vm *vm) WaitForEvent(ctx context.Context) (common.Message, error) {
	for !vm.hasWork() {
		select {
		case <-vm.events.arrived:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return common.PendingTxs, nil
}

func (*vm) NewHTTPHandler(context.Context) (http.Handler, error) { return nil, nil }
