//go:build !p36plus

package main

import (
	"github.com/ava-labs/avalanchego/api/metrics"
	"github.com/ava-labs/avalanchego/snow/consensus/snowman"
	"github.com/ava-labs/avalanchego/utils/resource"
	"github.com/ava-labs/avalanchego/vms"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm/runtime"
)

func newFactory(path string, processes resource.ProcessTracker, runtimes runtime.Tracker, _ metrics.MultiGatherer) vms.Factory {
	return rpcchainvm.NewFactory(path, processes, runtimes)
}

// blockStatus is what the plugin says of a block: Processing, Rejected or Accepted.
func blockStatus(block snowman.Block) string { return block.Status().String() }
