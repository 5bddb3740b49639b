package etcd

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/discoverytest"
)

// TestContract runs the contract against the loop of the source and of the catalog.
func TestContract(t *testing.T) {
	for name, catalog := range map[string]bool{"source": false, "catalog": true} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, discoverytest.Subject{Catalog: catalog, New: func(testing.TB) (discovery.Source, discoverytest.Registry) {
				store := newFakeStore()
				return looped{store, catalog}, fakeRegistry{store, catalog}
			}})
		})
	}
}

// looped is a source with the loop and a fake etcd.
type looped struct {
	store   *fakeStore
	catalog bool
}

func (looped) ID() string { return "etcd://fake/user/" }

func (l looped) Watch(ctx context.Context, publish func(discovery.State)) {
	w := newWatcher(l.store, contractPrefix, LayoutPlain, newOutages(zap.NewNop()))
	w.table.catalog = l.catalog
	w.run(ctx, publish)
}

const contractPrefix = "contract/"

// fakeRegistry writes instances into a fake etcd.
type fakeRegistry struct {
	store   *fakeStore
	catalog bool
}

func (r fakeRegistry) Set(instances ...discoverytest.Instance) {
	want := make(map[string]string)
	for _, in := range instances {
		key := contractPrefix + in.ID
		if r.catalog {
			key = contractPrefix + in.Service + "/" + in.ID
		}
		want[key] = in.Addr
	}
	var gone []string
	r.store.do(func() {
		for key := range r.store.kvs {
			if _, ok := want[key]; !ok && !strings.HasSuffix(key, "junk") {
				gone = append(gone, key)
			}
		}
	})
	for _, key := range gone {
		r.store.delete(key)
	}
	for key, value := range want {
		r.store.put(key, value)
	}
}

func (r fakeRegistry) Spoil() { r.store.put(contractPrefix+"x/junk", "nowhere") }

// Fail takes the connection away, and all that could replace it.
func (r fakeRegistry) Fail() {
	r.store.do(func() { r.store.listErr, r.store.pingErr, r.store.serializableErr = errDown, errDown, errDown })
	r.store.setLink(false)
	r.store.cancel(noLeader)
}

func (r fakeRegistry) Heal() {
	r.store.do(func() { r.store.listErr, r.store.pingErr, r.store.serializableErr = nil, nil, nil })
	r.store.setLink(true)
}

var errDown = context.DeadlineExceeded

// TestParseService says which service a key belongs to.
func TestParseService(t *testing.T) {
	for name, tt := range map[string]struct {
		layout           Layout
		prefix, key      string
		value            string
		service, problem string
	}{
		"go-zero under all of etcd": {LayoutAuto, "", "user.rpc/7587", "10.0.0.1:80", "user.rpc", ""},
		"kratos under all of etcd":  {LayoutAuto, "", "/microservices/user/d0a1", `{"endpoints":["grpc://10.0.0.1:80"]}`, "/microservices/user", ""},
		"kratos":                    {LayoutKratos, "/microservices/", "/microservices/user/d0a1", `{"endpoints":["grpc://10.0.0.1:80"]}`, "user", ""},
		"kitex":                     {LayoutKitex, "kitex/registry-etcd/", "kitex/registry-etcd/user/10.0.0.1:80", `{"address":"10.0.0.1:80"}`, "user", ""},
		"micro":                     {LayoutMicro, "/micro/registry/", "/micro/registry/user/1", `{"nodes":[{"id":"1","address":"10.0.0.1:80"}]}`, "user", ""},
		"etcd naming":               {LayoutEtcd, "naming/", "naming/shop/user/1", `{"Op":0,"Addr":"10.0.0.1:80"}`, "shop/user", ""},
		"no service":                {LayoutAuto, "", "lonely", "10.0.0.1:80", "", "expected <service>/<instance>"},
		"no instance":               {LayoutAuto, "", "user/", "10.0.0.1:80", "", "expected <service>/<instance>"},
		"no name":                   {LayoutAuto, "", "/1", "10.0.0.1:80", "", "expected <service>/<instance>"},
		"a name with a line break":  {LayoutAuto, "", "a\nb/1", "10.0.0.1:80", "", "without spaces and control characters"},
		"a name that is not UTF-8":  {LayoutAuto, "", "a\xff/1", "10.0.0.1:80", "", "without spaces and control characters"},
		"a very long name":          {LayoutAuto, "", strings.Repeat("a", 254) + "/1", "10.0.0.1:80", "", "at most 253 bytes"},
		"not an address":            {LayoutAuto, "", "config/port", "8080", "", "expected host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoints, err := tt.layout.ParseService(tt.prefix, tt.key, tt.value)
			switch {
			case tt.problem != "":
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("got %v, %v; want an error with %q", endpoints, err, tt.problem)
				}
			case err != nil || len(endpoints) != 1 || endpoints[0].Service != tt.service || endpoints[0].Addr != "10.0.0.1:80":
				t.Errorf("got %+v, %v; want an instance of %s", endpoints, err, tt.service)
			}
		})
	}
}

// TestCatalogPrefix says what is watched.
func TestCatalogPrefix(t *testing.T) {
	for _, tt := range []struct {
		layout       Layout
		prefix, want string
	}{
		{LayoutAuto, "/", ""},
		{LayoutKratos, "/", "/microservices/"},
		{LayoutKitex, "/", "kitex/registry-etcd/"},
		{LayoutAuto, "/microservices", "/microservices/"},
		{LayoutAuto, "prod/", "prod/"},
		{LayoutKratos, "/prod", "/prod/"},
	} {
		if got, err := tt.layout.CatalogPrefix(tt.prefix); err != nil || got != tt.want {
			t.Errorf("%s %q: got %q, %v, want %q", tt.layout, tt.prefix, got, err, tt.want)
		}
	}
	if _, err := LayoutAuto.CatalogPrefix(""); err == nil {
		t.Error("no prefix was accepted")
	}
}

// TestJunkStaysShortInTheLog: ten thousand entries that cannot be used are six lines, and more of
// them in the same minute one more at most.
func TestJunkStaysShortInTheLog(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	w := newWatcher(newFakeStore(), "", LayoutAuto, newOutages(zap.New(core)))
	w.table.catalog = true
	junk := func(n int) {
		for range n {
			w.table.news = append(w.table.news, discovery.Skipped{ID: "junk", Reason: "nonsense"})
		}
		w.logNews()
	}
	junk(10_000)
	if n := logs.Len(); n != newsLines+1 {
		t.Errorf("%d lines for 10,000 entries", n)
	}
	for range 100 {
		junk(3)
	}
	if n := logs.Len(); n != newsLines+1 {
		t.Errorf("%d lines after more of them", n)
	}
	w.newsSince = time.Now().Add(-2 * newsEvery)
	junk(1)
	if n := logs.Len(); n != newsLines+1+2 {
		t.Errorf("%d lines a minute later, expected one for the entry and one that counts the others", n)
	}
}
