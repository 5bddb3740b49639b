package rest

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// eventsOf are the lines of an event stream but those with data.
func eventsOf(body string) string {
	var lines []string
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" && !strings.HasPrefix(line, "data: ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ", ")
}

func TestEventIDs(t *testing.T) {
	for _, tc := range []struct {
		name, last string
		opts       frontend.Options
		want       string
	}{
		{name: "count messages", want: "id: 1, id: 2"},
		{name: "go on where the client left off", last: "41", want: "id: 42, id: 43"},
		{name: "begin at 1 after an id that is not a count", last: "4a", want: "id: 1, id: 2"},
		{name: "begin at 1 after a negative count", last: "-4", want: "id: 1, id: 2"},
		{name: "begin at 1 after a count that leaves no room", last: "18446744073709551615", want: "id: 1, id: 2"},
		{name: "are left out", last: "41", opts: frontend.Options{NoEventIDs: true}, want: ""},
		{name: "are those of a field", last: "41", opts: frontend.Options{EventIDField: "number"}, want: "id: 1, id: 2"},
		{name: "are those of a nested field", opts: frontend.Options{EventIDField: "request.text"}, want: "id: a b, id: a b"},
		{name: "are not there where the message has no such field", opts: frontend.Options{EventIDField: "revision"}, want: ""},
		{name: "are not there where the field is not set", opts: frontend.Options{EventIDField: "request.uuid"}, want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.opts)
			c := w.client(t, "HTTP1")
			headers := []string{"Accept: text/event-stream"}
			if tc.last != "" {
				headers = append(headers, "Last-Event-ID: "+tc.last)
			}
			a := c.do("GET", "/v1/stream/2?text=a+b", nil, headers...)
			if got := eventsOf(a.body); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.last != "" && !strings.Contains(a.body, `"last-event-id":"`+tc.last+`"`) {
				t.Errorf("the service is not told the last id: %s", a.body)
			}
		})
	}
}

func TestEndEvent(t *testing.T) {
	w := newWorld(t, frontend.Options{EndEvent: true, NoEventIDs: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct{ name, path, accept, end string }{
			{"a stream that succeeds", "/v1/stream/1", typeSSE, "event: end\ndata: {}\n\n"},
			{"a stream without messages", "/v1/stream/0", typeSSE, "event: end\ndata: {}\n\n"},
			{"a stream that fails", "/v1/stream/2?script.fail_code=5&script.fail_after=1", typeSSE, "event: error\ndata: {\"code\":5,\"message\":\"\"}\n\n"},
			{"another framing", "/v1/stream/1", typeNDJSON, "}\n"},
		} {
			a := c.do("GET", tc.path, nil, "Accept: "+tc.accept)
			if !strings.HasSuffix(a.body, tc.end) || strings.Count(a.body, "event: ") > 1 {
				t.Errorf("%s: %q", tc.name, a.body)
			}
		}
	})
}

func TestIDOfAField(t *testing.T) {
	md := (&testpb.EchoResponse{}).ProtoReflect().Descriptor()
	wire := func(messages ...*testpb.EchoResponse) []byte {
		var all []byte
		for _, m := range messages {
			all, _ = proto.MarshalOptions{}.MarshalAppend(all, m)
		}
		return all
	}
	for _, tc := range []struct {
		name, path string
		wire       []byte
		want       string
	}{
		{"a string", "text", wire(&testpb.EchoResponse{Text: "cursor=1"}), "id: cursor=1\n"},
		{"a negative number", "number", wire(&testpb.EchoResponse{Number: -7}), "id: -7\n"},
		{"a large number", "deadline_ms", wire(&testpb.EchoResponse{DeadlineMs: 1 << 60}), "id: 1152921504606846976\n"},
		{"the last value counts", "text", wire(&testpb.EchoResponse{Text: "long ago"}, &testpb.EchoResponse{Text: "b"}), "id: b\n"},
		{
			"the last value counts across messages", "request.text",
			wire(&testpb.EchoResponse{Request: &testpb.EchoRequest{Text: "a"}}, &testpb.EchoResponse{Request: &testpb.EchoRequest{Count: 1}}), "id: a\n",
		},
		{"a line break would forge an event", "text", wire(&testpb.EchoResponse{Text: "a\n\ndata: x"}), ""},
		{"a carriage return, too", "text", wire(&testpb.EchoResponse{Text: "a\rb"}), ""},
		{"a zero byte", "text", wire(&testpb.EchoResponse{Text: "a\x00"}), ""},
		{"what a header cannot carry", "text", wire(&testpb.EchoResponse{Text: "é"}), ""},
		{"a message", "request", wire(&testpb.EchoResponse{Request: &testpb.EchoRequest{}}), ""},
		{"a map", "metadata", wire(&testpb.EchoResponse{Metadata: map[string]string{"a": "b"}}), ""},
		{"a field of a scalar", "text.text", wire(&testpb.EchoResponse{Text: "a"}), ""},
		{"another wire type", "number", []byte("\x1a\x01x"), ""},
		{"broken wire", "text", []byte("\x0a\x01a\xff"), ""},
	} {
		ids := eventIDs{field: idField(md, tc.path, nil)}
		if got := string(ids.append([]byte("before\n"), tc.wire, 1)); got != "before\n"+tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func FuzzEventID(f *testing.F) {
	var paths [][]protoreflect.FieldDescriptor
	md := (&testpb.EchoResponse{}).ProtoReflect().Descriptor()
	for _, path := range []string{"text", "number", "deadline_ms", "request.text", "request.count"} {
		paths = append(paths, idField(md, path, nil))
	}
	f.Add([]byte("\x0a\x01a"), uint8(0))
	f.Add([]byte("\x12\x03\x0a\x01a\x18\x07"), uint8(3))
	f.Fuzz(func(t *testing.T, wire []byte, which uint8) {
		ids := eventIDs{field: paths[int(which)%len(paths)]}
		got, ok := strings.CutPrefix(string(ids.append([]byte("x\n"), wire, 1)), "x\n")
		if !ok {
			t.Fatalf("what was there is gone: %q", got)
		}
		id, ok := strings.CutSuffix(strings.TrimPrefix(got, "id: "), "\n")
		if got != "" && (!ok || strings.ContainsAny(id, "\r\n\x00")) {
			t.Errorf("%q is not one line", got)
		}
	})
}
