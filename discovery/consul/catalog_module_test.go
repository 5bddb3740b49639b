package consul

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func provisionedCatalog(t testing.TB, c *Catalog) *Catalog {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := c.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCatalogID(t *testing.T) {
	found := map[string]string{"source": provisioned(t, &Source{Service: "user"}).ID()}
	for name, c := range map[string]*Catalog{
		"default":    {},
		"address":    {Address: "127.0.0.1:8501"},
		"tags":       {Tags: []string{"grpc"}},
		"queries":    {Queries: 10},
		"datacenter": {Datacenter: "a"},
		"namespace":  {Namespace: "a"},
		"partition":  {Partition: "a"},
		"token":      {Token: "s3cret"},
		"hold":       {Hold: -1},
	} {
		id := provisionedCatalog(t, c).ID()
		for twin, other := range found {
			if id == other {
				t.Errorf("%s and %s have the ID %s", name, twin, id)
			}
		}
		if strings.Contains(id, "s3cret") {
			t.Errorf("the ID %s has the token", id)
		}
		found[name] = id
	}
	if got, want := provisionedCatalog(t, &Catalog{Queries: defaultQueries}).ID(), found["default"]; got != want {
		t.Errorf("ID %s, want %s", got, want)
	}
}

func TestCatalogProvisionRefuses(t *testing.T) {
	for want, c := range map[string]*Catalog{
		"queries -1: expected a number from 1 to 10000":    {Queries: -1},
		"expected tags, found an empty one":                {Tags: []string{""}},
		"token: ":                                          {Token: "{env.UNSET_CONSUL_TOKEN}"},
		"address: expected one Consul agent, found 2":      {Address: "a:1,b:1"},
		"queries 10001: expected a number from 1 to 10000": {Queries: 10_001},
	} {
		if err := c.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestCatalogUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Catalog{
		"consul":                {},
		"consul 10.0.0.1:8500":  {Address: "10.0.0.1:8500"},
		"consul {\ntag a b\n}":  {Tags: []string{"a", "b"}},
		"consul {\nhold off\n}": {Hold: -1},
		"consul {env.HOST_IP}:8500 {\ntag a\nqueries 9\ndatacenter d\nnamespace n\npartition p\ntoken t\nhold 5s\n}": {
			Address: "{env.HOST_IP}:8500", Tags: []string{"a"}, Queries: 9, Datacenter: "d", Namespace: "n", Partition: "p", Token: "t",
			Hold: caddy.Duration(5 * time.Second),
		},
	} {
		got := new(Catalog)
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil {
			t.Errorf("%q: %v", input, err)
		}
		if read, wanted := asJSON(t, got), asJSON(t, &want); read != wanted {
			t.Errorf("%q: got %s, want %s", input, read, wanted)
		}
	}
	got := new(Catalog)
	if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser("consul {\ntls {\nserver_name x\n}\n}")); err != nil || got.TLS == nil || got.TLS.ServerName != "x" {
		t.Errorf("tls: got %+v, %v", got, err)
	}
	for input, want := range map[string]string{
		"consul a:1 b:1":                   "expected one address of a Consul agent at most, at Testfile:1",
		"etcd /":                           "catalog etcd: expected consul",
		"consul {\naddress a:1\n}":         `unknown option "address" of catalog consul: expected datacenter, hold, namespace, partition, queries, tag, tls or token, or an option of every catalog`,
		"consul {\nqueries many\n}":        `queries "many": expected a number from 1 to 10000, at Testfile:2`,
		"consul {\nqueries 0\n}":           `queries "0": expected a number from 1 to 10000`,
		"consul {\nqueries\n}":             "wrong argument count",
		"consul {\nqueries 1\nqueries 2\n": "option queries of catalog consul is given twice",
	} {
		if err := new(Catalog).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", input, err, want)
		}
	}
}
