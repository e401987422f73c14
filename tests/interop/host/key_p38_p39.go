//go:build p38plus && !p40plus

package main

import "github.com/ava-labs/avalanchego/utils/crypto/bls"

type nodeKey = bls.Signer

func keyFromBytes(bytes []byte) (nodeKey, error) { return bls.SecretKeyFromBytes(bytes) }

func publicKey(key nodeKey) *bls.PublicKey { return key.PublicKey() }
