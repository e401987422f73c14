package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ava-labs/avalanchego/utils/hashing"
)

type cycleArgs struct {
	Count int `json:"count"`
	// Path, from the chain's own on: where a block's content is posted to.
	Path string `json:"path"`
	// Body of the request, in which {{data}} stands for 32 bytes in hex that differ from cycle to cycle.
	Body string `json:"body"`
}

// phases are times in milliseconds, one for each cycle.
type phases struct {
	Propose       []float64 `json:"propose"`
	Event         []float64 `json:"event"`
	Build         []float64 `json:"build"`
	Verify        []float64 `json:"verify"`
	SetPreference []float64 `json:"set_preference"`
	Accept        []float64 `json:"accept"`
	Total         []float64 `json:"total"`
}

// cycle takes the plugin through whole blocks, as fast as it can, with nothing between it and the clock but the node's
// own client: the content is posted, the event awaited (asked for before, as a node does), the block built, verified,
// preferred and accepted.
func cycle(ctx context.Context, h *host, args cycleArgs) (any, error) {
	return h.engineCall(func(p *plugin) (any, error) {
		if p.server == nil {
			return nil, errors.New("no handlers: create_handlers first")
		}
		url := fmt.Sprintf("http://%s/ext/bc/%s%s", p.address, h.identity.chainID, args.Path)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		// Distinct from run to run, or a plugin that drops what it has seen would wait for ever.
		var run [8]byte
		binary.BigEndian.PutUint64(run[:], uint64(time.Now().UnixNano()))
		var result phases
		for i := range args.Count {
			data := hashing.ComputeHash256(binary.BigEndian.AppendUint64(run[:], uint64(i)))
			body := strings.ReplaceAll(args.Body, "{{data}}", hex.EncodeToString(data))
			if err := p.cycle(ctx, client, url, body, &result); err != nil {
				return nil, fmt.Errorf("cycle %d: %w", i, err)
			}
		}
		return result, nil
	})
}

func (p *plugin) cycle(ctx context.Context, client *http.Client, url, body string, result *phases) error {
	event := make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	go func() {
		_, err := p.waitForEvent(ctx)
		event <- err
	}()
	begin := time.Now()
	clock := begin
	lap := func(phase *[]float64) {
		now := time.Now()
		*phase = append(*phase, milliseconds(now.Sub(clock)))
		clock = now
	}

	if err := post(ctx, client, url, body); err != nil {
		return fmt.Errorf("propose: %w", err)
	}
	lap(&result.Propose)
	if err := <-event; err != nil {
		return fmt.Errorf("event: %w", err)
	}
	lap(&result.Event)
	b, err := p.vm.BuildBlock(ctx)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	lap(&result.Build)
	if err := b.Verify(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	lap(&result.Verify)
	if err := p.vm.SetPreference(ctx, b.ID()); err != nil {
		return fmt.Errorf("set preference: %w", err)
	}
	lap(&result.SetPreference)
	if err := b.Accept(ctx); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	lap(&result.Accept)
	result.Total = append(result.Total, milliseconds(clock.Sub(begin)))
	return nil
}

func post(ctx context.Context, client *http.Client, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || strings.Contains(string(text), `"error"`) {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return nil
}

type launchArgs struct {
	Plugin  string `json:"plugin"`
	Count   int    `json:"count"`
	Genesis []byte `json:"genesis"`
}

// launches starts, initializes and shuts down a plugin again and again. The times are in milliseconds from exec: until
// the handshake was done, and until Initialize was answered.
func launches(ctx context.Context, h *host, args launchArgs) (any, error) {
	if _, err := h.running(); err == nil {
		return nil, errors.New("a plugin is running: shut it down first")
	}
	var handshake, initialized []float64
	for range args.Count {
		p, err := h.launch(args.Plugin)
		if err != nil {
			return nil, err
		}
		handshake = append(handshake, milliseconds(time.Since(p.started)))
		if err := h.initialize(ctx, p, args.Genesis, nil, nil); err != nil {
			p.stop()
			return nil, err
		}
		initialized = append(initialized, milliseconds(time.Since(p.started)))
		if err := p.shutdown(ctx); err != nil {
			return nil, err
		}
		if err := p.exited(ctx); err != nil {
			return nil, err
		}
	}
	return map[string]any{"handshake": handshake, "initialized": initialized}, nil
}
