package module_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// The texts that no client may see: the value of gateway.test.v1.Nested, and the description in a
// google.rpc.BadRequest of the backend.
const (
	secretValue  = "S3CRET-VALUE"
	secretDetail = "the script says so"
)

// hasText reports whether bytes have the text, as it is or within base64.
func hasText(b []byte, text string) bool {
	if strings.Contains(string(b), text) {
		return true
	}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			code := enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
			// The first and the last characters depend on what is around the text.
			if strings.Contains(string(b), code[(shift*8+5)/6:len(code)-2]) {
				return true
			}
		}
	}
	return false
}

// secretCall is a call whose answer, or the details of whose error, have a secret.
type secretCall struct {
	name, method, path, contentType string
	header                          map[string]string
	message                         proto.Message // In the form that the content type says.
	text                            string        // Or the body.
	secret                          string
}

func secretCalls() []secretCall {
	const unary, stream = testpb.Echo_Unary_FullMethodName, testpb.Echo_ServerStream_FullMethodName
	value := &testpb.EchoRequest{Nested: &testpb.Nested{Child: &testpb.Nested{Value: secretValue}, Value: secretValue}, Count: 2}
	fail := &testpb.EchoRequest{Script: &testpb.Script{FailCode: 3, FailMessage: "no", FailBadRequest: true}}
	const valueJSON = `{"count":2,"many":[{"value":"` + secretValue + `"}],"byNumber":{"1":{"value":"` + secretValue + `"}},"middle":{"child":{"value":"` + secretValue + `"}}}`
	const failJSON = `{"script":{"failCode":3,"failMessage":"no","failBadRequest":true}}`
	version := map[string]string{"Connect-Protocol-Version": "1"}
	calls := []secretCall{
		{name: "REST GET", method: "GET", path: "/v1/echo?nested.value=" + secretValue},
		{name: "response_body", method: "POST", path: "/v1/part", contentType: "application/json", text: valueJSON},
		{name: "SSE", method: "GET", path: "/v1/stream/2?nested.value=" + secretValue, header: map[string]string{"Accept": "text/event-stream"}},
	}
	for _, c := range []secretCall{
		{name: "REST POST", path: "/v1/echo", contentType: "application/json"},
		{name: "plain JSON", path: unary, contentType: "application/json"},
		{name: "NDJSON", path: "/v1/stream", contentType: "application/json"},
		{name: "JSON array", path: "/v1/stream", contentType: "application/json", header: map[string]string{"Accept": "application/json"}},
		{name: "Connect JSON", path: unary, contentType: "application/json", header: version},
		{name: "Connect proto", path: unary, contentType: "application/proto", header: version},
		{name: "Connect stream, JSON", path: stream, contentType: "application/connect+json"},
		{name: "Connect stream, proto", path: stream, contentType: "application/connect+proto"},
		{name: "gRPC", path: unary, contentType: "application/grpc"},
		{name: "gRPC stream", path: stream, contentType: "application/grpc"},
		{name: "gRPC JSON", path: unary, contentType: "application/grpc+json"},
		{name: "gRPC-Web", path: unary, contentType: "application/grpc-web+proto"},
		{name: "gRPC-Web stream", path: stream, contentType: "application/grpc-web+proto"},
		{name: "gRPC-Web JSON", path: stream, contentType: "application/grpc-web+json"},
		{name: "gRPC-Web text", path: unary, contentType: "application/grpc-web-text"},
	} {
		c.method = "POST"
		ok, failed := c, c
		ok.message, ok.secret, ok.text = value, secretValue, valueJSON
		failed.message, failed.secret, failed.text = fail, secretDetail, failJSON
		failed.name += ", error"
		calls = append(calls, ok, failed)
	}
	for i := range calls {
		if calls[i].secret == "" {
			calls[i].secret = secretValue
		}
	}
	return calls
}

