//go:build p37plus

package main

import (
	"github.com/ava-labs/avalanchego/snow"
	"github.com/ava-labs/avalanchego/upgrade"
)

func setUpgrades(ctx *snow.Context) { ctx.NetworkUpgrades = upgrade.GetConfig(ctx.NetworkID) }
