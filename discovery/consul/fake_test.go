package consul

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// agent is a Consul agent on loopback, as far as the source asks one. Its answers have the form
// that the documentation of the HTTP API describes.
type agent struct {
	*httptest.Server

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	index   uint64
	entries []*api.ServiceEntry
	status  int // of answers; 0: 200
	// leaderless makes it say that the cluster has no leader.
	leaderless bool
	// broken are the statuses of the answers about some services.
	broken map[string]int
	asked  []url.Values
	paths  []string
	// most is how many questions there were at once.
	most, now int
	tokens    []string
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	a := &agent{changed: make(chan struct{}), index: 10}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

// startAgentAt serves the same at a Unix socket.
func startAgentAt(t *testing.T, path string) *agent {
	t.Helper()
	a := &agent{changed: make(chan struct{}), index: 10}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.Listener.Close()
	a.Listener = listener
	a.Start()
	t.Cleanup(a.Close)
	return a
}

func (a *agent) addr() string { return a.Listener.Addr().String() }

// change changes the agent's state and wakes those who wait for it.
func (a *agent) change(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	fn()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) set(entries ...*api.ServiceEntry) { a.change(func() { a.entries = entries }) }

func (a *agent) fail(status int) { a.change(func() { a.status = status }) }

// questions are the parameters of what was asked so far.
func (a *agent) questions() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *agent) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	a.mu.Lock()
	a.asked, a.paths = append(a.asked, query), append(a.paths, r.URL.Path)
	a.now++
	a.most = max(a.most, a.now)
	a.tokens = append(a.tokens, r.Header.Get("X-Consul-Token"))
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.now--
	}()
	service, ok := strings.CutPrefix(r.URL.Path, "/v1/health/service/")
	if !ok && r.URL.Path != "/v1/catalog/services" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	wait, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	longest, _ := time.ParseDuration(query.Get("wait"))
	limit := time.After(min(longest, 10*time.Second))
	for {
		a.mu.Lock()
		index, changed, status, leaderless := a.index, a.changed, a.status, a.leaderless
		if broken := a.broken[service]; broken != 0 {
			status = broken
		}
		var found any = a.services()
		if ok {
			found = a.instances(service)
		}
		a.mu.Unlock()
		if status != 0 {
			http.Error(w, "Permission denied: anonymous token lacks permission 'service:read'", status)
			return
		}
		if wait == 0 || index != wait {
			w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
			w.Header().Set("X-Consul-Knownleader", strconv.FormatBool(!leaderless))
			w.Header().Set("X-Consul-Lastcontact", "0")
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(found)
			return
		}
		select {
		case <-changed:
		case <-limit:
			wait = 0
		case <-r.Context().Done():
			return
		}
	}
}

// services are the names and tags of all services.
//
// Caller must hold a.mu.
func (a *agent) services() map[string][]string {
	all := make(map[string][]string)
	for _, e := range a.entries {
		all[e.Service.Service] = append(append([]string{}, all[e.Service.Service]...), e.Service.Tags...)
	}
	return all
}

// instances are those of one service.
//
// Caller must hold a.mu.
func (a *agent) instances(service string) []*api.ServiceEntry {
	found := []*api.ServiceEntry{}
	for _, e := range a.entries {
		if e.Service.Service == service {
			found = append(found, e)
		}
	}
	return found
}

// of makes the instance one of another service.
func of(service string, e *api.ServiceEntry, tags ...string) *api.ServiceEntry {
	e.Service.Service, e.Service.Tags = service, tags
	return e
}

// instance is a registration of the service user on a node of its own.
func instance(id, addr string, statuses ...string) *api.ServiceEntry {
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	e := &api.ServiceEntry{
		Node:    &api.Node{Node: "node-" + id, Address: "10.9.9.9"},
		Service: &api.AgentService{ID: id, Service: "user", Address: host, Port: number, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
	}
	for i, status := range statuses {
		e.Checks = append(e.Checks, &api.HealthCheck{CheckID: "check-" + strconv.Itoa(i), Name: "check " + strconv.Itoa(i), Status: status})
	}
	return e
}
