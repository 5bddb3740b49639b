package clients

import (
	"encoding/base64"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestValidation: programs of others, in each protocol, are told the same of a message that breaks
// two rules. The rules come from the service by server reflection.
func TestValidation(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	caddy := kit.StartCaddy(t, kit.Options{Site: handler(backend, "reflection on\nvalidate on")})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	const (
		wrong   = `{"text":"good"} {"list":["a",""],"otherName":"long"}`
		message = "the request message is not valid: list[1]: must be at least 1 characters (and 1 more)"
		method  = "gateway.test.v1.Echo/"

		grpcurlInvalid, bufInvalid = 64 + 3, 3 * 8
	)
	one := strings.SplitAfterN(wrong, "} ", 2)[1]
	calls := []struct{ method, input, message string }{
		{"Unary", one, message},
		{"ServerStream", one, message},
		{"ClientStream", wrong, "message 2: " + message},
		{"Bidi", wrong, "message 2: " + message},
	}
	details := []string{`"@type": "type.googleapis.com/google.rpc.BadRequest"`, `"@type": "type.googleapis.com/buf.validate.Violations"`,
		`"field": "list[1]"`, `"reason": "string.min_len"`, `"field": "otherName"`, `"reason": "string.max_len"`, `"fieldName": "renamed_field"`}
	grpcurl, buf := kit.Grpcurl(t), kit.Buf(t)
	for _, call := range calls {
		t.Run("grpcurl/"+call.method, func(t *testing.T) {
			got := kit.Run(t, exec.Command(grpcurl, grpcurlArgs(caddy.Listen, []string{"-d", "@", method + call.method})...), call.input)
			if got.Code != grpcurlInvalid {
				t.Errorf("grpcurl ended with %d", got.Code)
			}
			kit.Contains(t, "what grpcurl printed", got.Stdout+got.Stderr, append(details, "Message: "+call.message)...)
		})
		for _, protocol := range []string{"connect", "grpc", "grpcweb"} {
			t.Run("buf curl, "+protocol+"/"+call.method, func(t *testing.T) {
				got := kit.Run(t, exec.Command(buf, "curl", "--protocol", protocol, "--http2-prior-knowledge", "--reflect", "--data", "@-",
					caddy.URL("/"+method+call.method)), call.input)
				if got.Code != bufInvalid {
					t.Errorf("buf curl ended with %d", got.Code)
				}
				out := got.Stdout + got.Stderr
				kit.Contains(t, "what buf curl printed", out, `"message": "`+call.message+`"`, `"type": "buf.validate.Violations"`)
				m := regexp.MustCompile(`"type": "google.rpc.BadRequest",\s+"value": "([^"]+)"`).FindStringSubmatch(out)
				if m == nil {
					t.Fatalf("no BadRequest in %s", out)
				}
				raw, err := base64.RawStdEncoding.DecodeString(m[1])
				if err != nil {
					t.Fatal(err)
				}
				bad, want := new(errdetails.BadRequest), new(errdetails.BadRequest)
				if err := proto.Unmarshal(raw, bad); err != nil {
					t.Fatal(err)
				}
				const text = `field_violations { field: "list[1]" description: "must be at least 1 characters" reason: "string.min_len" }
					field_violations { field: "otherName" description: "must be at most 3 characters" reason: "string.max_len" }`
				if err := prototext.Unmarshal([]byte(text), want); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(bad, want) {
					t.Errorf("got %v", bad)
				}
			})
		}
	}
	got := kit.Run(t, exec.Command("curl", "-sS", "-H", "Content-Type: application/json", "--data", one, caddy.URL("/v1/echo")), "")
	kit.Contains(t, "what curl printed", got.Stdout, `"message":"`+message+`"`, `"field":"list[1]"`, `"field":"otherName"`)
}
