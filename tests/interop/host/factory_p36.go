//go:build p36plus

package main

import (
	"github.com/ava-labs/avalanchego/api/metrics"
	"github.com/ava-labs/avalanchego/snow/consensus/snowman"
	"github.com/ava-labs/avalanchego/utils/resource"
	"github.com/ava-labs/avalanchego/vms"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm/runtime"
)

func newFactory(path string, processes resource.ProcessTracker, runtimes runtime.Tracker, gatherer metrics.MultiGatherer) vms.Factory {
	return rpcchainvm.NewFactory(path, processes, runtimes, gatherer)
}

// blockStatus is not on the wire since protocol 36.
func blockStatus(snowman.Block) string { return "" }
