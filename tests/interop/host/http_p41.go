//go:build p41plus && !p42plus

package main

import (
	"context"
	"net/http"
)

func (vm *routedVM) CreateHTTP2Handler(ctx context.Context) (http.Handler, error) {
	handler, err := vm.VM.CreateHTTP2Handler(ctx)
	vm.ownHandler = handler != nil
	vm.ownHandlerErr = err
	return handler, err
}
