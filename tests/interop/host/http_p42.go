//go:build p42plus

package main

import (
	"context"
	"net/http"
)

func (vm *routedVM) NewHTTPHandler(ctx context.Context) (http.Handler, error) {
	handler, err := vm.VM.NewHTTPHandler(ctx)
	vm.ownHandler = handler != nil
	vm.ownHandlerErr = err
	return handler, err
}
