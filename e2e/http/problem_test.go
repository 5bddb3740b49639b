package httpe2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// statuses makes a backend whose unary calls fail with the status that the text of the request
// names.
func statuses(by map[string]*spb.Status) testkit.Option {
	return testkit.WithServerOptions(grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if echo, ok := req.(*testpb.EchoRequest); ok && by[echo.GetText()] != nil {
			return nil, status.ErrorProto(by[echo.GetText()])
		}
		return h(ctx, req)
	}))
}

func detail(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	d, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestProblemDetails has ajv judge documents by the schema of RFC 9457.
func TestProblemDetails(t *testing.T) {
	info := func(domain, reason string) []*anypb.Any {
		return []*anypb.Any{detail(t, &errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: map[string]string{"k": "v\x00"}})}
	}
	cases := map[string]*spb.Status{
		"plain":             {Code: 5, Message: "no \"book\"\r\n"},
		"no-message":        {Code: 7},
		"no-such-code":      {Code: 77, Message: "what?"},
		"control":           {Code: 3, Message: "a\x00\x1b\u2028\U0001F600"},
		"info":              {Code: 5, Details: info("books.example.com", "BOOK_GONE")},
		"info-reason":       {Code: 5, Details: info("books.example.com", "a b/c?d#e\x00\x1b\"<ü>")},
		"info-domain":       {Code: 5, Details: info("a b\n\"/\\", "GONE")},
		"info-host":         {Code: 5, Details: info("[::1]:80", "GONE")},
		"info-address":      {Code: 5, Details: info("1.2.3.4.5", "GONE")},
		"violations":        {Code: 3, Details: []*anypb.Any{detail(t, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "a[0].b", Description: "\x00"}}})}},
		"unknown-type":      {Code: 3, Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/hidden.Thing", Value: []byte{8, 1}}}},
		"no-type":           {Code: 3, Details: []*anypb.Any{{Value: []byte{1}}, {}}},
		"broken":            {Code: 3, Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/google.rpc.BadRequest", Value: []byte{0xff, 0xff}}}},
		"broken-info":       {Code: 3, Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: []byte{10, 1, 0xff}}}},
		"huge":              {Code: 13, Details: []*anypb.Any{detail(t, &errdetails.DebugInfo{Detail: strings.Repeat("d\n", 100_000)})}},
		"status-of-the-map": {Code: 9, Message: "not now"},
	}
	w := newWorld(t, `
	grpc_gateway echo {
		errors problem
		answers {
			map FAILED_PRECONDITION 412
		}
	}`, statuses(cases))
	c := w.client(t, "HTTP/1.1")
	var names, documents []string
	ask := func(name, method, path, body string) {
		var b []byte
		if body != "" {
			b = []byte(body)
		}
		a := c.do(method, path, b)
		var doc struct{ Status int }
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || !utf8.ValidString(a.body) || doc.Status != a.StatusCode || a.StatusCode < 400 ||
			a.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept") {
			t.Errorf("%s: %v, %s", name, err, a)
		}
		names, documents = append(names, name), append(documents, a.body)
	}
	for name := range cases {
		ask(name, "GET", "/v1/echo/"+name, "")
	}
	ask("no route", "GET", "/v1/nowhere", "")
	ask("a bad body", "POST", "/v1/echo", `{"text":`)
	ask("a bad parameter", "GET", "/v1/echo/a?%22%00=1", "")
	ask("a stream", "POST", "/v1/stream", `{"script":{"failCode":7,"failMessage":"no"}}`)
	// The judge must not be satisfied by everything.
	bad := []string{`{"type":"about:blank","status":1000}`, `{"type":"a b"}`, `{"type":"about:blank","title":5}`, `{"type":"https://a b/"}`, `{"type":`, `[]`}
	verdicts := judgeProblems(t, append(documents, bad...))
	for i, verdict := range verdicts {
		switch {
		case i >= len(documents) && verdict == nil:
			t.Errorf("the judge takes %s", bad[i-len(documents)])
		case i < len(documents) && verdict != nil:
			t.Errorf("%s: %s: %.600s", names[i], *verdict, documents[i])
		}
	}
	for name, want := range map[string]string{
		"info":              `{"type":"https://books.example.com/BOOK_GONE","title":"NOT_FOUND","status":404,`,
		"info-domain":       `{"type":"about:blank",`,
		"violations":        `"errors":[{"field":"a[0].b","description":"\u0000"}],"details":[`,
		"status-of-the-map": `{"type":"about:blank","title":"FAILED_PRECONDITION","status":412,"detail":"not now"}`,
	} {
		if a := c.do("GET", "/v1/echo/"+name, nil); !strings.Contains(a.body, want) {
			t.Errorf("%s: want %s, got %s", name, want, a)
		}
	}
	if a := c.do("GET", "/v1/echo/plain", nil, "Accept: application/json, application/problem+json;q=0"); a.StatusCode != http.StatusNotFound ||
		a.body != `{"code":5,"message":"no \"book\"\r\n"}` {
		t.Errorf("for a client that takes none: %s", a)
	}
}

// judgeProblems returns what is wrong with each document. Nil: nothing.
func judgeProblems(t *testing.T, documents []string) []*string {
	t.Helper()
	dir := kit.NPMPackages(t, "problems", filepath.Join("testdata", "problem"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	input, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "validate.mjs"))
	cmd.Stdin = bytes.NewReader(input)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("validate.mjs: %v\n%s", err, problems.String())
	}
	var verdicts []*string
	if err := json.Unmarshal(out, &verdicts); err != nil || len(verdicts) != len(documents) {
		t.Fatalf("%d verdicts on %d documents: %v: %.300s", len(verdicts), len(documents), err, out)
	}
	return verdicts
}
