package caddyfile_test

import (
	"strings"
	"testing"
)

// TestErrorsOfBalance compares the exact messages of errors in balance, retry and eject.
func TestErrorsOfBalance(t *testing.T) {
	for _, tc := range []struct{ option, want string }{
		{"balance random", `balance "random": expected p2c, round_robin or hash <placeholder>, at Caddyfile:4`},
		{"balance", "balance: expected p2c, round_robin or hash <placeholder>, at Caddyfile:4"},
		{"balance hash", "balance hash: expected a placeholder, such as {http.request.header.X-User}, at Caddyfile:4"},
		{"balance p2c {path}", "balance p2c: expected no argument, at Caddyfile:4"},
		{"retry", "retry: expected <attempts> or off, at Caddyfile:4"},
		{"retry 0", `retry "0": expected a number above 0, or off, at Caddyfile:4`},
		{"retry off {\nbackoff 1s\n}", "retry off takes no block, at Caddyfile:5"},
		{"retry 3 {\nbackoff 2s 1s\n}", "backoff: the maximum 1s is below the base 2s, at Caddyfile:5"},
		{"retry 3 {\nbackoff\n}", "backoff: expected <base> [<max>], at Caddyfile:5"},
		{"retry 3 {\non internal\n}", `on "internal": expected unavailable, at Caddyfile:5`},
		{"retry 3 {\nbudget 20\n}", `unknown option "budget" in retry: expected one of backoff, on, at Caddyfile:5`},
		{"eject", "eject: expected <failures> [<base time>] or off, at Caddyfile:4"},
		{"eject never", `eject "never": expected a number above 0, or off, at Caddyfile:4`},
		{"eject 5 soon", `eject "soon": expected a duration above 0, such as 5s, at Caddyfile:4`},
		{"eject off {\nmax_percent 5\n}", "eject off takes no block, at Caddyfile:5"},
		{"eject 5 {\nmax_percent 101\n}", `max_percent "101": expected a number from 1 to 100, at Caddyfile:5`},
		{"connections 0", `connections "0": expected a number above 0, at Caddyfile:4`},
		{"connections 8 2", "connections: the maximum 2 is below the minimum 8, at Caddyfile:4"},
	} {
		t.Run(tc.option, func(t *testing.T) {
			_, err := adapt(t, ":8080\ngrpc_gateway {\nupstream a {\n"+tc.option+"\n}\n}")
			if err == nil {
				t.Fatalf("accepted, want %s", tc.want)
			}
			if got := strings.TrimPrefix(err.Error(), "parsing caddyfile tokens for 'grpc_gateway': "); got != tc.want {
				t.Errorf("got:  %s\nwant: %s", got, tc.want)
			}
		})
	}
}
