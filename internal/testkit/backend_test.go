package testkit

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, b *Backend) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+b.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestUnaryEchoesRequestMetadataAndDeadline(t *testing.T) {
	b := StartBackend(t)
	client := testpb.NewEchoClient(dial(t, b))
	ctx := metadata.AppendToOutgoingContext(testContext(t), "x-a", "1", "x-a", "2", "x-b-bin", "\x00\xff")
	var header, trailer metadata.MD
	resp, err := client.Unary(ctx, &testpb.EchoRequest{Text: "hello", Script: &testpb.Script{
		Id: "one", Filler: 5,
		Headers:  map[string]string{"x-h": "v", "x-h-bin": base64.StdEncoding.EncodeToString([]byte("\x01"))},
		Trailers: map[string]string{"x-t": "w"},
	}}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetText() != "hello" || resp.GetBackend() != b.Addr() || resp.GetFiller() != "xxxxx" {
		t.Errorf("got %v", resp)
	}
	if got := resp.GetMetadata()["x-a"]; got != "1, 2" {
		t.Errorf("x-a: %q", got)
	}
	if got := resp.GetMetadata()["x-b-bin"]; got != base64.StdEncoding.EncodeToString([]byte("\x00\xff")) {
		t.Errorf("x-b-bin: %q", got)
	}
	if ms := resp.GetDeadlineMs(); ms <= 0 || ms > 10_000 {
		t.Errorf("deadline_ms: %d", ms)
	}
	if got := header.Get("x-h-bin"); len(got) != 1 || got[0] != "\x01" {
		t.Errorf("header x-h-bin: %q", got)
	}
	if got := trailer.Get("x-t"); len(got) != 1 || got[0] != "w" {
		t.Errorf("trailer x-t: %q", got)
	}
	if b.Executions("one") != 1 || b.Accepted() != 1 || b.Calls() != 1 {
		t.Errorf("executions %d, accepted %d, calls %d", b.Executions("one"), b.Accepted(), b.Calls())
	}
}

func TestUnaryFailsAsScripted(t *testing.T) {
	b := StartBackend(t)
	_, err := testpb.NewEchoClient(dial(t, b)).Unary(testContext(t), &testpb.EchoRequest{Script: &testpb.Script{
		FailCode: int32(codes.InvalidArgument), FailMessage: "no", FailBadRequest: true, FailRetryAfter: durationpb.New(time.Second),
	}})
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || st.Message() != "no" || len(st.Details()) != 2 {
		t.Errorf("got %v with details %v", st, st.Details())
	}
}

func TestServerStream(t *testing.T) {
	for _, tc := range []struct {
		name   string
		count  int32
		script *testpb.Script
		want   int
		code   codes.Code
	}{
		{"no messages", 0, nil, 0, codes.OK},
		{"three messages", 3, nil, 3, codes.OK},
		{"failure before the first", 3, &testpb.Script{FailCode: int32(codes.NotFound)}, 0, codes.NotFound},
		{"failure after two", 3, &testpb.Script{FailCode: int32(codes.Aborted), FailAfter: 2}, 2, codes.Aborted},
		{"failure after all", 3, &testpb.Script{FailCode: int32(codes.Aborted), FailAfter: 3}, 3, codes.Aborted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := StartBackend(t)
			stream, err := testpb.NewEchoClient(dial(t, b)).ServerStream(testContext(t), &testpb.EchoRequest{Count: tc.count, Script: tc.script})
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				resp, err := stream.Recv()
				if err == nil {
					if resp.GetNumber() != int32(n+1) {
						t.Errorf("message %d has number %d", n, resp.GetNumber())
					}
					continue
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
				if n != tc.want || status.Code(err) != tc.code {
					t.Errorf("got %d messages and %v, want %d and %v", n, err, tc.want, tc.code)
				}
				return
			}
		})
	}
}

func TestClientStreamAndBidi(t *testing.T) {
	b := StartBackend(t)
	client := testpb.NewEchoClient(dial(t, b))
	up, err := client.ClientStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	chat, err := client.Bidi(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"a", "b"} {
		if err := up.Send(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if err := chat.Send(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if resp, err := chat.Recv(); err != nil || resp.GetText() != text || resp.GetNumber() != int32(i+1) {
			t.Errorf("chat: %v, %v", resp, err)
		}
	}
	resp, err := up.CloseAndRecv()
	if err != nil || resp.GetText() != "a,b" || resp.GetNumber() != 2 || resp.GetRequest().GetText() != "b" {
		t.Errorf("collect: %v, %v", resp, err)
	}
	if err := chat.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of chat: %v", err)
	}
}

func TestLibraryUpdatesByMask(t *testing.T) {
	b := StartBackend(t)
	client := testpb.NewLibraryClient(dial(t, b))
	book, err := client.UpdateBook(testContext(t), &testpb.UpdateBookRequest{
		Book:       &testpb.Book{Name: "shelves/1/books/1", Title: "Persuasion", Author: "ignored"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
	})
	if err != nil || book.GetTitle() != "Persuasion" || book.GetAuthor() != "Jane Austen" {
		t.Errorf("got %v, %v", book, err)
	}
}

func TestBackendRestartsAtItsAddress(t *testing.T) {
	b := StartBackend(t)
	addr := b.Addr()
	client := testpb.NewEchoClient(dial(t, b))
	call := func() {
		t.Helper()
		if _, err := client.Unary(testContext(t), &testpb.EchoRequest{Script: &testpb.Script{Id: "x"}}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	call()
	b.GracefulStop()
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	call()
	if b.Addr() != addr || b.Accepted() != 2 || b.Executions("x") != 2 {
		t.Errorf("addr %s then %s, accepted %d, executions %d", addr, b.Addr(), b.Accepted(), b.Executions("x"))
	}
}

func TestSourcePublishesNowAndOnChange(t *testing.T) {
	s := NewSource("src")
	ctx, cancel := context.WithCancel(testContext(t))
	states := make(chan discovery.State)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, func(st discovery.State) { states <- st })
	}()
	if st := <-states; st.Synced {
		t.Errorf("synced before the first list: %+v", st)
	}
	s.SetAddrs("b:1", "a:1")
	if st := <-states; !st.Synced || len(st.Endpoints) != 2 || st.Endpoints[0].ID != "a:1" {
		t.Errorf("got %+v", st)
	}
	s.SetError(io.ErrUnexpectedEOF)
	if st := <-states; st.Err == nil || len(st.Endpoints) != 2 {
		t.Errorf("got %+v", st)
	}
	cancel()
	<-done
}
