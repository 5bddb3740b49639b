package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/caddy-grpc/gateway/discovery"
)

// socket returns the address of a Unix socket that does not exist yet.
func socket(t *testing.T, name string) string {
	t.Helper()
	addr, err := discovery.ParseUnix("unix/" + filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestUnixSocket(t *testing.T) {
	for name, addr := range map[string]string{
		"path":             socket(t, "a.sock"),
		"path with spaces": socket(t, "a b.sock"),
		"abstract":         "unix/@" + t.TempDir(),
	} {
		t.Run(name, func(t *testing.T) {
			b := startBackend(t, addr)
			f := &manualFeed{}
			c := openChannel(t, Settings{}, f)
			f.list(b.addr)
			ready(t, c)
			if _, err := echo(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := b.header(":authority"); got != "localhost" {
				t.Errorf("authority is %q, want localhost", got)
			}
			if e := c.Snapshot().Endpoints; len(e) != 1 || e[0].Address != addr || e[0].State != StateReady {
				t.Errorf("endpoints: %+v", e)
			}
		})
	}
}

// A socket without a server is dialled again until there is one.
func TestUnixSocketThatComesLater(t *testing.T) {
	addr := socket(t, "a.sock")
	f := &manualFeed{}
	c := openChannel(t, Settings{BackoffBase: time.Millisecond, BackoffMax: time.Millisecond}, f)
	f.list(addr)
	eventually(t, "the failure is known", func() bool { return c.Snapshot().Endpoints[0].State == StateFailing })
	_, err := echo(t.Context(), c)
	wantUnavailable(t, err, Unreachable, "no instance of the service can be reached: its socket does not exist")
	startBackend(t, addr)
	ready(t, c)
}

// Calls in flight end when their time to drain is over, although no TCP connection can be cut.
func TestUnixSocketIsCutWhenItsDrainIsOver(t *testing.T) {
	b := startBackend(t, socket(t, "a.sock"))
	f := &manualFeed{}
	c := openChannel(t, Settings{DrainTimeout: 50 * time.Millisecond}, f)
	f.list(b.addr)
	cs := hang(t, c)
	f.list()
	var lost *LostError
	if err := endOf(t, cs); !errors.As(err, &lost) || !lost.Drained {
		t.Errorf("error is %v, want a LostError for draining", err)
	}
}

// Sockets and addresses are instances alike: weights share out the calls.
func TestUnixSocketHasAWeight(t *testing.T) {
	heavy, light := startBackend(t, socket(t, "a.sock")), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{Balance: BalanceRoundRobin}, f)
	f.publish(synced(
		discovery.Endpoint{ID: "1", Addr: heavy.addr, Weight: 3},
		discovery.Endpoint{ID: "2", Addr: light.addr, Weight: 1},
	))
	eventually(t, "both are ready", func() bool {
		for _, e := range c.Snapshot().Endpoints {
			if e.State != StateReady {
				return false
			}
		}
		return true
	})
	before := heavy.calls.Load()
	for range 40 {
		if _, err := echo(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got := heavy.calls.Load() - before; got < 25 || got > 35 {
		t.Errorf("the heavy instance had %d of 40 calls, want about 30", got)
	}
}

func TestTLSOverAUnixSocket(t *testing.T) {
	ca := newAuthority(t)
	for name, tt := range map[string]struct{ certificate, serverName, authority, want string }{
		"localhost":     {certificate: "localhost", want: "localhost"},
		"another name":  {certificate: "user.internal", serverName: "user.internal", want: "user.internal"},
		"and authority": {certificate: "localhost", authority: "api.internal", want: "api.internal"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, tt.certificate)}, MinVersion: tls.VersionTLS12}
			b := startBackend(t, socket(t, "a.sock"), serverTLS(server))
			f := &manualFeed{}
			c := openChannel(t, Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool, ServerName: tt.serverName}), Authority: tt.authority}, f)
			f.list(b.addr)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := echo(ctx, c); err != nil {
				t.Fatal(err)
			}
			if got := b.header(":authority"); got != tt.want {
				t.Errorf("authority is %q, want %q", got, tt.want)
			}
		})
	}
}
