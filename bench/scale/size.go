package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
)

// sizes measures the memory of a client's connection, and of a stream that waits for its next
// message.
func sizes() (string, error) {
	f := &fleet.Fleet{Bin: binaries, BackendArgs: []string{"-pause", "10m"}}
	defer f.Stop()
	if err := f.Start(); err != nil {
		return "", err
	}
	n := scaled(2000)
	t := page.NewTable(fmt.Sprintf("memory in use, KiB each, of %d", n), "ours", "pass-through", "respond")
	idle, err := canned.Find(canned.Get)
	if err != nil {
		return "", err
	}
	stream := *idle
	stream.Path, stream.Query, stream.Accept = "/v1/events", "count=2&pauseAfter=1", "application/x-ndjson"
	for _, of := range []struct {
		name  string
		work  *canned.Work
		peers []string
	}{
		{"a quiet connection of a client, after a call", idle, []string{fleet.Ours, fleet.PassThrough, fleet.Respond}},
		{"a stream, with its client's connection", &stream, []string{fleet.Ours}},
	} {
		row := []string{of.name, "", "", ""}
		for i, name := range of.peers {
			size, err := sizeOf(f, name, of.work.HTTPRequest(), n)
			if err != nil {
				return "", fmt.Errorf("%s of %s: %w", of.name, name, err)
			}
			row[i+1] = fmt.Sprintf("%.1f", float64(size)/1024)
		}
		t.Row(row...)
	}
	return t.String(), nil
}

// sizeOf is the memory of one of n connections that have sent a request each and received the
// beginning of the answer.
func sizeOf(f *fleet.Fleet, peer string, request []byte, n int) (int64, error) {
	p, err := fleet.Find(peer)
	if err != nil {
		return 0, err
	}
	g, err := f.Launch(p)
	if err != nil {
		return 0, err
	}
	defer g.Stop()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	open := func(n int) error {
		for range n {
			c, err := net.Dial("tcp", g.Addr)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if _, err := c.Write(request); err != nil {
				return err
			}
			if status, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(status, " 200 ") {
				return fmt.Errorf("answer %q: %w", status, err)
			}
		}
		return nil
	}
	if err := open(n / 10); err != nil { // to have what is needed once
		return 0, err
	}
	before, err := measureMemory(g)
	if err != nil {
		return 0, err
	}
	if err := open(n); err != nil {
		return 0, err
	}
	after, err := measureMemory(g)
	return (after.Live - before.Live) / int64(n), err
}
