package pool

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// TestCallsThatWereNotLookedAtAreSentAgain: an instance that restarts gracefully refuses calls that
// have been written already. Nobody has executed them, so they are made again whatever their size.
func TestCallsThatWereNotLookedAtAreSentAgain(t *testing.T) {
	refusals := map[string]func(s *script, id uint32){
		"REFUSED_STREAM": func(s *script, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY":         func(s *script, _ uint32) { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) },
	}
	for _, tc := range []struct {
		name     string
		whole    bool // by Invoke
		messages int
		size     int
		lost     bool
	}{
		{name: "a whole call of 64 KiB", whole: true, messages: 1, size: 64 << 10},
		{name: "a whole call of 1 MiB", whole: true, messages: 1, size: 1 << 20},
		{name: "a stream with one message of 1 MiB", messages: 1, size: 1 << 20},
		{name: "a stream with as many messages as are kept", messages: replayMessages, size: 10},
		{name: "a stream with as many bytes as are kept", messages: 4, size: replayBytes / 4},
		{name: "a stream with more messages", messages: replayMessages + 1, size: 10, lost: true},
		{name: "a stream with more bytes", messages: 5, size: replayBytes / 4, lost: true},
	} {
		for how, refuse := range refusals {
			t.Run(tc.name+", "+how, func(t *testing.T) {
				var requests atomic.Int32
				addr := startScript(t, func(s *script, id uint32) {
					if requests.Add(1) == 1 {
						refuse(s, id)
						return
					}
					s.header(id)
					s.message(id, 7)
					s.headers(id, true, "grpc-status: 0")
				}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20})
				c := openChannel(t, Settings{}, oneInstance(addr))
				ready(t, c)
				got, err := sendAll(t, c, tc.whole, tc.messages, strings.Repeat("x", tc.size))
				switch {
				case tc.lost && (status.Code(err) != codes.Unavailable || requests.Load() != 1):
					t.Errorf("%d bytes, %v, %d requests; it should be lost", got, err, requests.Load())
				case !tc.lost && (err != nil || got != 7 || requests.Load() != 2):
					t.Errorf("%d bytes, %v, %d requests; want an answer to the second", got, err, requests.Load())
				}
			})
		}
	}
}

// oneInstance is a feed of one instance.
func oneInstance(addr string) *manualFeed {
	f := new(manualFeed)
	f.list(addr)
	return f
}

// sendAll makes a call with so many equal messages, and returns the size of the answer.
func sendAll(t *testing.T, c *Channel, whole bool, messages int, text string) (int, error) {
	t.Helper()
	var reply mem.BufferSlice
	defer func() { reply.Free() }()
	if whole {
		err := c.Invoke(t.Context(), methodEcho, raw(text), &reply)
		return reply.Len(), err
	}
	cs, err := c.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodEcho)
	if err != nil {
		return 0, err
	}
	for range messages {
		if err := cs.SendMsg(raw(text)); err != nil {
			return 0, fmt.Errorf("sending: %w", err)
		}
	}
	if err := cs.CloseSend(); err != nil {
		return 0, err
	}
	if err := cs.RecvMsg(&reply); err != nil {
		return 0, err
	}
	if err := endOf(t, cs); !errors.Is(err, io.EOF) {
		return reply.Len(), err
	}
	return reply.Len(), nil
}

// TestInstancesThatCloseConnectionsOftenLoseNoCall: instances say goodbye to their connections
// again and again, under calls of 64 KiB.
func TestInstancesThatCloseConnectionsOftenLoseNoCall(t *testing.T) {
	age := grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: patience})
	f := new(manualFeed)
	f.list(startBackend(t, "", age).addr, startBackend(t, "", age).addr)
	c := openChannel(t, Settings{}, f)
	ready(t, c)
	text := strings.Repeat("x", 64<<10)
	stream := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := range 30 {
				var reply mem.BufferSlice
				if i%2 == 0 {
					if err := c.Invoke(t.Context(), methodEcho, raw(text), &reply); err != nil {
						t.Errorf("call %d: %v", n, err)
					}
					reply.Free()
					continue
				}
				cs, err := c.NewStream(t.Context(), stream, methodEcho)
				if err == nil {
					if err = cs.SendMsg(raw(text)); err == nil || errors.Is(err, io.EOF) {
						_ = cs.CloseSend()
						err = cs.RecvMsg(&reply)
					}
				}
				if err != nil {
					t.Errorf("stream %d: %v", n, err)
					continue
				}
				reply.Free()
				if err := cs.RecvMsg(&reply); !errors.Is(err, io.EOF) {
					t.Errorf("stream %d ended with %v", n, err)
				}
			}
		})
	}
	callers.Wait()
}
