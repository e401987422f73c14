// Command timestampvm is a plugin that keeps timestamped pieces of data: examples/timestamp, in Go.
//
// It is the measure for that example: the same blocks, the same HTTP interface, one batch for each accepted block and
// no read from the node's database after the start.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
)

func main() {
	if err := rpcchainvm.Serve(context.Background(), &vm{}); err != nil {
		fmt.Fprintln(os.Stderr, "timestampvm:", err)
		os.Exit(1)
	}
}
