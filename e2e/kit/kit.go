// Package kit has what the end-to-end tests share: real etcd servers, a real Caddy process with the
// plugin, load with request ids. It is not for unit tests; those have internal/testkit.
package kit

import (
	"testing"
	"time"
)

// Eventually calls check until it returns nil, and fails the test with its last error after the
// limit. The limit is how long to wait before giving up, not a promise; promises about time are
// measured where they are made.
func Eventually(t testing.TB, limit time.Duration, what string, check func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
