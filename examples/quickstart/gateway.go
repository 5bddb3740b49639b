package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	// Caddy's own modules, and the plugin: what `xcaddy build` puts together.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
)

// errCaddyEnded says that the other Caddy has ended.
var errCaddyEnded = errors.New("the Caddy that --caddy names ended by itself")

//go:embed Caddyfile
var caddyfileText []byte

// startGateway serves the Caddyfile in this process, or with another Caddy if binary is not empty.
// It calls ended if that Caddy ends by itself.
func startGateway(ctx context.Context, binary, caddyfilePath string, ended func(error)) (stop func(), err error) {
	if binary != "" {
		return startBinary(ctx, binary, caddyfilePath, ended)
	}
	text := caddyfileText
	if caddyfilePath != "" {
		if text, err = os.ReadFile(caddyfilePath); err != nil {
			return nil, fmt.Errorf("read the Caddyfile: %w", err)
		}
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, fmt.Errorf("adapt the Caddyfile: %w", err)
	}
	for _, warning := range warnings {
		fmt.Fprintln(os.Stderr, "warning:", warning)
	}
	if config, err = quietLogs(config); err != nil {
		return nil, err
	}
	if err := caddy.Load(config, true); err != nil {
		return nil, fmt.Errorf("start Caddy: %w", err)
	}
	return func() { _ = caddy.Stop() }, nil
}

// quietLogs keeps Caddy's log to errors, so that the demo's own lines can be read.
func quietLogs(config []byte) ([]byte, error) {
	var tree map[string]any
	if err := json.Unmarshal(config, &tree); err != nil {
		return nil, fmt.Errorf("read the adapted config: %w", err)
	}
	tree["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{"level": "ERROR"}}}
	return json.Marshal(tree)
}

func startBinary(ctx context.Context, binary, caddyfilePath string, ended func(error)) (stop func(), err error) {
	from := "-" // standard input
	if caddyfilePath != "" {
		from = caddyfilePath
	}
	cmd := exec.CommandContext(ctx, binary, "run", "--config", from, "--adapter", "caddyfile")
	if caddyfilePath == "" {
		cmd.Stdin = bytes.NewReader(caddyfileText)
	}
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 40 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
		ended(fmt.Errorf("%w: %v", errCaddyEnded, cmd.ProcessState))
	}()
	return func() {
		_ = cmd.Cancel()
		<-done
	}, nil
}

// pools asks the admin API for the state of the pools, and returns it as one line.
func pools(ctx context.Context, admin string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/grpc_gateway/upstreams", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer []struct {
		Registry  struct{ Stale bool }              `json:"registry"`
		Endpoints []struct{ Address, State string } `json:"endpoints"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", err
	}
	var (
		parts []string
		note  string
	)
	for _, upstream := range answer {
		if upstream.Registry.Stale {
			note = " (etcd is away: the last list stays in use)"
		}
		for _, endpoint := range upstream.Endpoints {
			parts = append(parts, endpoint.Address+" "+endpoint.State)
		}
	}
	if len(parts) == 0 {
		return "no instance" + note, nil
	}
	return strings.Join(parts, ", ") + note, nil
}
