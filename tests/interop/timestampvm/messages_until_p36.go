//go:build !p37plus

package main

import (
	"context"
	"time"

	"github.com/ava-labs/avalanchego/ids"
	"github.com/ava-labs/avalanchego/snow/engine/common"
)

func (*vm) CrossChainAppRequest(context.Context, ids.ID, uint32, time.Time, []byte) error { return nil }

func (*vm) CrossChainAppRequestFailed(context.Context, ids.ID, uint32, *common.AppError) error {
	return nil
}

func (*vm) CrossChainAppResponse(context.Context, ids.ID, uint32, []byte) error { return nil }
