package consul

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-grpc/gateway/discovery"
)

func provision(t testing.TB, s *Source) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return s.Provision(ctx)
}

func provisioned(t testing.TB, s *Source) *Source {
	t.Helper()
	if err := provision(t, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWatch(t *testing.T) {
	a := newAgent(t)
	a.set(instance("1", "10.0.0.1:9001", "passing"))
	t.Setenv("CONSUL_TOKEN_OF_THE_TEST", "s3cret")
	s := provisioned(t, &Source{
		Address: a.addr(), Service: "user", Tags: []string{"grpc", "v2"}, Datacenter: "dc2", Namespace: "shop", Partition: "web",
		Token: "{env.CONSUL_TOKEN_OF_THE_TEST}",
	})
	until := watch(t, s)
	if got := until("list", has("10.0.0.1:9001")); got.Hold != defaultHold || got.Stale {
		t.Errorf("state %+v", got)
	}
	a.set(instance("1", "10.0.0.1:9001", "passing"), instance("2", "10.0.0.2:9001", "passing"))
	until("new instance", has("10.0.0.1:9001", "10.0.0.2:9001"))
	a.set(instance("1", "10.0.0.1:9001", "critical"), instance("2", "10.0.0.2:9001", "passing"))
	until("failed check", has("10.0.0.2:9001"))
	a.fail(http.StatusForbidden)
	got := until("trouble", func(s discovery.State) bool { return s.Err != nil })
	if len(got.Endpoints) != 1 || !strings.Contains(got.Err.Error(), "Permission denied") || strings.Contains(got.Err.Error(), "s3cret") {
		t.Errorf("state %+v", got)
	}
	a.change(func() { a.status, a.entries = 0, nil })
	until("empty list", has())
	a.change(func() { a.leaderless = true })
	until("list without a leader", func(s discovery.State) bool { return s.Stale && s.Err == nil })

	for i, q := range a.questions() {
		if q.Get("dc") != "dc2" || q.Get("ns") != "shop" || q.Get("partition") != "web" || !reflect.DeepEqual(q["tag"], []string{"grpc", "v2"}) || q.Has("passing") {
			t.Errorf("question %d: %v", i, q)
		}
		if i > 0 && q.Has("index") && q.Get("wait") != "60000ms" {
			t.Errorf("question %d: %v", i, q)
		}
	}
	if slices.ContainsFunc(a.tokens, func(token string) bool { return token != "s3cret" }) {
		t.Errorf("tokens %q", a.tokens)
	}
}

// An agent that comes back is asked again by itself.
func TestWatchOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	a := startAgentAt(t, path)
	a.set(instance("1", "10.0.0.1:9001"))
	until := watch(t, provisioned(t, &Source{Address: "unix/" + path, Service: "user"}))
	until("list", has("10.0.0.1:9001"))
	a.CloseClientConnections()
	a.Close()
	until("trouble", func(s discovery.State) bool { return s.Err != nil && len(s.Endpoints) == 1 })
	b := startAgentAt(t, path)
	b.set(instance("2", "10.0.0.2:9001"))
	until("list of the new agent", has("10.0.0.2:9001"))
}

func TestWatchByTLS(t *testing.T) {
	a := &agent{changed: make(chan struct{}), index: 1}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	a.set(instance("1", "10.0.0.1:9001"))
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := &reverseproxy.TLSConfig{CARaw: []byte(`{"provider":"file","pem_files":["` + file + `"]}`)}
	until := watch(t, provisioned(t, &Source{Address: a.addr(), Service: "user", TLS: trusting}))
	until("list", has("10.0.0.1:9001"))
	until = watch(t, provisioned(t, &Source{Address: a.addr(), Service: "user", TLS: new(reverseproxy.TLSConfig)}))
	until("refusal", func(s discovery.State) bool { return s.Err != nil && strings.Contains(s.Err.Error(), "certificate") })
}

func TestID(t *testing.T) {
	base := func() *Source { return &Source{Service: "user"} }
	ids := make(map[string]string)
	for name, change := range map[string]func(*Source){
		"default":    func(*Source) {},
		"address":    func(s *Source) { s.Address = "127.0.0.1:8501" },
		"service":    func(s *Source) { s.Service = "order" },
		"tag":        func(s *Source) { s.Tags = []string{"a"} },
		"datacenter": func(s *Source) { s.Datacenter = "a" },
		"namespace":  func(s *Source) { s.Namespace = "a" },
		"partition":  func(s *Source) { s.Partition = "a" },
		"token":      func(s *Source) { s.Token = "s3cret" },
		"tls":        func(s *Source) { s.TLS = &reverseproxy.TLSConfig{ServerName: "a"} },
		"hold":       func(s *Source) { s.Hold = -1 },
	} {
		s := base()
		change(s)
		id := provisioned(t, s).ID()
		if other, ok := ids[id]; ok {
			t.Errorf("%s and %s have the ID %s", name, other, id)
		}
		if strings.Contains(id, "s3cret") {
			t.Errorf("the ID shows the token: %s", id)
		}
		ids[id] = name
	}
	one, same := base(), base()
	one.Tags, same.Tags = []string{"a", "b"}, []string{"b", "a"}
	if provisioned(t, one).ID() != provisioned(t, same).ID() {
		t.Error("the order of tags matters")
	}
}

func TestProvisionRefuses(t *testing.T) {
	for want, s := range map[string]*Source{
		"expected the name of a service in Consul, as in: discover consul user": {},
		`expected the name of a service in Consul, found "a/b"`:                 {Service: "a/b"},
		"expected tags, found an empty one":                                     {Service: "a", Tags: []string{""}},
		"address: expected one Consul agent, found 2":                           {Service: "a", Address: "a:1,b:1"},
		"address: expected a port from 1 to 65535":                              {Service: "a", Address: "a:0"},
		"address: expected an absolute path":                                    {Service: "a", Address: "unix/run/consul.sock"},
		"token: ":                                                               {Service: "a", Token: "{env.UNSET_CONSUL_TOKEN}"},
		"tls: expected no handshake_timeout":                                    {Service: "a", TLS: &reverseproxy.TLSConfig{HandshakeTimeout: 1}},
	} {
		wantErr(t, provision(t, s), want)
	}
}

func TestUnmarshalTarget(t *testing.T) {
	for target, want := range map[string]Source{
		"consul://127.0.0.1:8500/user?tag=grpc": {Address: "127.0.0.1:8500", Service: "user", Tags: []string{"grpc"}},
		"consul:///user":                        {Service: "user"},
		"consul+tls://agent/user":               {Address: "agent:8500", Service: "user"},
		"consul:///user?tag=a,b&dc=dc1&ns=shop&partition=web&hold=off": {
			Service: "user", Tags: []string{"a", "b"}, Datacenter: "dc1", Namespace: "shop", Partition: "web", Hold: -1,
		},
		"consul:///user?hold=2m": {Service: "user", Hold: caddy.Duration(2 * time.Minute)},
	} {
		got, err := unmarshalTarget(target)
		if err != nil || asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%s: got %+v, %v, want %+v", target, *got, err, want)
		}
	}
	for target, want := range map[string]string{
		"consul://127.0.0.1:8500":    "expected the name of a service after the host",
		"consul://a,b/user":          "expected one Consul agent, found 2",
		"consul://a:0/user":          "port from 1 to 65535",
		"consul:///a/b":              `expected the name of a service in Consul, found "a/b"`,
		"consul+x:///user":           "expected the scheme consul",
		"consul:///user?token=x":     `found "token"`,
		"consul:///user?tag=a&tag=b": `expected parameter "tag" once`,
		"consul:///user?tag=":        "expected a value for tag",
		"consul:///user?tag=a,":      "expected tags, found an empty one",
		"consul:///user?hold=soon":   "expected a duration, such as 60s, or off",
	} {
		_, err := unmarshalTarget(target)
		wantErr(t, err, want)
	}
}

