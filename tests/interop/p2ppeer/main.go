// A peer that speaks Go's own network/p2p and network/p2p/gossip. Standard input brings messages and
// commands, one JSON object a line; what the peer sends to its node goes to standard output.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/network/p2p"
	"github.com/ava-labs/avalanchego/network/p2p/gossip"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/snow/validators"
	"github.com/ava-labs/avalanchego/utils/logging"
	"github.com/ava-labs/avalanchego/utils/set"
)

const (
	greetingHandlerID = 300
	targetSize        = 20 * 1024
)

// line is one line of standard input or output.
type line struct {
	Op         string   `json:"op"`
	Node       string   `json:"node,omitempty"`
	Nodes      []string `json:"nodes,omitempty"`
	Request    uint32   `json:"request,omitempty"`
	Bytes      string   `json:"bytes,omitempty"`
	Code       int32    `json:"code,omitempty"`
	Message    string   `json:"message,omitempty"`
	Handler    uint64   `json:"handler,omitempty"`
	Validators int      `json:"validators,omitempty"`
	Peers      int      `json:"peers,omitempty"`
	Items      []string `json:"items,omitempty"`
	Warp       warpLine `json:"warp,omitzero"`
	Result     any      `json:"result,omitempty"`
}

var (
	output     = json.NewEncoder(os.Stdout)
	outputLock sync.Mutex

	// requests gets a value for each request that is sent, if it is not nil.
	requests chan struct{}
)

func write(l line) {
	outputLock.Lock()
	defer outputLock.Unlock()
	must(output.Encode(l))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(text)
	must(err)
	return b
}

func nodeID(text string) ids.NodeID {
	id, err := ids.ToNodeID(unhex(text))
	must(err)
	return id
}

func hexes(nodeIDs set.Set[ids.NodeID]) []string {
	var texts []string
	for id := range nodeIDs {
		texts = append(texts, hex.EncodeToString(id[:]))
	}
	return texts
}

// sender writes what the peer sends.
type sender struct{}

func (sender) SendAppRequest(_ context.Context, to set.Set[ids.NodeID], id uint32, b []byte) error {
	write(line{Op: "app_request", Nodes: hexes(to), Request: id, Bytes: hex.EncodeToString(b)})
	if requests != nil {
		requests <- struct{}{}
	}
	return nil
}

func (sender) SendAppResponse(_ context.Context, to ids.NodeID, id uint32, b []byte) error {
	write(line{Op: "app_response", Node: hex.EncodeToString(to[:]), Request: id, Bytes: hex.EncodeToString(b)})
	return nil
}

func (sender) SendAppError(_ context.Context, to ids.NodeID, id uint32, code int32, message string) error {
	write(line{Op: "app_error", Node: hex.EncodeToString(to[:]), Request: id, Code: code, Message: message})
	return nil
}

func (sender) SendAppGossip(_ context.Context, config common.SendConfig, b []byte) error {
	write(line{
		Op: "app_gossip", Nodes: hexes(config.NodeIDs), Validators: config.Validators, Peers: config.Peers,
		Bytes: hex.EncodeToString(b),
	})
	return nil
}

// state knows the validators: those that standard input names.
type state struct {
	validators.State
	nodes []ids.NodeID
}

func (*state) GetCurrentHeight(context.Context) (uint64, error) { return 7, nil }

func (s *state) GetValidatorSet(
	context.Context, uint64, ids.ID,
) (map[ids.NodeID]*validators.GetValidatorOutput, error) {
	found := make(map[ids.NodeID]*validators.GetValidatorOutput)
	for _, id := range s.nodes {
		found[id] = &validators.GetValidatorOutput{NodeID: id, Weight: 1}
	}
	return found, nil
}

// greeter responds to "hello", and refuses everything else.
type greeter struct{ p2p.NoOpHandler }

func (greeter) AppRequest(
	_ context.Context, _ ids.NodeID, _ time.Time, request []byte,
) ([]byte, *common.AppError) {
	if string(request) != "hello" {
		return nil, &common.AppError{Code: 42, Message: "say hello"}
	}
	return []byte("hello from Go"), nil
}

func (greeter) AppGossip(_ context.Context, from ids.NodeID, message []byte) {
	write(line{Op: "heard", Node: hex.EncodeToString(from[:]), Bytes: hex.EncodeToString(message)})
}

