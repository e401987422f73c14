//go:build !p36plus

package main

import "github.com/ava-labs/avalanchego/snow/choices"

func (b *block) Status() choices.Status {
	if b.height <= b.vm.lastAccepted().height {
		return choices.Accepted
	}
	return choices.Processing
}
