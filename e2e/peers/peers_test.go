package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// cases are the tests of calls that all peers pass in the same way. Each has a connection to the
// same server.
var cases = []struct {
	name string
	run  func(t *testing.T, p *Peer, c *rpcwire.Conn)
}{
	{"unary", testUnary},
	{"metadata", testMetadata},
	{"status codes", testCodes},
	{"error with details", testDetails},
	{"method that is unknown", testUnknownMethod},
	{"download", testDownload},
	{"upload", testUpload},
	{"chat in turns", testChat},
	{"chat at once", testChatAtOnce},
	{"large messages", testLargeMessages},
	{"large messages of many calls", testManyLargeCalls},
	{"stream that nobody reads", testUnreadStream},
	{"answer above the limit", testAnswerTooLarge},
	{"deadline", testDeadline},
	{"cancel", testCancel},
	{"cancel while messages come", testCancelDownload},
	{"cancel at random moments", testCancelOften},
}

func TestPeers(t *testing.T) {
	for _, kind := range Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			p := Start(t, kind, Config{})
			for _, tt := range cases {
				if slices.Contains(quirks[kind].without, tt.name) {
					continue
				}
				t.Run(tt.name, func(t *testing.T) {
					events := new(closed)
					c := dial(t, p, rpcwire.Options{MaxMessage: 32 << 20, Events: events})
					defer func() {
						if t.Failed() {
							t.Logf("the connection: %v\nthe peer printed: %s", events.why(), p.Output())
						}
					}()
					tt.run(t, p, c)
				})
			}
		})
	}
}

func testUnary(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	for _, size := range []int{0, 1, 1000, 16<<10 - 10, 100_000} {
		o := do(t.Context(), c, request("Unary"), message(size))
		wantOK(t, o, message(size))
		if got := values(o.trailer, "x-messages"); !slices.Equal(got, []string{"1"}) {
			t.Errorf("the trailer says %q messages", got)
		}
	}
	r := request("Unary")
	r.Framed = true
	wantOK(t, do(t.Context(), c, r, []byte{0, 0, 0, 0, 12}, message(10)), message(10))
}

// Metadata comes back in the header and in the trailer. Its order is kept within a name.
func testMetadata(t *testing.T, p *Peer, c *rpcwire.Conn) {
	want := map[string][]string{
		"x-echo-text":     {"plain, with a comma"},
		"x-echo-one-bin":  {"\x00\xff\x80, text"},
		"x-echo-list-bin": {"one", "\x00,\xff", "three"},
		"x-echo-pad-bin":  {"12", "1", "123"},
		"x-echo-long":     {string(make32(3000))},
	}
	if quirks[p.Kind()].joinsLists {
		delete(want, "x-echo-list-bin")
		delete(want, "x-echo-pad-bin")
	}
	var fields []string
	for name, list := range want {
		for _, v := range list {
			fields = append(fields, name, v)
		}
	}
	for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
		o := do(t.Context(), c, request(method, append([]string{"x-times", "1"}, fields...)...), message(10))
		wantOK(t, o, message(10))
		for name, list := range want {
			if got := values(o.header, name); !slices.Equal(got, list) {
				t.Errorf("%s: the header has %q for %s, want %q", method, got, name, list)
			}
			if got := values(o.trailer, name); !slices.Equal(got, list) {
				t.Errorf("%s: the trailer has %q for %s, want %q", method, got, name, list)
			}
		}
	}
}

// make32 is a text of n characters.
func make32(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}

func testCodes(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		o := do(t.Context(), c, request("Unary", "x-code", strconv.Itoa(int(code))), message(10))
		if o.err != nil || o.status.Code != code {
			t.Errorf("the call ended with %s, want %s", o, code)
		}
	}
}

