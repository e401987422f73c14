package main

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/ava-labs/avalanchego/utils/bloom"
)

// filterVector is a filter before and after keys are added, and which other keys it then contains.
type filterVector struct {
	Hashes   int      `json:"hashes"`
	Empty    string   `json:"empty"`
	Salt     string   `json:"salt"`
	Keys     []string `json:"keys"`
	Full     string   `json:"full"`
	Count    int      `json:"count"`
	Others   []string `json:"others"`
	Contains []bool   `json:"contains"`
}

func random(length int) []byte {
	b := make([]byte, length)
	_, err := rand.Read(b)
	must(err)
	return b
}

// bloomVectors are for tests/vectors/bloom.json.
func bloomVectors() any {
	var filters []filterVector
	for _, size := range [][2]int{{1, 1}, {1, 7}, {3, 16}, {7, 40}, {16, 64}} {
		filter, err := bloom.New(size[0], size[1])
		must(err)
		salt := random(32)
		vector := filterVector{
			Hashes: size[0], Empty: hex.EncodeToString(filter.Marshal()), Salt: hex.EncodeToString(salt),
		}
		for i := 0; i < 12; i++ {
			key := random(32)
			vector.Keys = append(vector.Keys, hex.EncodeToString(key))
			bloom.Add(filter, key, salt)
		}
		for i := 0; i < 12; i++ {
			key := random(32)
			vector.Others = append(vector.Others, hex.EncodeToString(key))
			vector.Contains = append(vector.Contains, bloom.Contains(filter, key, salt))
		}
		vector.Full, vector.Count = hex.EncodeToString(filter.Marshal()), filter.Count()
		filters = append(filters, vector)
	}
	var sizes [][5]int
	for _, count := range []int{0, 1, 2, 10, 1000, 1024, 4096, 50_000, 1_000_000} {
		for _, percent := range []int{1, 5, 20, 50, 90} {
			probability := float64(percent) / 100
			hashes, entries := bloom.OptimalParameters(count, probability)
			capacity := bloom.EstimateCount(hashes, entries, probability)
			sizes = append(sizes, [5]int{count, percent, entries, hashes, capacity})
		}
	}
	return map[string]any{"filters": filters, "sizes": sizes}
}
