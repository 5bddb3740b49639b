package policy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// recipes are the tests of the Caddyfiles in docs/recipes.md, by heading and in their order.
var recipes = map[string][]func(*testing.T, *kitchen){
	"Passwords for some methods":           {passwords},
	"Tokens that another service checks":   {checkedTokens},
	"Rate limits":                          {rateLimits},
	"A response cache":                     {responseCache},
	"Pages of other origins":               {pagesInside, pagesBefore},
	"Tokens for WebSocket and EventSource": {browserTokens},
	"Compressed answers":                   {compressed},
	"A canary by header":                   {canary},
}

// TestRecipes runs each Caddyfile of the page.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(kit.RootDir(t), "docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		found[heading] = true
		files := regexp.MustCompile("(?s)\n```caddyfile\n(.*?)```\n").FindAllStringSubmatch(text, -1)
		tests := recipes[heading]
		if len(files) == 0 || len(files) != len(tests) {
			t.Errorf("%s: %d Caddyfiles and %d tests", heading, len(files), len(tests))
			continue
		}
		for i, file := range files {
			t.Run(fmt.Sprintf("%s %d", heading, i+1), func(t *testing.T) { tests[i](t, cook(t, file[1])) })
		}
	}
	for heading := range maps.Keys(recipes) {
		if !found[heading] {
			t.Errorf("the page has no recipe %q", heading)
		}
	}
}

// kitchen is a running recipe.
type kitchen struct {
	*kit.Caddy

	stable, next *witness // the services at 10.0.0.1 and 10.0.0.2
	guard        *guard   // the service at 127.0.0.1:9091
	library      testpb.LibraryClient
	echo         testpb.EchoClient
	page         *kit.Page // the page of app.example.com, where a test has one
}

// cook runs a recipe with real addresses, the services of the tests, and a cheap hash.
func cook(t *testing.T, recipe string) *kitchen {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	k := &kitchen{stable: startWitness(t), next: startWitness(t), guard: startGuard(t)}
	ready := []string{k.stable.Addr()}
	if strings.Contains(recipe, "10.0.0.2:9001") {
		ready = append(ready, k.next.Addr())
	}
	replaced := strings.NewReplacer(
		"10.0.0.1:9001", k.stable.Addr(), "10.0.0.2:9001", k.next.Addr(), "127.0.0.1:9091", k.guard.Listener.Addr().String(),
		"library.v1.", "gateway.test.v1.",
	).Replace(recipe)
	if strings.Contains(recipe, "websocket_origins app.example.com") {
		k.page = kit.StartPage(t, "testdata/tokens.js")
		replaced = strings.ReplaceAll(replaced, "app.example.com", k.page.Listener.Addr().String())
	}
	replaced = regexp.MustCompile(`\$2a\$\S+`).ReplaceAllLiteralString(replaced, string(hash))
	k.Caddy = kit.StartCaddy(t, kit.Options{
		Binary: withPlugins(t),
		Whole:  func(c *kit.Caddy) string { return strings.ReplaceAll(replaced, ":8080 {", "http://"+c.Listen+" {") },
	})
	k.WaitReady(t, 30*time.Second, ready...)
	conn, err := grpc.NewClient(k.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	k.library, k.echo = testpb.NewLibraryClient(conn), testpb.NewEchoClient(conn)
	return k
}

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

// do makes a request and follows no redirect; headers are "Name: value".
func (k *kitchen) do(t *testing.T, line, body string, headers ...string) reply {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, k.URL(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// want fails the test unless the answer has the status, and the texts in its header or body.
func (r reply) want(t *testing.T, what string, status int, texts ...string) {
	t.Helper()
	var head strings.Builder
	_ = r.header.Write(&head)
	if r.status != status {
		t.Errorf("%s: status %d, want %d: %s%s", what, r.status, status, head.String(), r.body)
		return
	}
	kit.Contains(t, what, head.String()+r.body, texts...)
}

// ctx is for a call by gRPC; pairs are its metadata.
func ctx(t *testing.T, pairs ...string) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), 30*time.Second)
	t.Cleanup(cancel)
	return c
}

func code(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// one returns the only call that has come to a witness since the last time.
func (w *witness) one(t *testing.T, what string) metadata.MD {
	t.Helper()
	came := w.take()
	if len(came) != 1 {
		t.Fatalf("%s: %d calls came to the service, want one", what, len(came))
	}
	return came[0].md
}

// none fails the test if a call has come.
func (w *witness) none(t *testing.T, what string) {
	t.Helper()
	if came := w.take(); len(came) > 0 {
		t.Errorf("%s: %d calls came to the service", what, len(came))
	}
}

func has(t *testing.T, what string, md metadata.MD, key string, want ...string) {
	t.Helper()
	if got := md.Get(key); !slices.Equal(got, want) {
		t.Errorf("%s: the service got %s = %q, want %q", what, key, got, want)
	}
}

// guard is a service that checks tokens, as forward_auth asks for it.
type guard struct {
	*httptest.Server

	mu   sync.Mutex
	last http.Header
}

func startGuard(t *testing.T) *guard {
	t.Helper()
	g := &guard{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.last = r.Header.Clone()
		g.mu.Unlock()
		switch r.Header.Get("Authorization") {
		case "Bearer good-token":
			w.Header().Set("X-User", "alice")
			w.Header().Set("X-Roles", "reader, writer")
			return
		case "Bearer plain-token": // a user without roles
			w.Header().Set("X-User", "bob")
			return
		}
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Location", "/login")
			w.WriteHeader(http.StatusFound)
			_, _ = io.WriteString(w, "<h1>Please log in</h1>")
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="library"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "<h1>Please log in</h1>")
	}))
	t.Cleanup(g.Close)
	return g
}

// asked is the header of the last question.
func (g *guard) asked() http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}
