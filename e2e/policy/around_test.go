package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// secret is the value of the header that the block of a guarded site sets. Clients do not know it.
const secret = "set by the block"

// fortress is a Caddy with two sites before the same backends. At guarded a block sets a header of
// each call, which tells the calls that went through it. At closed a block refuses every call.
type fortress struct {
	services, hidden *witness
	// Addresses, without TLS and with it.
	guarded, guardedTLS, closed, closedTLS string
}

func startFortress(t *testing.T) *fortress {
	t.Helper()
	f := &fortress{
		services:   startWitness(t),
		hidden:     startWitness(t, testkit.WithoutServices(), testkit.WithReflection(false, false)),
		guardedTLS: kit.FreeAddr(t), closed: kit.FreeAddr(t), closedTLS: kit.FreeAddr(t),
	}
	handler := func(block string) string {
		return `
	bind 127.0.0.1
	grpc_gateway services hidden {
		route * /any/{text} gateway.test.v1.Echo/Unary
		cors https://app.example.com
		forms on
		stream {
			websocket_unary on
		}
		with gateway.test.v1.Echo/* gateway.test.v1.Library hidden.v1.* {
			` + block + `
		}
	}
`
	}
	guard, wall := handler(`request_header X-Guard "`+secret+`"`), handler("error 403")
	site := func(scheme, addr, handler string) string {
		_, port, _ := strings.Cut(addr, ":")
		if scheme == "https" {
			return fmt.Sprintf("https://127.0.0.1:%s, https://localhost:%s, https://other.example:%s {\ntls internal\n%s}\n", port, port, port, handler)
		}
		return fmt.Sprintf("http://:%s {%s}\n", port, handler)
	}
	caddy := kit.StartCaddy(t, kit.Options{
		Binary: withPlugins(t),
		Whole: func(c *kit.Caddy) string {
			f.guarded = c.Listen
			return fmt.Sprintf("{\nservers {\nprotocols h1 h2 h2c h3\n}\nskip_install_trust\nauto_https disable_redirects\n"+
				"grpc_gateway {\nupstream services {\ndiscover static %s\n}\nupstream hidden {\ndiscover static %s\n}\n}\n}\n",
				f.services.Addr(), f.hidden.Addr()) +
				site("http", f.guarded, guard) + site("https", f.guardedTLS, guard) + site("http", f.closed, wall) + site("https", f.closedTLS, wall)
		},
	})
	caddy.WaitReady(t, 30*time.Second, f.services.Addr(), f.hidden.Addr())
	return f
}

// take returns the calls that have come to either backend.
func (f *fortress) take() []arrival { return append(f.services.take(), f.hidden.take()...) }

// TestNoWayAround sends every attempt over every version of HTTP that can say it. Each must be
// refused, or have gone through the block.
func TestNoWayAround(t *testing.T) {
	f := startFortress(t)
	for _, version := range []struct {
		name            string
		guarded, closed send
	}{
		{"HTTP/1.1", http1(f.guarded), http1(f.closed)},
		{"HTTP/2 without TLS", http2Frames(f.guarded, false), http2Frames(f.closed, false)},
		{"HTTP/2", http2Frames(f.guardedTLS, true), http2Frames(f.closedTLS, true)},
		{"HTTP/3", http3Client(t, f.guardedTLS), http3Client(t, f.closedTLS)},
	} {
		t.Run(version.name, func(t *testing.T) {
			ended := map[outcome]int{}
			for i, a := range attempts() {
				if !strings.HasPrefix(version.name, a.only) {
					continue
				}
				id := fmt.Sprint(i)
				a.headers = append(slices.Clone(a.headers), "X-Attempt: "+id)
				ended[f.try(t, version.guarded, a, id)]++
				// A call that came past this block has no header of the other.
				version.closed(t, a.raw)
				f.came(t, a, id)
			}
			// Attempts that all fail show nothing.
			if ended[inside] < 80 || ended[refused] < 80 {
				t.Errorf("%v: want at least 80 of each", ended)
			}
			t.Logf("%v", ended)
		})
	}
}

// try makes one attempt, and judges it by the calls that have come to the backends.
func (f *fortress) try(t *testing.T, send send, a attempt, id string) outcome {
	t.Helper()
	status := send(t, a.raw)
	if status == skipped {
		return "skipped"
	}
	came := f.came(t, a, id)
	// The answer to a handshake may come before the call comes to the backend.
	for start := time.Now(); a.want == inside && came == "" && time.Since(start) < patience; {
		time.Sleep(10 * time.Millisecond)
		came = f.came(t, a, id)
	}
	switch {
	case came == "" && a.want == inside:
		t.Errorf("%s (%s %s): no call came to a backend, status %d", a.name, a.method, a.target, status)
	case came == "":
		return refused
	case a.want == refused:
		t.Errorf("%s (%s %s): %s was called, want it refused (status %d)", a.name, a.method, a.target, came, status)
	}
	return inside
}

// came returns the method that an attempt has called, if it came to a backend. It fails the test
// for every call that did not go through the block.
func (f *fortress) came(t *testing.T, a attempt, id string) (method string) {
	t.Helper()
	for _, c := range f.take() {
		if got := c.md.Get("x-guard"); len(got) != 1 || got[0] != secret {
			t.Errorf("%s (%s %s): %s was called around the block, or with its header spoiled: x-guard is %.200q", a.name, a.method, a.target, c.method, got)
		}
		if slices.Equal(c.md.Get("x-attempt"), []string{id}) {
			method = c.method
		}
	}
	return method
}
