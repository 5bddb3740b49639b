package rpcwire

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// pings returns how many keepalive pings came. A script answers them only if it is told to.
func (s *script) pings() (n int) {
	for _, f := range s.frames(http2.FramePing) {
		if !f.flags.Has(http2.FlagPingAck) {
			n++
		}
	}
	return n
}

func pong(s *script) { _ = s.fr.WritePing(true, [8]byte{}) }

func TestKeepalive(t *testing.T) {
	const every, timeout = 10 * time.Second, 3 * time.Second
	options := Options{KeepaliveTime: every, KeepaliveTimeout: timeout}

	t.Run("a silent peer is pinged and answers", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, options)
			ch := begin(t, c, Request{})
			for range 5 {
				time.Sleep(every - time.Millisecond)
				if n := s.pings(); n != 0 {
					t.Fatalf("%d pings came too early", n)
				}
				time.Sleep(2 * time.Millisecond)
				if n := s.pings(); n != 1 {
					t.Fatalf("%d pings came, want 1", n)
				}
				s.send(pong)
			}
			running(t, ch)
			if e := events.closedWith(); e != nil {
				t.Error(e)
			}
			stop(t, c)
		})
	})
	t.Run("a peer that does not answer is closed", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, options)
			ch := begin(t, c, Request{})
			time.Sleep(every + timeout - time.Millisecond)
			running(t, ch)
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			time.Sleep(2 * time.Millisecond)
			wantError(t, end(t, ch).err, KindLost, codes.Unavailable, false)
			if e := events.closedWith(); e == nil || e.Reason != ReasonKeepalive {
				t.Error(e)
			}
			stop(t, c)
		})
	})
	t.Run("anything is an answer", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, options)
			ch := begin(t, c, Request{})
			time.Sleep(every + timeout/2)
			s.send(ok(1))
			time.Sleep(every - time.Millisecond)
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			time.Sleep(2 * time.Millisecond)
			if n := s.pings(); n != 1 || events.closedWith() != nil {
				t.Errorf("%d pings came, want 1; closed with %v", n, events.closedWith())
			}
			running(t, ch)
			stop(t, c)
		})
	})
	t.Run("a late answer does not delay the next ping", func(t *testing.T) {
		// The answer takes longer than the time between pings, and much less than the timeout.
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{KeepaliveTime: time.Second, KeepaliveTimeout: 20 * time.Second})
			ch := begin(t, c, Request{})
			time.Sleep(2500 * time.Millisecond)
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			s.send(pong)
			time.Sleep(999 * time.Millisecond)
			if n := s.pings(); n != 0 {
				t.Errorf("%d pings came too early", n)
			}
			time.Sleep(2 * time.Millisecond)
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			running(t, ch)
			stop(t, c)
		})
	})
	t.Run("a peer that talks is not pinged", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, options)
			begin(t, c, Request{})
			s.send(ok(1))
			for range 20 {
				time.Sleep(every / 2)
				s.send(data(1, false, framed("")[:1]))
			}
			if n := s.pings(); n != 0 {
				t.Errorf("%d pings came", n)
			}
			stop(t, c)
		})
	})
	t.Run("without calls there are no pings, and the next call begins with one", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, options)
			time.Sleep(10 * every)
			if n := s.pings(); n != 0 {
				t.Errorf("%d pings came", n)
			}
			ch := begin(t, c, Request{})
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			time.Sleep(timeout + time.Millisecond)
			wantError(t, end(t, ch).err, KindLost, codes.Unavailable, false)
			stop(t, c)
		})
	})
	t.Run("pings without calls", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			o := options
			o.PermitWithoutStream = true
			c, s, events := start(t, o)
			time.Sleep(every + time.Millisecond)
			if n := s.pings(); n != 1 {
				t.Errorf("%d pings came, want 1", n)
			}
			time.Sleep(timeout)
			if e := events.closedWith(); e == nil || e.Reason != ReasonKeepalive {
				t.Error(e)
			}
			stop(t, c)
		})
	})
	t.Run("a ping that cannot be written counts", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, options)
			resume := s.pause()
			defer resume()
			begin(t, c, Request{Body: [][]byte{make([]byte, 10_000)}})
			time.Sleep(every + timeout + time.Millisecond)
			synctest.Wait()
			if e := events.closedWith(); e == nil || e.Reason != ReasonKeepalive {
				t.Error(e)
			}
			stop(t, c)
		})
	})
	t.Run("off by default", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{})
			begin(t, c, Request{})
			time.Sleep(24 * time.Hour)
			if n := s.pings(); n != 0 {
				t.Errorf("%d pings came", n)
			}
			stop(t, c)
		})
	})
}

// A server that gets too many pings says so (gRPC's proposal A8). The user must learn that.
func TestTooManyPings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{})
		ch := begin(t, c, Request{})
		s.send(goAway(1, http2.ErrCodeEnhanceYourCalm, "too_many_pings"), hangUp)
		wantError(t, end(t, ch).err, KindLost, codes.Unavailable, false)
		if len(events.draining) != 1 || !events.draining[0].TooManyPings() {
			t.Errorf("draining was told %v", events.draining)
		}
		if e := events.closedWith(); e == nil || e.GoAway == nil || !e.GoAway.TooManyPings() {
			t.Errorf("closed was told %v", e)
		}
		stop(t, c)
	})
}
