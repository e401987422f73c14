//go:build p40plus

package main

import (
	"github.com/ava-labs/avalanchego/utils/crypto/bls"
	"github.com/ava-labs/avalanchego/utils/crypto/bls/signer/localsigner"
)

type nodeKey = bls.Signer

func keyFromBytes(bytes []byte) (nodeKey, error) { return localsigner.FromBytes(bytes) }

func publicKey(key nodeKey) *bls.PublicKey { return key.PublicKey() }
