package module_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/module"
)

// wordChecker is a checker as a third party would write one. It refuses messages that have a word.
type wordChecker struct {
	Word string `json:"word,omitempty"`
}

func init() { caddy.RegisterModule(new(wordChecker)) }

func (*wordChecker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.grpc_gateway.checks.word", New: func() caddy.Module { return new(wordChecker) }}
}

func (c *wordChecker) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&c.Word) {
		return d.ArgErr()
	}
	return nil
}

func (c *wordChecker) ID() string { return "word:" + c.Word }

func (c *wordChecker) Schema(s checks.Schema) checks.SchemaChecks {
	if _, err := s.Files.FindDescriptorByName("gateway.test.v1.Echo"); err != nil {
		panic("the schema is not the service's")
	}
	return c
}

func (c *wordChecker) Method(m protoreflect.MethodDescriptor) (checks.Check, []checks.Problem) {
	switch {
	case m.Name() == "ServerStream":
		panic("a checker with a bug")
	case m.Name() == "Bidi":
		return nil, []checks.Problem{{Subject: "gateway.test.v1.Echo.Bidi", Reason: "it has too many words"}}
	case m.Input().FullName() != "gateway.test.v1.EchoRequest":
		return nil, nil
	}
	return c, nil
}

func (c *wordChecker) Message(_ context.Context, wire []byte) error {
	switch {
	case bytes.Contains(wire, []byte("panic")):
		panic("a check with a bug")
	case bytes.Contains(wire, []byte("unknown")):
		return errors.New("S3CRET")
	case bytes.Contains(wire, []byte(c.Word)):
		fd := (&testpb.EchoRequest{}).ProtoReflect().Descriptor().Fields().ByName("by_number")
		return &checks.Refusal{Violations: []checks.Violation{{
			Field: []checks.Step{{Field: fd, Subscript: "1"}, {Name: "part"}}, Rule: "no." + c.Word, Description: "must not have the word",
		}}}
	}
	return nil
}

// TestCheckOfAThirdParty runs checks by others, alone and beside protovalidate.
func TestCheckOfAThirdParty(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tvalidate on {\n\t\tcheck word fox\n\t\tcheck word dog\n\t\tcheck protovalidate\n\t}\n}")
	for text, want := range map[string]string{
		"fine":                "",
		"a fox":               `{"code":3,"message":"the request message is not valid: byNumber[1].part: must not have the word","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"byNumber[1].part","description":"must not have the word","reason":"no.fox"}]}]}`,
		"a dog":               `"reason":"no.dog"`,
		"a very long text ha": `"reason":"string.max_len"`,
		"unknown":             `{"code":3,"message":"the request message could not be checked"}`,
		"panic":               `{"code":3,"message":"the request message could not be checked"}`,
	} {
		got := s.do("POST", "/v1/echo", `{"text":"`+text+`"}`)
		if (got.status == http.StatusOK) != (want == "") || !strings.Contains(got.body, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
	s.logs("S3CRET", "could not be checked")
	s.logs("a check with a bug", "could not be checked")
	if n := s.metric(`validation_total{method="Unary",result="failed",service="gateway.test.v1.Echo",upstream="` + backend.Addr() + `"}`); n != 2 {
		t.Errorf("%v messages are counted as failed", n)
	}
	// A checker that panics for a method costs neither the method nor its other checks.
	s.want(s.do("POST", "/v1/stream", `{"text":"a fox","count":1}`), http.StatusOK)
	s.want(s.do("POST", "/v1/stream", `{"text":"a very long text ha","count":1}`), http.StatusBadRequest)
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	var problems []string
	for _, p := range views[0].Problems {
		problems = append(problems, p.Reason)
	}
	all := strings.Join(problems, "\n")
	for _, want := range []string{
		"validate: gateway.test.v1.Echo.Bidi: it has too many words",
		`validate: gateway.test.v1.Echo.ServerStream: the check "word:fox" panics, so nothing is checked: a checker with a bug`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem %q in:\n%s", want, all)
		}
	}
}

// TestChecksThatAreRefused refuses configs.
func TestChecksThatAreRefused(t *testing.T) {
	s := newSite(t)
	for name, tt := range map[string]struct{ validate, want string }{
		"mode":        {`{"mode": "loud"}`, `validate: mode "loud": expected on, warn or off`},
		"twice":       {`{"checks": [{"check": "word", "word": "a"}, {"check": "word", "word": "a"}]}`, `validate: check "word:a" comes twice`},
		"unknown":     {`{"checks": [{"check": "spelling"}]}`, "unknown module: http.grpc_gateway.checks.spelling"},
		"an option":   {`{"checks": [{"check": "protovalidate", "strict": true}]}`, `unknown field "strict"`},
		"other types": {`"on"`, "cannot unmarshal"},
	} {
		config := `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"http": {"servers": {"a": {"routes": [{"handle": [
			{"handler": "grpc_gateway", "upstreams": [{"discover": {"source": "static", "addresses": ["127.0.0.1:1"]}}], "validate": ` + tt.validate + `}]}]}}}}}`
		if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	_ = s
}
