package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/hashing"
)

const (
	dataSize  = 32
	blockSize = ids.IDLen + 8 + 8 + dataSize

	maxFuture = 10 * time.Second
	// The last second of the year 9999: the wire carries no later times.
	maxSeconds = 253_402_300_799
)

var (
	errSize      = fmt.Errorf("a block has %d bytes", blockSize)
	errTime      = fmt.Errorf("a block's time is within 0 and %d", int64(maxSeconds))
	errHeight    = errors.New("a block's height is its parent's and 1")
	errPast      = errors.New("a block is not older than its parent")
	errFuture    = fmt.Errorf("a block is at most %s ahead of the clock", maxFuture)
	errNoParent  = errors.New("the block's parent is neither verified nor last accepted")
	errNoContent = errors.New("there is no data to build a block with")
)

// block is parent ID, height, Unix time in seconds and data, one after the other, big-endian.
type block struct {
	vm       *vm
	id       ids.ID
	parentID ids.ID
	height   uint64
	seconds  int64
	data     [dataSize]byte
	bytes    []byte
}

func newBlock(vm *vm, parentID ids.ID, height uint64, seconds int64, data [dataSize]byte) *block {
	bytes := make([]byte, 0, blockSize)
	bytes = append(bytes, parentID[:]...)
	bytes = binary.BigEndian.AppendUint64(bytes, height)
	bytes = binary.BigEndian.AppendUint64(bytes, uint64(seconds))
	bytes = append(bytes, data[:]...)
	return &block{
		vm: vm, id: hashing.ComputeHash256Array(bytes), parentID: parentID, height: height, seconds: seconds,
		data: data, bytes: bytes,
	}
}

func parseBlock(vm *vm, bytes []byte) (*block, error) {
	if len(bytes) != blockSize {
		return nil, errSize
	}
	b := &block{
		vm:      vm,
		id:      hashing.ComputeHash256Array(bytes),
		height:  binary.BigEndian.Uint64(bytes[32:]),
		seconds: int64(binary.BigEndian.Uint64(bytes[40:])),
		bytes:   bytes,
	}
	if b.seconds < 0 || b.seconds > maxSeconds {
		return nil, errTime
	}
	copy(b.parentID[:], bytes)
	copy(b.data[:], bytes[48:])
	return b, nil
}

func (b *block) ID() ids.ID           { return b.id }
func (b *block) Parent() ids.ID       { return b.parentID }
func (b *block) Height() uint64       { return b.height }
func (b *block) Timestamp() time.Time { return time.Unix(b.seconds, 0) }
func (b *block) Bytes() []byte        { return b.bytes }

func (b *block) Verify(context.Context) error {
	parent, ok := b.vm.undecidedOrLast(b.parentID)
	switch {
	case !ok:
		return errNoParent
	case b.height != parent.height+1:
		return errHeight
	case b.seconds < parent.seconds:
		return errPast
	case b.seconds > time.Now().Add(maxFuture).Unix():
		return errFuture
	}
	b.vm.addVerified(b)
	return nil
}

func (b *block) Accept(context.Context) error { return b.vm.accept(b) }

func (b *block) Reject(context.Context) error {
	b.vm.reject(b)
	return nil
}
