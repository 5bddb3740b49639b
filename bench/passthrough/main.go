// Command passthrough measures what a gRPC call through the gateway costs beside Caddy's own reverse_proxy: CPU time of the Caddy process per
// call, user and system. Each proxy is a process of its own; backend, client and connections are the same, and the proxies
// take turns, so that a machine that is slow for a while is so for both. It prints the ratio and asserts nothing.
//
//	go run ./passthrough -caddy ../.bin/caddy [-rounds 5] [-calls 20000]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var (
	caddyPath = flag.String("caddy", "../.bin/caddy", "the Caddy to measure")
	rounds    = flag.Int("rounds", 5, "how often each is measured")
	calls     = flag.Int("calls", 20000, "calls of a unary measurement")
	clients   = flag.Int("connections", 4, "connections of the client")
	parallel  = flag.Int("parallel", 32, "calls at a time")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// load is one kind of traffic. It returns how many messages went to the client.
type load struct {
	name string
	run  func(conns []*grpc.ClientConn) (int, error)
}

func run() error {
	backend, stop, err := startBackend()
	if err != nil {
		return err
	}
	defer stop()
	protoset, err := writeProtoset()
	if err != nil {
		return err
	}
	defer os.Remove(protoset)
	proxies := []*proxy{
		{name: "gateway", directive: fmt.Sprintf("grpc_gateway {\n upstream bench {\n discover static %s\n descriptors protoset %s\n}\n}", backend, protoset)},
		{name: "reverse_proxy", directive: "reverse_proxy h2c://" + backend},
	}
	for _, p := range proxies {
		if err := p.start(); err != nil {
			return err
		}
		defer p.stop()
	}
	loads := []load{
		{"unary, 100 B", func(c []*grpc.ClientConn) (int, error) { return unary(c, *calls, 100) }},
		{"unary, 10 KB", func(c []*grpc.ClientConn) (int, error) { return unary(c, *calls, 10_000) }},
		{"stream of 100 B, per message", func(c []*grpc.ClientConn) (int, error) { return streams(c, 10**calls, 100) }},
		{"stream of 10 KB, per message", func(c []*grpc.ClientConn) (int, error) { return streams(c, *calls, 10_000) }},
		{"unary without a schema, 100 B", func(c []*grpc.ClientConn) (int, error) { return calling(c, unknownMethod, *calls, 100) }},
	}
	for _, l := range loads {
		costs := make(map[string][]float64)
		for round := -1; round < *rounds; round++ {
			for _, p := range proxies {
				cost, err := p.measure(l)
				if err != nil {
					return fmt.Errorf("%s by %s: %w", l.name, p.name, err)
				}
				if round >= 0 { // The first is to warm up.
					costs[p.name] = append(costs[p.name], cost)
				}
			}
		}
		ours, theirs := median(costs["gateway"]), median(costs["reverse_proxy"])
		fmt.Printf("%-30s gateway %7.1f µs   reverse_proxy %7.1f µs   ratio %.2f\n", l.name, ours, theirs, ours/theirs)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// proxy is a Caddy.
type proxy struct {
	name, directive string
	addr            string
	cmd             *exec.Cmd
	dir             string
}

func (p *proxy) start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.addr = l.Addr().String()
	l.Close()
	if p.dir, err = os.MkdirTemp("", "passthrough-"); err != nil {
		return err
	}
	config := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tlog {\n\t\tlevel ERROR\n\t}\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n}\nhttp://%s {\n\t%s\n}\n", p.addr, p.directive)
	file := filepath.Join(p.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	p.cmd = exec.Command(*caddyPath, "run", "--config", file, "--adapter", "caddyfile")
	p.cmd.Stderr = os.Stderr
	p.cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	return p.cmd.Start()
}

func (p *proxy) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	os.RemoveAll(p.dir)
}

// measure returns the CPU time of the process per message, in microseconds.
func (p *proxy) measure(l load) (float64, error) {
	conns := make([]*grpc.ClientConn, *clients)
	for i := range conns {
		cc, err := grpc.NewClient("passthrough:///"+p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
		if err != nil {
			return 0, err
		}
		defer cc.Close()
		conns[i] = cc
	}
	if _, err := unary(conns, 50, 1); err != nil {
		return 0, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	n, err := l.run(conns)
	if err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return float64((after - before).Microseconds()) / float64(n), err
}

// cpu is the CPU time that the process has used, as Linux counts it.
func (p *proxy) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

const (
	unaryMethod   = "/bench.Bench/Unary"
	streamMethod  = "/bench.Bench/Stream"
	unknownMethod = "/bench.Bench/Unknown"
	perStream     = 500 // messages
)

// writeProtoset writes what the gateway knows of the methods.
func writeProtoset() (path string, err error) {
	const in, out = ".google.protobuf.BytesValue", ".google.protobuf.BytesValue"
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("bench.proto"), Package: proto.String("bench"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Bench"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Unary"), InputType: proto.String(in), OutputType: proto.String(out)},
			{Name: proto.String("Stream"), InputType: proto.String(".google.protobuf.Int64Value"), OutputType: proto.String(out), ServerStreaming: proto.Bool(true)},
		}}},
	}
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto), file,
	}}
	raw, err := proto.Marshal(set)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "passthrough-*.binpb")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = f.Write(raw)
	return f.Name(), err
}

// unary makes calls that answer with what they get.
func unary(conns []*grpc.ClientConn, n, size int) (int, error) {
	return calling(conns, unaryMethod, n, size)
}

func calling(conns []*grpc.ClientConn, method string, n, size int) (int, error) {
	body := wrapperspb.Bytes(make([]byte, size))
	return n, spread(n, func(i int) error {
		return conns[i%len(conns)].Invoke(context.Background(), method, body, new(wrapperspb.BytesValue))
	})
}

// streams receives n messages by server streams.
func streams(conns []*grpc.ClientConn, n, size int) (int, error) {
	count := n / perStream
	return count * perStream, spread(count, func(i int) error {
		desc := &grpc.StreamDesc{ServerStreams: true}
		s, err := conns[i%len(conns)].NewStream(context.Background(), desc, streamMethod)
		if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.Int64(int64(size))); err != nil {
			return err
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		for {
			if err := s.RecvMsg(new(wrapperspb.BytesValue)); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

// spread calls fn n times from a number of goroutines.
func spread(n int, fn func(i int) error) error {
	var next atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min(n, *parallel) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && first.Load() == nil; i = next.Add(1) {
				if err := fn(int(i)); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// startBackend serves without a schema.
func startBackend() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		if path, _ := grpc.MethodFromServerStream(ss); path == streamMethod {
			size := new(wrapperspb.Int64Value)
			if err := ss.RecvMsg(size); err != nil {
				return err
			}
			body := wrapperspb.Bytes(make([]byte, size.GetValue()))
			for range perStream {
				if err := ss.SendMsg(body); err != nil {
					return err
				}
			}
			return nil
		}
		body := new(wrapperspb.BytesValue)
		if err := ss.RecvMsg(body); err != nil {
			return err
		}
		return ss.SendMsg(body)
	}))
	go func() { _ = s.Serve(l) }()
	return l.Addr().String(), s.Stop, nil
}
