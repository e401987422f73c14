//go:build p42plus

package main

import (
	"context"
	"net/http"
	"sync"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

// events wakes a waiting node when work arrives: every call of WaitForEvent, as one that the node has
// cancelled may overlap with the next.
type events struct {
	lock    sync.Mutex
	arrived chan struct{} // closed when work arrives
}

func (e *events) workArrived() {
	e.lock.Lock()
	defer e.lock.Unlock()
	close(e.arrived)
	e.arrived = make(chan struct{})
}

func (e *events) next() <-chan struct{} {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.arrived
}

func (vm *vm) Initialize(
	_ context.Context, _ *snow.Context, db database.Database, genesis, _, _ []byte,
	_ []*common.Fx, _ common.AppSender,
) error {
	vm.events.arrived = make(chan struct{})
	return vm.start(db, genesis)
}

func (vm *vm) WaitForEvent(ctx context.Context) (common.Message, error) {
	for {
		arrived := vm.events.next()
		if vm.hasWork() {
			return common.PendingTxs, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (*vm) NewHTTPHandler(context.Context) (http.Handler, error) { return nil, nil }
