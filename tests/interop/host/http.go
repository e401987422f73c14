package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ava-labs/avalanchego/api/server"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

// The node's defaults: config/flags.go.
var httpConfig = server.HTTPConfig{
	ReadTimeout:       30 * time.Second,
	ReadHeaderTimeout: 30 * time.Second,
	WriteTimeout:      30 * time.Second,
	IdleTimeout:       120 * time.Second,
}

const httpShutdownTimeout = 2 * time.Second

// routedVM is the plugin as the node's API server sees it; it notes what the plugin offers.
type routedVM struct {
	common.VM
	prefixes      []string
	handlersErr   error
	ownHandler    bool
	ownHandlerErr error
}

func (vm *routedVM) CreateHandlers(ctx context.Context) (map[string]http.Handler, error) {
	handlers, err := vm.VM.CreateHandlers(ctx)
	for prefix := range handlers {
		vm.prefixes = append(vm.prefixes, prefix)
	}
	slices.Sort(vm.prefixes)
	vm.handlersErr = err
	return handlers, err
}

type handlersResult struct {
	Address  string   `json:"address"`
	Path     string   `json:"path"`
	ChainID  string   `json:"chain_id"`
	NodeID   string   `json:"node_id"`
	Prefixes []string `json:"prefixes"`
	// OwnHandler: the plugin has a handler of its own, routed by a header and not by a path.
	OwnHandler bool `json:"own_handler"`
}

// createHandlers asks for the plugin's handlers and serves them with the node's own API server.
func createHandlers(_ context.Context, h *host, _ none) (any, error) {
	p, err := h.initialized()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.server, err = newServer(h.log, listener, h.identity.nodeID, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	p.address = listener.Addr().String()
	vm := &routedVM{VM: p.vm}
	p.server.RegisterChain("interop", p.chain, vm)
	if vm.handlersErr != nil {
		return nil, vm.handlersErr
	}
	if vm.ownHandlerErr != nil {
		return nil, vm.ownHandlerErr
	}
	chainID := h.identity.chainID.String()
	if err := p.server.AddAliases("bc/"+chainID, "bc/interop"); err != nil {
		return nil, err
	}
	go func() { _ = p.server.Dispatch() }()
	return handlersResult{
		Address:    p.address,
		Path:       "/ext/bc/" + chainID,
		ChainID:    chainID,
		NodeID:     h.identity.nodeID.String(),
		Prefixes:   vm.prefixes,
		OwnHandler: vm.ownHandler,
	}, nil
}
