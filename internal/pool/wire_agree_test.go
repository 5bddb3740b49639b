package pool

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // both transports then say that they accept it
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// overBoth runs a test over each transport.
func overBoth(t *testing.T, addr string, run func(t *testing.T, c *Channel) string) {
	t.Helper()
	got := make(map[string]string)
	for _, name := range []string{TransportGRPC, TransportWire} {
		c := openChannel(t, Settings{Transport: name, EjectFailures: -1}, oneInstance(addr))
		ready(t, c)
		got[name] = run(t, c)
		if s := c.Snapshot(); s.Leases != 0 || s.Endpoints[0].InFlight != 0 {
			t.Errorf("%s: %d leases, %d calls in flight are left", name, s.Leases, s.Endpoints[0].InFlight)
		}
	}
	if got[TransportGRPC] != got[TransportWire] {
		t.Errorf("grpc: %s\nwire: %s", got[TransportGRPC], got[TransportWire])
	}
}

// textOf is metadata in a fixed order.
func textOf(md metadata.MD) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(md)) {
		fmt.Fprintf(&b, "%s=%q ", name, md[name])
	}
	return b.String()
}

// TestTransportsAgreeOnResponses: callers see the same, whatever the transport and the kind of
// call.
func TestTransportsAgreeOnResponses(t *testing.T) {
	const head = "content-type: application/grpc"
	for _, tc := range []struct {
		name    string
		respond func(s *script, id uint32)
	}{
		{"header and trailer", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "x-a: 1", "x-b: 2", "x-a: 3", "x-empty: ")
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 0", "x-c: 4", "x-c: ")
		}},
		{"binary metadata", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "x-bin: "+base64.StdEncoding.EncodeToString([]byte("\x00\xff,")), "x-bin: AQ")
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 0", "y-bin: AQI=")
		}},
		{"fields that belong to gRPC", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "grpc-encoding: identity", "grpc-accept-encoding: gzip", "user-agent: me", "x-a: b")
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 0", "grpc-message: fine")
		}},
		{"a status without a header", func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", head, "grpc-status: 5", "grpc-message: no%20such%0Auser %zz", "x-a: b")
		}},
		{"OK without a header or message", func(s *script, id uint32) { s.headers(id, true, ":status: 200", head, "grpc-status: 0") }},
		{"a status after a message", func(s *script, id uint32) {
			s.header(id)
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 7", "grpc-message: no", "x-a: b")
		}},
		{"a code that nobody knows", func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 77", "grpc-message: what")
		}},
		{"no status in the trailer", func(s *script, id uint32) {
			s.header(id)
			s.message(id, 5)
			s.headers(id, true, "x-a: b")
		}},
		{"details", func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 9", "grpc-message: not now", detailsField+": "+details(9, "not now"))
		}},
		{"details without a header", func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", head, "grpc-status: 9", "grpc-message: not now", detailsField+": "+details(9, "other words"))
		}},
		{"details of another code", func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 9", "grpc-message: not now", detailsField+": "+details(10, "not now"))
		}},
		{"details that are not a status", func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 9", "grpc-message: not now", detailsField+": /////w")
		}},
		{"two fields of details", func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 9", "grpc-message: a", detailsField+": "+details(9, "b"), detailsField+": "+details(9, "c"))
		}},
		{"a compressed message", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "grpc-encoding: gzip")
			_ = s.WriteData(id, false, gzipped(1000))
			s.headers(id, true, "grpc-status: 0")
		}},
		{"a compressed message that is too large", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "grpc-encoding: gzip")
			_ = s.WriteData(id, false, gzipped(5<<20))
			s.headers(id, true, "grpc-status: 0")
		}},
		{"a compressed message that is broken", func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", head, "grpc-encoding: gzip")
			_ = s.WriteData(id, false, []byte{1, 0, 0, 0, 2, 'n', 'o'})
			s.headers(id, true, "grpc-status: 0")
		}},
		{"an answer before the request has ended, and RST_STREAM", func(s *script, id uint32) {
			s.header(id)
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 0")
			_ = s.WriteRSTStream(id, http2.ErrCodeNo)
		}},
		{"1xx before the answer", func(s *script, id uint32) {
			s.headers(id, false, ":status: 103", "link: x")
			s.header(id)
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 0")
		}},
	} {
		addr := startScript(t, tc.respond)
		t.Run(tc.name+"/whole call", func(t *testing.T) {
			overBoth(t, addr, func(t *testing.T, c *Channel) string {
				var (
					reply           mem.BufferSlice
					header, trailer metadata.MD
				)
				err := c.Invoke(within(t), methodEcho, raw("hello"), &reply, grpc.Header(&header), grpc.Trailer(&trailer))
				n := reply.Len()
				if err == nil {
					reply.Free()
				} else {
					n = 0 // it is not looked at
				}
				return fmt.Sprintf("%d bytes, header %s, trailer %s, %s", n, textOf(header), textOf(trailer), outcome(err))
			})
		})
		for name, desc := range map[string]*grpc.StreamDesc{"stream": bidi, "one answer": {ClientStreams: true}, "one message each way": {}} {
			t.Run(tc.name+"/"+name, func(t *testing.T) {
				overBoth(t, addr, func(t *testing.T, c *Channel) string { return streamed(t, c, desc) })
			})
		}
	}
}