func unmarshalTarget(text string) (*Source, error) {
	s := new(Source)
	target, err := discovery.ParseTarget(text)
	if err != nil {
		return s, err
	}
	return s, s.UnmarshalTarget(target)
}

func TestUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Source{
		"consul user":                         {Service: "user"},
		"consul user {\ntag grpc\n}":          {Service: "user", Tags: []string{"grpc"}},
		"consul user {\ntag a b\ntag c\n}":    {Service: "user", Tags: []string{"a", "b", "c"}},
		"consul user {\nhold 0\n}":            {Service: "user", Hold: -1},
		"consul user {\naddress unix//a\n}":   {Service: "user", Address: "unix//a"},
		"consul user {\ntls\ndatacenter b\n}": {Service: "user", Datacenter: "b", TLS: new(reverseproxy.TLSConfig)},
		"consul user {\naddress a:1\ndatacenter b\nnamespace c\npartition d\ntoken {env.E}\ntls {\nserver_name f\n}\nhold 5s\n}": {
			Service: "user", Address: "a:1", Datacenter: "b", Namespace: "c", Partition: "d", Token: "{env.E}",
			TLS: &reverseproxy.TLSConfig{ServerName: "f"}, Hold: caddy.Duration(5 * time.Second),
		},
	} {
		got := new(Source)
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, *got, err, want)
		}
	}
	for input, want := range map[string]string{
		"consul":                              "expected one service, as in: discover consul user, at Testfile:1",
		"consul a b":                          "expected one service",
		"consul+srv a":                        "discover consul+srv: expected consul, at Testfile:1",
		"consul a/b":                          `discover consul: expected the name of a service in Consul, found "a/b", at Testfile:1`,
		"consul a {\npassing\n}":              `unknown option "passing" of discover consul: expected address, datacenter, hold, namespace, partition, tag, tls or token, at Testfile:2`,
		"consul a {\ntoken a\ntoken b\n}":     "option token of discover consul is given twice, at Testfile:3",
		"consul a {\ntoken\n}":                "wrong argument count",
		"consul a {\ntag\n}":                  "wrong argument count",
		"consul a {\nhold 1s 2s\n}":           "wrong argument count",
		"consul a {\nhold soon\n}":            `hold "soon": expected a duration, such as 60s, or off, at Testfile:2`,
		"consul a {\ntls {\nverify off\n}\n}": `unknown option "verify" in tls`,
	} {
		wantErr(t, new(Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}

// asJSON is the config of a source.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
