package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/network/p2p/acp118"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/snow/validators"
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
	"github.com/ava-labs/avalanchego/utils/crypto/bls/signer/localsigner"
	"github.com/ava-labs/avalanchego/utils/logging"
	"github.com/ava-labs/avalanchego/vms/platformvm/warp"
	"github.com/ava-labs/avalanchego/vms/platformvm/warp/payload"
)

// warpLine is what the commands about warp messages take.
type warpLine struct {
	Network       uint32          `json:"network"`
	Chain         string          `json:"chain"`
	Secret        string          `json:"secret"`
	Messages      []string        `json:"messages"`
	Justification string          `json:"justification"`
	Validators    []warpValidator `json:"validators"`
	Num           uint64          `json:"num"`
	Den           uint64          `json:"den"`
}

type warpValidator struct {
	Node   string `json:"node"`
	Key    string `json:"key"` // uncompressed; empty if there is none
	Weight uint64 `json:"weight"`
}

func chainID(text string) ids.ID {
	id, err := ids.ToID(unhex(text))
	must(err)
	return id
}

// verifier allows what begins with "good", and whatever is justified.
type verifier struct{}

func (verifier) Verify(
	_ context.Context, message *warp.UnsignedMessage, justification []byte,
) *common.AppError {
	if strings.HasPrefix(string(message.Payload), "good") || string(justification) == "justified" {
		return nil
	}
	return &common.AppError{Code: 43, Message: "this payload was not accepted"}
}

// sign makes the peer sign messages of a chain at the request of others.
func (p *peer) sign(w *warpLine) {
	secret, err := localsigner.FromBytes(unhex(w.Secret))
	must(err)
	signer := warp.NewSigner(secret, w.Network, chainID(w.Chain))
	must(p.network.AddHandler(acp118.HandlerID, acp118.NewHandler(verifier{}, signer)))
}

// decoded tells what some bytes are in each of the formats: an error, or what they hold.
func decoded(b []byte) map[string]any {
	unsigned, message, content := any(nil), any(nil), any(nil)
	if u, err := warp.ParseUnsignedMessage(b); err != nil {
		unsigned = err.Error()
	} else {
		unsigned = fields(u)
	}
	if m, err := warp.ParseMessage(b); err != nil {
		message = err.Error()
	} else {
		signature := m.Signature.(*warp.BitSetSignature)
		signers, err := signature.NumSigners()
		if err != nil {
			signers = -1
		}
		message = append(fields(&m.UnsignedMessage), hex.EncodeToString(signature.Signers),
			hex.EncodeToString(signature.Signature[:]), fmt.Sprint(signers))
	}
	if parsed, err := payload.Parse(b); err != nil {
		content = err.Error()
	} else if call, ok := parsed.(*payload.AddressedCall); ok {
		content = []string{hex.EncodeToString(call.SourceAddress), hex.EncodeToString(call.Payload)}
	} else {
		hash := parsed.(*payload.Hash).Hash
		content = []string{hex.EncodeToString(hash[:])}
	}
	return map[string]any{"unsigned": unsigned, "message": message, "payload": content}
}

func fields(u *warp.UnsignedMessage) []string {
	id := u.ID()
	return []string{
		fmt.Sprint(u.NetworkID), hex.EncodeToString(u.SourceChainID[:]), hex.EncodeToString(u.Payload),
		hex.EncodeToString(id[:]),
	}
}

// canonical is the set of the validators in a line.
func canonical(w *warpLine) (warp.CanonicalValidatorSet, error) {
	found := make(map[ids.NodeID]*validators.GetValidatorOutput)
	for _, v := range w.Validators {
		id := nodeID(v.Node)
		found[id] = &validators.GetValidatorOutput{NodeID: id, Weight: v.Weight}
		if v.Key != "" {
			found[id].PublicKey = bls.PublicKeyFromValidUncompressedBytes(unhex(v.Key))
		}
	}
	return warp.FlattenValidatorSet(found)
}

// verified tells the canonical set, and how Go verifies each message against it.
func verified(w *warpLine) any {
	set, err := canonical(w)
	if err != nil {
		return err.Error()
	}
	var vdrs []any
	for _, v := range set.Validators {
		var nodes []string
		for _, id := range v.NodeIDs {
			nodes = append(nodes, hex.EncodeToString(id[:]))
		}
		vdrs = append(vdrs, []any{hex.EncodeToString(v.PublicKeyBytes), fmt.Sprint(v.Weight), nodes})
	}
	var verdicts []string
	for _, text := range w.Messages {
		m, err := warp.ParseMessage(unhex(text))
		must(err)
		if err := m.Signature.Verify(&m.UnsignedMessage, w.Network, set, w.Num, w.Den); err != nil {
			verdicts = append(verdicts, err.Error())
		} else {
			verdicts = append(verdicts, "")
		}
	}
	return map[string]any{
		"validators": vdrs, "total": fmt.Sprint(set.TotalWeight), "verdicts": verdicts,
	}
}

// aggregation is how an aggregation ended.
type aggregation struct {
	message     *warp.Message
	stake, full *big.Int
	err         error
}

// aggregate begins to collect signatures. It returns once all validators have been asked.
func (p *peer) aggregate(w *warpLine) {
	set, err := canonical(w)
	must(err)
	unsigned, err := warp.ParseUnsignedMessage(unhex(w.Messages[0]))
	must(err)
	message, err := warp.NewMessage(unsigned, &warp.BitSetSignature{})
	must(err)
	client := p.network.NewClient(acp118.HandlerID, nil)
	requests = make(chan struct{}, len(w.Validators))
	p.aggregated = make(chan aggregation, 1)
	go func() {
		signed, stake, full, err := acp118.NewSignatureAggregator(logging.NoLog{}, client).AggregateSignatures(
			context.Background(), message, unhex(w.Justification), set.Validators, w.Num, w.Den,
		)
		p.aggregated <- aggregation{signed, stake, full, err}
	}()
	for range w.Validators {
		<-requests
	}
	requests = nil
}

// result waits for the end of an aggregation.
func (p *peer) result() any {
	a := <-p.aggregated
	must(a.err)
	return []string{hex.EncodeToString(a.message.Bytes()), a.stake.String(), a.full.String()}
}
