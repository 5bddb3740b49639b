package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// inBrowser are the calls that the page makes. Each is one more way to call GetBook.
var inBrowser = map[string]struct {
	limited, private string
	cached           bool
}{
	"fetch, a route": {cached: true,
		limited: `{"status":429,"code":8,"message":"Too Many Requests","retryAfter":true,"retryInfo":true}`,
		private: `{"status":401,"code":16,"message":"Unauthorized","challenge":"Basic realm=\"restricted\""}`},
	"fetch, JSON by name": {
		limited: `{"status":429,"code":8,"message":"Too Many Requests","retryAfter":true,"retryInfo":true}`,
		private: `{"status":401,"code":16,"message":"Unauthorized","challenge":"Basic realm=\"restricted\""}`},
	"connect-web, Connect, JSON":    {limited: connectWebLimited, private: connectWebPrivate},
	"connect-web, Connect, binary":  {limited: connectWebLimited, private: connectWebPrivate},
	"connect-web, Connect, GET":     {limited: connectWebLimited, private: connectWebPrivate, cached: true},
	"connect-web, gRPC-Web, binary": {limited: connectWebLimited, private: connectWebPrivate},
	"connect-web, gRPC-Web, JSON":   {limited: connectWebLimited, private: connectWebPrivate},
	"grpc-web, binary":              {limited: grpcWebLimited, private: grpcWebPrivate},
	"grpc-web, text":                {limited: grpcWebLimited, private: grpcWebPrivate},
	// A page cannot see why a handshake is refused, and cannot send credentials.
	"a WebSocket": {limited: `"failed"`, private: `"failed"`},
}

const (
	connectWebLimited = `{"code":"ResourceExhausted","message":"Too Many Requests","retryInfo":true}`
	connectWebPrivate = `{"code":"Unauthenticated","message":"Unauthorized","retryInfo":false}`
	grpcWebLimited    = `{"code":"RESOURCE_EXHAUSTED","message":"Too Many Requests","retryInfo":true}`
	grpcWebPrivate    = `{"code":"UNAUTHENTICATED","message":"Unauthorized","retryInfo":false}`

	answered = `"Emma"`
)

// library is a Caddy with three sites before the same backend. GetBook is limited at one of them,
// needs credentials at another, and is cached at the third.
type library struct {
	*witness

	page                     *kit.Page
	limited, private, cached string // addresses
}

func startLibrary(t *testing.T) *library {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	l := &library{witness: startWitness(t), page: kit.StartPage(t, "testdata/policy.js"), private: kit.FreeAddr(t), cached: kit.FreeAddr(t)}
	handler := func(block string) string {
		return fmt.Sprintf("grpc_gateway library {\nmcp /mcp\nreflection on\ncors %s\nwith %s {\n%s\n}\n}", l.page.URL, getBook, block)
	}
	caddy := kit.StartCaddy(t, kit.Options{
		Binary: withPlugins(t),
		Global: fmt.Sprintf("grpc_gateway {\nupstream library {\ndiscover static %s\n}\n}", l.Addr()),
		Site: handler(fmt.Sprintf("rate_limit {\nzone books {\nkey all\nwindow 1h\nevents %d\n}\n}", len(ways())+len(inBrowser))) +
			"\n}\nhttp://" + l.private + " {\n" + handler(fmt.Sprintf("basic_auth {\n%s %s\n}", user, hash)) +
			"\n}\nhttp://" + l.cached + " {\n" + handler("cache {\nttl 1h\n}"),
	})
	l.limited = caddy.Listen
	caddy.WaitReady(t, 30*time.Second, l.Addr())
	return l
}

// visit has the page make its calls at a site, and returns what it saw.
func (l *library) visit(t *testing.T, addr string, authorized bool) map[string]string {
	t.Helper()
	config := map[string]string{"gateway": "http://" + addr, "book": book, "authorization": ""}
	if authorized {
		config["authorization"] = basic()
	}
	seen := l.page.Visit(t, config)
	if got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(inBrowser)); !slices.Equal(got, want) {
		t.Fatalf("the page made the calls %q, not %q", got, want)
	}
	return seen
}

// arrived fails the test unless so many calls have come to the backend since the last time.
func (l *library) arrived(t *testing.T, what string, want int) {
	t.Helper()
	if got := len(l.take()); got != want {
		t.Errorf("%s: %d calls came to the backend, not %d", what, got, want)
	}
}

// TestClients calls GetBook in every way, with curl, buf curl, grpcurl, a WebSocket, connect-web
// and grpc-web, and as a tool of MCP.
func TestClients(t *testing.T) {
	l := startLibrary(t)
	t.Run("limited", func(t *testing.T) { l.testLimited(t) })
	t.Run("private", func(t *testing.T) { l.testPrivate(t) })
	t.Run("cached", func(t *testing.T) { l.testCached(t) })
}

// testLimited: the limit is as high as there are ways. So each way gets one answer, because all
// count together, and then each is refused in its own words.
func (l *library) testLimited(t *testing.T) {
	l.allAnswered(t, l.limited, false)
	l.arrived(t, "as many as the limit", len(ways())+len(inBrowser))
	for _, w := range ways() {
		kit.Contains(t, w.name, w.call(t, l.limited, false), w.limited...)
	}
	for name, got := range l.visit(t, l.limited, false) {
		l.same(t, name, got, inBrowser[name].limited)
	}
	l.arrived(t, "after the limit", 0)
}

// testPrivate: without credentials each way is refused in its own words.
func (l *library) testPrivate(t *testing.T) {
	for _, w := range ways() {
		kit.Contains(t, w.name, w.call(t, l.private, false), w.private...)
	}
	for name, got := range l.visit(t, l.private, false) {
		l.same(t, name, got, inBrowser[name].private)
	}
	l.arrived(t, "without credentials", 0)
	l.allAnswered(t, l.private, true)
	l.arrived(t, "with credentials", len(ways())+len(inBrowser)-1) // no WebSocket of the page
}

// testCached: the cache answers GET. What it cannot cache passes through it unharmed.
func (l *library) testCached(t *testing.T) {
	l.allAnswered(t, l.cached, false) // Now the cache has what it can have.
	l.take()
	for _, w := range ways() {
		kit.Contains(t, w.name, w.call(t, l.cached, false), title)
		want := 1
		if w.cached {
			want = 0
		}
		l.arrived(t, w.name, want)
	}
	want := 0
	for name, got := range l.visit(t, l.cached, false) {
		l.same(t, name, got, answered)
		if !inBrowser[name].cached {
			want++
		}
	}
	l.arrived(t, "the page", want)
}

// allAnswered calls once in every way, and fails the test if one gets no answer.
func (l *library) allAnswered(t *testing.T, addr string, authorized bool) {
	t.Helper()
	for _, w := range ways() {
		kit.Contains(t, w.name, w.call(t, addr, authorized), title)
	}
	for name, got := range l.visit(t, addr, authorized) {
		want := answered
		if authorized && name == "a WebSocket" {
			want = `"failed"`
		}
		l.same(t, name, got, want)
	}
}

func (l *library) same(t *testing.T, what, got, want string) {
	t.Helper()
	if want = kit.CompactJSON(t, want); got != want {
		t.Errorf("%s: the page saw\n%s, not\n%s", what, strings.TrimSpace(got), want)
	}
}
