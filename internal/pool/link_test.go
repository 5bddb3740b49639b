package pool

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpc refuses metadata that HTTP/2 cannot carry before it asks for a connection. Then nobody has
// had the call.
func TestClaimsThatGrpcDoesNotAskForAreReturned(t *testing.T) {
	b := startBackend(t, "")
	for name, call := range map[string]func(c *Channel) error{
		"whole call": func(c *Channel) error {
			var reply mem.BufferSlice
			return c.Invoke(metadata.AppendToOutgoingContext(t.Context(), "not a name", "x"), methodEcho, raw("hello"), &reply)
		},
		"stream": func(c *Channel) error {
			_, err := c.NewStream(metadata.AppendToOutgoingContext(t.Context(), "not a name", "x"), bidi, methodEcho)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openChannel(t, Settings{}, oneInstance(b.addr))
			ready(t, c)
			err := call(c)
			var local *CallError
			if !errors.As(err, &local) || status.Code(err) != codes.Internal || local.Address != "" {
				t.Errorf("error is %v, want an INTERNAL of this process without an instance", err)
			}
			s := c.Snapshot()
			if ep := s.Endpoints[0]; s.Leases != 0 || ep.InFlight != 0 || ep.Picks != 0 || ep.Failures != 0 {
				t.Errorf("%d leases, %d calls in flight, %d picks, %d failures; want none", s.Leases, ep.InFlight, ep.Picks, ep.Failures)
			}
		})
	}
}

func TestMayGoElsewhere(t *testing.T) {
	written, unwritten := evidence{started: true}, evidence{}
	l := new(lease)
	for i, step := range []struct {
		notProcessed bool
		evidence     evidence
		want         bool
	}{
		{notProcessed: false, evidence: unwritten, want: false},
		{notProcessed: true, evidence: unwritten, want: true},
		{notProcessed: false, evidence: unwritten, want: false},
		{notProcessed: true, evidence: unwritten, want: true}, // as often as it takes
		{notProcessed: true, evidence: written, want: true},
		{notProcessed: true, evidence: unwritten, want: true},
		{notProcessed: true, evidence: written, want: false}, // a second instance refuses it
	} {
		l.evidence = step.evidence
		if step.notProcessed {
			l.notProcessed()
		}
		if got := l.mayGoElsewhere(); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	err := (&lease{Context: t.Context(), channel: &Channel{balancer: &balancer{service: "user.rpc"}}}).explain(errNotProcessed, nil)
	if originOf(err) == "" || status.Convert(err).Message() != "the upstream ended the call without a status" {
		t.Errorf("error is %v", err)
	}
}

// grpc says that a stream is over when it was refused, too. The goroutine that sends has then asked
// for another attempt, and the one that receives may be the first to hear of the end.
func TestAttemptsThatWereNotProcessedDoNotEndTheCall(t *testing.T) {
	refused := status.Error(codes.Unavailable, "stream terminated by RST_STREAM with error code: REFUSED_STREAM")
	for _, tc := range []struct {
		name         string
		notProcessed bool
		err          error
		ends         bool
	}{
		{name: "another attempt follows", notProcessed: true, err: refused},
		{name: "another attempt follows, says the picker", notProcessed: true, err: errNotProcessed},
		{name: "the caller has gone before", notProcessed: true, err: status.Error(codes.Canceled, "context canceled"), ends: true},
		{name: "the deadline was before", notProcessed: true, err: status.Error(codes.DeadlineExceeded, "late"), ends: true},
		{name: "grpc did not ask for another", err: refused, ends: true},
		{name: "success", ends: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := openChannel(t, Settings{}, new(manualFeed))
			if !c.acquire() {
				t.Fatal("the channel is closed")
			}
			l := &lease{Context: t.Context(), channel: c}
			l.notProcessed() // by an attempt before
			before := l.unprocessedAttempts.Load()
			if tc.notProcessed {
				l.notProcessed()
				l.mayGoElsewhere() // asked by the goroutine that sends
			}
			if l.attemptEnded(tc.err, before); l.ended.Load() != tc.ends {
				t.Errorf("the call has ended: %v, want %v", !tc.ends, tc.ends)
			}
			l.end(nil)
		})
	}
}

// A connection can be lost after a call has claimed it, and grpc's picker can be newer than the
// claim. Nothing was written, so the call may go elsewhere. It must not wait for a picker that
// nothing causes.
func TestConnectionsThatAreLostAfterTheClaim(t *testing.T) {
	for name, begin := range map[string]func(l *lease, p *pick) error{
		"whole call": func(l *lease, p *pick) error {
			return p.conn.link.invoke(l.whole, l, p)
		},
		"stream": func(l *lease, p *pick) error {
			_, err := p.conn.link.newStream(l, p, bidi, methodEcho, l.channel.options)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			lost, other := startBackend(t, ""), startBackend(t, "")
			f := oneInstance(lost.addr)
			c := openChannel(t, Settings{}, f)
			ready(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c.acquire()
			l := &lease{Context: ctx, channel: c, unary: true}
			if name == "whole call" {
				l.whole = c.newWholeCall()
				l.whole.call = newCall("hello")
			}
			p, err := c.balancer.claim(l)
			if err != nil {
				t.Fatal(err)
			}
			f.list(lost.addr, other.addr)
			eventually(t, "both are connected", func() bool { return readyEndpoints(c) == 2 })
			lost.kill()
			eventually(t, "one has failed", func() bool { return stateOf(c, lost.addr) == "TRANSIENT_FAILURE" })
			time.Sleep(flushMax) // until the last picker is in use

			err = begin(l, p)
			if !l.mayGoElsewhere() {
				t.Fatalf("the call may not go elsewhere: %v", err)
			}
			l.end(err)
			if s := c.Snapshot(); s.Leases != 0 || s.Picks != 0 {
				t.Errorf("%d leases, %d picks; want none", s.Leases, s.Picks)
			}
		})
	}
}