// within is a context that ends if the test hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// outcome says how a call ended, without the texts for operators.
func outcome(err error) string {
	if err == nil {
		return "OK"
	}
	text := originOf(err)
	for _, d := range status.Convert(err).Details() {
		text += fmt.Sprintf(", %v", d)
	}
	return text
}

// streamed makes a call as a stream and says what its caller sees.
func streamed(t *testing.T, c *Channel, desc *grpc.StreamDesc) string {
	t.Helper()
	cs, err := c.NewStream(within(t), desc, methodEcho)
	if err != nil {
		return "at the start: " + outcome(err)
	}
	if err := cs.SendMsg(raw("hello")); err != nil {
		return "sending: " + outcome(err)
	}
	_ = cs.CloseSend()
	header, err := cs.Header()
	text := fmt.Sprintf("header %s %s, ", textOf(header), outcome(err))
	for {
		var reply mem.BufferSlice
		if err := cs.RecvMsg(&reply); err != nil {
			if err == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
				err = nil
			}
			return fmt.Sprintf("%strailer %s, %s", text, textOf(cs.Trailer()), outcome(err))
		}
		text += fmt.Sprintf("%d bytes, ", reply.Len())
		reply.Free()
		if !desc.ServerStreams {
			return fmt.Sprintf("%strailer %s", text, textOf(cs.Trailer()))
		}
	}
}

// details is a field with the details of a status.
func details(code codes.Code, message string) string {
	detail, err := anypb.New(&errdetails.ErrorInfo{Reason: "REASON"})
	if err != nil {
		panic(err)
	}
	raw, err := proto.Marshal(&spb.Status{Code: int32(code), Message: message, Details: []*anypb.Any{detail}})
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(raw)
}

// gzipped is a compressed message of n bytes, with its prefix.
func gzipped(n int) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	size := b.Len()
	return append([]byte{1, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, b.Bytes()...)
}

// TestTransportsAgreeOnRequests: an instance sees the same, whatever the transport.
func TestTransportsAgreeOnRequests(t *testing.T) {
	b := startBackend(t, "")
	for _, tc := range []struct {
		name     string
		metadata []string
	}{
		{"none", nil},
		{"several values", []string{"x-a", "1", "x-b", "2", "x-a", "3"}},
		{"upper case", []string{"X-Upper", "Value"}},
		{"empty, spaces and commas", []string{"x-empty", "", "x-space", " a b ", "x-comma", "a,b"}},
		{"binary", []string{"x-bin", "\x00\x01\xff, \n", "y-bin", ""}},
		{"names of gRPC and HTTP/2", []string{
			"content-type", "text/plain", "te", "x", "user-agent", "me", "grpc-timeout", "1S", "grpc-encoding", "pied-piper",
			"grpc-status", "1", "grpc-message", "x", ":path", "/other", "grpc-previous-rpc-attempts", "1",
		}},
		{"secrets", []string{"authorization", "Bearer x", "cookie", "a=b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			overBoth(t, b.addr, func(t *testing.T, c *Channel) string {
				b.headers.Clear()
				ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs(tc.metadata...))
				var reply mem.BufferSlice
				if err := c.Invoke(ctx, methodEcho, raw("hello"), &reply); err != nil {
					return outcome(err)
				}
				reply.Free()
				md := make(metadata.MD)
				b.headers.Range(func(name, values any) bool {
					if name != "user-agent" {
						md[name.(string)] = values.([]string)
					}
					return true
				})
				return textOf(md)
			})
		})
	}
	for name, md := range map[string][]string{"a name": {"not a name", "x"}, "a value": {"x-a", "\x7f"}} {
		t.Run(name+" that cannot be sent", func(t *testing.T) {
			overBoth(t, b.addr, func(t *testing.T, c *Channel) string {
				ctx := metadata.AppendToOutgoingContext(within(t), md...)
				_, err := c.NewStream(ctx, bidi, methodEcho)
				return outcome(c.Invoke(ctx, methodEcho, raw("hello"), new(mem.BufferSlice))) + ", " + outcome(err)
			})
		})
	}
}

