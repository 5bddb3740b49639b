// Package httpe2e proves docs/http.md through a real Caddy process to real gRPC servers, over
// HTTP/1.1 and HTTP/2, with clients that nobody here wrote among others: curl, Node's fetch,
// Chromium. That each rule is implemented right in all its corners is shown by the unit tests of
// internal/frontend/rest; here it is shown that Caddy changes nothing of it.
package httpe2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/judge"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// judged are the verdicts on all calls of this package's tests. Nearly every one goes through the
// clients of a world, and every world has OpenAPI documents.
var judged judge.Results

// leastJudged is how much the judges must have seen when all tests have run. Without it, a mistake
// of the tests could make them judge nothing.
var leastJudged = map[string]int{judge.Requests: 200, judge.Answers: 250, judge.Messages: 1000, judge.Refused: 50}

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	fmt.Print(judged.String())
	if flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" {
		for what, least := range leastJudged {
			if n := judged.Count(what); n < least {
				fmt.Printf("FAIL: the judges have seen %d %s, not %d\n", n, what, least)
				code = max(code, 1)
			}
		}
	}
	os.Exit(code)
}

// long reports whether the runs that take minutes are asked for, by E2E_LONG=1.
func long() bool { return os.Getenv("E2E_LONG") != "" }

// world is a Caddy before a backend.
type world struct {
	*kit.Caddy
	backend *testkit.Backend
	options kit.Options
	// judged are the verdicts on the calls of the clients. document finds what they are judged by.
	judged   *judge.Results
	document func(*http.Request) (*judge.Document, error)
}

// newWorld starts both. In directive, of a site, "echo" is the upstream's name. A site chooses
// among several handlers by the header X-Site.
func newWorld(t testing.TB, site string, opts ...testkit.Option) *world {
	t.Helper()
	w := &world{backend: testkit.StartBackend(t, opts...), judged: judged.Child(), document: judge.Fetcher(kit.DocumentPath, "X-Site")}
	t.Cleanup(func() { w.judged.Report(t) })
	w.options = kit.Options{
		Global: "\tgrpc_gateway {\n\t\tupstream echo {\n\t\t\tdiscover static " + w.backend.Addr() + "\n\t\t}\n\t}",
		Site:   kit.Described(site),
	}
	w.Caddy = kit.StartCaddy(t, w.options)
	w.WaitReady(t, 30*time.Second, w.backend.Addr())
	kit.Eventually(t, 30*time.Second, "the site describes itself", func() error {
		d, err := w.document(&http.Request{URL: &url.URL{Scheme: "http", Host: w.Listen}})
		if err == nil && len(d.Pending) > 0 {
			err = fmt.Errorf("%v are pending", d.Pending)
		}
		return err
	})
	return w
}

// client sends requests of one version of HTTP.
type client struct {
	t    testing.TB
	w    *world
	http *http.Client
	name string
}

// client returns one for "HTTP/1.1" or "h2c", whose calls are judged.
func (w *world) client(t testing.TB, version string) *client {
	t.Helper()
	c := w.unjudged(t, version)
	c.http.Transport = w.judged.Transport(c.http.Transport, w.document)
	return c
}

// unjudged returns a client whose calls nobody judges. It is for more calls than the judges have
// time for, because the end of a body waits for its verdict.
func (w *world) unjudged(t testing.TB, version string) *client {
	t.Helper()
	c := &client{t: t, w: w, name: version, http: kit.H1()}
	if version == "h2c" {
		c.http = kit.H2C()
	}
	c.http.Timeout = 0
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// eachVersion runs the test over HTTP/1.1 and HTTP/2.
func (w *world) eachVersion(t *testing.T, test func(t *testing.T, c *client)) {
	t.Helper()
	for _, version := range []string{"HTTP/1.1", "h2c"} {
		t.Run(strings.ReplaceAll(version, "/", ""), func(t *testing.T) { test(t, w.client(t, version)) })
	}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// open sends a request; headers are "Name: value".
func (c *client) open(ctx context.Context, method, path string, body io.Reader, headers ...string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.w.URL(path), body)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	c.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// do sends a request and reads the answer.
func (c *client) do(method, path string, body []byte, headers ...string) answer {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	resp := c.open(ctx, method, path, r, headers...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp, string(text), err}
}

func (a answer) String() string {
	return fmt.Sprintf("%d %.600s (%v, header %v, trailer %v)", a.StatusCode, a.body, a.err, a.Header, a.Trailer)
}

// idle waits until the backend has nothing to do.
func (w *world) idle(t testing.TB, what string) {
	t.Helper()
	kit.Eventually(t, 15*time.Second, what+": the backend is free", func() error {
		// Of the calls in flight one may be the gateway's reflection.
		if n := w.backend.InFlight(); n > 0 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
}
