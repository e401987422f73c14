package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/engine/common"
	"github.com/ava-labs/avalanchego/utils/set"
)

// sentMessage is one message that the plugin gave to the node's app sender.
type sentMessage struct {
	Kind          string   `json:"kind"`
	NodeIDs       [][]byte `json:"node_ids,omitempty"`
	ChainID       []byte   `json:"chain_id,omitempty"`
	RequestID     uint32   `json:"request_id,omitempty"`
	Bytes         []byte   `json:"bytes,omitempty"`
	Code          int32    `json:"code,omitempty"`
	Message       string   `json:"message,omitempty"`
	Validators    int      `json:"validators,omitempty"`
	NonValidators int      `json:"non_validators,omitempty"`
	Peers         int      `json:"peers,omitempty"`
}

// recordingSender keeps what the plugin sends, for the driver to fetch; or hands it back to the plugin, as if each
// node that it is sent to were this one.
type recordingSender struct {
	lock    sync.Mutex
	failure string
	loop    bool
	vm      common.AppHandler

	messages chan sentMessage
}

func newRecordingSender() *recordingSender {
	return &recordingSender{messages: make(chan sentMessage, 1<<16)}
}

func (s *recordingSender) deliverTo(vm common.AppHandler) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.vm = vm
}

func (s *recordingSender) configure(failure string, loop bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.failure = failure
	s.loop = loop
}

// send records a message, unless the sender was told to fail or to loop it back.
func (s *recordingSender) send(m sentMessage, deliver func(common.AppHandler)) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.failure != "" {
		return errors.New(s.failure)
	}
	if s.loop && s.vm != nil && deliver != nil {
		go deliver(s.vm)
	}
	select {
	case s.messages <- m:
		return nil
	default:
		return errors.New("the plugin sent more messages than the host keeps")
	}
}

func (s *recordingSender) SendAppRequest(_ context.Context, nodeIDs set.Set[ids.NodeID], requestID uint32, request []byte) error {
	m := sentMessage{Kind: "request", NodeIDs: sorted(nodeIDs), RequestID: requestID, Bytes: request}
	return s.send(m, func(vm common.AppHandler) {
		for nodeID := range nodeIDs {
			_ = vm.AppRequest(context.Background(), nodeID, requestID, time.Now().Add(10*time.Second), request)
		}
	})
}

func (s *recordingSender) SendAppResponse(_ context.Context, nodeID ids.NodeID, requestID uint32, response []byte) error {
	m := sentMessage{Kind: "response", NodeIDs: [][]byte{nodeID.Bytes()}, RequestID: requestID, Bytes: response}
	return s.send(m, func(vm common.AppHandler) {
		_ = vm.AppResponse(context.Background(), nodeID, requestID, response)
	})
}

func (s *recordingSender) SendAppError(_ context.Context, nodeID ids.NodeID, requestID uint32, code int32, message string) error {
	m := sentMessage{Kind: "error", NodeIDs: [][]byte{nodeID.Bytes()}, RequestID: requestID, Code: code, Message: message}
	return s.send(m, func(vm common.AppHandler) {
		_ = vm.AppRequestFailed(context.Background(), nodeID, requestID, &common.AppError{Code: code, Message: message})
	})
}

func (s *recordingSender) SendAppGossip(_ context.Context, config common.SendConfig, gossip []byte) error {
	m := sentMessage{
		Kind:          "gossip",
		NodeIDs:       sorted(config.NodeIDs),
		Bytes:         gossip,
		Validators:    config.Validators,
		NonValidators: config.NonValidators,
		Peers:         config.Peers,
	}
	return s.send(m, func(vm common.AppHandler) {
		for nodeID := range config.NodeIDs {
			_ = vm.AppGossip(context.Background(), nodeID, gossip)
		}
	})
}

// The cross-chain messages are part of the node's interface up to protocol 36.

func (s *recordingSender) SendCrossChainAppRequest(_ context.Context, chainID ids.ID, requestID uint32, request []byte) error {
	return s.send(sentMessage{Kind: "cross_chain_request", ChainID: chainID[:], RequestID: requestID, Bytes: request}, nil)
}

func (s *recordingSender) SendCrossChainAppResponse(_ context.Context, chainID ids.ID, requestID uint32, response []byte) error {
	return s.send(sentMessage{Kind: "cross_chain_response", ChainID: chainID[:], RequestID: requestID, Bytes: response}, nil)
}

func (s *recordingSender) SendCrossChainAppError(_ context.Context, chainID ids.ID, requestID uint32, code int32, message string) error {
	return s.send(sentMessage{Kind: "cross_chain_error", ChainID: chainID[:], RequestID: requestID, Code: code, Message: message}, nil)
}

func sorted(nodeIDs set.Set[ids.NodeID]) [][]byte {
	list := make([][]byte, 0, len(nodeIDs))
	for nodeID := range nodeIDs {
		list = append(list, nodeID.Bytes())
	}
	slices.SortFunc(list, bytes.Compare)
	return list
}
