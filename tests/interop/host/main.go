// Command host plays the node's side of the plugin protocol with the node's own plugin-host library.
//
// It reads one JSON request a line from stdin, {"id": 1, "op": "build", ...}, and writes one JSON answer a line to
// stdout, {"id": 1, "result": {...}} or {"id": 1, "error": "..."}. Requests run at the same time, each answered when
// it is done; calls that a node makes under the chain's lock are made under one here. Bytes are base64. What the
// plugin prints, and what the node's code logs, goes to stderr. It ends, and its plugins with it, when stdin ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ava-labs/avalanchego/version"
)

// What real nodes take to start and tell their version, at most.
const slowAnswer = 300 * time.Millisecond

type answer struct {
	ID     uint64 `json:"id"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// An op decodes its own arguments out of the request line.
type op func(ctx context.Context, h *host, request []byte) (any, error)

// with makes an op of a function with typed arguments.
func with[A any](call func(ctx context.Context, h *host, args A) (any, error)) op {
	return func(ctx context.Context, h *host, request []byte) (any, error) {
		var args A
		if err := json.Unmarshal(request, &args); err != nil {
			return nil, fmt.Errorf("bad arguments: %w", err)
		}
		return call(ctx, h, args)
	}
}

type none struct{}

// dispatcher runs requests and keeps what it takes to cancel them.
type dispatcher struct {
	host *host

	outLock sync.Mutex
	out     *json.Encoder

	runLock sync.Mutex
	running map[uint64]context.CancelFunc
}

func main() {
	if len(os.Args) > 1 {
		printVersion(os.Args[1])
		return
	}
	h, err := newHost()
	if err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		os.Exit(1)
	}
	d := &dispatcher{host: h, out: json.NewEncoder(os.Stdout), running: map[uint64]context.CancelFunc{}}
	err = d.serve(os.Stdin)
	h.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		os.Exit(1)
	}
}

// printVersion answers as a node does, so that a plugin that asks its parent can ask this program. A copy of it whose
// name ends in -slow takes its time, as real nodes do.
func printVersion(flag string) {
	if path, err := os.Executable(); err == nil && strings.HasSuffix(path, "-slow") {
		time.Sleep(slowAnswer)
	}
	versions := version.GetVersions()
	switch flag {
	case "--version":
		fmt.Println(versions.String())
	case "--version-json":
		text, err := json.MarshalIndent(versions, "", "  ")
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	default:
		fmt.Fprintf(os.Stderr, "host: unknown flag %q: this program takes requests on stdin\n", flag)
		os.Exit(2)
	}
}

func (d *dispatcher) serve(in io.Reader) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			d.start(line)
		}
		if err == io.EOF {
			d.cancelAll()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *dispatcher) start(line []byte) {
	var head struct {
		ID      uint64 `json:"id"`
		Op      string `json:"op"`
		Request uint64 `json:"request"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		d.answer(answer{Error: fmt.Sprintf("not a request: %s", err)})
		return
	}
	if head.Op == "cancel" {
		d.cancel(head.Request)
		d.answer(answer{ID: head.ID})
		return
	}
	call, ok := ops[head.Op]
	if !ok {
		d.answer(answer{ID: head.ID, Error: fmt.Sprintf("unknown op %q", head.Op)})
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.runLock.Lock()
	d.running[head.ID] = cancel
	d.runLock.Unlock()
	go func() {
		defer d.forget(head.ID)
		result, err := call(ctx, d.host, line)
		if err != nil {
			d.answer(answer{ID: head.ID, Error: err.Error()})
			return
		}
		d.answer(answer{ID: head.ID, Result: result})
	}()
}

func (d *dispatcher) answer(a answer) {
	d.outLock.Lock()
	defer d.outLock.Unlock()
	// A failed write means that the driver is gone; stdin ends with it, and that ends the program.
	_ = d.out.Encode(a)
}

func (d *dispatcher) cancel(id uint64) {
	d.runLock.Lock()
	defer d.runLock.Unlock()
	if cancel, ok := d.running[id]; ok {
		cancel()
	}
}

func (d *dispatcher) cancelAll() {
	d.runLock.Lock()
	defer d.runLock.Unlock()
	for _, cancel := range d.running {
		cancel()
	}
}

func (d *dispatcher) forget(id uint64) {
	d.runLock.Lock()
	defer d.runLock.Unlock()
	if cancel, ok := d.running[id]; ok {
		cancel()
		delete(d.running, id)
	}
}
