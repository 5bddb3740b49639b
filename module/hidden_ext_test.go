package module_test

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is a server that notes every path that reaches it and offers nothing. It is the most
// lenient server possible: everything that leaves the gateway would be a call.
type recorder struct {
	addr string

	mu    sync.Mutex
	paths []string
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: l.Addr().String()}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.RequestURI, "/grpc.reflection.") { // the gateway's own question
			r.mu.Lock()
			r.paths = append(r.paths, req.RequestURI)
			r.mu.Unlock()
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "12")
	})}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // It ends with Close.
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return r
}

// take returns what has come since the last time.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	paths := r.paths
	r.paths = nil
	return paths
}

// way is a protocol by which a path can be asked for.
type way struct {
	name, method, contentType string
	http2                     bool
	header                    map[string]string
}

var ways = []way{
	{"gRPC", "POST", "application/grpc", true, map[string]string{"Te": "trailers"}},
	{"gRPC-Web", "POST", "application/grpc-web+proto", false, nil},
	{"gRPC-Web over HTTP/2", "POST", "application/grpc-web+proto", true, nil},
	{"gRPC-Web, text", "POST", "application/grpc-web-text", false, nil},
	{"Connect", "POST", "application/proto", false, map[string]string{"Connect-Protocol-Version": "1"}},
	{"Connect stream", "POST", "application/connect+proto", true, nil},
	{"Connect GET", "GET", "", false, map[string]string{"Connect-Protocol-Version": "1"}},
	{"REST POST", "POST", "application/json", false, nil},
	{"REST GET", "GET", "", false, nil},
	{"WebSocket", "GET", "", false, map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}},
}

// ask0 sends a request with the path just as it is and reads the answer.
func (s *site) ask0(t *testing.T, w way, path string) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!w.http2)
	protocols.SetUnencryptedHTTP2(w.http2)
	tr := &http.Transport{Protocols: protocols, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	body := "{}"
	switch {
	case w.method == "GET":
		body = ""
	case strings.HasSuffix(w.contentType, "-text"):
		body = "AAAAAAA="
	case strings.HasPrefix(w.contentType, "application/grpc"), strings.HasPrefix(w.contentType, "application/connect"):
		body = "\x00\x00\x00\x00\x00"
	case w.contentType == "application/proto":
		body = ""
	}
	req, err := http.NewRequestWithContext(bounded(t), w.method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if w.contentType != "" {
		req.Header.Set("Content-Type", w.contentType)
	}
	for k, v := range w.header {
		req.Header.Set(k, v)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, resp.Body) // Only what reaches the service counts.
	}
	resp.Body.Close()
}

// hiddenSpellings are paths by which a server might find Echo/ServerStream, Library/GetBook or
// Health/Check: decoded once or twice, cleaned, cut off, or without regard to case.
var hiddenSpellings = []string{
	"/gateway.test.v1.Echo/ServerStream",
	"/gateway.test.v1.Echo/ServerStream%3Fx",
	"/gateway.test.v1.Echo/ServerStream?x",
	"/gateway.test.v1.Echo/ServerStream%23x",
	"/gateway.test.v1.Echo/ServerStrea%6D",
	"/gateway.test.v1.Echo/ServerStrea%256D",
	"/gateway.test.v1.Echo/ServerStrea%25256D",
	"/gateway.test.v1.Echo%2FServerStream",
	"/gateway.test.v1.Echo%252FServerStream",
	"/gateway.test.v1.Echo/ServerStream/",
	"/gateway.test.v1.Echo/ServerStream%2F",
	"/gateway.test.v1.Echo/ServerStream;x=1",
	"/gateway.test.v1.Echo/ServerStream%3Bx",
	"/gateway.test.v1.Echo//ServerStream",
	"//gateway.test.v1.Echo/ServerStream",
	"/./gateway.test.v1.Echo/ServerStream",
	"/x/../gateway.test.v1.Echo/ServerStream",
	"/gateway.test.v1.Echo/%2e/ServerStream",
	"/gateway.test.v1.Echo/serverStream",
	"/gateway.test.v1.echo/ServerStream",
	"/Gateway.Test.V1.Echo/SERVERSTREAM",
	"/gateway.test.v1.Echo/ServerStream%00",
	"/gateway.test.v1.Echo/ServerStream%0A",
	"/gateway.test.v1.Echo/ServerStream%20",
	"/gateway.test.v1.Echo/ServerStream%7F",
	"/gateway.test.v1.Echo/ServerStream%C0%80",
	"/gateway.test.v1.Echo/Server%EF%BC%B3tream",
	"/gateway.test.v1.Echo/%E2%80%8BServerStream",
	"/gateway.test.v1.Echo/ServerStream:x",
	"/gateway.test.v1.Echo/.ServerStream",
	"/.gateway.test.v1.Echo/ServerStream",
	"/gateway..test.v1.Echo/ServerStream",
	"/gateway%2Etest.v1.Echo/ServerStream",
	"/gateway%252Etest.v1.Echo/ServerStream",
	"/gateway.test.v1.Library/GetBook",
	"/gateway.test.v1.Librar%2579/GetBook",
	"/gateway.test.v1.Library%252FGetBook%3F/x",
	"/gateway.test.v1.LIBRARY/GetBook",
	"/grpc.health.v1.Health/Check",
	"/grpc%252Ehealth.v1.Health/Check",
	"/grpc.health.v1.health/check",
	"/GRPC.health.v1.Health/Check",
	"/grpc.reflection%2Ev1.ServerReflection%3F/x",
	"/x%00.S/M",
	"/x%0D%0Ay:z.S/M",
}

// TestHiddenMethodsStayHidden asks for hidden methods in every protocol. Nothing may reach the
// service, whether the gateway knows its schema or passes on calls without one.
func TestHiddenMethodsStayHidden(t *testing.T) {
	set := filepath.Join(t.TempDir(), "echo.binpb")
	protoset(t, set, nil)
	for name, descriptors := range map[string]string{
		"without a schema": "",
		"with a schema":    "descriptors protoset " + set,
	} {
		t.Run(name, func(t *testing.T) {
			r := startRecorder(t)
			s := newSite(t)
			s.load("", "grpc_gateway {\n upstream a {\n discover static "+r.addr+"\n "+descriptors+
				"\n }\n hide gateway.test.v1.Echo/ServerStream gateway.test.v1.Library\n }")
			// Methods that nothing hides do reach it, so the recorder works.
			for _, path := range []string{"/gateway.test.v1.Echo/Unary", "/gateway.test.v1.Echo/InNoSchema", "/in.no.Schema/Method"} {
				s.ask0(t, ways[0], path)
				if got := r.take(); !slices.Equal(got, []string{path}) {
					t.Fatalf("%s arrives as %q", path, got)
				}
			}
			for _, w := range ways {
				t.Run(w.name, func(t *testing.T) {
					for _, path := range hiddenSpellings {
						s.ask0(t, w, path)
						if got := r.take(); len(got) > 0 {
							t.Errorf("%s reaches the service as %q", path, got)
						}
					}
				})
			}
		})
	}
}
