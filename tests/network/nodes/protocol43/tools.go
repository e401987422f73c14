//go:build tools

// Package node makes AvalancheGo a dependency of this module, so that `go build` can build the node itself.
package node

import _ "github.com/ava-labs/avalanchego/main"
