package rpcwire

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// admit asks for n bytes in a goroutine, which the bubble of the test has.
func admit(ctx context.Context, a *Admission, n int64) <-chan func() {
	ch := make(chan func(), 1)
	go func() { ch <- a.Admit(ctx, n) }()
	synctest.Wait()
	return ch
}

func isAdmitted(ch <-chan func()) bool {
	synctest.Wait()
	return len(ch) == 1
}

// TestAdmission keeps requests from being made while others wait to be written.
func TestAdmission(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := NewAdmission(100_000)
		c, s, _ := start(t, Options{Admission: a})
		huge := admit(t.Context(), a, 1<<20)
		if !isAdmitted(huge) {
			t.Fatal("a huge request must be admitted when nothing waits")
		}
		small := admit(t.Context(), a, 1)
		if isAdmitted(small) {
			t.Fatal("a request is admitted beside a huge one")
		}
		first := begin(t, c, Request{Body: [][]byte{make([]byte, defaultWindow+90_000)}})
		(<-huge)()
		if !isAdmitted(small) {
			t.Fatal("90,000 bytes wait, and 1 more is not admitted")
		}
		release := <-small
		release()
		release() // once more does no harm
		large, after := admit(t.Context(), a, 50_000), admit(t.Context(), a, 1)
		if isAdmitted(large) || isAdmitted(after) {
			t.Error("admitted beyond the limit, or out of turn")
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := admit(ctx, a, 50_000)
		cancel()
		if !isAdmitted(left) {
			t.Error("a client that leaves still waits")
		}
		(<-left)()
		s.send(windowUpdate(0, 50_000), windowUpdate(1, 50_000))
		if !isAdmitted(large) || !isAdmitted(after) {
			t.Error("not admitted though there is room")
		}
		(<-large)()
		(<-after)()
		s.send(rst(1, http2.ErrCodeCancel))
		end(t, first)
		if a.backlog.Load() != 0 || a.reserved != 0 || a.queued.Load() != 0 {
			t.Errorf("%d bytes wait, %d are reserved, %d requests are queued", a.backlog.Load(), a.reserved, a.queued.Load())
		}
		begin(t, c, Request{Body: [][]byte{make([]byte, 1<<20)}})
		last := admit(t.Context(), a, 1)
		c.Close("done")
		if !isAdmitted(last) {
			t.Error("a connection that is closed makes a request wait")
		}
		(<-last)()
		stop(t, c)
		if a.conns.Load() != 0 || a.backlog.Load() != 0 {
			t.Errorf("%d connections and %d bytes are left", a.conns.Load(), a.backlog.Load())
		}
	})
}

// TestAdmissionIsPatientForAWhile has slow clients, which reserve room and send nothing, and a
// connection that is stuck.
func TestAdmissionIsPatientForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := NewAdmission(100_000)
		c, _, _ := start(t, Options{Admission: a})
		began := time.Now()
		a.Admit(t.Context(), 100_000) // and never released
		release := a.Admit(t.Context(), 100_000)
		if waited := time.Since(began); waited != reservedFor {
			t.Errorf("the next request waited %v, want %v", waited, reservedFor)
		}
		release()
		begin(t, c, Request{Body: [][]byte{make([]byte, defaultWindow+200_000)}})
		synctest.Wait()
		began = time.Now()
		a.Admit(t.Context(), 1)()
		if waited := time.Since(began); waited != admitWithin {
			t.Errorf("a request waited %v for a stuck connection, want %v", waited, admitWithin)
		}
		if a.queued.Load() != 0 || len(a.waiting) != 0 {
			t.Error("who does not wait any more is still queued")
		}
		stop(t, c)
	})
}

// TestAdmissionIsShared has a connection that is stuck beside one that is not.
func TestAdmissionIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := NewAdmission(100_000)
		stuck, _, _ := start(t, Options{Admission: a})
		other, _, _ := start(t, Options{Admission: a})
		for range 3 {
			begin(t, stuck, Request{Body: [][]byte{make([]byte, defaultWindow+100_000)}})
		}
		synctest.Wait()
		if got := a.backlog.Load(); got != 100_000 {
			t.Errorf("a stuck connection counts %d bytes, want its share", got)
		}
		ch := admit(t.Context(), a, 90_000)
		if !isAdmitted(ch) {
			t.Error("a stuck connection takes the room of another one")
		}
		(<-ch)()
		stop(t, stuck)
		stop(t, other)
	})
}

// TestAdmissionWithoutConnections makes nobody wait.
func TestAdmissionWithoutConnections(t *testing.T) {
	a := NewAdmission(1)
	for range 3 {
		a.Admit(t.Context(), 1<<20)
	}
}
