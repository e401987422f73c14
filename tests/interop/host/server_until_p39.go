//go:build !p40plus

package main

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ava-labs/avalanchego/api/server"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/logging"
)

func newServer(log logging.Logger, listener net.Listener, nodeID ids.NodeID, registry prometheus.Registerer) (server.Server, error) {
	return server.New(log, nil, listener, []string{"*"}, httpShutdownTimeout, nodeID, false, nil, registry, httpConfig, []string{"localhost"})
}
