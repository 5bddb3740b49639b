package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/discovery"
)

func init() {
	caddy.RegisterModule(new(testApp))
}

// testApp replaces the app grpc_gateway: it has clusters, and loads guests in its own Provision.
type testApp struct {
	Clusters map[string]*Cluster `json:"etcd,omitempty"`
	Guests   []json.RawMessage   `json:"guests,omitempty" caddy:"namespace=http.grpc_gateway.discovery inline_key=source"`
}

func (*testApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "grpc_gateway", New: func() caddy.Module { return new(testApp) }}
}

func (a *testApp) Provision(ctx caddy.Context) error {
	for name, c := range a.Clusters {
		if err := c.Provision(ctx); err != nil {
			return fmt.Errorf("etcd cluster %s: %w", name, err)
		}
	}
	guests, err := ctx.LoadModule(a, "Guests")
	if err != nil {
		return err
	}
	for _, g := range guests.([]any) {
		provisionedIDs = append(provisionedIDs, g.(discovery.Source).ID())
	}
	return nil
}

func (*testApp) Start() error { return nil }
func (*testApp) Stop() error  { return nil }

func (a *testApp) EtcdCluster(name string) (*Cluster, error) {
	if c, ok := a.Clusters[name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("no etcd cluster %s is defined", name)
}

var provisionedIDs []string

// provision loads the app and returns the IDs of its guests.
func provision(t *testing.T, app string) ([]string, error) {
	t.Helper()
	provisionedIDs = nil
	err := caddy.Validate(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"grpc_gateway": json.RawMessage(app)},
	})
	return provisionedIDs, err
}

func TestProvision(t *testing.T) {
	t.Setenv("TEST_ETCD_PASSWORD", "secret")
	t.Setenv("TEST_ETCD_KEY", "prod/user")
	for name, c := range map[string]struct {
		app  string
		want string // ID without the fingerprint
		err  string
	}{
		"the default cluster, from within the app": {
			`{"etcd":{"default":{"endpoints":["h2","h1"]}},"guests":[{"source":"etcd","key":"user.rpc"}]}`,
			"etcd://h1:2379,h2:2379/user.rpc/?layout=auto#", "",
		},
		"another cluster": {
			`{"etcd":{"a":{"endpoints":["h1"]},"b":{"endpoints":["h2"]}},"guests":[{"source":"etcd","cluster":"b","key":"echo","layout":"kitex"}]}`,
			"etcd://h2:2379/kitex/registry-etcd/echo/?layout=kitex#", "",
		},
		"endpoints of its own": {
			`{"guests":[{"source":"etcd","endpoints":["h3:1"],"key":"user"}]}`,
			"etcd://h3:1/user/?layout=auto#", "",
		},
		"a key of the environment": {
			`{"guests":[{"source":"etcd","endpoints":["h3:1"],"key":"{env.TEST_ETCD_KEY}.rpc"}]}`,
			"etcd://h3:1/prod/user.rpc/?layout=auto#", "",
		},
		"a key of nothing": {`{"guests":[{"source":"etcd","endpoints":["h3:1"],"key":"{env.TEST_NOT_SET}"}]}`, "", "key"},
		"a hold of its own": {
			`{"guests":[{"source":"etcd","endpoints":["h3:1"],"key":"user","hold":"30s"}]}`,
			"etcd://h3:1/user/?layout=auto&hold=30s#", "",
		},
		"no hold": {
			`{"guests":[{"source":"etcd","endpoints":["h3:1"],"key":"user","hold":-1}]}`,
			"etcd://h3:1/user/?layout=auto&hold=0s#", "",
		},
		"a login":                   {`{"etcd":{"default":{"endpoints":["h1"],"username":"root","password":"{env.TEST_ETCD_PASSWORD}"}},"guests":[{"source":"etcd","key":"u"}]}`, "etcd://h1:2379/u/?layout=auto#", ""},
		"a cluster that is not":     {`{"guests":[{"source":"etcd","key":"user"}]}`, "", "no etcd cluster default is defined"},
		"cluster and endpoints":     {`{"guests":[{"source":"etcd","cluster":"a","endpoints":["h1"],"key":"user"}]}`, "", "found both"},
		"no key":                    {`{"guests":[{"source":"etcd","endpoints":["h1"]}]}`, "", "expected an etcd key"},
		"unknown layout":            {`{"guests":[{"source":"etcd","endpoints":["h1"],"key":"u","layout":"x"}]}`, "", "unknown etcd layout"},
		"unknown option":            {`{"guests":[{"source":"etcd","endpoints":["h1"],"key":"u","holt":1}]}`, "", "unknown field"},
		"a bad endpoint":            {`{"guests":[{"source":"etcd","endpoints":["h1:0"],"key":"u"}]}`, "", "port from 1 to 65535"},
		"no endpoints":              {`{"etcd":{"default":{}}}`, "", "found none"},
		"half a login":              {`{"etcd":{"default":{"endpoints":["h1"],"username":"root"}}}`, "", "both a username and a password"},
		"a secret that is not":      {`{"etcd":{"default":{"endpoints":["h1"],"username":"root","password":"{env.TEST_ETCD_NOTHING}"}}}`, "", "password: "},
		"a timeout below zero":      {`{"etcd":{"default":{"endpoints":["h1"],"dial_timeout":"-1s"}}}`, "", "above zero"},
		"a certificate that is not": {`{"etcd":{"default":{"endpoints":["h1"],"tls":{"root_ca_pem_files":["/does/not/exist.pem"]}}}}`, "", "no such file"},
		"options without meaning":   {`{"etcd":{"default":{"endpoints":["h1"],"tls":{"except_ports":["1"]}}}}`, "", "no meaning here"},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := provision(t, c.app)
			wantErr(t, err, c.err)
			if c.want == "" {
				return
			}
			if len(ids) != 1 || !strings.HasPrefix(ids[0], c.want) {
				t.Errorf("IDs %q, want %q…", ids, c.want)
			}
			if strings.Contains(strings.Join(ids, ""), "secret") {
				t.Errorf("IDs %q have a secret in them", ids)
			}
		})
	}
}

