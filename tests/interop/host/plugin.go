package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ava-labs/avalanchego/api/metrics"
	"github.com/ava-labs/avalanchego/api/server"
	"github.com/ava-labs/avalanchego/database/prefixdb"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/consensus/snowman"
	"github.com/ava-labs/avalanchego/utils/constants"
	"github.com/ava-labs/avalanchego/utils/metric"
	"github.com/ava-labs/avalanchego/vms/platformvm/warp"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm"
	"github.com/ava-labs/avalanchego/vms/rpcchainvm/runtime"
)

// plugin is one plugin process and the node's client of it.
type plugin struct {
	vm       *rpcchainvm.VMClient
	pid      int
	runtimes runtime.Manager
	events   *eventQueue
	metrics  metrics.MultiGatherer
	started  time.Time

	chain       *snow.ConsensusContext
	initialized bool

	server  server.Server
	address string

	lock   sync.Mutex
	blocks map[ids.ID]snowman.Block

	// waits are the outstanding WaitForEvent calls: a node ends them before it shuts a chain down.
	waits     sync.WaitGroup
	waitsDone chan struct{}
	endWaits  sync.Once
}

// pidTracker learns the process ID that the node's factory reports.
type pidTracker struct{ pid int }

func (t *pidTracker) TrackProcess(pid int) { t.pid = pid }
func (*pidTracker) UntrackProcess(int)     {}

// launch starts a plugin process through the node's own factory, and returns once the handshake is done.
func (h *host) launch(path string) (*plugin, error) {
	p := &plugin{
		runtimes:  runtime.NewManager(),
		events:    newEventQueue(),
		metrics:   metrics.NewPrefixGatherer(),
		blocks:    map[ids.ID]snowman.Block{},
		waitsDone: make(chan struct{}),
		started:   time.Now(),
	}
	pids := &pidTracker{}
	hostMetrics := metrics.NewLabelGatherer("chain")
	if err := p.metrics.Register(metric.AppendNamespace(constants.PlatformName, "rpcchainvm"), hostMetrics); err != nil {
		return nil, err
	}
	made, err := newFactory(path, pids, p.runtimes, hostMetrics).New(h.log)
	if err != nil {
		return nil, err
	}
	vm, ok := made.(*rpcchainvm.VMClient)
	if !ok {
		return nil, fmt.Errorf("the factory made a %T", made)
	}
	p.vm = vm
	p.pid = pids.pid
	return p, nil
}

// initialize makes the Initialize call as the node's chain manager does.
func (h *host) initialize(ctx context.Context, p *plugin, genesis, upgrade, config []byte) error {
	chainMetrics := metrics.NewPrefixGatherer()
	labels := metrics.NewLabelGatherer("chain")
	namespace := metric.AppendNamespace(constants.PlatformName, constants.VMName(h.identity.vmID))
	err := errors.Join(
		p.metrics.Register(namespace, labels),
		labels.Register(h.identity.chainID.String(), chainMetrics),
	)
	if err != nil {
		return err
	}
	dataDir := filepath.Join(h.dataDir, h.identity.chainID.String())
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	chainCtx := &snow.Context{
		NetworkID:      h.identity.networkID,
		SubnetID:       h.identity.subnetID,
		ChainID:        h.identity.chainID,
		NodeID:         h.identity.nodeID,
		PublicKey:      h.identity.publicKey,
		XChainID:       h.identity.xChainID,
		CChainID:       h.identity.cChainID,
		AVAXAssetID:    h.identity.avaxAssetID,
		Log:            h.log,
		SharedMemory:   h.memory.NewSharedMemory(h.identity.chainID),
		BCLookup:       h.aliases,
		Metrics:        chainMetrics,
		WarpSigner:     warp.NewSigner(h.identity.key, h.identity.networkID, h.identity.chainID),
		ValidatorState: h.validators,
		ChainDataDir:   dataDir,
	}
	setUpgrades(chainCtx)
	p.chain = &snow.ConsensusContext{
		Context:      chainCtx,
		PrimaryAlias: h.identity.chainID.String(),
		Registerer:   prometheus.NewRegistry(),
	}
	db := prefixdb.New([]byte("vm"), prefixdb.New(h.identity.chainID[:], h.db))
	if err := p.events.initialize(ctx, p.vm, chainCtx, db, genesis, upgrade, config, h.sender); err != nil {
		return err
	}
	h.lock.Lock()
	p.initialized = true
	h.lock.Unlock()
	// The node names a chain after itself once the chain is made.
	if _, err := h.aliases.PrimaryAlias(h.identity.chainID); err != nil {
		return h.aliases.Alias(h.identity.chainID, h.identity.chainID.String())
	}
	return nil
}

// remember keeps a block that the plugin gave, for the ops that name it by its ID.
func (p *plugin) remember(block snowman.Block) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.blocks[block.ID()] = block
}

// block finds one given before, or asks.
func (p *plugin) block(ctx context.Context, id ids.ID) (snowman.Block, error) {
	p.lock.Lock()
	block, ok := p.blocks[id]
	p.lock.Unlock()
	if ok {
		return block, nil
	}
	block, err := p.vm.GetBlock(ctx, id)
	if err != nil {
		return nil, err
	}
	p.remember(block)
	return block, nil
}

func (p *plugin) forget(id ids.ID) {
	p.lock.Lock()
	defer p.lock.Unlock()
	delete(p.blocks, id)
}

// waitForEvent waits for the plugin's next message; the shutdown op ends it.
func (p *plugin) waitForEvent(ctx context.Context) (uint32, error) {
	p.waits.Add(1)
	defer p.waits.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.waitsDone:
			cancel()
		case <-ctx.Done():
		}
	}()
	message, err := p.events.next(ctx, p.vm)
	return uint32(message), err
}

func (p *plugin) shutdown(ctx context.Context) error {
	p.endWaits.Do(func() { close(p.waitsDone) })
	p.waits.Wait()
	if p.server != nil {
		// From AvalancheGo 1.14.0 on it may close its listener twice, and tell; a node logs that and goes on.
		if err := p.server.Shutdown(); err != nil {
			p.chain.Log.Warn("the API server: " + err.Error())
		}
	}
	return p.vm.Shutdown(ctx)
}

// stop ends the process without a Shutdown call. A node would ask with SIGTERM and wait for five seconds, which a plugin
// that was not shut down ignores.
func (p *plugin) stop() {
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	p.runtimes.Stop(context.Background())
}

// exited waits until the process is gone.
func (p *plugin) exited(ctx context.Context) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if err := syscall.Kill(p.pid, 0); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d still runs: %w", p.pid, ctx.Err())
		case <-poll.C:
		}
	}
}
