package main

import (
	"errors"
	"os"
	"sync"

	"github.com/ava-labs/avalanchego/chains/atomic"
	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/database/memdb"
	"github.com/ava-labs/avalanchego/database/prefixdb"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
	"github.com/ava-labs/avalanchego/utils/logging"
)

var errNotRunning = errors.New("no plugin is running: start one first")

// identity is who this node is and which chain it runs; the same in every run.
type identity struct {
	networkID   uint32
	nodeID      ids.NodeID
	subnetID    ids.ID
	chainID     ids.ID
	vmID        ids.ID
	xChainID    ids.ID
	cChainID    ids.ID
	avaxAssetID ids.ID
	key         nodeKey
	publicKey   *bls.PublicKey
}

// host is everything that outlives a plugin process: a plugin that is started again finds its chain as it left it.
type host struct {
	identity identity
	log      logging.Logger
	dataDir  string

	db         database.Database
	memory     *atomic.Memory
	aliases    ids.Aliaser
	validators *validatorState
	sender     *recordingSender

	// engine is the chain's lock, held by a node around most calls of its engine.
	engine sync.Mutex

	lock   sync.Mutex
	plugin *plugin
}

func newHost() (*host, error) {
	who, err := newIdentity()
	if err != nil {
		return nil, err
	}
	dataDir, err := os.MkdirTemp("", "interop-host-")
	if err != nil {
		return nil, err
	}
	db := memdb.New()
	aliases := ids.NewAliaser()
	for alias, id := range map[string]ids.ID{"P": ids.Empty, "X": who.xChainID, "C": who.cChainID} {
		if err := aliases.Alias(id, alias); err != nil {
			return nil, err
		}
	}
	validators, err := newValidatorState(who)
	if err != nil {
		return nil, err
	}
	return &host{
		identity: who,
		log: logging.NewLogger("", logging.NewWrappedCore(
			logging.Debug, os.Stderr, logging.Plain.ConsoleEncoder(),
		)),
		dataDir:    dataDir,
		db:         db,
		memory:     atomic.NewMemory(prefixdb.New([]byte("shared memory"), db)),
		aliases:    aliases,
		validators: validators,
		sender:     newRecordingSender(),
	}, nil
}

func newIdentity() (identity, error) {
	key, err := keyFromBytes(seed(1, 32))
	if err != nil {
		return identity{}, err
	}
	who := identity{networkID: 12345, key: key, publicKey: publicKey(key)}
	copy(who.nodeID[:], seed(1, 20))
	for first, id := range map[byte]*ids.ID{
		0x20: &who.subnetID, 0x40: &who.chainID, 0x60: &who.xChainID, 0x80: &who.cChainID, 0xa0: &who.avaxAssetID,
	} {
		copy(id[:], seed(first, 32))
	}
	copy(who.vmID[:], "interop")
	return who, nil
}

// seed is size bytes that count up from first.
func seed(first byte, size int) []byte {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = first + byte(i)
	}
	return bytes
}

func (h *host) running() (*plugin, error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.plugin == nil {
		return nil, errNotRunning
	}
	return h.plugin, nil
}

// initialized is the running plugin, once its Initialize has succeeded: before, the node's client has no caches.
func (h *host) initialized() (*plugin, error) {
	p, err := h.running()
	if err != nil {
		return nil, err
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if !p.initialized {
		return nil, errors.New("the plugin is not initialized")
	}
	return p, nil
}

func (h *host) close() {
	if p, err := h.running(); err == nil {
		p.stop()
	}
	_ = os.RemoveAll(h.dataDir)
}
