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
	asked      []url.Values
	tokens     []string
}

func newAgent(t *testing.T) *agent {
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
	a.asked = append(a.asked, query)
	a.tokens = append(a.tokens, r.Header.Get("X-Consul-Token"))
	a.mu.Unlock()
	service, ok := strings.CutPrefix(r.URL.Path, "/v1/health/service/")
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	wait, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	limit := time.After(10 * time.Second)
	for {
		a.mu.Lock()
		index, changed, status, leaderless := a.index, a.changed, a.status, a.leaderless
		var found []*api.ServiceEntry
		for _, e := range a.entries {
			if e.Service.Service == service {
				found = append(found, e)
			}
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
			_ = json.NewEncoder(w).Encode(append([]*api.ServiceEntry{}, found...))
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
