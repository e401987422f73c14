package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/version"
)

var ops = map[string]op{
	"info":     with(info),
	"register": with(register),
	"start":    with(start),
	"version":  with(vmVersion),
	"shutdown": with(shutdown),
	"kill":     with(kill),
	"exited":   with(exited),

	"initialize":     with(initialize),
	"set_state":      with(setState),
	"health":         with(health),
	"gather":         with(gather),
	"wait_for_event": with(waitForEvent),
	"connected":      with(connected),
	"disconnected":   with(disconnected),

	"create_handlers": with(createHandlers),

	"last_accepted":          with(lastAccepted),
	"build":                  with(build),
	"parse":                  with(parse),
	"batched_parse":          with(batchedParse),
	"get_block":              with(getBlock),
	"get_ancestors":          with(getAncestors),
	"get_block_id_at_height": with(getBlockIDAtHeight),
	"set_preference":         with(setPreference),
	"verify":                 with(verify),
	"accept":                 with(accept),
	"reject":                 with(reject),

	"state_sync_enabled":        with(stateSyncEnabled),
	"get_ongoing_state_summary": with(getOngoingStateSummary),
	"get_last_state_summary":    with(getLastStateSummary),
	"parse_state_summary":       with(parseStateSummary),
	"get_state_summary":         with(getStateSummary),
	"accept_state_summary":      with(acceptStateSummary),

	"app_request":        with(appRequest),
	"app_request_failed": with(appRequestFailed),
	"app_response":       with(appResponse),
	"app_gossip":         with(appGossip),
	"next_sent":          with(nextSent),
	"sender":             with(configureSender),

	"peer_apply":   with(peerApply),
	"peer_get":     with(peerGet),
	"peer_indexed": with(peerIndexed),

	"validators":  with(describeValidators),
	"warp_verify": with(warpVerify),

	"cycle":  with(cycle),
	"launch": with(launches),
}

type infoResult struct {
	Application         string `json:"application"`
	Protocol            uint   `json:"protocol"`
	NetworkID           uint32 `json:"network_id"`
	NodeID              []byte `json:"node_id"`
	SubnetID            []byte `json:"subnet_id"`
	ChainID             []byte `json:"chain_id"`
	XChainID            []byte `json:"x_chain_id"`
	CChainID            []byte `json:"c_chain_id"`
	AVAXAssetID         []byte `json:"avax_asset_id"`
	PublicKey           []byte `json:"public_key"`
	ChainDataDir        string `json:"chain_data_dir"`
	MinimumPChainHeight uint64 `json:"minimum_p_chain_height"`
	CurrentPChainHeight uint64 `json:"current_p_chain_height"`
}

func info(_ context.Context, h *host, _ none) (any, error) {
	who := h.identity
	return infoResult{
		Application:         version.GetVersions().Application,
		Protocol:            version.RPCChainVMProtocol,
		NetworkID:           who.networkID,
		NodeID:              who.nodeID.Bytes(),
		SubnetID:            who.subnetID[:],
		ChainID:             who.chainID[:],
		XChainID:            who.xChainID[:],
		CChainID:            who.cChainID[:],
		AVAXAssetID:         who.avaxAssetID[:],
		PublicKey:           compressed(who.publicKey),
		ChainDataDir:        h.dataDir + "/" + who.chainID.String(),
		MinimumPChainHeight: minimumPChainHeight,
		CurrentPChainHeight: currentPChainHeight,
	}, nil
}

type pluginArgs struct {
	Plugin string `json:"plugin"`
}

// register is what a node does to each plugin when it starts: launch, ask the version, shut down.
func register(ctx context.Context, h *host, args pluginArgs) (any, error) {
	p, err := h.launch(args.Plugin)
	if err != nil {
		return nil, err
	}
	text, err := p.vm.Version(ctx)
	if err != nil {
		p.stop()
		return nil, errors.Join(err, p.vm.Shutdown(ctx))
	}
	if err := p.shutdown(ctx); err != nil {
		return nil, err
	}
	return map[string]any{"version": text, "pid": p.pid}, nil
}

