// Command backend is the server behind every gateway of the comparison: grpc-go with canned
// answers, and the same over the Connect protocol for reverse_proxy, which translates nothing. It
// checks every request: one that is not as it should be gets an error.
package main

import (
	"bytes"
	"errors"
	"expvar"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/bench/codec/benchpb"
	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/debug"
	"github.com/caddy-grpc/gateway/bench/internal/raw"
	"github.com/caddy-grpc/gateway/bench/servicepb"
)

var (
	connectAddr = flag.String("connect", "", "where to serve the Connect protocol, over HTTP/2 without TLS")
	cert        = flag.String("cert", "", "certificate file, for TLS")
	key         = flag.String("key", "", "its key file")
	hold        = flag.Duration("hold", 0, "how long an answer takes")
	maxStreams  = flag.Uint("max-streams", 0, "how many calls a connection may have at a time; as many as it likes by default")
	pause       = flag.Duration("pause", time.Second, "how long a stream pauses that is asked to")
)

// accepted is how many connections there have been.
var accepted = expvar.NewInt("accepted")

func main() {
	debug.Start()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	methods := make(map[string]*method)
	for _, w := range canned.Works() {
		if methods[w.RPC] == nil {
			methods[w.RPC] = &method{work: w, like: requestOf(w.RPC)}
		}
	}
	if *connectAddr != "" {
		go func() { log.Fatal(serveConnect()) }()
	}
	l, err := net.Listen("tcp", *debug.Listen)
	if err != nil {
		return err
	}
	opts := []grpc.ServerOption{grpc.ForceServerCodecV2(raw.Codec{}), grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		path, _ := grpc.MethodFromServerStream(ss)
		m := methods[path]
		if m == nil {
			return status.Error(codes.Unimplemented, path)
		}
		return m.serve(ss)
	})}
	if *cert != "" {
		creds, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			return err
		}
		opts = append(opts, grpc.Creds(creds))
	}
	if *maxStreams > 0 {
		opts = append(opts, grpc.MaxConcurrentStreams(uint32(*maxStreams)))
	}
	return grpc.NewServer(opts...).Serve(counted{l})
}

// counted counts the connections that it accepts.
type counted struct{ net.Listener }

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		accepted.Add(1)
	}
	return c, err
}

func requestOf(rpc string) proto.Message {
	switch rpc {
	case servicepb.Catalog_CreateBook_FullMethodName:
		return new(benchpb.Small)
	case servicepb.Catalog_ListItems_FullMethodName:
		return new(servicepb.ListRequest)
	case servicepb.Catalog_ImportItems_FullMethodName:
		return new(benchpb.List)
	case servicepb.Catalog_WatchEvents_FullMethodName:
		return new(servicepb.WatchRequest)
	default:
		return new(servicepb.GetRequest)
	}
}

// method answers one RPC.
type method struct {
	work *canned.Work
	like proto.Message
	// The last request that was found right. Gateways may encode the same in different ways, each
	// always in its own.
	right atomic.Pointer[[]byte]
}

func (m *method) serve(ss grpc.ServerStream) error {
	if m.work.Requests != nil {
		return m.serveClientStream(ss)
	}
	var request mem.BufferSlice
	if err := ss.RecvMsg(&request); err != nil {
		return err
	}
	b := request.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	request.Free()
	time.Sleep(*hold)
	answers, pauseAfter := m.work.Answers, -1
	if err := m.check(b.ReadOnlyData()); err != nil {
		other := new(servicepb.WatchRequest)
		if !m.work.Stream || proto.Unmarshal(b.ReadOnlyData(), other) != nil || int(other.Count) > len(answers) {
			return err
		}
		answers, pauseAfter = answers[:other.Count], int(other.PauseAfter)
	}
	for i, a := range answers {
		if i == pauseAfter {
			select {
			case <-time.After(*pause):
			case <-ss.Context().Done():
				return ss.Context().Err()
			}
		}
		if err := ss.SendMsg(a); err != nil {
			return err
		}
	}
	return nil
}

// serveClientStream answers when all requests have come. They come as they were sent, because
// nothing translates them.
func (m *method) serveClientStream(ss grpc.ServerStream) error {
	for i, want := range m.work.Requests {
		var request mem.BufferSlice
		if err := ss.RecvMsg(&request); err != nil {
			return err
		}
		b := request.MaterializeToBuffer(mem.DefaultBufferPool())
		request.Free()
		right := bytes.Equal(b.ReadOnlyData(), want)
		b.Free()
		if !right {
			return status.Errorf(codes.InvalidArgument, "%s got another request %d than it should", m.work.RPC, i)
		}
	}
	if err := ss.RecvMsg(new(mem.BufferSlice)); !errors.Is(err, io.EOF) {
		return status.Errorf(codes.InvalidArgument, "%s got more requests than it should: %v", m.work.RPC, err)
	}
	return ss.SendMsg(m.work.Answers[0])
}

// check judges a request.
func (m *method) check(request []byte) error {
	if right := m.right.Load(); bytes.Equal(request, m.work.Request) || right != nil && bytes.Equal(request, *right) {
		return nil
	}
	got, want := proto.Clone(m.like), proto.Clone(m.like)
	if err := proto.Unmarshal(request, got); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := proto.Unmarshal(m.work.Request, want); err != nil {
		return err
	}
	if !proto.Equal(got, want) {
		return status.Errorf(codes.InvalidArgument, "%s got another request than it should", m.work.RPC)
	}
	b := bytes.Clone(request)
	m.right.Store(&b)
	return nil
}

// serveConnect answers unary calls of the Connect protocol.
func serveConnect() error {
	works := make(map[string]*canned.Work)
	for _, w := range canned.Works() {
		if w.Path == w.RPC && w.Path != "" {
			works[w.ContentType] = w
		}
	}
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := works[r.Header.Get("Content-Type")]
		request, err := io.ReadAll(r.Body)
		if w == nil || err != nil || r.URL.Path != w.Path || !bytes.Equal(request, w.Body) {
			http.Error(rw, "not the request that it should be", http.StatusBadRequest)
			return
		}
		rw.Header().Set("Content-Type", w.AnswerType)
		_, _ = rw.Write(w.Answer)
	})
	server := &http.Server{Addr: *connectAddr, Handler: handler, Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.ListenAndServe()
}
