package dns

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestUnmarshalTarget(t *testing.T) {
	for target, want := range map[string]Source{
		"dns:///user.internal:9001":                          {Address: "user.internal:9001"},
		"dns+tls:///user.internal:9001?refresh=5s":           {Address: "user.internal:9001", Refresh: caddy.Duration(5 * time.Second)},
		"dns://127.0.0.1:8600,ns/user.service.consul:9001":   {Address: "user.service.consul:9001", Resolvers: []string{"127.0.0.1:8600", "ns:53"}},
		"dns+srv:///_grpc._tcp.user.internal":                {SRV: "_grpc._tcp.user.internal"},
		"dns+srv+tls:///_grpc._tcp.user.internal?refresh=1d": {SRV: "_grpc._tcp.user.internal", Refresh: caddy.Duration(24 * time.Hour)},
	} {
		parsed, err := discovery.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		var got Source
		if err := got.UnmarshalTarget(parsed); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", target, got, err, want)
		}
	}
	for target, want := range map[string]string{
		"dns://user.internal:9001":              "expected three slashes",
		"dns://127.0.0.1:0/user.internal:9001":  "name servers: expected a port from 1 to 65535",
		"dns:///user.internal":                  "expected host:port",
		"dns:///":                               "expected either an address",
		"dns+srv:///":                           "expected either an address",
		"dns+srv:///user.internal:9001":         "expected a name of SRV records",
		"dns+mx:///user.internal":               "expected the scheme dns or dns+srv",
		"dns:///user.internal:9001?refresh=0":   "refresh",
		"dns:///user.internal:9001?refresh=1ms": "at least 1s",
		"dns:///user.internal:9001?ttl=1s":      `found "ttl"`,
	} {
		parsed, err := discovery.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, new(Source).UnmarshalTarget(parsed), want)
	}
}

func TestUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Source{
		"dns user.internal:9001":                  {Address: "user.internal:9001"},
		"dns user.internal:9001 {\nrefresh 5s\n}": {Address: "user.internal:9001", Refresh: caddy.Duration(5 * time.Second)},
		"dns user.internal:9001 {\ntimeout 1s\nresolvers 127.0.0.1:8600 tcp/[::1] {env.NS}\n}": {
			Address: "user.internal:9001", Resolvers: []string{"127.0.0.1:8600", "tcp/[::1]", "{env.NS}"}, Timeout: caddy.Duration(time.Second),
		},
		"dns+srv _grpc._tcp.user.internal {\nrefresh 1m\n}": {SRV: "_grpc._tcp.user.internal", Refresh: caddy.Duration(time.Minute)},
	} {
		var got Source
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, got, err, want)
		}
	}
	for input, want := range map[string]string{
		"dns":                                  "expected one name, as in: discover dns user.internal:9001, at Testfile:1",
		"dns+srv a b":                          "as in: discover dns+srv _grpc._tcp.user.internal",
		"dns user.internal":                    "expected host:port",
		"dns+a user.internal:1":                "discover dns+a: expected dns or dns+srv, at Testfile:1",
		"dns+srv user.internal:1":              "expected a name of SRV records",
		"dns a:1 {\nttl 5s\n}":                 `unknown option "ttl" of discover dns: expected refresh, resolvers or timeout, at Testfile:2`,
		"dns a:1 {\nrefresh 5s\nrefresh 6s\n}": "option refresh of discover dns is given twice, at Testfile:3",
		"dns a:1 {\nrefresh\n}":                "wrong argument count",
		"dns a:1 {\nrefresh soon\n}":           "refresh: ",
		"dns a:1 {\nrefresh 1ms\n}":            "at least 1s",
		"dns a:1 {\nresolvers\n}":              "wrong argument count",
		"dns a:1 {\nresolvers unix//run/ns\n}": `tcp/ns.internal, found the network "unix", at Testfile:2`,
		"dns a:1 {\nresolvers a:1-2\n}":        `expected a name server such as 127.0.0.1:8600 or tcp/ns.internal, found "a:1-2"`,
		"dns a:1 {\nresolvers a:0\n}":          "expected a port from 1 to 65535",
		"dns a:1 {\nresolvers a b@c\n}":        "expected a host name",
		"dns a:1 {\ntimeout 1s\n}":             "discover dns: timeout: expected resolvers, which it is for, at Testfile:1",
		"dns a:1 {\ntimeout 0\n}":              `timeout "0": expected a duration above 0, such as 2s`,
	} {
		wantErr(t, new(Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}

func TestProvision(t *testing.T) {
	s := &Source{Address: "user.internal:9001"}
	wantErr(t, s.Provision(caddy.Context{}), "")
	if s.refresh != 30*time.Second || s.ID() != "dns:///user.internal:9001?refresh=30s" {
		t.Errorf("refresh %v, ID %q", s.refresh, s.ID())
	}
	wantErr(t, (&Source{}).Provision(caddy.Context{}), "expected either")
	wantErr(t, (&Source{Address: "a:1", SRV: "b"}).Provision(caddy.Context{}), "expected either")
	wantErr(t, (&Source{Address: "a:1", Refresh: 1}).Provision(caddy.Context{}), "at least 1s")
	t.Setenv("NS", "127.0.0.1:8600")
	own := &Source{Address: "user.internal:9001", Resolvers: []string{"{env.NS}", "tcp/ns.internal"}}
	wantErr(t, own.Provision(caddy.Context{}), "")
	if want := []nameServer{{addr: "127.0.0.1:8600"}, {tcp: true, addr: "ns.internal:53"}}; !reflect.DeepEqual(own.servers, want) {
		t.Errorf("servers %v, want %v", own.servers, want)
	}
	if own.ID() == s.ID() {
		t.Error("the ID does not tell name servers apart")
	}
	wantErr(t, (&Source{Address: "a:1", Resolvers: []string{"{env.UNSET_NS}"}}).Provision(caddy.Context{}), "resolvers: ")
	wantErr(t, (&Source{Address: "a:1", Resolvers: []string{"a/b"}}).Provision(caddy.Context{}), "expected a name server")
	service := &Source{SRV: "_grpc._tcp.user.internal"}
	wantErr(t, service.Provision(caddy.Context{}), "")
	if service.ID() == s.ID() {
		t.Error("addresses and records have the same ID")
	}
}

// An address needs no name server, so this is the whole source with the resolver of the system.
func TestWatchAnAddress(t *testing.T) {
	s := &Source{Address: "127.0.0.1:9001"}
	wantErr(t, s.Provision(caddy.Context{}), "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Watch(ctx, func(st discovery.State) {
		wantAddrs(t, st, "127.0.0.1:9001")
		cancel()
	})
}

// asking is a source that asks these name servers. Each has half a second to answer.
func asking(servers ...string) *Source {
	return &Source{Address: "user.service.consul:9001", Resolvers: servers, Timeout: caddy.Duration(500 * time.Millisecond)}
}

// found runs the source until its list is complete, or until DNS says a second time that it is not.
func found(t *testing.T, s *Source) discovery.State {
	t.Helper()
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var last discovery.State
	times := 0
	s.Watch(ctx, func(state discovery.State) {
		if last = state; state.Synced || times > 0 {
			cancel()
		}
		times++
	})
	return last
}
