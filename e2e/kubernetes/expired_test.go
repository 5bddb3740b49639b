package kubernetes

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// recorder is a proxy before an API server that reads along. It can be away, at the same address.
type recorder struct {
	addr      string
	transport *http.Transport
	server    *httptest.Server // nil: it is away

	mu      sync.Mutex
	lists   int
	watches int
	expired int // answers that say so
}

func startRecorder(t *testing.T, s *apiServer) *recorder {
	t.Helper()
	ca, err := os.ReadFile(s.certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	r := &recorder{addr: kit.FreeAddr(t), transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	r.connect(t, s)
	t.Cleanup(r.disconnect)
	return r
}

// connect lets requests through.
func (r *recorder) connect(t *testing.T, s *apiServer) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: s.addr})
	proxy.Transport, proxy.FlushInterval, proxy.ErrorLog = r.transport, -1, log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Body = &reading{ReadCloser: resp.Body, of: r}
		return nil
	}
	listener, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.count(req)
		proxy.ServeHTTP(w, req)
	}))
	r.server.Listener.Close()
	r.server.Listener, r.server.EnableHTTP2, r.server.Config.ErrorLog = listener, true, log.New(io.Discard, "", 0)
	r.server.StartTLS()
}

// disconnect ends what is in flight. From now on connections are refused.
func (r *recorder) disconnect() {
	if r.server == nil {
		return
	}
	r.server.Listener.Close()
	r.server.CloseClientConnections()
	r.server.Close()
	r.transport.CloseIdleConnections()
	r.server = nil
}

func (r *recorder) count(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.URL.Query().Has("watch") {
		r.watches++
	} else {
		r.lists++
	}
}

func (r *recorder) counts() (lists, watches, expired int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists, r.watches, r.expired
}

// reading is the body of an answer.
type reading struct {
	io.ReadCloser

	of   *recorder
	seen []byte
}

func (b *reading) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.seen = append(b.seen, p[:n]...); bytes.Contains(b.seen, []byte("too old resource version")) {
		b.of.mu.Lock()
		b.of.expired++
		b.of.mu.Unlock()
		b.seen = nil
	}
	return n, err
}

// kubeconfig writes one for the proxy, with the token in a file.
func (r *recorder) kubeconfig(t *testing.T, token string) string {
	t.Helper()
	dir := t.TempDir()
	file, tokenFile := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "token")
	write(t, tokenFile, token)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}))
	write(t, file, `{"apiVersion":"v1","kind":"Config","current-context":"test",
		"clusters":[{"name":"test","cluster":{"server":"https://`+r.addr+`","certificate-authority-data":"`+ca+`"}}],
		"users":[{"name":"gateway","user":{"tokenFile":"`+tokenFile+`"}}],
		"contexts":[{"name":"test","context":{"cluster":"test","user":"gateway"}}]}`)
	return file
}

// compact has etcd forget all revisions but the last.
func compact(t *testing.T, etcd *kit.Etcd) {
	t.Helper()
	client := etcd.Client(t)
	defer client.Close()
	got, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), got.Header.GetRevision(), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// TestExpiredWatch cuts the gateway off while pods change. Meanwhile the API server restarts, and
// its etcd forgets what has changed. So the watch cannot go on where it was (410), and the gateway
// has to list again. No call fails, and the pod that stays keeps its connection.
func TestExpiredWatch(t *testing.T) {
	for _, name := range []string{"source", "catalog"} {
		t.Run(name, func(t *testing.T) {
			s := startAPIServer(t)
			r := startRecorder(t, s)
			one, two, three := startUser(t, "one", "192.0.2.11"), startUser(t, "two", "192.0.2.12"), startUser(t, "three", "192.0.2.13")
			s.set(t, "user", "user-1", one)
			s.set(t, "user", "user-2", two)
			options := kinds("kubeconfig " + r.kubeconfig(t, s.token(t, "gateway")))[name]
			options.Env = []string{"POD_NAMESPACE=" + namespace}
			caddy := kit.StartCaddy(t, options)
			kit.Eventually(t, 30*time.Second, "it answers", func() error { return caddy.Answers("/v1/users/me") })
			caddy.WaitReady(t, 30*time.Second, one.addr(), two.addr())
			load := caddy.LoadUsers()

			s.set(t, "user", "user-2", two, three)
			caddy.WaitReady(t, 30*time.Second, one.addr(), two.addr(), three.addr())
			if lists, watches, expired := r.counts(); lists+watches == 0 || watches > 1 || expired != 0 {
				t.Errorf("%d lists, %d watches, %d of them expired", lists, watches, expired)
			}
			r.disconnect()
			caddy.Trouble(t, "EndpointSlices: ")
			s.set(t, "user", "user-2", three)
			for i := range 20 {
				s.set(t, "other", fmt.Sprint("other-", i), pod{name: "other", ip: "192.0.2.99", terminating: true})
			}
			s.stop()
			s.start(t)
			compact(t, s.etcd)
			r.connect(t, s)
			took := caddy.WaitReady(t, 60*time.Second, one.addr(), three.addr())
			lists, watches, expired := r.counts()
			t.Logf("what changed is known %v after the connection is back; %d lists and %d watches were asked for", took, lists, watches)
			if expired == 0 {
				t.Error("no watch expired, so this shows nothing")
			}
			caddy.Trouble(t, "")
			s.set(t, "user", "user-2", two, three)
			t.Logf("in use %v after it came back", caddy.WaitReady(t, 30*time.Second, one.addr(), two.addr(), three.addr()))
			kit.NoFailures(t, load.Stop(), 50)
			if log := caddy.Log(); strings.Contains(log, "panic") {
				t.Error("the log has a panic")
			}
		})
	}
}
