package grpc_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// framedConn is a connection whose streams take many messages at once, from the third on.
type framedConn struct {
	grpcgo.ClientConnInterface

	atOnce atomic.Int64 // messages that came with others
}

func (c *framedConn) NewStream(ctx context.Context, desc *grpcgo.StreamDesc, method string, opts ...grpcgo.CallOption) (grpcgo.ClientStream, error) {
	s, err := c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &framedStream{ClientStream: s, conn: c}, nil
}

type framedStream struct {
	grpcgo.ClientStream

	conn *framedConn
	sent int
}

func (s *framedStream) SendMsg(m any) error {
	s.sent++
	return s.ClientStream.SendMsg(m)
}

func (s *framedStream) TakesFramed() bool { return s.sent >= 3 }

func (s *framedStream) SendFramed(framed []byte) error {
	r := envelope.NewReader(strings.NewReader(string(framed)), 1<<20, envelope.Identity)
	defer r.Close()
	for {
		msg, err := r.Next()
		if err != nil {
			return nil // the end
		}
		s.conn.atOnce.Add(1)
		if err := s.SendMsg(mem.BufferSlice{mem.SliceBuffer(*msg)}); err != nil {
			return err
		}
	}
}

// TestMessagesThatComeTogetherAreSentTogether: the messages of a request that have come together go
// on together, in order and once, unless they have to be checked.
func TestMessagesThatComeTogetherAreSentTogether(t *testing.T) {
	// More would not do. Package pool sets up grpc-go, and here it keeps all that are sent.
	const messages = 400
	var want []string
	var body []byte
	for i := range messages {
		text := strings.Repeat("x", i%200) + fmt.Sprint(i)
		want = append(want, text)
		body = envelope.Append(body, 0, rpctest.Wire(&testpb.EchoRequest{Text: text}))
	}
	for _, checked := range []bool{false, true} {
		t.Run(fmt.Sprint("checked ", checked), func(t *testing.T) {
			conn := &framedConn{ClientConnInterface: rpctest.Dial(t, testkit.StartBackend(t).Addr())}
			table := rpctest.Table(t, conn)
			var checks atomic.Int64
			if checked {
				for _, m := range table.Methods {
					m.Check = func(context.Context, []byte) *frontend.Error {
						checks.Add(1)
						return nil
					}
				}
			}
			s := rpctest.NewServer(t, grpc.New(frontend.Options{}), table)
			resp, answer := s.Transports(t)[1].Do(t, "POST", "/gateway.test.v1.Echo/ClientStream",
				map[string][]string{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}, strings.NewReader(string(body)))
			if resp.Trailer.Get("Grpc-Status") != "0" || !strings.Contains(string(answer), strings.Join(want, ",")) {
				t.Fatalf("%v with %d bytes", resp.Trailer, len(answer))
			}
			if info := s.LastInfo(t); info.Sent != messages {
				t.Errorf("Info.Sent is %d", info.Sent)
			}
			if n := conn.atOnce.Load(); checked && (n != 0 || checks.Load() != messages) {
				t.Errorf("%d messages were checked, and %d sent at once", checks.Load(), n)
			} else if !checked && n < messages/2 {
				t.Errorf("only %d messages were sent at once", n)
			}
		})
	}
}
