package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// started is what was measured of one start.
type started struct {
	answered  time.Duration // since the process was started
	memory    memory
	reload    time.Duration // until it is answered
	reloadCPU time.Duration
}

// routes measures Caddy by itself, and the gateway with few and with many routes.
func routes() (string, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	f := &fleet.Fleet{Bin: binaries}
	defer f.Stop()
	if err := f.Start(); err != nil {
		return "", err
	}
	respond, err := fleet.Find(fleet.Respond)
	if err != nil {
		return "", err
	}
	t := page.NewTable("", "first answer, ms", "reload, ms", "CPU of a reload, ms", "memory in use, MiB", "a route, KiB")
	base := int64(0)
	counts := []int{0, 0, scaled(1000), scaled(10_000)}
	for i, n := range counts {
		peer, name := respond, "Caddy by itself, `respond`"
		if i > 0 {
			file := filepath.Join(dir, fmt.Sprintf("%d.binpb", n))
			if err := writeRoutes(file, n); err != nil {
				return "", err
			}
			peer = withProtoset(file)
			name = fmt.Sprintf("%d routes", n+5)
		}
		var all []started
		for range *rounds {
			s, err := start(f, peer)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, s)
		}
		live := median(each(all, func(s started) int64 { return s.memory.Live }))
		perRoute := ""
		if i == 1 {
			base = live
		} else if i > 1 {
			perRoute = fmt.Sprintf("%.1f", float64(live-base)/1024/float64(n))
		}
		t.Row(name, ms(median(each(all, func(s started) time.Duration { return s.answered }))), ms(median(each(all, func(s started) time.Duration { return s.reload }))),
			ms(median(each(all, func(s started) time.Duration { return s.reloadCPU }))), fmt.Sprintf("%.1f", float64(live)/(1<<20)), perRoute)
	}
	return t.String(), nil
}

func each[T any](all []started, of func(started) T) []T {
	var v []T
	for _, s := range all {
		v = append(v, of(s))
	}
	return v
}

func withProtoset(file string) fleet.Peer {
	return fleet.Peer{Name: "routes", Program: "caddy", Site: func(b fleet.Backends) string {
		b.Protoset = file
		return fleet.Peers()[0].Site(b)
	}}
}

// writeRoutes writes the service's descriptors, and those of n more methods with a route each.
func writeRoutes(file string, n int) error {
	raw, err := canned.Protoset()
	if err != nil {
		return err
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(raw, set); err != nil {
		return err
	}
	const perService = 100
	for i := 0; i < n; i += perService {
		f := &descriptorpb.FileDescriptorProto{
			Name: proto.String(fmt.Sprintf("more%d.proto", i)), Package: proto.String("bench.more"), Syntax: proto.String("proto3"),
			Dependency: []string{"service.proto", "bench.proto", "google/api/annotations.proto"},
		}
		service := &descriptorpb.ServiceDescriptorProto{Name: proto.String(fmt.Sprintf("More%d", i))}
		for j := i; j < min(i+perService, n); j++ {
			opts := new(descriptorpb.MethodOptions)
			rule := &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: fmt.Sprintf("/v1/more%d/things%d/{name}", i, j)}}
			proto.SetExtension(opts, annotations.E_Http, rule)
			service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
				Name: proto.String(fmt.Sprintf("Get%d", j)), InputType: proto.String(".bench.GetRequest"), OutputType: proto.String(".bench.Small"), Options: opts,
			})
		}
		f.Service = append(f.Service, service)
		set.File = append(set.File, f)
	}
	if raw, err = proto.Marshal(set); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// start runs a gateway until it has answered and was reloaded.
func start(f *fleet.Fleet, p fleet.Peer) (s started, err error) {
	begin := time.Now()
	g, err := f.Launch(p)
	if err != nil {
		return s, err
	}
	defer g.Stop()
	if err := firstAnswer(g.Addr); err != nil {
		return s, err
	}
	s.answered = time.Since(begin)
	if s.memory, err = measureMemory(g); err != nil {
		return s, err
	}
	before, err := traffic.CPU(g.PID)
	if err != nil {
		return s, err
	}
	begin = time.Now()
	if err := reload(g); err != nil {
		return s, err
	}
	s.reload = time.Since(begin)
	time.Sleep(time.Second) // What it does afterwards counts, too.
	after, err := traffic.CPU(g.PID)
	s.reloadCPU = after - before
	return s, err
}

func firstAnswer(addr string) error {
	w, err := canned.Find(canned.Get)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, err = fetch("http://" + addr + w.Path); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// reload loads the present config again.
func reload(g *fleet.Gateway) error {
	config, err := fetch("http://" + g.Debug + "/config/")
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+g.Debug+"/load", bytes.NewReader(config))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cache-Control", "must-revalidate") // also if nothing has changed
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reload: %s", resp.Status)
	}
	return nil
}
