//go:build !p37plus

package main

import "github.com/ava-labs/avalanchego/snow"

// setUpgrades does nothing: the node tells no upgrade times before protocol 37.
func setUpgrades(*snow.Context) {}