// peer is everything that lines act on.
type peer struct {
	network    *p2p.Network
	items      *items
	pull       gossip.Gossiper
	push       *gossip.PushGossiper[item]
	state      *state
	aggregated chan aggregation
}

func newPeer() *peer {
	registry := prometheus.NewRegistry()
	state := &state{}
	vdrs := p2p.NewValidators(logging.NoLog{}, ids.Empty, state, 0)
	network, err := p2p.NewNetwork(logging.NoLog{}, sender{}, registry, "p2p", vdrs)
	must(err)
	metrics, err := gossip.NewMetrics(registry, "gossip")
	must(err)
	items := newItems()
	handler := gossip.NewHandler[item](logging.NoLog{}, marshaller{}, items, metrics, targetSize)
	must(network.AddHandler(p2p.TxGossipHandlerID, handler))
	must(network.AddHandler(greetingHandlerID, p2p.NewValidatorHandler(
		p2p.NewThrottlerHandler(greeter{}, p2p.NewSlidingWindowThrottler(time.Hour, 5), logging.NoLog{}),
		vdrs, logging.NoLog{},
	)))
	client := network.NewClient(p2p.TxGossipHandlerID, vdrs)
	push, err := gossip.NewPushGossiper[item](
		marshaller{}, items, vdrs, client, metrics,
		gossip.BranchingFactor{StakePercentage: .9, Validators: 100}, gossip.BranchingFactor{Validators: 10},
		1024, targetSize, 30*time.Second,
	)
	must(err)
	pull := gossip.NewPullGossiper[item](logging.NoLog{}, marshaller{}, items, client, metrics, 1)
	return &peer{network, items, pull, push, state, nil}
}

func (p *peer) handle(l line) any {
	ctx := context.Background()
	switch l.Op {
	case "connected":
		must(p.network.Connected(ctx, nodeID(l.Node), nil))
	case "validators":
		for _, text := range l.Nodes {
			p.state.nodes = append(p.state.nodes, nodeID(text))
		}
	case "app_request":
		must(p.network.AppRequest(ctx, nodeID(l.Node), l.Request, time.Now().Add(time.Minute), unhex(l.Bytes)))
	case "app_response":
		must(p.network.AppResponse(ctx, nodeID(l.Node), l.Request, unhex(l.Bytes)))
	case "app_error":
		failure := &common.AppError{Code: l.Code, Message: l.Message}
		must(p.network.AppRequestFailed(ctx, nodeID(l.Node), l.Request, failure))
	case "app_gossip":
		must(p.network.AppGossip(ctx, nodeID(l.Node), unhex(l.Bytes)))
	case "ask":
		client := p.network.NewClient(l.Handler, nil)
		must(client.AppRequest(ctx, set.Of(nodeID(l.Node)), unhex(l.Bytes), answered))
	case "tell":
		client := p.network.NewClient(l.Handler, nil)
		config := common.SendConfig{NodeIDs: set.Of(nodeID(l.Node))}
		must(client.AppGossip(ctx, config, unhex(l.Bytes)))
	case "add":
		for _, text := range l.Items {
			must(p.items.Add(item(unhex(text))))
			p.push.Add(item(unhex(text)))
		}
	case "push":
		must(p.push.Gossip(ctx))
	case "pull":
		must(p.pull.Gossip(ctx))
	case "items":
		return p.items.hexes()
	case "bloom":
		return bloomVectors()
	case "sign":
		p.sign(&l.Warp)
	case "decode":
		var all []any
		for _, text := range l.Warp.Messages {
			all = append(all, decoded(unhex(text)))
		}
		return all
	case "verify":
		return verified(&l.Warp)
	case "aggregate":
		p.aggregate(&l.Warp)
	case "aggregated":
		return p.result()
	default:
		panic("unknown op " + l.Op)
	}
	return "ok"
}

// answered writes how a request ended.
func answered(_ context.Context, from ids.NodeID, response []byte, err error) {
	l := line{Op: "answered", Node: hex.EncodeToString(from[:]), Bytes: hex.EncodeToString(response)}
	if appErr, ok := err.(*common.AppError); ok {
		l.Code, l.Message = appErr.Code, appErr.Message
	} else if err != nil {
		l.Message = err.Error()
	}
	write(l)
}

func main() {
	p := newPeer()
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, 1<<26)
	for scanner.Scan() {
		var l line
		must(json.Unmarshal(scanner.Bytes(), &l))
		write(line{Op: "done", Result: p.handle(l)})
	}
	if err := scanner.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
