package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// key is where the instances of the service are registered.
const key = "user.rpc"

// world is a gateway before instances that are registered in etcd.
type world struct {
	*kit.Caddy
	etcd      *cluster
	instances []*instance
	site      siteOptions
}

// siteOptions is what a test changes in the gateway's config.
type siteOptions struct {
	Etcd     []string // instead of the cluster's members
	Login    string   // user and password for etcd
	Discover string   // options of discover
	Upstream string   // options of the upstream
	Handler  string   // options of the handler
	Site     string   // further handlers, before it
	Binary   string
}

func (o siteOptions) options() kit.Options {
	login := o.Login
	if login != "" {
		login = "\tuser " + login + "\n"
	}
	return kit.Options{
		Binary: o.Binary,
		Global: fmt.Sprintf("grpc_gateway {\n\tetcd main {\n\t\tendpoints %s\n%s\t}\n}", strings.Join(o.Etcd, " "), login),
		Site: o.Site + fmt.Sprintf("\ngrpc_gateway {\n\tupstream user {\n\t\tdiscover etcd %s {\n\t\t\tcluster main\n%s\n\t\t}\n%s\n\t}\n%s\n}",
			key, o.Discover, o.Upstream, o.Handler),
	}
}

// startWorld starts n instances that register themselves by a lease of five seconds, and a gateway
// that serves calls over all of them.
func startWorld(t *testing.T, etcd *cluster, n int, site siteOptions, config instanceConfig) *world {
	t.Helper()
	w := &world{etcd: etcd, site: site}
	for i := range n {
		w.join(t, fmt.Sprint(i), config)
	}
	w.start(t, addrs(w.instances))
	return w
}

// start starts the gateway and waits until it is connected to these addresses and answers.
func (w *world) start(t testing.TB, addrs []string) {
	t.Helper()
	if len(w.site.Etcd) == 0 {
		w.site.Etcd = w.etcd.addrs()
	}
	w.Caddy = kit.StartCaddy(t, w.site.options())
	w.WaitReady(t, 30*time.Second, addrs...)
	kit.Eventually(t, 30*time.Second, "the gateway answers", func() error { return answers(w.Caddy) })
}

// answers makes a call.
func answers(caddy *kit.Caddy) error {
	code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/echo/warm"))
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d %s", code, body)
	}
	return err
}

// join starts another instance under the id.
func (w *world) join(t testing.TB, id string, config instanceConfig) *instance {
	t.Helper()
	config.Etcd, config.Key = w.etcd.addrs(), key+"/"+id
	if config.TTL == 0 {
		config.TTL = 5
	}
	i := startInstance(t, config)
	w.instances = append(w.instances, i)
	return i
}

func addrs(instances []*instance) []string {
	var addrs []string
	for _, i := range instances {
		addrs = append(addrs, i.addr)
	}
	return addrs
}

// state returns the state of an address in the admin API, "" when it is not listed.
func (w *world) state(t testing.TB, addr string) string {
	t.Helper()
	state, _ := w.look(t, addr)
	return state
}

// look returns the state of an address and the number of calls in flight there.
func (w *world) look(t testing.TB, addr string) (state string, inFlight int) {
	t.Helper()
	upstreams, err := w.Upstreams()
	if err != nil {
		t.Fatal(err)
	}
	for _, upstream := range upstreams {
		for _, endpoint := range upstream.Endpoints {
			if endpoint.Address == addr {
				return endpoint.State, endpoint.InFlight
			}
		}
	}
	return "", 0
}

