package frontend

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

func anyOf(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAppendStatusJSON(t *testing.T) {
	for _, tc := range []struct {
		name  string
		st    *spb.Status
		types transcode.Resolver
		want  string
	}{
		{"nothing", nil, nil, `{"code":0,"message":""}`},
		{"a message", &spb.Status{Code: 5, Message: "no \"x\"\n\u2028<é\x00"}, nil, "{\"code\":5,\"message\":\"no \\\"x\\\"\\n\u2028<é\\u0000\"}"},
		{"not UTF-8", &spb.Status{Code: 5, Message: "a\xffb"}, nil, "{\"code\":5,\"message\":\"a\uFFFDb\"}"},
		{"a usual detail, without the upstream's types", &spb.Status{Details: []*anypb.Any{anyOf(t, &errdetails.ErrorInfo{Reason: "r", Domain: "d"})}}, nil,
			`{"code":0,"message":"","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"r","domain":"d"}]}`},
		{"a well-known type", &spb.Status{Details: []*anypb.Any{anyOf(t, durationpb.New(1500000000))}}, nil,
			`{"code":0,"message":"","details":[{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}]}`},
		{"a type of the upstream", &spb.Status{Details: []*anypb.Any{anyOf(t, &testpb.GetBookRequest{Name: "n"})}}, protoregistry.GlobalTypes,
			`{"code":0,"message":"","details":[{"@type":"type.googleapis.com/gateway.test.v1.GetBookRequest","name":"n"}]}`},
		{"an unknown type", &spb.Status{Details: []*anypb.Any{anyOf(t, &testpb.GetBookRequest{Name: "n"})}}, nil,
			`{"code":0,"message":"","details":[{"@type":"type.googleapis.com/gateway.test.v1.GetBookRequest","value":"CgFu"}]}`},
		{"a broken one", &spb.Status{Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: []byte{0xff}}, {}}}, nil,
			`{"code":0,"message":"","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","value":"/w=="},{}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(AppendStatusJSON([]byte("x"), tc.st, tc.types)); got != "x"+tc.want {
				t.Errorf("got  %s\nwant x%s", got, tc.want)
			}
		})
	}
}

func TestError(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.1:1")
	e := Errorf(codes.Unavailable, "%s is away", "it").WithCause(cause).WithHeader("retry-after", "1")
	if e.HTTP() != http.StatusServiceUnavailable || e.Header.Get("Retry-After") != "1" || !errors.Is(e, cause) {
		t.Errorf("got %+v", e)
	}
	if got := e.Error(); got != "UNAVAILABLE: it is away: dial tcp 10.0.0.1:1" {
		t.Errorf("for the log: %s", got)
	}
	if got := string(AppendStatusJSON(nil, e.Status, nil)); strings.Contains(got, "10.0.0.1") {
		t.Errorf("for the client: %s", got)
	}
	if got := Errorf(codes.InvalidArgument, "x").WithHTTP(http.StatusUnsupportedMediaType).HTTP(); got != http.StatusUnsupportedMediaType {
		t.Errorf("HTTP status %d", got)
	}
	if got := CodeName(77); got != "CODE(77)" {
		t.Errorf("an unknown code: %s", got)
	}
}

func FuzzAppendJSONString(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f\xff\u2028é😀")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(AppendJSONString(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(s) && back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func TestBuffersHaveACap(t *testing.T) {
	b := GetBuffer(10)
	if len(*b) != 0 || cap(*b) < 10 {
		t.Errorf("len %d, cap %d", len(*b), cap(*b))
	}
	huge := make([]byte, 0, maxRetained+1)
	PutBuffer(&huge)
	if got := GetBuffer(maxRetained); cap(*got) > maxRetained {
		t.Error("a huge buffer was kept")
	}
	for _, size := range []int{0, 1, tinyBuffer, tinyBuffer + 1, smallBuffer, smallBuffer + 1, batchBuffer, batchBuffer + 1, mediumBuffer, mediumBuffer + 1, largeBuffer, largeBuffer + 1} {
		got := GetBuffer(size)
		if len(*got) != 0 || cap(*got) < size {
			t.Errorf("for %d bytes: len %d, cap %d", size, len(*got), cap(*got))
		}
		PutBuffer(got)
	}
}

// A small message must not get a buffer that had to grow for another one, because it may keep the
// buffer as long as a call takes.
func TestSmallMessagesPinNoLargeBuffers(t *testing.T) {
	for _, grown := range []int{smallBuffer, batchBuffer, mediumBuffer - 1, mediumBuffer, largeBuffer} {
		b := make([]byte, 0, grown)
		PutBuffer(&b)
		if got := GetBuffer(10); cap(*got) >= smallBuffer {
			t.Errorf("after one of %d bytes came back: a buffer of %d for 10", grown, cap(*got))
		}
		if got := GetBuffer(0); cap(*got) >= batchBuffer {
			t.Errorf("after one of %d bytes came back: a buffer of %d for what is not known", grown, cap(*got))
		}
	}
}

// gRPC gives small buffers to the garbage collector in place of their pool.
func TestGRPCGivesAllBuffersBack(t *testing.T) {
	if smallest := cap(*GetBuffer(1)); mem.IsBelowBufferPoolingThreshold(smallest) {
		t.Errorf("%d bytes are too few", smallest)
	}
}

func TestGrowBuffer(t *testing.T) {
	const text = "what is in it"
	b := GetBuffer(1)
	*b = append(*b, text...)
	if got := GrowBuffer(b, tinyBuffer-len(text)); got != b {
		t.Error("a buffer that was large enough was replaced")
	}
	for _, more := range []int{tinyBuffer, smallBuffer, batchBuffer, mediumBuffer, largeBuffer, maxRetained} {
		b = GrowBuffer(b, more)
		if string(*b) != text || cap(*b)-len(*b) < more {
			t.Errorf("with room for %d more: %q, and room for %d", more, *b, cap(*b)-len(*b))
		}
	}
}

func TestRatio(t *testing.T) {
	const input = 64 << 10
	var r Ratio
	if got := r.Guess(input); got != input {
		t.Errorf("before anything was learned: %d", got)
	}
	r.Learn(100, 4000)
	if got := r.Guess(input); got != input {
		t.Errorf("a small message taught something: %d", got)
	}
	r.Learn(input, 30_000)
	if got := r.Guess(input); got < 30_000 || got > mediumBuffer {
		t.Errorf("after a result of 30000 bytes: %d", got)
	}
	r.Learn(input, 100_000)
	if got := r.Guess(input); got < 100_000 {
		t.Errorf("after a larger one: %d", got)
	}
	for range 200 {
		r.Learn(input, 10_000)
	}
	if got := r.Guess(input); got < 10_000 || got > 13_000 {
		t.Errorf("after many small ones: %d", got)
	}
	r.Learn(1, maxRetained)
	if got := r.Guess(input); got > maxRetained {
		t.Errorf("after an absurd one: %d", got)
	}
	if got := r.Guess(2 * maxRetained); got != 2*maxRetained {
		t.Errorf("for a huge input after an absurd one: %d", got)
	}
}

// A status may have any 32 bits for a code. On machines of 32 bits (GOARCH=386) those from 1<<31 on
// are negative as an int.
func TestCodesThatGRPCDoesNotHave(t *testing.T) {
	for code, want := range map[codes.Code]string{17: "CODE(17)", 1 << 31: "CODE(2147483648)", 1<<32 - 1: "CODE(4294967295)"} {
		if got := CodeName(code); got != want {
			t.Errorf("%d: %q, want %q", uint32(code), got, want)
		}
	}
}