func start(_ context.Context, h *host, args pluginArgs) (any, error) {
	if _, err := h.running(); err == nil {
		return nil, errors.New("a plugin is running: shut it down first")
	}
	p, err := h.launch(args.Plugin)
	if err != nil {
		return nil, err
	}
	h.lock.Lock()
	h.plugin = p
	h.lock.Unlock()
	return map[string]any{"pid": p.pid, "handshake_ms": milliseconds(time.Since(p.started))}, nil
}

func vmVersion(ctx context.Context, h *host, _ none) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	text, err := p.vm.Version(ctx)
	return map[string]any{"version": text}, err
}

func shutdown(ctx context.Context, h *host, _ none) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	err = p.shutdown(ctx)
	h.lock.Lock()
	h.plugin = nil
	h.lock.Unlock()
	return nil, err
}

type killArgs struct {
	Signal int `json:"signal"`
}

func kill(_ context.Context, h *host, args killArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	return nil, syscall.Kill(p.pid, syscall.Signal(args.Signal))
}

type timeoutArgs struct {
	TimeoutMS int64 `json:"timeout_ms"`
}

// limited is ctx with the driver's own limit, if it gave one.
func limited(ctx context.Context, timeoutMS int64) (context.Context, context.CancelFunc) {
	if timeoutMS <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(timeoutMS)*time.Millisecond)
}

// exited waits until the plugin's process is gone, and lets another be started.
func exited(ctx context.Context, h *host, args timeoutArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, args.TimeoutMS)
	defer cancel()
	if err := p.exited(ctx); err != nil {
		return nil, err
	}
	h.lock.Lock()
	h.plugin = nil
	h.lock.Unlock()
	return nil, nil
}

type initializeArgs struct {
	Genesis []byte `json:"genesis"`
	Upgrade []byte `json:"upgrade"`
	Config  []byte `json:"config"`
}

func initialize(ctx context.Context, h *host, args initializeArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	called := time.Now()
	if err := h.initialize(ctx, p, args.Genesis, args.Upgrade, args.Config); err != nil {
		return nil, err
	}
	answered := time.Now()
	h.sender.deliverTo(p.vm)
	block, err := p.lastAccepted(ctx)
	return map[string]any{
		"last_accepted":   block,
		"from_exec_ms":    milliseconds(answered.Sub(p.started)),
		"initialize_ms":   milliseconds(answered.Sub(called)),
		"exec_to_call_ms": milliseconds(called.Sub(p.started)),
	}, err
}

type setStateArgs struct {
	State uint8 `json:"state"`
}

func setState(ctx context.Context, h *host, args setStateArgs) (any, error) {
	p, err := h.initialized()
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	state := snow.State(args.State)
	if err := p.vm.SetState(ctx, state); err != nil {
		return nil, err
	}
	p.chain.State.Set(snow.EngineState{State: state})
	return p.lastAccepted(ctx)
}

func health(ctx context.Context, h *host, _ none) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	details, err := p.vm.HealthCheck(ctx)
	return map[string]any{"details": details}, err
}

func waitForEvent(ctx context.Context, h *host, args timeoutArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, args.TimeoutMS)
	defer cancel()
	message, err := p.waitForEvent(ctx)
	return map[string]any{"message": message}, err
}

type peerArgs struct {
	NodeID []byte `json:"node_id"`
	Name   string `json:"name"`
	Major  int    `json:"major"`
	Minor  int    `json:"minor"`
	Patch  int    `json:"patch"`
}

func connected(ctx context.Context, h *host, args peerArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	nodeID, err := ids.ToNodeID(args.NodeID)
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	peer := &version.Application{Name: args.Name, Major: args.Major, Minor: args.Minor, Patch: args.Patch}
	return nil, p.vm.Connected(ctx, nodeID, peer)
}

func disconnected(ctx context.Context, h *host, args peerArgs) (any, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	nodeID, err := ids.ToNodeID(args.NodeID)
	if err != nil {
		return nil, err
	}
	h.engine.Lock()
	defer h.engine.Unlock()
	return nil, p.vm.Disconnected(ctx, nodeID)
}

func milliseconds(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}

func toID(bytes []byte) (ids.ID, error) {
	id, err := ids.ToID(bytes)
	if err != nil {
		return ids.Empty, fmt.Errorf("bad ID in the request: %w", err)
	}
	return id, nil
}
