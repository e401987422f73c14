package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/rpc/v2"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/json"
)

// Service is the chain's JSON-RPC interface.
type Service struct{ vm *vm }

func newHandler(vm *vm) (http.Handler, error) {
	server := rpc.NewServer()
	codec := json.NewCodec()
	server.RegisterCodec(codec, "application/json")
	server.RegisterCodec(codec, "application/json;charset=UTF-8")
	return server, server.RegisterService(&Service{vm: vm}, "timestampvm")
}

// The types of its methods are exported, because the RPC library takes no others.

type ProposeBlockArgs struct {
	Data string `json:"data"`
}

type ProposeBlockReply struct {
	Success bool `json:"success"`
}

func (s *Service) ProposeBlock(_ *http.Request, args *ProposeBlockArgs, reply *ProposeBlockReply) error {
	bytes, err := hex.DecodeString(strings.TrimPrefix(args.Data, "0x"))
	if err != nil {
		return err
	}
	if len(bytes) > dataSize {
		return fmt.Errorf("data has %d bytes, at most %d fit", len(bytes), dataSize)
	}
	var data [dataSize]byte
	copy(data[:], bytes)
	s.vm.propose(data)
	reply.Success = true
	return nil
}

type GetBlockArgs struct {
	ID *ids.ID `json:"id"`
}

type GetBlockReply struct {
	ID        ids.ID `json:"id"`
	ParentID  ids.ID `json:"parentID"`
	Height    uint64 `json:"height"`
	Timestamp int64  `json:"timestamp"`
	Data      string `json:"data"`
}

func (s *Service) GetBlock(_ *http.Request, args *GetBlockArgs, reply *GetBlockReply) error {
	b := s.vm.lastAccepted()
	if args.ID != nil {
		var err error
		if b, err = s.vm.getBlock(*args.ID); err != nil {
			return err
		}
	}
	*reply = GetBlockReply{
		ID: b.id, ParentID: b.parentID, Height: b.height, Timestamp: b.seconds, Data: "0x" + hex.EncodeToString(b.data[:]),
	}
	return nil
}

type LastAcceptedReply struct {
	ID     ids.ID `json:"id"`
	Height uint64 `json:"height"`
}

func (s *Service) LastAccepted(_ *http.Request, _ *struct{}, reply *LastAcceptedReply) error {
	b := s.vm.lastAccepted()
	*reply = LastAcceptedReply{ID: b.id, Height: b.height}
	return nil
}