// until waits until the state of an address is one of those, and returns how long it took. "" is
// not listed.
func (w *world) until(t testing.TB, limit time.Duration, addr string, states ...string) time.Duration {
	t.Helper()
	return kit.Eventually(t, limit, fmt.Sprintf("%s is one of %q", addr, states), func() error {
		if got := w.state(t, addr); !slices.Contains(states, got) {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// lost waits until an address is no longer READY, and returns how long it took.
func (w *world) lost(t testing.TB, limit time.Duration, addr string) time.Duration {
	t.Helper()
	return kit.Eventually(t, limit, addr+" is not READY", func() error {
		if got := w.state(t, addr); got == "READY" {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// loads are calls of both kinds at a steady rate.
type loads struct {
	w            *world
	safe, unsafe *kit.Load
}

// load starts rate safe and rate unsafe calls a second.
func (w *world) load(rate int) *loads {
	get := func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, w.URL("/v1/echo/"+url.PathEscape("safe-"+id)), nil)
	}
	post := func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, w.URL("/v1/echo"), strings.NewReader(`{"text":"unsafe-`+id+`"}`))
	}
	return &loads{w: w, safe: kit.StartLoad(kit.H2C(), rate, get, echoed("safe-")), unsafe: kit.StartLoad(kit.H2C(), rate, post, echoed("unsafe-"))}
}

// echoed checks that an answer is the one to its request.
func echoed(prefix string) func(id string, body []byte) error {
	return func(id string, body []byte) error {
		var answer struct{ Text string }
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("answer %q: %w", body, err)
		}
		if answer.Text != prefix+id {
			return fmt.Errorf("answer for %q, not for %q", answer.Text, prefix+id)
		}
		return nil
	}
}

// history is what became of the calls of a load.
type history struct {
	safe, unsafe             []kit.Result
	safeFailed, unsafeFailed []kit.Result
	executions               map[string]int // by prefix and id, of all instances
	duplicates               int            // of unsafe calls
}

// stop ends the loads and checks what holds in every row: every answered call was executed, and no
// unsafe one twice.
func (l *loads) stop(t testing.TB) *history {
	t.Helper()
	h := &history{safe: l.safe.Stop(), unsafe: l.unsafe.Stop(), executions: map[string]int{}}
	h.safeFailed, h.unsafeFailed = kit.Failures(h.safe), kit.Failures(h.unsafe)
	for _, i := range l.w.instances {
		for id, n := range i.executed(t) {
			h.executions[id] += n
		}
	}
	for prefix, results := range map[string][]kit.Result{"safe-": h.safe, "unsafe-": h.unsafe} {
		if len(results) < 20 {
			t.Errorf("%d calls of the kind %s show nothing", len(results), prefix)
		}
		for _, r := range results {
			n := h.executions[prefix+r.ID]
			if r.Err == nil && n == 0 {
				t.Errorf("%s%s was answered, but no instance executed it", prefix, r.ID)
			}
			if prefix == "unsafe-" && n > 1 {
				h.duplicates += n - 1
				t.Errorf("%s%s was executed %d times", prefix, r.ID, n)
			}
		}
	}
	return h
}

// want fails the test when a safe call failed, or more unsafe ones than that.
func (h *history) want(t testing.TB, unsafe int) {
	t.Helper()
	if len(h.safeFailed) > 0 {
		t.Errorf("%d of %d safe calls failed:\n%s", len(h.safeFailed), len(h.safe), some(h.safeFailed))
	}
	if len(h.unsafeFailed) > unsafe {
		t.Errorf("%d of %d unsafe calls failed, more than %d:\n%s", len(h.unsafeFailed), len(h.unsafe), unsafe, some(h.unsafeFailed))
	}
}

// after leaves out the failures of calls that started before.
func after(results []kit.Result, start time.Time) []kit.Result {
	var late []kit.Result
	for _, r := range results {
		if r.Start.After(start) {
			late = append(late, r)
		}
	}
	return late
}

func some(results []kit.Result) string {
	var lines []string
	for _, r := range results[:min(len(results), 8)] {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// row makes a line of the report of the history.
func (h *history) row(order int, fault string) row {
	return row{Order: order, Fault: fault, Requests: len(h.safe) + len(h.unsafe), Safe: len(h.safeFailed), Unsafe: len(h.unsafeFailed), Duplicates: h.duplicates}
}

// accepted is the number of connections that each instance has accepted.
func (w *world) accepted(t testing.TB) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, i := range w.instances {
		counts[i.addr] = i.stats(t).Accepted
	}
	return counts
}

// sameConnections fails the test when one of those instances has accepted more connections than
// before.
func (w *world) sameConnections(t testing.TB, before map[string]int, instances ...*instance) {
	t.Helper()
	for _, i := range instances {
		if got := i.stats(t).Accepted; got != before[i.addr] {
			t.Errorf("instance %s has accepted %d connections, %d before", i.addr, got, before[i.addr])
		}
	}
}
