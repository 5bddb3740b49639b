package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial opens the channel that the gateway would use.
func dial(t testing.TB, addr string) grpc.ClientConnInterface {
	t.Helper()
	feed := discovery.NewFeed(testkit.NewSource(t.Name(), addr))
	channel, err := pool.Open("test", pool.Settings{Linger: time.Nanosecond}, feed, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		<-channel.Retire()
		feed.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := channel.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return channel
}

// newTable compiles the rules of the test services, and further routes.
func newTable(t testing.TB, conn grpc.ClientConnInterface, further ...routes.Route) *frontend.Table {
	t.Helper()
	return rpctest.Compile(t, &routes.Config{RPC: true, Annotations: true, Routes: further}, conn)
}

// world is a backend and a gateway before it.
type world struct {
	t       testing.TB
	backend *testkit.Backend
	table   *frontend.Table
	url     string
	addr    string

	mu    sync.Mutex
	infos []frontend.Info
	errs  []error
}

// newWorld starts both. The server speaks HTTP/1.1 and HTTP/2 without TLS on one port.
func newWorld(t testing.TB, opts frontend.Options, backend ...testkit.Option) *world {
	t.Helper()
	b := testkit.StartBackend(t, backend...)
	w := &world{t: t, backend: b}
	w.table = newTable(t, dial(t, b.Addr()))
	w.serve(opts)
	return w
}

func (w *world) serve(opts frontend.Options) {
	h := New(opts)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		info := &frontend.Info{}
		var err error
		defer func() {
			w.mu.Lock()
			w.infos = append(w.infos, *info)
			w.errs = append(w.errs, err)
			w.mu.Unlock()
		}()
		if err = h.Serve(rw, r, w.table, info); err != nil {
			h.WriteError(rw, r, err)
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = discardLog()
	s.Start()
	w.url, w.addr = s.URL, s.Listener.Addr().String()
	w.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
}

// lastInfo waits until n requests have been served and returns what the last one noted.
func (w *world) lastInfo(n int) (frontend.Info, error) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		if len(w.infos) >= n {
			defer w.mu.Unlock()
			return w.infos[n-1], w.errs[n-1]
		}
		w.mu.Unlock()
	}
	w.t.Fatalf("the %dth request is still being served", n)
	return frontend.Info{}, nil
}

// client speaks one version of HTTP.
type client struct {
	*world
	t    testing.TB
	http *http.Client
}

// eachVersion runs a test over HTTP/1.1 and over HTTP/2.
func (w *world) eachVersion(t *testing.T, test func(t *testing.T, c *client)) {
	t.Helper()
	for _, version := range []string{"HTTP1", "HTTP2"} {
		t.Run(version, func(t *testing.T) { test(t, w.client(t, version)) })
	}
}

func (w *world) client(t testing.TB, version string) *client {
	tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	if version == "HTTP2" {
		tr.Protocols.SetUnencryptedHTTP2(true)
	} else {
		tr.Protocols.SetHTTP1(true)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{world: w, t: t, http: &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// answer is a whole response.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// do sends a request; headers are "Name: value", body is nil, a string or a reader.
func (c *client) do(method, path string, body any, headers ...string) answer {
	c.t.Helper()
	resp, err := c.open(context.Background(), method, path, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b), err}
}

func (c *client) open(ctx context.Context, method, path string, body any, headers ...string) (*http.Response, error) {
	c.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	case io.Reader:
		r = b
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, r)
	if err != nil {
		c.t.Fatal(err)
	}
	if rest, ok := strings.CutPrefix(path, "raw:"); ok {
		req.URL.Opaque = rest
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header[http.CanonicalHeaderKey(name)] = append(req.Header[http.CanonicalHeaderKey(name)], value)
	}
	return c.http.Do(req)
}

// echoed is the request as the backend saw it.
func (a answer) echoed(t testing.TB) *testpb.EchoRequest {
	t.Helper()
	return a.echo(t).GetRequest()
}

func (a answer) echo(t testing.TB) *testpb.EchoResponse {
	t.Helper()
	resp := &testpb.EchoResponse{}
	a.decode(t, resp)
	return resp
}

func (a answer) decode(t testing.TB, m proto.Message) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	if err := protojson.Unmarshal([]byte(a.body), m); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// wantError checks status, gRPC code and a part of the message of an error body.
func (a answer) wantError(t testing.TB, status int, code int, message string) {
	t.Helper()
	want := fmt.Sprintf(`{"code":%d,"message":"`, code)
	if a.StatusCode != status || !strings.HasPrefix(a.body, want) || !strings.Contains(a.body, message) {
		t.Errorf("got %d %s\nwant %d %s…%s", a.StatusCode, a.body, status, want, message)
	}
	if ct := a.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
}

// wantEcho checks the request that the backend saw, script aside.
func (a answer) wantEcho(t testing.TB, want *testpb.EchoRequest) {
	t.Helper()
	got := a.echoed(t)
	if got == nil {
		got = &testpb.EchoRequest{}
	}
	if !proto.Equal(got, want) {
		t.Errorf("the backend saw %v\nwant %v", got, want)
	}
}