// TestMetadataOfWholeCalls: that of Call is in the call, and that of Invoke in the context.
func TestMetadataOfWholeCalls(t *testing.T) {
	be := startBackend(t, "")
	overBoth(t, be.addr, func(t *testing.T, c *Channel) string {
		t.Helper()
		list := []string{"several", "a", "several", "b", "data-bin", "\x00\xff"}
		for how, call := range map[string]func() error{
			"Call": func() error {
				u := newCall("hello")
				// The first is gRPC's own.
				u.Metadata = append([]string{"grpc-encoding", "unknown"}, list...)
				err := c.Call(within(t), u)
				u.Response.Free()
				return err
			},
			"Invoke": func() error {
				var reply mem.BufferSlice
				err := c.Invoke(metadata.NewOutgoingContext(within(t), metadata.Pairs(list...)), methodEcho, raw("hello"), &reply)
				reply.Free()
				return err
			},
		} {
			be.headers.Clear()
			if err := call(); err != nil {
				t.Fatal(err)
			}
			md := make(metadata.MD)
			be.headers.Range(func(name, values any) bool {
				if name == "several" || name == "data-bin" {
					md[fmt.Sprint(name)], _ = values.([]string)
				}
				return true
			})
			if got, want := textOf(md), `data-bin=["\x00\xff"] several=["a" "b"] `; got != want {
				t.Errorf("%s: got  %s\nwant %s", how, got, want)
			}
		}
		return ""
	})
}

// Messages of any size arrive whole, up to the limit.
func TestTransportsAgreeOnSizes(t *testing.T) {
	const limit = 4 << 20
	b := startBackend(t, "", grpc.MaxRecvMsgSize(2*limit))
	for _, n := range []int{0, 1, 1000, 16 << 10, 64<<10 - 5, 64 << 10, 1 << 20, limit} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			text := strings.Repeat("0123456789", n/10+1)[:n]
			overBoth(t, b.addr, func(t *testing.T, c *Channel) string {
				var reply mem.BufferSlice
				err := c.Invoke(within(t), methodEcho, raw(text), &reply)
				if err == nil && string(reply.Materialize()) != text {
					t.Error("the answer is not what was sent")
				}
				reply.Free()
				return outcome(err)
			})
			overBoth(t, b.addr, func(t *testing.T, c *Channel) string {
				cs, err := c.NewStream(within(t), bidi, methodEcho)
				if err != nil {
					return outcome(err)
				}
				for range 3 {
					if err := cs.SendMsg(raw(text)); err != nil {
						break // receiving says why
					}
					var reply mem.BufferSlice
					if err := cs.RecvMsg(&reply); err != nil {
						return outcome(err)
					}
					if string(reply.Materialize()) != text {
						t.Error("an answer is not what was sent")
					}
					reply.Free()
				}
				_ = cs.CloseSend()
				if err := endOf(t, cs); err != io.EOF { //nolint:errorlint // streams end with the bare io.EOF
					return outcome(err)
				}
				return "OK"
			})
		})
	}
}

// The deadline that an instance sees is the caller's.
func TestTransportsAgreeOnDeadlines(t *testing.T) {
	silent := startScript(t, func(s *script, id uint32) { s.header(id) })
	passed, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	cancelled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	for name, ctx := range map[string]context.Context{"passed": passed, "cancelled": cancelled} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, silent, func(_ *testing.T, c *Channel) string {
				_, err := c.NewStream(ctx, bidi, methodEcho)
				if err == nil {
					return "a stream"
				}
				return outcome(c.Invoke(ctx, methodEcho, raw("x"), new(mem.BufferSlice))) + ", " + outcome(err)
			})
		})
	}
	t.Run("while it waits", func(t *testing.T) {
		overBoth(t, silent, func(t *testing.T, c *Channel) string {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			u := newCall("x")
			u.Deadline, u.Idempotent = time.Now().Add(50*time.Millisecond), true
			return outcome(c.Invoke(ctx, methodEcho, raw("x"), new(mem.BufferSlice))) + ", " + outcome(c.Call(t.Context(), u))
		})
	})
}
