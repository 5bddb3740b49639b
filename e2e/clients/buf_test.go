package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestBufCurl: buf curl makes every kind of call in each of its protocols, with the schema from the
// gateway's own reflection where that can be had.
func TestBufCurl(t *testing.T) {
	program := kit.Buf(t)
	caddy, _ := startGateway(t, "reflection on\nhealth on")
	const bufNotFound = 8 * 5 // buf ends with eight times the code of the call's status
	calls := []struct {
		name, method string
		args         []string
		input        string
		code         int
		want         []string
	}{
		{
			name: "unary, with metadata both ways", method: "gateway.test.v1.Echo/Unary",
			args:  []string{"-v", "-H", "x-ask: of buf"},
			input: `{"text":"grüße","script":{"headers":{"x-head":"of the answer"},"trailers":{"x-tail":"after it"}}}`,
			want:  []string{`"text": "grüße"`, `"x-ask": "of buf"`, "X-Head: of the answer"},
		},
		{
			name: "server stream", method: "gateway.test.v1.Echo/ServerStream",
			input: `{"text":"s","count":3}`,
			want:  []string{`"number": 1`, `"number": 2`, `"number": 3`},
		},
		{
			name: "client stream", method: "gateway.test.v1.Echo/ClientStream",
			input: `{"text":"a"} {"text":"b"} {"text":"c"}`,
			want:  []string{`"text": "a,b,c"`, `"number": 3`},
		},
		{
			name: "bidi stream", method: "gateway.test.v1.Echo/Bidi",
			input: `{"text":"a"} {"text":"b","count":2}`,
			want:  []string{`"text": "a"`, `"text": "b"`, `"number": 3`},
		},
		{
			name: "error with details", method: "gateway.test.v1.Echo/Unary",
			input: `{"script":{"failCode":5,"failMessage":"no such thing: 100% ☃","failBadRequest":true}}`,
			code:  bufNotFound,
			want:  []string{`"code": "not_found"`, `"message": "no such thing: 100% ☃"`, `"type": "google.rpc.BadRequest"`},
		},
		{
			name: "error in a stream", method: "gateway.test.v1.Echo/ServerStream",
			input: `{"count":3,"script":{"failCode":5,"failMessage":"gone","failAfter":2}}`,
			code:  bufNotFound,
			want:  []string{`"number": 2`, `"code": "not_found"`, `"message": "gone"`},
		},
		{
			name: "health", method: "grpc.health.v1.Health/Check",
			input: `{"service":"gateway.test.v1.Library"}`,
			want:  []string{`"status": "SERVING"`},
		},
	}
	schema := filepath.Join(t.TempDir(), "schema.binpb")
	if err := os.WriteFile(schema, kit.Descriptors(t), 0o600); err != nil {
		t.Fatal(err)
	}
	// Reflection is a bidi stream, so over HTTP/1.1 the schema is from a file. There buf speaks
	// neither gRPC nor bidi streams.
	http1, http2 := []string{"--schema", schema}, []string{"--http2-prior-knowledge", "--reflect"}
	for _, way := range []struct {
		name, protocol string
		args           []string
		skip           string
	}{
		{name: "connect", protocol: "connect", args: http2},
		{name: "connect over HTTP/1.1", protocol: "connect", args: http1, skip: "bidi stream"},
		{name: "grpc", protocol: "grpc", args: http2},
		{name: "grpcweb", protocol: "grpcweb", args: http2},
		{name: "grpcweb over HTTP/1.1", protocol: "grpcweb", args: http1, skip: "bidi stream"},
	} {
		for _, call := range calls {
			if call.name == way.skip {
				continue
			}
			t.Run(way.name+"/"+call.name, func(t *testing.T) {
				args := append([]string{"curl", "--protocol", way.protocol, "--data", "@-"}, slices.Concat(way.args, call.args)...)
				got := kit.Run(t, exec.Command(program, append(args, caddy.URL("/"+call.method))...), call.input)
				if got.Code != call.code {
					t.Errorf("buf curl ended with %d, not %d", got.Code, call.code)
				}
				kit.Contains(t, "what buf curl printed", got.Stdout+got.Stderr, call.want...)
			})
		}
	}
}
