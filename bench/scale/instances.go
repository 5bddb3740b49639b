package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// instances measures the time and the processor time until so many instances are READY: from the
// start of Caddy, and for grpc-go's round_robin in this process. All instances are one process that
// listens at every address of the loopback network.
func instances() (string, error) {
	t := page.NewTable("instances", "all READY after, s", "CPU, s", "memory in use, KiB each", "round_robin: connected after, s", "CPU, s")
	alone, err := connectAll(1)
	if err != nil {
		return "", err
	}
	for _, n := range []int{scaled(1000), scaled(10_000)} {
		var took, cpu []time.Duration
		var size []int64
		for range *rounds {
			r, err := connectAll(n)
			if err != nil {
				return "", err
			}
			took, cpu, size = append(took, r.took), append(cpu, r.cpu), append(size, r.memory.Live)
		}
		peerTook, peerCPU, err := roundRobin(n)
		if err != nil {
			return "", err
		}
		t.Row(fmt.Sprint(n), seconds(median(took)), seconds(median(cpu)), fmt.Sprintf("%.1f", float64(median(size)-alone.memory.Live)/1024/float64(n)), seconds(peerTook), seconds(peerCPU))
	}
	return t.String(), nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func anywhere() *fleet.Fleet { return &fleet.Fleet{Bin: binaries, Near: "0.0.0.0", Far: "127.0.0.1"} }

// addresses are n of the loopback network, with the port of an address.
func addresses(addr string, n int) []string {
	_, port, _ := net.SplitHostPort(addr)
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("127.1.%d.%d:%s", i/250, i%250+1, port)
	}
	return all
}

type connected struct {
	took, cpu time.Duration
	memory    memory
}

func connectAll(n int) (r connected, err error) {
	f := anywhere()
	defer f.Stop()
	if err := f.Start(); err != nil {
		return r, err
	}
	begin := time.Now()
	g, err := f.Launch(fleet.Peer{Name: "instances", Program: "caddy", Site: func(b fleet.Backends) string {
		b.GRPC = strings.Join(addresses(b.GRPC, n), " ")
		return fleet.Peers()[0].Site(b)
	}})
	if err != nil {
		return r, err
	}
	if err := f.Accepted(n); err != nil {
		return r, err
	}
	if err := allReady(g, n); err != nil {
		return r, err
	}
	r.took = time.Since(begin)
	if r.cpu, err = traffic.CPU(g.PID); err != nil {
		return r, err
	}
	r.memory, err = measureMemory(g)
	return r, err
}

// allReady waits until the admin API says so.
func allReady(g *fleet.Gateway, n int) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		raw, err := fetch("http://" + g.Debug + "/grpc_gateway/upstreams/bench")
		if err != nil {
			return err
		}
		var view struct {
			Endpoints []struct {
				State string `json:"state"`
			} `json:"endpoints"`
		}
		if err := json.Unmarshal(raw, &view); err != nil {
			return err
		}
		ready := 0
		for _, e := range view.Endpoints {
			if e.State == "READY" {
				ready++
			}
		}
		if ready == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d instances are READY", ready, n)
		}
	}
}

// roundRobin connects with grpc-go's own policy.
func roundRobin(n int) (took, cpu time.Duration, err error) {
	f := anywhere()
	defer f.Stop()
	if err := f.Start(); err != nil {
		return 0, 0, err
	}
	r := manual.NewBuilderWithScheme("bench")
	state := resolver.State{}
	for _, addr := range addresses(f.Backend(), n) {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	r.InitialState(state)
	before, err := traffic.CPU(os.Getpid())
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	cc, err := grpc.NewClient("bench:///all", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		return 0, 0, err
	}
	defer cc.Close()
	cc.Connect()
	if err := f.Accepted(n); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin)
	after, err := traffic.CPU(os.Getpid())
	return took, after - before, err
}