// body is the request body in the form of the content type.
func (c *secretCall) body(t *testing.T) string {
	t.Helper()
	text := c.text
	if c.message != nil && !strings.HasSuffix(c.contentType, "json") {
		wire, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		text = string(wire)
	}
	if strings.HasPrefix(c.contentType, "application/grpc") || strings.HasPrefix(c.contentType, "application/connect") {
		text = "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
	}
	if strings.HasSuffix(c.contentType, "-text") {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return text
}

// dump returns everything that the answer to a call has.
func (s *site) dump(t *testing.T, c *secretCall) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), c.method, "http://"+s.addr+c.path, strings.NewReader(c.body(t)))
	if err != nil {
		t.Fatal(err)
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(c.contentType, "-text") {
		if raw, err = base64.StdEncoding.DecodeString(string(raw)); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Appendf(nil, "%s %v\n%s\n%v", resp.Status, resp.Header, raw, resp.Trailer)
}

// TestHiddenFieldsInEveryProtocol makes the same calls with and without hide_fields. Without it,
// each answer has the secret, so the calls are good. With it, none has.
func TestHiddenFieldsInEveryProtocol(t *testing.T) {
	backend := testkit.StartBackend(t)
	for name, option := range map[string]string{
		"shown":  "",
		"hidden": "hide_fields gateway.test.v1.Nested.value google.rpc.BadRequest.FieldViolation.description",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+` {
	route POST /v1/part gateway.test.v1.Echo/Unary {
		body *
		response_body request
	}
	stream {
		event_id field request.nested.value
	}
	`+option+`
}`)
			s.want(s.get("/v1/echo"), http.StatusOK)
			for _, c := range secretCalls() {
				t.Run(c.name, func(t *testing.T) {
					got := s.dump(t, &c)
					if hasText(got, c.secret) != (option == "") {
						t.Errorf("with %q it is %q", option, got)
					}
					if c.secret == secretValue && !strings.HasPrefix(string(got), "200 ") {
						t.Errorf("the call failed: %q", got)
					}
				})
			}
			t.Run("WebSocket", func(t *testing.T) {
				if got := s.overWebSocket(t, `{"nested":{"value":"`+secretValue+`"}}`); hasText(got, secretValue) != (option == "") {
					t.Errorf("with %q it is %s", option, got)
				}
			})
			// The service gets the field in any case, and the others come back.
			in := &testpb.EchoRequest{Text: "t", Nested: &testpb.Nested{Value: "x", Numbers: []int32{1}}}
			out, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), in)
			if option != "" {
				in.Nested.Value = ""
			}
			if err != nil || !proto.Equal(out.GetRequest(), in) {
				t.Errorf("got %v, %v", out, err)
			}
		})
	}
}

// overWebSocket sends one message to Bidi and returns the answer.
func (s *site) overWebSocket(t *testing.T, message string) []byte {
	t.Helper()
	ctx := bounded(t)
	conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/v1/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	_, got, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestHiddenFieldsWithoutASchema refuses calls that cannot be looked into.
func TestHiddenFieldsWithoutASchema(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false))
	for option, want := range map[string]codes.Code{
		"": codes.OK,
		// The gateway does not know yet whether the service will describe itself.
		"hide_fields gateway.test.v1.Nested.value": codes.Unavailable,
	} {
		t.Run(option, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n\t"+option+"\n}")
			_, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{})
			if status.Code(err) != want {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

// TestFieldsThatCannotBeHidden refuses configs that could not keep their promise.
func TestFieldsThatCannotBeHidden(t *testing.T) {
	backend := testkit.StartBackend(t)
	set := filepath.Join(t.TempDir(), "echo.binpb")
	protoset(t, set, nil)
	s := newSite(t)
	for name, tt := range map[string]struct{ field, want string }{
		"no such field":   {"gateway.test.v1.Nested.nope", `hide_fields: no upstream has the field "gateway.test.v1.Nested.nope"`},
		"no such message": {"gateway.test.v1.Nope.value", `hide_fields: no upstream has the field "gateway.test.v1.Nope.value"`},
		"a message":       {"gateway.test.v1.Nested", `hide_fields: no upstream has the field "gateway.test.v1.Nested"`},
		"a field":         {"gateway.test.v1.Nested.value", ""},
		"of an error":     {"google.rpc.DebugInfo.detail", ""},
		"of a route":      {"gateway.test.v1.EchoResponse.request", `response_body "request"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.tryLoad("", "grpc_gateway {\n upstream a {\n discover static "+backend.Addr()+"\n descriptors protoset "+set+
				"\n }\n route GET /x gateway.test.v1.Echo/Unary {\n response_body request\n }\n hide_fields "+tt.field+"\n }")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestPartsOfAnswers asks for parts through a whole site.
func TestPartsOfAnswers(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tfields on\n\thide_fields gateway.test.v1.EchoRequest.flag\n}")
	got := s.want(s.get("/v1/echo/abc?flag=true&fields=request.text"), http.StatusOK)
	if got.body != `{"request":{"text":"abc"}}` {
		t.Errorf("got %s", got)
	}
	got = s.want(s.get("/v1/echo/abc?flag=true&fields=request.flag"), http.StatusBadRequest)
	if want := `found \"flag\"`; !strings.Contains(got.body, want) {
		t.Errorf("a hidden field can be asked for: %s", got)
	}
}
