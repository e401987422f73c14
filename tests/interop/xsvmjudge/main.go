// What the node's own xsvm makes of genesis bytes, transactions and blocks. Standard input brings
// commands, one JSON object a line; each is answered by one line on standard output.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"

	"github.com/ava-labs/avalanchego/database"
	"github.com/ava-labs/avalanchego/database/memdb"
	"github.com/ava-labs/avalanchego/database/versiondb"
	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/snow/validators"
	"github.com/ava-labs/avalanchego/snow/validators/validatorstest"
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
	"github.com/ava-labs/avalanchego/vms/example/xsvm/block"
	"github.com/ava-labs/avalanchego/vms/example/xsvm/execute"
	"github.com/ava-labs/avalanchego/vms/example/xsvm/genesis"
	"github.com/ava-labs/avalanchego/vms/example/xsvm/tx"

	smblock "github.com/ava-labs/avalanchego/snow/engine/snowman/block"
)

type command struct {
	Op         string      `json:"op"`
	Bytes      string      `json:"bytes"`
	NetworkID  uint32      `json:"network"`
	ChainID    string      `json:"chain"`
	PeerID     string      `json:"peer"`
	Validators []validator `json:"validators"`
	Height     *uint64     `json:"height"`
	SkipVerify bool        `json:"skip"`
}

type validator struct {
	PublicKey string `json:"key"`
	Weight    uint64 `json:"weight"`
}

type result struct {
	Error  string `json:"error,omitempty"`
	ID     string `json:"id,omitempty"`
	Bytes  string `json:"bytes,omitempty"`
	Sender string `json:"sender,omitempty"`
	State  string `json:"state,omitempty"`
}

// judge is one chain: its context, and the state after the last valid block.
type judge struct {
	context *snow.Context
	db      database.Database
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

func id(text string) ids.ID {
	parsed, err := ids.ToID(unhex(text))
	must(err)
	return parsed
}

// state is the SHA-256 of all pairs in the order of their keys, each with its length before it.
func (j *judge) state() string {
	digest := sha256.New()
	iterator := j.db.NewIterator()
	defer iterator.Release()
	for iterator.Next() {
		for _, part := range [][]byte{iterator.Key(), iterator.Value()} {
			digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			digest.Write(part)
		}
	}
	must(iterator.Error())
	return hex.EncodeToString(digest.Sum(nil))
}

// newState knows one other chain, whose subnet has the chain's ID and these validators.
func newState(peer ids.ID, set map[ids.NodeID]*validators.GetValidatorOutput) validators.State {
	return &validatorstest.State{
		GetSubnetIDF: func(_ context.Context, chainID ids.ID) (ids.ID, error) {
			if chainID != peer {
				return ids.Empty, errors.New("unknown chain")
			}
			return peer, nil
		},
		GetValidatorSetF: func(context.Context, uint64, ids.ID) (map[ids.NodeID]*validators.GetValidatorOutput, error) {
			return set, nil
		},
	}
}

func (j *judge) begin(c command) (result, error) {
	parsed, err := genesis.Parse(unhex(c.Bytes))
	if err != nil {
		return result{}, err
	}
	own, peer := id(c.ChainID), id(c.PeerID)
	set := make(map[ids.NodeID]*validators.GetValidatorOutput)
	for i, v := range c.Validators {
		key, err := bls.PublicKeyFromCompressedBytes(unhex(v.PublicKey))
		must(err)
		nodeID := ids.BuildTestNodeID([]byte{byte(i)})
		set[nodeID] = &validators.GetValidatorOutput{NodeID: nodeID, PublicKey: key, Weight: v.Weight}
	}
	j.context = &snow.Context{NetworkID: c.NetworkID, ChainID: own, ValidatorState: newState(peer, set)}
	j.db = memdb.New()
	vdb := versiondb.New(j.db)
	if err := execute.Genesis(vdb, own, parsed); err != nil {
		return result{}, err
	}
	must(vdb.Commit())
	first, err := genesis.Block(parsed)
	must(err)
	blockID, err := first.ID()
	must(err)
	raw, err := block.Codec.Marshal(block.CodecVersion, first)
	must(err)
	return result{ID: blockID.Hex(), Bytes: hex.EncodeToString(raw), State: j.state()}, nil
}

func (*judge) transaction(c command) (result, error) {
	parsed, err := tx.Parse(unhex(c.Bytes))
	if err != nil {
		return result{}, err
	}
	txID, err := parsed.ID()
	must(err)
	raw, err := tx.Codec.Marshal(tx.CodecVersion, parsed)
	must(err)
	r := result{ID: txID.Hex(), Bytes: hex.EncodeToString(raw)}
	if sender, err := parsed.SenderID(); err == nil {
		r.Sender = hex.EncodeToString(sender[:])
	}
	return r, nil
}

func (j *judge) block(c command) (result, error) {
	parsed, err := block.Parse(unhex(c.Bytes))
	if err != nil {
		return result{}, err
	}
	blockID, err := parsed.ID()
	must(err)
	raw, err := block.Codec.Marshal(block.CodecVersion, parsed)
	must(err)
	r := result{ID: blockID.Hex(), Bytes: hex.EncodeToString(raw)}
	var blockContext *smblock.Context
	if c.Height != nil {
		blockContext = &smblock.Context{PChainHeight: *c.Height}
	}
	vdb := versiondb.New(j.db)
	if err := execute.Block(context.Background(), j.context, vdb, c.SkipVerify, blockContext, parsed); err != nil {
		r.Error = "invalid: " + err.Error()
	} else {
		must(vdb.Commit())
	}
	r.State = j.state()
	return r, nil
}

func (j *judge) run(c command) (result, error) {
	switch c.Op {
	case "genesis":
		return j.begin(c)
	case "transaction":
		return j.transaction(c)
	case "block":
		return j.block(c)
	}
	return result{}, errors.New("unknown op " + c.Op)
}

func main() {
	j := &judge{}
	input := bufio.NewReader(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for {
		text, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		must(json.Unmarshal(text, &c))
		r, err := j.run(c)
		if err != nil {
			r.Error = "undecodable: " + err.Error()
		}
		must(output.Encode(r))
	}
}