func TestIDsTellCredentialsApart(t *testing.T) {
	ids, err := provision(t, `{
		"etcd": {
			"default": {"endpoints": ["h1"]},
			"same":    {"endpoints": ["h1:2379"]},
			"other":   {"endpoints": ["h1"], "username": "u", "password": "p"},
			"tls":     {"endpoints": ["h1"], "tls": {}}
		},
		"guests": [
			{"source": "etcd", "key": "u"},
			{"source": "etcd", "key": "u", "cluster": "same"},
			{"source": "etcd", "key": "u", "cluster": "other"},
			{"source": "etcd", "key": "u", "cluster": "tls"},
			{"source": "etcd", "key": "u", "layout": "plain"}
		]
	}`)
	if err != nil {
		t.Fatal(err)
	}
	if ids[0] != ids[1] {
		t.Errorf("equal clusters have different IDs %q and %q", ids[0], ids[1])
	}
	for i := 2; i < len(ids); i++ {
		for j := range i {
			if ids[i] == ids[j] && i != 1 {
				t.Errorf("sources %d and %d have the same ID %q", j, i, ids[i])
			}
		}
	}
}

// One cluster serves any number of guests, although Caddy clears the raw config of a CA when it is
// loaded. A changed certificate under the same name makes no other client, because it is followed.
func TestTLSOfSharedClusters(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	load := func() []string {
		writeCertificate(t, file)
		ids, err := provision(t, `{
			"etcd": {"default": {"endpoints": ["h1"], "tls": {"ca": {"provider": "file", "pem_files": [`+fmt.Sprintf("%q", file)+`]}}}},
			"guests": [{"source": "etcd", "key": "u"}, {"source": "etcd", "key": "u"}]
		}`)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	first, second := load(), load()
	if first[0] != first[1] {
		t.Errorf("two guests of one cluster have the IDs %q", first)
	}
	if first[0] != second[0] {
		t.Error("a renewed certificate makes another client")
	}
	c := &Cluster{Endpoints: []string{"h1"}, TLS: &reverseproxy.TLSConfig{CARaw: json.RawMessage(fmt.Sprintf(`{"provider":"file","pem_files":[%q]}`, file))}}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for range 2 {
		if err := c.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		if c.settings.tls.Config().RootCAs == nil || c.TLS.CARaw == nil {
			t.Error("the certificate authority was lost")
		}
	}
}

func writeCertificate(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSharesTheClient(t *testing.T) {
	srv := startServer(t)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	states := make(chan discovery.State, 100)
	var key string
	for range 2 {
		s := &Source{Endpoints: []string{srv.addr}, Key: "user"}
		cctx, cancelConfig := caddy.NewContext(caddy.Context{Context: context.Background()})
		if err := s.Provision(cctx); err != nil {
			t.Fatal(err)
		}
		cancelConfig() // the watch outlives the config
		key = s.settings.fingerprint
		wg.Go(func() { s.Watch(ctx, func(s discovery.State) { states <- s }) })
	}
	for found := 0; found < 2; {
		select {
		case s := <-states:
			if s.Hold != defaultHold {
				t.Fatalf("state %+v, want one with the default hold", s)
			}
			if len(s.Endpoints) == 2 && s.Err == nil {
				found++
			}
		case <-ctx.Done():
			t.Fatal("no instances were found")
		}
	}
	if n, _ := clients.References(key); n != 2 {
		t.Errorf("%d users of the client, want 2", n)
	}
	cancel()
	wg.Wait()
	if n, there := clients.References(key); there {
		t.Errorf("%d users of the client are left", n)
	}
}

func TestUnmarshalTarget(t *testing.T) {
	for target, want := range map[string]Source{
		"etcd://127.0.0.1:2379/user.rpc":              {Endpoints: []string{"127.0.0.1:2379"}, Key: "user.rpc"},
		"etcd://h1,h2:2380/user.rpc":                  {Endpoints: []string{"h1:2379", "h2:2380"}, Key: "user.rpc"},
		"etcd+tls://h1/user.rpc":                      {Endpoints: []string{"h1:2379"}, Key: "user.rpc"},
		"etcd://h1//microservices/user?layout=kratos": {Endpoints: []string{"h1:2379"}, Key: "/microservices/user", Layout: "kratos"},
		"etcd:///user.rpc":                            {Key: "user.rpc"},
		"etcd:///user.rpc?cluster=b&layout=plain":     {Key: "user.rpc", Cluster: "b", Layout: "plain"},
		"etcd://h1/user?hold=1m30s":                   {Endpoints: []string{"h1:2379"}, Key: "user", Hold: caddy.Duration(90 * time.Second)},
		"etcd://h1/user?hold=off":                     {Endpoints: []string{"h1:2379"}, Key: "user", Hold: -1},
	} {
		got, err := unmarshalTarget(target)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", target, *got, err, want)
		}
	}
	for target, want := range map[string]string{
		"etcd://h1:2379":              "expected a key after the hosts, as in etcd://127.0.0.1:2379/user.rpc",
		"etcd://h1:2379/":             "expected a key after the hosts",
		"etcd://h1:x/user":            "port from 1 to 65535",
		"etcd://h1,/user":             "found nothing",
		"etcd://h1/user?holt=1s":      `found "holt"`,
		"etcd://h1/user?hold=x":       "hold \"x\": expected a duration, such as 60s, or off",
		"etcd://h1/user?layout=":      "expected a value for layout",
		"etcd://h1/user?layout=zk":    "unknown etcd layout",
		"etcd://h1/user?cluster=b":    "found both",
		"etcd+x://h1/user?cluster=b":  "expected the scheme etcd",
		"etcd:///u?layout=a&layout=b": `expected parameter "layout" once`,
	} {
		_, err := unmarshalTarget(target)
		wantErr(t, err, want)
	}
}

func unmarshalTarget(s string) (*Source, error) {
	src := new(Source)
	target, err := discovery.ParseTarget(s)
	if err != nil {
		return src, err
	}
	return src, src.UnmarshalTarget(target)
}

func TestUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Source{
		"etcd user.rpc":                            {Key: "user.rpc"},
		"etcd user.rpc {\n}":                       {Key: "user.rpc"},
		"etcd user {\ncluster b\nlayout kratos\n}": {Key: "user", Cluster: "b", Layout: "kratos"},
		"etcd user {\nhold 30s\n}":                 {Key: "user", Hold: caddy.Duration(30 * time.Second)},
		"etcd user {\nhold off\n}":                 {Key: "user", Hold: -1},
		"etcd user {\nhold 0\n}":                   {Key: "user", Hold: -1},
		"etcd user {\nendpoints h1 h2:2380\n}":     {Key: "user", Endpoints: []string{"h1", "h2:2380"}},
		"etcd user {\nuser gateway {env.PASSWORD}\nhold off\nendpoints https://h1\ntls {\nserver_name etcd.internal\n}\ndial_timeout 1s\nkeepalive 20s 2s\n}": {
			Key: "user", Hold: -1, Endpoints: []string{"https://h1"}, Username: "gateway", Password: "{env.PASSWORD}",
			TLS: &reverseproxy.TLSConfig{ServerName: "etcd.internal"}, DialTimeout: caddy.Duration(time.Second),
			KeepaliveTime: caddy.Duration(20 * time.Second), KeepaliveTimeout: caddy.Duration(2 * time.Second),
		},
	} {
		got := new(Source)
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, *got, err, want)
		}
	}
	for input, want := range map[string]string{
		"etcd":                                  "expected one key",
		"etcd a b":                              "expected one key",
		"etcd+x a":                              "discover etcd+x: expected etcd, at Testfile:1",
		"etcd /":                                "expected an etcd key",
		"etcd a {\nholt 60s\n}":                 `unknown option "holt" of discover etcd: expected cluster, dial_timeout, endpoints, hold, keepalive, layout, tls or user, at Testfile:2`,
		"etcd a {\nhold -1s\n}":                 "hold \"-1s\": expected a duration, such as 60s, or off, at Testfile:2",
		"etcd a {\nhold soon\n}":                "hold \"soon\": expected a duration, such as 60s, or off, at Testfile:2",
		"etcd a {\nhold 1s\nhold 2s\n}":         "option hold of discover etcd is given twice, at Testfile:3",
		"etcd a {\nlayout auto\nlayout x\n}":    "option layout of discover etcd is given twice, at Testfile:3",
		"etcd a {\nlayout zk\n}":                "unknown etcd layout",
		"etcd a {\ncluster\n}":                  "wrong argument count",
		"etcd a {\ncluster b c\n}":              "wrong argument count",
		"etcd a {\nendpoints\n}":                "endpoints: expected at least one host:port, at Testfile:2",
		"etcd a {\ncluster b\nendpoints h\n}":   "discover etcd: expected either a cluster or endpoints of etcd, found both, at Testfile:1",
		"etcd a {\nuser u p\n}":                 "discover etcd: expected endpoints with user, tls, dial_timeout or keepalive: a named cluster has its own settings, at Testfile:1",
		"etcd a {\nendpoints h\ntls on\n}":      "tls: expected no argument, or a block, at Testfile:3",
		"etcd a {\nkeepalive 1s 2s 3s\n}":       "keepalive: expected <time> [<timeout>], at Testfile:2",
		"etcd a {\nkeepalive 0\n}":              `keepalive "0": expected a duration above 0, such as 5s, at Testfile:2`,
		"etcd a {\nendpoints h\nendpoints i\n}": "option endpoints of discover etcd is given twice, at Testfile:3",
	} {
		wantErr(t, new(Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}
