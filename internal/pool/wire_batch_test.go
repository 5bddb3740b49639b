package pool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// TestReceivingAtOnce: a stream over rpcwire hands over what has come, in order and once. A stream
// over grpc-go does not.
func TestReceivingAtOnce(t *testing.T) {
	const messages = 100 // the size of each tells which one it is
	addr := startScript(t, func(s *script, id uint32) {
		s.header(id)
		for size := range messages {
			s.message(id, size)
		}
		s.headers(id, true, "grpc-status: 0")
	})
	for _, transport := range []string{TransportGRPC, TransportWire} {
		for name, opts := range map[string][]grpc.CallOption{"once": nil, "may be retried": {Idempotent()}} {
			t.Run(transport+"/"+name, func(t *testing.T) {
				c := openChannel(t, Settings{Transport: transport}, oneInstance(addr))
				ready(t, c)
				cs, err := c.NewStream(within(t), &grpc.StreamDesc{ServerStreams: true}, methodEcho, opts...)
				if err != nil {
					t.Fatal(err)
				}
				waiting, ok := cs.(interface {
					RecvWaiting(dst []byte, limit int) ([]byte, int)
				})
				if !ok {
					t.Fatalf("%T cannot receive at once", cs)
				}
				if got, n := waiting.RecvWaiting(nil, 1<<20); len(got) != 0 || n != 0 {
					t.Errorf("%d messages came before the first", n)
				}
				if err := cs.SendMsg(raw("hello")); err != nil {
					t.Fatal(err)
				}
				_ = cs.CloseSend()
				var got []int
				var atOnce int
				for {
					var reply mem.BufferSlice
					if err := cs.RecvMsg(&reply); err == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
						break
					} else if err != nil {
						t.Fatal(err)
					}
					got = append(got, reply.Len())
					reply.Free()
					framed, n := waiting.RecvWaiting(nil, 100)
					if transport == TransportWire && len(got) == 1 {
						eventually(t, "the next message has come", func() bool {
							if n == 0 {
								framed, n = waiting.RecvWaiting(nil, 100)
							}
							return n > 0
						})
					}
					atOnce += n
					for range n {
						size := int(binary.BigEndian.Uint32(framed[1:]))
						got = append(got, size)
						framed = framed[5+size:]
					}
				}
				if len(got) != messages || !slices.IsSorted(got) || got[messages-1] != messages-1 {
					t.Errorf("received %v", got)
				}
				if transport == TransportGRPC && atOnce > 0 {
					t.Errorf("received %d messages at once", atOnce)
				}
			})
		}
	}
}

// TestSendingAtOnce: a stream over rpcwire takes many messages at once when it cannot begin again
// elsewhere any more. They arrive in order, between those that are sent one by one. A stream over
// grpc-go takes none.
func TestSendingAtOnce(t *testing.T) {
	const rounds = 50
	for _, transport := range []string{TransportGRPC, TransportWire} {
		t.Run(transport, func(t *testing.T) {
			b := startBackend(t, "")
			c := openChannel(t, Settings{Transport: transport}, oneInstance(b.addr))
			ready(t, c)
			cs, err := c.NewStream(within(t), bidi, methodEcho)
			if err != nil {
				t.Fatal(err)
			}
			many, ok := cs.(interface {
				TakesFramed() bool
				SendFramed(framed []byte) error
			})
			if !ok {
				t.Fatalf("%T cannot send at once", cs)
			}
			sent := []string{"first"}
			if err := cs.SendMsg(raw(sent[0])); err != nil {
				t.Fatal(err)
			}
			if many.TakesFramed() {
				t.Error("messages may be sent at once that another attempt would need")
			}
			var received []string
			receive := func() {
				var reply mem.BufferSlice
				if err := cs.RecvMsg(&reply); err != nil {
					t.Fatalf("in place of message %d: %v", len(received), err)
				}
				received = append(received, string(reply.Materialize()))
				reply.Free()
			}
			receive()
			if many.TakesFramed() != (transport == TransportWire) {
				t.Fatalf("takes messages at once: %v", many.TakesFramed())
			}
			if !many.TakesFramed() {
				return
			}
			var sender sync.WaitGroup
			for i := range rounds {
				alone := fmt.Sprint("alone ", i)
				sent = append(sent, alone)
				var framed []byte
				for _, size := range []int{i, 700 * i, 0} {
					text := strings.Repeat(string(rune('a'+i%26)), size)
					sent = append(sent, text)
					framed = binary.BigEndian.AppendUint32(append(framed, 0), uint32(size))
					framed = append(framed, text...)
				}
				if largest := largestOf(framed); largest != 700*i {
					t.Errorf("the largest of round %d has %d bytes", i, largest)
				}
				sender.Go(func() {
					if err := errors.Join(cs.SendMsg(raw(alone)), many.SendFramed(framed)); err != nil {
						t.Errorf("round %d: %v", i, err)
					}
					clear(framed) // it belongs to the caller again
				})
				for len(received) < len(sent) {
					receive()
				}
				sender.Wait()
			}
			if !slices.Equal(received, sent) {
				t.Errorf("received %.200q", received)
			}
			_ = cs.CloseSend()
			if err := endOf(t, cs); err != io.EOF { //nolint:errorlint // streams end with the bare io.EOF
				t.Errorf("it ends with %v", err)
			}
			if err := many.SendFramed([]byte{0, 0, 0, 0, 0}); err == nil {
				t.Error("a message was sent after the last one")
			}
		})
	}
}

// TestSendingAtOnceToOneThatEnds: the sender learns that the call has ended.
func TestSendingAtOnceToOneThatEnds(t *testing.T) {
	b := startBackend(t, "")
	c := openChannel(t, Settings{Transport: TransportWire}, oneInstance(b.addr))
	ready(t, c)
	ctx, cancel := context.WithCancel(within(t))
	cs, err := c.NewStream(ctx, bidi, methodHang)
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.SendMsg(raw("hello")); err != nil {
		t.Fatal(err)
	}
	var reply mem.BufferSlice
	if err := cs.RecvMsg(&reply); err != nil {
		t.Fatal(err)
	}
	reply.Free()
	var sends atomic.Int64
	ended := make(chan error, 1)
	go func() {
		framed := make([]byte, 5<<10) // messages without content
		for {
			if err := cs.(*stream).SendFramed(framed); err != nil {
				ended <- err
				return
			}
			sends.Add(1)
		}
	}()
	eventually(t, "the sender waits for the instance, which does not read", func() bool {
		n := sends.Load()
		time.Sleep(50 * time.Millisecond)
		return n > 0 && sends.Load() == n
	})
	cancel()
	select {
	case err := <-ended:
		if err != io.EOF { //nolint:errorlint // as SendMsg
			t.Errorf("error is %v", err)
		}
	case <-time.After(patience):
		t.Error("the sender does not learn of the end")
	}
}