// An error keeps its message and its details, if messages came before it as well.
func testDetails(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	const text = "50 % of ünicode is lost: 世界\n\"quoted\""
	detail, err := anypb.New(&errdetails.ErrorInfo{Reason: "TEST", Domain: "peers.test"})
	if err != nil {
		t.Fatal(err)
	}
	want := &rpcstatus.Status{Code: int32(codes.FailedPrecondition), Message: text, Details: []*anypb.Any{detail}}
	details, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{"x-code", "9", "x-message-bin", text, "x-details-bin", string(details), "x-times", "3", "x-echo-bin", "\x00"}
	for method, messages := range map[string]int{"Unary": 0, "Download": 3, "Chat": 1} {
		o := do(t.Context(), c, request(method, fields...), message(10))
		if o.err != nil || o.status != (rpcwire.Status{Code: codes.FailedPrecondition, Message: text}) || len(o.messages) != messages {
			t.Errorf("%s ended with %s, want %d messages", method, o, messages)
			continue
		}
		got := new(rpcstatus.Status)
		list := values(o.trailer, "grpc-status-details-bin")
		if len(list) != 1 || proto.Unmarshal([]byte(list[0]), got) != nil || !proto.Equal(got, want) {
			t.Errorf("%s: the details are %v (%q)", method, got, list)
		}
	}
}

func testUnknownMethod(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	o := do(t.Context(), c, request("Nothing"), message(10))
	if o.code() != codes.Unimplemented {
		t.Errorf("the call ended with %s", o)
	}
	wantWorking(t, c)
}

func testDownload(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	for _, size := range []int{0, 100, 5000} {
		wantOK(t, do(t.Context(), c, request("Download", "x-times", "2000"), message(size)), repeated(message(size), 2000)...)
	}
	wantOK(t, do(t.Context(), c, request("Download"), message(10)))
}

func testUpload(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	for _, size := range []int{0, 100, 5000} {
		o := do(t.Context(), c, request("Upload"), repeated(message(size), 2000)...)
		wantOK(t, o, message(size))
		if got := values(o.trailer, "x-messages"); !slices.Equal(got, []string{"2000"}) {
			t.Errorf("the trailer says %q messages", got)
		}
	}
}

// Each message is sent after the answer to the one before. So nobody may wait for more.
func testChat(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	call, r := new(rpcwire.Call), request("Chat", "x-echo-here", "yes")
	if err := c.Start(call, &r); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := call.Send(t.Context(), false, message(i)); err != nil {
			t.Fatal(err)
		}
		m, err := call.Recv(t.Context())
		if err != nil || string(*m.Buf) != string(message(i)) {
			t.Fatal(i, err)
		}
	}
	header, err := call.Header(t.Context())
	if got := values(header, "x-echo-here"); err != nil || len(got) != 1 {
		t.Errorf("the header is %q: %v", header, err)
	}
	call.CloseSend()
	o := new(outcome)
	_, err = call.Recv(t.Context())
	o.end(call, err)
	wantOK(t, o)
}

func testChatAtOnce(t *testing.T, p *Peer, c *rpcwire.Conn) {
	messages := repeated(message(10_000), 500)
	if n := quirks[p.Kind()].chatAtOnce; n > 0 {
		messages = messages[:n]
	}
	wantOK(t, do(t.Context(), c, request("Chat"), messages...), messages...)
}

// Large messages need the windows of both sides.
func testLargeMessages(t *testing.T, p *Peer, c *rpcwire.Conn) {
	large := message(8 << 20)
	wantOK(t, do(t.Context(), c, request("Unary"), large), large)
	wantOK(t, do(t.Context(), c, request("Download", "x-times", "3"), large), repeated(large, 3)...)
	wantOK(t, do(t.Context(), c, request("Upload"), repeated(large, 3)...), large)
	chat := repeated(large, 3)
	if quirks[p.Kind()].chatAtOnce > 0 {
		chat = chat[:1]
	}
	wantOK(t, do(t.Context(), c, request("Chat"), chat...), chat...)
}

func testManyLargeCalls(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			m := message(300_000 + i)
			if o := do(t.Context(), c, request("Unary"), m); o.code() != codes.OK || len(o.messages) != 1 || string(o.messages[0]) != string(m) {
				t.Errorf("the call ended with %s", o)
			}
		})
	}
	wg.Wait()
}

// A stream whose messages nobody receives does not stop other calls.
func testUnreadStream(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	call, r, m := new(rpcwire.Call), request("Download", "x-times", "100"), message(50_000)
	if err := c.Start(call, &r); err != nil {
		t.Fatal(err)
	}
	if err := call.Send(t.Context(), false, m); err != nil {
		t.Fatal(err)
	}
	call.CloseSend()
	if _, err := call.Header(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		wantOK(t, do(t.Context(), c, request("Unary"), message(100_000)), message(100_000))
	}
	o := new(outcome)
	var err error
	for err == nil {
		var got rpcwire.Message
		got, err = call.Recv(t.Context())
		o.keep(got)
	}
	o.end(call, err)
	wantOK(t, o, repeated(m, 100)...)
}

