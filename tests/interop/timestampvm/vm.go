package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/consensus/snowman"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/version"
)

// Keys in the database: 'b' and a block's ID, 'h' and its height, 'l' alone for the last accepted ID.
const (
	blockKey  = 'b'
	heightKey = 'h'
)

var lastKey = []byte{'l'}

// vm is the chain. Its lock guards everything below it: HTTP handlers run beside the engine.
type vm struct {
	db     database.Database
	events events

	lock      sync.Mutex
	last      *block
	preferred ids.ID
	verified  map[ids.ID]*block
	// What was proposed and is in no accepted block, the oldest first, each once.
	mempool [][dataSize]byte
	waiting map[[dataSize]byte]bool
}

func (vm *vm) start(db database.Database, genesis []byte) error {
	vm.db = db
	vm.verified = map[ids.ID]*block{}
	vm.waiting = map[[dataSize]byte]bool{}
	id, err := database.GetID(db, lastKey)
	switch {
	case err == nil:
		vm.last, err = vm.stored(id)
	case errors.Is(err, database.ErrNotFound):
		var data [dataSize]byte
		copy(data[:], genesis)
		err = vm.accept(newBlock(vm, ids.Empty, 0, 0, data))
	}
	if err != nil {
		return err
	}
	vm.preferred = vm.last.id
	return nil
}

func (vm *vm) stored(id ids.ID) (*block, error) {
	bytes, err := vm.db.Get(append([]byte{blockKey}, id[:]...))
	if err != nil {
		return nil, err
	}
	return parseBlock(vm, bytes)
}

func (vm *vm) accept(b *block) error {
	batch := vm.db.NewBatch()
	err := errors.Join(
		batch.Put(append([]byte{blockKey}, b.id[:]...), b.bytes),
		batch.Put(binary.BigEndian.AppendUint64([]byte{heightKey}, b.height), b.id[:]),
		batch.Put(lastKey, b.id[:]),
		batch.Write(),
	)
	if err != nil {
		return err
	}
	vm.lock.Lock()
	defer vm.lock.Unlock()
	delete(vm.verified, b.id)
	vm.last = b
	if vm.waiting[b.data] {
		delete(vm.waiting, b.data)
		i := slices.Index(vm.mempool, b.data)
		vm.mempool = slices.Delete(vm.mempool, i, i+1)
	}
	return nil
}

func (vm *vm) reject(b *block) {
	vm.lock.Lock()
	delete(vm.verified, b.id)
	vm.lock.Unlock()
	if vm.hasWork() {
		vm.events.workArrived()
	}
}

func (vm *vm) addVerified(b *block) {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	vm.verified[b.id] = b
}

func (vm *vm) undecidedOrLast(id ids.ID) (*block, bool) {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	if id == vm.last.id {
		return vm.last, true
	}
	b, ok := vm.verified[id]
	return b, ok
}

func (vm *vm) propose(data [dataSize]byte) {
	vm.lock.Lock()
	if !vm.waiting[data] {
		vm.waiting[data] = true
		vm.mempool = append(vm.mempool, data)
	}
	vm.lock.Unlock()
	vm.events.workArrived()
}

func (vm *vm) hasWork() bool {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	_, ok := vm.nextProposal()
	return ok
}

// nextProposal is the oldest proposal that no undecided block holds: a rejected block gives its own back, and
// so does one that the node never decides, once another is accepted at its height. Callers hold the lock.
func (vm *vm) nextProposal() ([dataSize]byte, bool) {
	held := make(map[[dataSize]byte]bool, len(vm.verified))
	for _, b := range vm.verified {
		held[b.data] = held[b.data] || b.height > vm.last.height
	}
	for _, data := range vm.mempool {
		if !held[data] {
			return data, true
		}
	}
	return [dataSize]byte{}, false
}

func (vm *vm) lastAccepted() *block {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	return vm.last
}

func (vm *vm) getBlock(id ids.ID) (*block, error) {
	if b, ok := vm.undecidedOrLast(id); ok {
		return b, nil
	}
	return vm.stored(id)
}

func (vm *vm) LastAccepted(context.Context) (ids.ID, error) { return vm.lastAccepted().id, nil }

func (vm *vm) GetBlock(_ context.Context, id ids.ID) (snowman.Block, error) {
	return asBlock(vm.getBlock(id))
}

func (vm *vm) ParseBlock(_ context.Context, bytes []byte) (snowman.Block, error) {
	return asBlock(parseBlock(vm, bytes))
}

// asBlock keeps a missing block from becoming an interface that holds nil.
func asBlock(b *block, err error) (snowman.Block, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (vm *vm) BuildBlock(context.Context) (snowman.Block, error) {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	data, ok := vm.nextProposal()
	if !ok {
		return nil, errNoContent
	}
	parent := vm.last
	if b, ok := vm.verified[vm.preferred]; ok {
		parent = b
	}
	return newBlock(vm, parent.id, parent.height+1, max(parent.seconds, time.Now().Unix()), data), nil
}

func (vm *vm) SetPreference(_ context.Context, id ids.ID) error {
	vm.lock.Lock()
	defer vm.lock.Unlock()
	vm.preferred = id
	return nil
}

func (vm *vm) GetBlockIDAtHeight(_ context.Context, height uint64) (ids.ID, error) {
	return database.GetID(vm.db, binary.BigEndian.AppendUint64([]byte{heightKey}, height))
}

func (*vm) SetState(context.Context, snow.State) error { return nil }

func (*vm) Shutdown(context.Context) error { return nil }

func (*vm) Version(context.Context) (string, error) { return "v1.0.0", nil }

func (*vm) HealthCheck(context.Context) (any, error) { return nil, nil }

func (*vm) Connected(context.Context, ids.NodeID, *version.Application) error { return nil }

func (*vm) Disconnected(context.Context, ids.NodeID) error { return nil }

func (*vm) AppRequest(context.Context, ids.NodeID, uint32, time.Time, []byte) error { return nil }

func (*vm) AppRequestFailed(context.Context, ids.NodeID, uint32, *common.AppError) error { return nil }

func (*vm) AppResponse(context.Context, ids.NodeID, uint32, []byte) error { return nil }

func (*vm) AppGossip(context.Context, ids.NodeID, []byte) error { return nil }

func (vm *vm) CreateHandlers(context.Context) (map[string]http.Handler, error) {
	handler, err := newHandler(vm)
	return map[string]http.Handler{"": handler}, err
}
