//go:build p41plus && !p42plus

package main

import (
	"context"
	"net/http"
)

func (*vm) CreateHTTP2Handler(context.Context) (http.Handler, error) { return nil, nil }
