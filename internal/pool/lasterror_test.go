package pool

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// The last error of an instance has a time. It is gone once the instance is connected again.
func TestLastErrorEndsWithAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		b.list("a")
		synctest.Wait()
		g.sub("a").refuse()
		synctest.Wait()
		s := b.snapshot()
		if e := s.Endpoints[0]; e.LastError != "refused" || !e.LastErrorAt.Equal(time.Now()) || s.LastError != "refused" {
			t.Errorf("while it cannot be connected: %+v, %q", e, s.LastError)
		}
		g.sub("a").become(connectivity.Ready, nil)
		synctest.Wait()
		s = b.snapshot()
		if e := s.Endpoints[0]; e.LastError != "" || !e.LastErrorAt.IsZero() || s.LastError != "" {
			t.Errorf("connected: %+v, %q", e, s.LastError)
		}
	})
}

// The error of a call is gone once a call succeeds. A call that fails in another way does not clear
// it.
func TestLastErrorEndsWithACall(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{RetryAttempts: 1}, f)
	f.list(b.addr)
	ready(t, c)
	for _, step := range []struct {
		code codes.Code
		want string // in the last error
	}{
		{codes.Internal, "Internal"},
		{codes.NotFound, "Internal"},
		{codes.OK, ""},
		{codes.NotFound, ""},
	} {
		b.fails.Store(&failing{code: step.code})
		if step.code == codes.OK {
			b.fails.Store(nil)
		}
		if _, err := echo(t.Context(), c); status.Code(err) != step.code {
			t.Fatalf("expected %v, found %v", step.code, err)
		}
		e := c.Snapshot().Endpoints[0]
		if (e.LastError == "") != (step.want == "") || !strings.Contains(e.LastError, step.want) || e.LastErrorAt.IsZero() != (step.want == "") {
			t.Errorf("after %v the last error is %q of %v", step.code, e.LastError, e.LastErrorAt)
		}
	}
}
