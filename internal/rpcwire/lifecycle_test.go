package rpcwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

func TestDrain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		first := begin(t, c, Request{})
		waiting := begin(t, c, Request{})
		c.Drain()
		wantError(t, end(t, waiting).err, KindDraining, codes.Unavailable, true)
		wantError(t, c.Start(new(Call), &Request{Method: "/a/b"}), KindDraining, codes.Unavailable, true)
		s.send(ok(1), message(1, "a"))
		running(t, first)
		s.send(trailer(1, "0"))
		if r := end(t, first); r.err != nil || r.text != "a" {
			t.Error(r.text, r.err)
		}
		if e := events.closedWith(); e == nil || e.Reason != ReasonDrained {
			t.Error(e)
		}
		if code := s.goAwayCode(); code != "NO_ERROR" {
			t.Errorf("the client's GOAWAY has the code %q", code)
		}
		stop(t, c)
	})
}

func TestDrainWithoutCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _, events := start(t, Options{})
		c.Drain()
		synctest.Wait()
		if e := events.closedWith(); e == nil || e.Reason != ReasonDrained {
			t.Error(e)
		}
		<-c.Done()
	})
}

// A server may send GOAWAY and keep the connection open. The client closes it after the last call.
func TestGoAwayWithoutClosing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{})
		first, second := begin(t, c, Request{}), begin(t, c, Request{})
		s.send(goAway(1, http2.ErrCodeNo, "bye"))
		wantError(t, end(t, second).err, KindDraining, codes.Unavailable, true)
		running(t, first)
		time.Sleep(time.Hour)
		if events.closedWith() != nil {
			t.Error("the connection closed too early")
		}
		s.send(ok(1), message(1, "a"), trailer(1, "0"))
		if r := end(t, first); r.err != nil {
			t.Error(r.err)
		}
		if e := events.closedWith(); e == nil || e.Reason != ReasonDrained || e.GoAway == nil || e.GoAway.Debug != "bye" {
			t.Error(e)
		}
		<-c.Done()
		if !s.closed() {
			t.Error("the client has not closed the connection")
		}
	})
}

func TestStreamIdentifiersRunOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		c.mu.Lock()
		c.nextID = maxStreamID - 2
		c.mu.Unlock()
		calls := make([]*Call, 3)
		for i := range calls {
			calls[i] = new(Call)
			if err := c.Start(calls[i], &Request{Method: "/a/b", Unary: true}); err != nil {
				t.Fatal(err)
			}
		}
		s.send(settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10}))
		if calls[0].id != maxStreamID-2 || calls[1].id != maxStreamID {
			t.Errorf("the streams are %d and %d", calls[0].id, calls[1].id)
		}
		_, err := calls[2].Wait(t.Context())
		wantError(t, err, KindDraining, codes.Unavailable, true)
		if len(events.draining) != 1 || events.draining[0].Debug != StreamIDsExhausted {
			t.Errorf("draining was told %v", events.draining)
		}
		s.send(ok(maxStreamID), message(maxStreamID, "a"), trailer(maxStreamID, "0"))
		s.send(headers(maxStreamID-2, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "3"))
		if m, err := calls[1].Wait(t.Context()); err != nil || c.text(m) != "a" {
			t.Error(err)
		}
		<-c.Done()
		if e := events.closedWith(); e.Reason != ReasonDrained {
			t.Error(e)
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{})
		ch := begin(t, c, Request{})
		c.Close("enough")
		c.Close("again")
		e := wantError(t, end(t, ch).err, KindLost, codes.Unavailable, false)
		var ce *ConnError
		if !errors.As(e, &ce) || ce.Reason != ReasonLocal || ce.Detail != "enough" {
			t.Errorf("the cause is %v", e.Cause)
		}
		<-c.Done()
		synctest.Wait()
		if !s.closed() || s.goAwayCode() != "NO_ERROR" {
			t.Error("the client has not said goodbye")
		}
		if len(events.closed) != 1 {
			t.Errorf("closed was told %d times", len(events.closed))
		}
		wantError(t, c.Start(new(Call), &Request{Method: "/a/b"}), KindLost, codes.Unavailable, true)
	})
}

// What the peer sent before it went away is used, although writing has failed by then.
func TestWriteFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		client, server := pipe()
		s := newScript(t, server)
		go s.read()
		go func() {
			_ = s.fr.WriteSettings()
			s.flush()
		}()
		events := new(recorder)
		broken := &brokenWriter{Conn: client}
		c, err := New(t.Context(), broken, Options{Events: events})
		if err != nil {
			t.Fatal(err)
		}
		first := begin(t, c, Request{})
		broken.broken = true
		second := begin(t, c, Request{})
		wantError(t, c.Start(new(Call), &Request{Method: "/a/b"}), KindDraining, codes.Unavailable, true)
		s.send(ok(1), message(1, "late"), trailer(1, "0"), rst(3, http2.ErrCodeRefusedStream))
		if r := end(t, first); r.err != nil || r.text != "late" {
			t.Error(r.text, r.err)
		}
		wantError(t, end(t, second).err, KindReset, codes.Unavailable, true)
		<-c.Done()
	})
}

// A connection whose writing failed ends soon, even if the peer stays silent.
func TestWriteFailsAndThePeerIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		client, server := pipe()
		s := newScript(t, server)
		go s.read()
		go func() {
			_ = s.fr.WriteSettings()
			s.flush()
		}()
		broken := &brokenWriter{Conn: client}
		c, err := New(t.Context(), broken, Options{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		broken.broken = true
		ch := begin(t, c, Request{})
		running(t, ch)
		time.Sleep(2 * closeTimeout)
		if e := wantError(t, end(t, ch).err, KindLost, codes.Unavailable, false); !errors.Is(e, io.ErrClosedPipe) {
			t.Errorf("the error is %v, want the one of writing", e)
		}
		<-c.Done()
	})
}

type brokenWriter struct {
	net.Conn

	broken bool
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.broken {
		return 0, io.ErrClosedPipe
	}
	return b.Conn.Write(p)
}

// The handshake ends with its time and with its context.
func TestHandshakeIsBounded(t *testing.T) {
	for _, byContext := range []bool{false, true} {
		t.Run(fmt.Sprint("context=", byContext), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				client, server := pipe()
				go func() { _, _ = io.Copy(io.Discard, server) }()
				ctx, cancel := context.WithCancel(t.Context())
				if byContext {
					time.AfterFunc(time.Second, cancel)
				}
				before := time.Now()
				_, err := New(ctx, client, Options{HandshakeTimeout: 5 * time.Second})
				took := time.Since(before)
				if e, isConn := err.(*ConnError); !isConn || e.Reason != ReasonHandshake { //nolint:errorlint // it is documented as that
					t.Errorf("the error is %v", err)
				}
				want := 5 * time.Second
				if byContext {
					want = time.Second
				}
				if took != want || errors.Is(err, context.Canceled) != byContext {
					t.Errorf("the handshake took %s: %v", took, err)
				}
				cancel()
				_ = server.Close()
			})
		})
	}
}
