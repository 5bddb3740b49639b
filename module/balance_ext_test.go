package module_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestKilledInstanceFailsNoIdempotentCall kills one of two instances again and again, with calls in
// flight on it.
func TestKilledInstanceFailsNoIdempotentCall(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+a.Addr()+" "+b.Addr()+"\n backoff 50ms 100ms\n }\n }")
	eventually(t, "both are connected", func() bool { s.get("/v1/echo/x"); return a.Open() > 0 && b.Open() > 0 })

	safe := startLoad(s, "/v1/echo/x?script.delay=0.005s")
	posts := startPosts(s)
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		a.Stop()
		time.Sleep(150 * time.Millisecond)
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "enough traffic", safe.enough)
	safe.end(t)
	for id, failed := range posts.end() {
		n := a.Executions(id) + b.Executions(id)
		if n > 1 || n == 0 && !failed {
			t.Errorf("%s: executed %d times, failed: %t", id, n, failed)
		}
	}
	if safe.calls.Load() == 0 || len(posts.results) == 0 {
		t.Error("no traffic")
	}
}

// posts are calls that must not be executed twice.
type posts struct {
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	results map[string]bool // whether it failed, by id
}

func startPosts(s *site) *posts {
	p := &posts{stop: make(chan struct{}), results: make(map[string]bool)}
	for i := range 4 {
		p.wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-p.stop:
					return
				case <-time.After(time.Millisecond):
				}
				id := fmt.Sprintf("post-%d-%d", i, n)
				got := s.do("POST", "/v1/echo", fmt.Sprintf(`{"script":{"id":%q,"delay":"0.005s"}}`, id))
				p.mu.Lock()
				p.results[id] = got.status != http.StatusOK
				p.mu.Unlock()
			}
		})
	}
	return p
}

func (p *posts) end() map[string]bool {
	close(p.stop)
	p.wg.Wait()
	return p.results
}

func TestRetryOff(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+a.Addr()+" "+b.Addr()+"\n retry off\n }\n }")
	s.want(s.get("/v1/echo/x?script.id=once&script.fail_code=14"), http.StatusServiceUnavailable)
	if n := a.Executions("once") + b.Executions("once"); n != 1 {
		t.Errorf("executed %d times", n)
	}
}

func TestEjection(t *testing.T) {
	for _, tc := range []struct {
		option  string
		ejected bool
	}{{"eject 2 1m", true}, {"eject off", false}} {
		t.Run(tc.option, func(t *testing.T) {
			a, b := testkit.StartBackend(t), testkit.StartBackend(t)
			s := newSite(t)
			s.load("", "grpc_gateway {\n upstream echo {\n discover static "+a.Addr()+" "+b.Addr()+"\n retry off\n "+tc.option+"\n }\n }")
			eventually(t, "both are connected", func() bool { s.get("/v1/echo/x"); return a.Open() > 0 && b.Open() > 0 })
			fail := func() bool {
				s.get("/v1/echo/x?script.fail_code=14")
				return upstreamHas(s, "ejected")
			}
			if tc.ejected {
				eventually(t, "an instance is ejected", fail)
				return
			}
			for range 50 {
				if fail() {
					t.Fatal("ejected")
				}
			}
		})
	}
}

func upstreamHas(s *site, state string) bool {
	return strings.Contains(s.admin0("GET", "/grpc_gateway/upstreams").body, `"state":"`+state+`"`)
}

func TestHashByPlaceholder(t *testing.T) {
	backends := []*testkit.Backend{testkit.StartBackend(t), testkit.StartBackend(t), testkit.StartBackend(t)}
	s := newSite(t)
	addrs := ""
	for _, b := range backends {
		addrs += " " + b.Addr()
	}
	s.load("", "grpc_gateway {\n upstream echo {\n discover static"+addrs+"\n balance hash {header.X-User}\n }\n }")
	eventually(t, "all are connected", func() bool {
		s.get("/v1/echo/x")
		return backends[0].Open() > 0 && backends[1].Open() > 0 && backends[2].Open() > 0
	})
	time.Sleep(100 * time.Millisecond) // The picker follows the connections.
	used := make(map[int]bool)
	for user := range 20 {
		for range 3 {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, fmt.Sprintf("http://%s/v1/echo/x?script.id=user-%d", s.addr, user), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-User", fmt.Sprint(user))
			s.want(send(s.client, req), http.StatusOK)
		}
		instances := 0
		for i, b := range backends {
			if b.Executions(fmt.Sprintf("user-%d", user)) > 0 {
				instances++
				used[i] = true
			}
		}
		if instances != 1 {
			t.Errorf("user %d: calls went to %d instances", user, instances)
		}
	}
	if len(used) < 2 {
		t.Errorf("all users went to the same instance")
	}
}

func TestBalanceIsCheckedInJSON(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct{ options, want string }{
		{`"balance":"hash"`, `balance hash "": expected a placeholder`},
		{`"balance":"hash","hash_key":"user"`, `balance hash "user": expected a placeholder`},
		{`"hash_key":"{x}"`, "hash_key is for balance hash"},
		{`"balance":"random"`, `balance "random": expected p2c, round_robin or hash`},
		{`"retry":{"attempts":-1}`, "retry: attempts -1: expected a number above 0"},
		{`"retry":{"on":["internal"]}`, `retry: on "internal": expected unavailable`},
		{`"retry":{"backoff":{"base":2,"max":1}}`, "retry: backoff: expected a base above 0 and a maximum not below it"},
		{`"backoff":{"max":"100ms"}`, "backoff max is 100ms, expected at least the base of 200ms"},
		{`"eject":{"base_time":-1}`, "eject: base_time: expected a duration above 0"},
		{`"eject":{"max_percent":101}`, "eject: max_percent 101: expected 1 to 100"},
	} {
		config := strings.Replace(string(adapt(t, s.caddyfile("", "grpc_gateway 127.0.0.1:1"))), `"discover":`, tc.options+`,"discover":`, 1)
		if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", tc.options, err, tc.want)
		}
	}
}
