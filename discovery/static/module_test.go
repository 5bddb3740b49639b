package static

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func provisioned(t *testing.T, addresses ...string) *Source {
	t.Helper()
	s := &Source{Addresses: addresses}
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := discovery.NewFeed(provisioned(t, "b:1", "10.0.0.1:9001"))
		defer f.Close()
		synctest.Wait()
		got := f.State()
		if !got.Synced || len(got.Endpoints) != 2 || got.Endpoints[0].Addr != "10.0.0.1:9001" || got.Endpoints[1].ID != "b:1" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	provisioned(t, "a:1").Watch(ctx, func(discovery.State) { cancel() })
}

func TestID(t *testing.T) {
	one, same, other := provisioned(t, "a:1", "b:1").ID(), provisioned(t, "b:1", "a:1").ID(), provisioned(t, "a:1").ID()
	if one != same || one == other {
		t.Errorf("IDs %q, %q and %q", one, same, other)
	}
}

func TestProvisionRefuses(t *testing.T) {
	for want, addresses := range map[string][]string{
		"found none":           nil,
		"expected host:port":   {"a"},
		`found "a:1" again`:    {"a:1", "a:1"},
		"not an unspecified":   {"0.0.0.0:1"},
		"port from 1 to 65535": {"a:0"},
		"an absolute path":     {"unix/run/a.sock"},
		`"unix//a" again`:      {"unix//a", "unix+h2c//a"},
	} {
		wantErr(t, (&Source{Addresses: addresses}).Provision(caddy.Context{}), want)
	}
}

func TestUnmarshal(t *testing.T) {
	for target, want := range map[string]string{
		"static:///10.0.0.1:9001,10.0.0.2:9001": "",
		"10.0.0.1:9001":                         "",
		"static+tls:///a:1":                     "",
		"static://10.0.0.1:9001":                "expected three slashes",
		"static:///":                            "found nothing",
		"static:///a":                           "without a port",
		"static:///a:1?x=y":                     "expected no parameters",
		"unix//run/a b.sock":                    "",
		"unix:///run/a%20b.sock":                "",
		"static:///unix//run/a,unix/@b,c:1":     "",
		"static:///unix//run/a,unix//run/a":     "again",
		"unix//run/a,b.sock":                    "without a port",
	} {
		parsed, err := discovery.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		s := new(Source)
		wantErr(t, s.UnmarshalTarget(parsed), want)
		if want == "" {
			wantErr(t, s.Provision(caddy.Context{}), "")
		}
	}
	for input, want := range map[string]string{
		"static a:1 b:1":                 "",
		"static":                         "found none",
		"static a":                       "expected host:port",
		"static unix//a,b \"unix//c d\"": "",
		"static unix//a|0600":            "expected no permissions",
		"static a:1 {\nweight\n}":        `unknown option "weight": discover static has none, at Testfile:2`,
	} {
		s := new(Source)
		wantErr(t, s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
		if want == "" && len(s.Addresses) != 2 {
			t.Errorf("%q: got %q", input, s.Addresses)
		}
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("got error %v, want one with %q", err, text)
	}
}