func testAnswerTooLarge(t *testing.T, p *Peer, _ *rpcwire.Conn) {
	c := dial(t, p, rpcwire.Options{MaxMessage: 1 << 20})
	for _, method := range []string{"Unary", "Download", "Chat"} {
		o := do(t.Context(), c, request(method, "x-times", "1"), message(1<<20))
		if o.err == nil || o.err.Kind != rpcwire.KindAnswerTooLarge || o.err.Code != codes.ResourceExhausted || o.err.Unprocessed {
			t.Errorf("%s ended with %s", method, o)
		}
		wantWorking(t, c)
	}
}

// wantCancelled waits until the server has noticed the end of a call.
func wantCancelled(t *testing.T, p *Peer, id string) {
	t.Helper()
	if quirks[p.Kind()].deaf {
		return
	}
	kit.Eventually(t, patience, "the server notices the end of the call", func() error {
		if got := p.Calls(t)[id]; got["cancelled"] != 1 {
			return fmt.Errorf("the server logged %v", got)
		}
		return nil
	})
}

func testDeadline(t *testing.T, p *Peer, c *rpcwire.Conn) {
	for _, method := range []string{"Unary", "Chat"} {
		id := newID()
		r := request(method, "x-id", id, "x-wait-ms", "60000")
		r.Deadline = time.Now().Add(300 * time.Millisecond)
		o := do(t.Context(), c, r, message(10))
		if o.code() != codes.DeadlineExceeded || o.err != nil && (o.err.Kind != rpcwire.KindDeadline || o.err.Unprocessed) {
			t.Errorf("%s ended with %s", method, o)
		}
		wantCancelled(t, p, id)
	}
	wantWorking(t, c)
}

// started waits until the server has begun with a call.
func started(t *testing.T, p *Peer, id string) {
	t.Helper()
	kit.Eventually(t, patience, "the server begins with the call", func() error {
		if p.Calls(t)[id]["start"] == 0 {
			return errors.New("it has not")
		}
		return nil
	})
}

func testCancel(t *testing.T, p *Peer, c *rpcwire.Conn) {
	for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
		if quirks[p.Kind()].deaf {
			c = dial(t, p, rpcwire.Options{})
		}
		id := newID()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan *outcome, 1)
		go func() {
			ended <- do(ctx, c, request(method, "x-id", id, "x-wait-ms", "60000", "x-times", "1"), message(10))
		}()
		started(t, p, id)
		cancel()
		if o := <-ended; o.err == nil || o.err.Kind != rpcwire.KindCancelled || o.err.Unprocessed {
			t.Errorf("%s ended with %s", method, o)
		}
		wantCancelled(t, p, id)
		wantWorking(t, c)
	}
}

// The peer still sends messages of a stream when the client has cancelled it.
func testCancelDownload(t *testing.T, p *Peer, c *rpcwire.Conn) {
	for range 20 {
		id := newID()
		call, r := new(rpcwire.Call), request("Download", "x-id", id, "x-times", "1000000")
		if err := c.Start(call, &r); err != nil {
			t.Fatal(err)
		}
		if err := call.Send(t.Context(), false, message(1)); err != nil {
			t.Fatal(err)
		}
		call.CloseSend()
		for range 100 {
			if _, err := call.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !call.Cancel(errors.New("enough")) {
			t.Fatal("the call has ended before")
		}
		wantCancelled(t, p, id)
	}
	wantWorking(t, c)
}

func testCancelOften(t *testing.T, _ *Peer, c *rpcwire.Conn) {
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 30 {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration((worker+10*i)%50)*100*time.Microsecond, errors.New("enough"))
				o := do(ctx, c, request("Unary"), message(1000))
				cancel()
				if o.code() != codes.OK && (o.err == nil || o.err.Kind != rpcwire.KindDeadline) {
					t.Errorf("the call ended with %s", o)
					return
				}
			}
		})
	}
	wg.Wait()
	wantWorking(t, c)
}
