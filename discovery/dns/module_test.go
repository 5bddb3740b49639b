package dns

import (
	"context"
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
		"dns+srv:///_grpc._tcp.user.internal":                {SRV: "_grpc._tcp.user.internal"},
		"dns+srv+tls:///_grpc._tcp.user.internal?refresh=1d": {SRV: "_grpc._tcp.user.internal", Refresh: caddy.Duration(24 * time.Hour)},
	} {
		parsed, err := discovery.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		var got Source
		if err := got.UnmarshalTarget(parsed); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", target, got, err, want)
		}
	}
	for target, want := range map[string]string{
		"dns://8.8.8.8/user.internal:9001":      "expected three slashes",
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
		"dns user.internal:9001":                            {Address: "user.internal:9001"},
		"dns user.internal:9001 {\nrefresh 5s\n}":           {Address: "user.internal:9001", Refresh: caddy.Duration(5 * time.Second)},
		"dns+srv _grpc._tcp.user.internal {\nrefresh 1m\n}": {SRV: "_grpc._tcp.user.internal", Refresh: caddy.Duration(time.Minute)},
	} {
		var got Source
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", input, got, err, want)
		}
	}
	for input, want := range map[string]string{
		"dns":                                  "expected one name, as in: discover dns user.internal:9001, at Testfile:1",
		"dns+srv a b":                          "as in: discover dns+srv _grpc._tcp.user.internal",
		"dns user.internal":                    "expected host:port",
		"dns+a user.internal:1":                "discover dns+a: expected dns or dns+srv, at Testfile:1",
		"dns+srv user.internal:1":              "expected a name of SRV records",
		"dns a:1 {\nttl 5s\n}":                 `unknown option "ttl" of discover dns: expected refresh, at Testfile:2`,
		"dns a:1 {\nrefresh 5s\nrefresh 6s\n}": "option refresh of discover dns is given twice, at Testfile:3",
		"dns a:1 {\nrefresh\n}":                "wrong argument count",
		"dns a:1 {\nrefresh soon\n}":           "refresh: ",
		"dns a:1 {\nrefresh 1ms\n}":            "at least 1s",
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
