// Package rpctest has what the tests of the RPC protocols share: a table of the testkit's services
// in front of a real backend, and real HTTP servers around a protocol. It is for tests only.
package rpctest

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // The codec of messages that are not raw.
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// rawCodec moves messages as they are, like that of package pool.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(mem.BufferSlice); ok {
		return b, nil // It has the sender's reference, which grpc frees.
	}
	return c.CodecV2.Marshal(v)
}

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*mem.BufferSlice); ok {
		data.Ref()
		*b = data
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// RawCodec is a codec for raw messages.
func RawCodec() encoding.CodecV2 { return rawCodec{encoding.GetCodecV2("proto")} }

// Dial returns a connection for raw messages. Its windows are small and fixed, so that tests see
// back-pressure.
func Dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(RawCodec())), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// Table has all methods of the testkit's services. Calls of services whose package begins with
// "raw" go to the same place without a schema.
func Table(t testing.TB, conn grpc.ClientConnInterface) *frontend.Table {
	t.Helper()
	exposure, err := routes.NewExposure([]string{"gateway.test.v1.*", "raw.*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Compile(t, &routes.Config{Exposure: exposure, RPC: true}, conn)
}

// Compile makes the table of the testkit's services, which is one upstream called "test".
func Compile(t testing.TB, cfg *routes.Config, conn grpc.ClientConnInterface) *frontend.Table {
	t.Helper()
	s, err := schema.FromFiles(testpb.File_internal_testkit_testpb_echo_proto)
	if err != nil {
		t.Fatal(err)
	}
	table, err := routes.Compile(cfg, []routes.Member{{
		Label: "test", Schema: s, Codecs: transcode.NewCompiler(s.Types(), transcode.Options{RawMaskPaths: true}), Conn: conn,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Problems {
		if p.RPC == "" && p.Route == "" {
			continue // "raw.*" is in no schema, as it should be.
		}
		t.Errorf("the table has a problem: %s", p)
	}
	return &table.Table
}

// Protocol is what the packages under test have in common.
type Protocol interface {
	Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info)
}

// Server is an HTTP server for a protocol. It speaks HTTP/1.1 and HTTP/2 with prior knowledge at
// URL, and both over TLS at TLSURL.
type Server struct {
	URL, TLSURL string
	Addr        string // The address in URL.

	plain, tls *httptest.Server

	mu    sync.Mutex
	infos []frontend.Info
	added chan struct{}
}

// NewServer starts a server that lives as long as the test.
func NewServer(t testing.TB, p Protocol, table *frontend.Table) *Server {
	t.Helper()
	s := &Server{added: make(chan struct{}, 1)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var info frontend.Info
		defer func() {
			s.mu.Lock()
			s.infos = append(s.infos, info)
			s.mu.Unlock()
			select {
			case s.added <- struct{}{}:
			default:
			}
		}()
		p.Serve(w, r, table, &info)
	})
	s.plain = httptest.NewUnstartedServer(handler)
	s.plain.Config.Protocols = protocols(true, true, false)
	s.plain.Start()
	s.tls = httptest.NewUnstartedServer(handler)
	s.tls.EnableHTTP2 = true
	s.tls.StartTLS()
	t.Cleanup(func() {
		s.plain.Close()
		s.tls.Close()
	})
	s.URL, s.TLSURL, s.Addr = s.plain.URL, s.tls.URL, s.plain.Listener.Addr().String()
	return s
}

func protocols(http1, h2c, http2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(h2c)
	p.SetHTTP2(http2)
	return p
}

// LastInfo waits until a request has been answered since the last call, and returns the Info of the
// last request.
func (s *Server) LastInfo(t testing.TB) frontend.Info {
	t.Helper()
	select {
	case <-s.added:
	case <-time.After(10 * time.Second):
		t.Fatal("no request was answered")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.infos[len(s.infos)-1]
}

// Transport is one way to reach a Server.
type Transport struct {
	Name   string
	Client *http.Client
	URL    string
}

// Transports are HTTP/1.1, h2c, and HTTP/2 over TLS.
func (s *Server) Transports(t testing.TB) []Transport {
	t.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true} // A certificate of the test's own.
	h1 := &http.Transport{Protocols: protocols(true, false, false), DisableCompression: true}
	h2c := &http.Transport{Protocols: protocols(false, true, false), DisableCompression: true}
	h2 := &http.Transport{Protocols: protocols(false, false, true), TLSClientConfig: insecure, DisableCompression: true}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2c.CloseIdleConnections()
		h2.CloseIdleConnections()
	})
	return []Transport{
		{"HTTP/1.1", &http.Client{Transport: h1}, s.URL},
		{"h2c", &http.Client{Transport: h2c}, s.URL},
		{"HTTP/2 over TLS", &http.Client{Transport: h2}, s.TLSURL},
	}
}

// Context has a deadline, so a test that hangs fails.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Eventually polls until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("it does not come about: %s", what)
}

// Do makes a request and returns the response with its body read.
func (tr Transport) Do(t testing.TB, method, path string, header http.Header, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(Context(t), method, tr.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	resp, err := tr.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// Wire is the wire form of a message.
func Wire(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
