package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/utils/bloom"
)

var errRefused = errors.New("refused")

// item is gossiped: any bytes that don't start with "bad".
type item []byte

func (i item) GossipID() ids.ID { return sha256.Sum256(i) }

type marshaller struct{}

func (marshaller) MarshalGossip(i item) ([]byte, error) { return i, nil }

func (marshaller) UnmarshalGossip(b []byte) (item, error) { return item(b), nil }

// items is the set that is gossiped, with the methods that each release of the library asks for.
type items struct {
	lock   sync.Mutex
	byID   map[ids.ID]item
	filter *bloom.Filter
	salt   ids.ID
}

func newItems() *items {
	hashes, entries := bloom.OptimalParameters(1000, .01)
	filter, err := bloom.New(hashes, entries)
	must(err)
	return &items{byID: make(map[ids.ID]item), filter: filter, salt: ids.GenerateTestID()}
}

func (s *items) Add(i item) error {
	if len(i) >= 3 && string(i[:3]) == "bad" {
		return errRefused
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	id := i.GossipID()
	s.byID[id] = i
	bloom.Add(s.filter, id[:], s.salt[:])
	return nil
}

func (s *items) Has(id ids.ID) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	_, ok := s.byID[id]
	return ok
}

func (s *items) Iterate(f func(item) bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, i := range s.byID {
		if !f(i) {
			return
		}
	}
}

func (s *items) GetFilter() ([]byte, []byte) { return s.filter.Marshal(), s.salt[:] }

func (s *items) BloomFilter() (*bloom.Filter, ids.ID) { return s.filter, s.salt }

func (s *items) hexes() []string {
	found := []string{}
	s.Iterate(func(i item) bool {
		found = append(found, hex.EncodeToString(i))
		return true
	})
	return found
}
