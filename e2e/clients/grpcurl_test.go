package clients

import (
	"os/exec"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// grpcurl ends with 64 and the code of the call's status.
const grpcurlNotFound = 64 + 5

// TestGrpcurl: grpcurl, which learns the schema from the gateway's own reflection, makes every kind
// of call.
func TestGrpcurl(t *testing.T) {
	program := kit.Grpcurl(t)
	caddy, _ := startGateway(t, "reflection on\nhealth on")
	for _, call := range []struct {
		name  string
		args  []string // without the address, which comes before the last
		input string
		code  int
		want  []string
	}{
		{
			name: "list services",
			args: []string{"list"},
			want: []string{"gateway.test.v1.Echo\n", "gateway.test.v1.Library\n", "grpc.health.v1.Health\n", "grpc.reflection.v1.ServerReflection\n"},
		},
		{
			name: "list methods",
			args: []string{"list", "gateway.test.v1.Library"},
			want: []string{"gateway.test.v1.Library.CreateBook\n", "gateway.test.v1.Library.UpdateBook\n"},
		},
		{
			name: "describe a method with its HTTP rule",
			args: []string{"describe", "gateway.test.v1.Library.GetBook"},
			want: []string{"rpc GetBook ( .gateway.test.v1.GetBookRequest ) returns ( .gateway.test.v1.Book )", `get: "/v1/{name=shelves/*/books/*}"`},
		},
		{
			name: "describe a message",
			args: []string{"describe", "gateway.test.v1.Nested"},
			want: []string{".gateway.test.v1.Nested child = 2;"},
		},
		{
			name: "unary, with metadata both ways",
			args: []string{"-v", "-H", "x-ask: of grpcurl", "-d",
				`{"text":"grüße","script":{"headers":{"x-head":"of the answer"},"trailers":{"x-tail":"after it"}}}`, "gateway.test.v1.Echo/Unary"},
			want: []string{"x-head: of the answer", "x-tail: after it", `"x-ask": "of grpcurl"`, `"text": "grüße"`, "received 1 response"},
		},
		{
			name: "deadline",
			args: []string{"-max-time", "20", "-d", `{"script":{"delay":"30s"}}`, "gateway.test.v1.Echo/Unary"},
			code: 64 + 4,
			want: []string{"Code: DeadlineExceeded"},
		},
		{
			name: "server stream",
			args: []string{"-v", "-d", `{"text":"s","count":3}`, "gateway.test.v1.Echo/ServerStream"},
			want: []string{`"number": 1`, `"number": 2`, `"number": 3`, "received 3 responses"},
		},
		{
			name:  "client stream",
			args:  []string{"-v", "-d", "@", "gateway.test.v1.Echo/ClientStream"},
			input: `{"text":"a"} {"text":"b"} {"text":"c"}`,
			want:  []string{`"text": "a,b,c"`, "Sent 3 requests and received 1 response"},
		},
		{
			name:  "bidi stream",
			args:  []string{"-v", "-d", "@", "gateway.test.v1.Echo/Bidi"},
			input: `{"text":"a"} {"text":"b","count":2}`,
			want:  []string{`"number": 3`, "Sent 2 requests and received 3 responses"},
		},
		{
			name: "error with details",
			args: []string{"-d", `{"script":{"failCode":5,"failMessage":"no such thing: 100% ☃","failBadRequest":true}}`, "gateway.test.v1.Echo/Unary"},
			code: grpcurlNotFound,
			want: []string{"Code: NotFound", "Message: no such thing: 100% ☃", "type.googleapis.com/google.rpc.BadRequest",
				`"description": "the script says so"`},
		},
		{
			name: "health of the gateway",
			args: []string{"grpc.health.v1.Health/Check"},
			want: []string{`"status": "SERVING"`},
		},
		{
			name: "health of a service",
			args: []string{"-d", `{"service":"gateway.test.v1.Echo"}`, "grpc.health.v1.Health/Check"},
			want: []string{`"status": "SERVING"`},
		},
		{
			name: "health of no service",
			args: []string{"-d", `{"service":"no.Such"}`, "grpc.health.v1.Health/Check"},
			code: grpcurlNotFound,
			want: []string{"Code: NotFound"},
		},
	} {
		t.Run(call.name, func(t *testing.T) {
			got := kit.Run(t, exec.Command(program, grpcurlArgs(caddy.Listen, call.args)...), call.input)
			if got.Code != call.code {
				t.Errorf("grpcurl ended with %d, not %d", got.Code, call.code)
			}
			kit.Contains(t, "what grpcurl printed", got.Stdout+got.Stderr, call.want...)
		})
	}
}

// grpcurlArgs puts the address where grpcurl wants it: after the flags, before the command or
// method.
func grpcurlArgs(addr string, args []string) []string {
	n := len(args) - 1
	if args[0] == "list" || args[0] == "describe" {
		n = 0
	}
	out := append([]string{"-plaintext"}, args[:n]...)
	return append(append(out, addr), args[n:]...)
}
