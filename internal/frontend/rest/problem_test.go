package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

const (
	goneStatus  = `{"code":5,"message":"gone"}`
	goneProblem = `{"type":"about:blank","title":"NOT_FOUND","status":404,"detail":"gone"}`
)

func TestTheClientChoosesTheFormOfErrors(t *testing.T) {
	const both = "application/json, application/problem+json"
	for _, tc := range []struct {
		name, accept string
		// Whether it is problem details with errors status, and with errors problem.
		status, problem bool
	}{
		{"nothing", "", false, true},
		{"anything", "*/*", false, true},
		{"a wildcard for its kind", "application/*", false, true},
		{"JSON", "application/json", false, true},
		{"problem details", "application/problem+json", true, true},
		{"problem details in other letters", "Application/Problem+Json; charset=utf-8", true, true},
		{"both alike", both, true, true},
		{"both, JSON more", both + ";q=0.9", false, false},
		{"both, JSON less", "application/json;q=0.5, application/problem+json", true, true},
		{"problem details as much as a wildcard", "*/*;q=0.5, application/problem+json;q=0.5", true, true},
		{"problem details less than a wildcard", "*/*, application/problem+json;q=0.5", false, false},
		{"no problem details", "*/*, application/problem+json;q=0", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for form, want := range map[frontend.ErrorForm]bool{frontend.StatusErrors: tc.status, frontend.ProblemErrors: tc.problem} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				if tc.accept != "" {
					r.Header.Set("Accept", tc.accept)
				}
				w := httptest.NewRecorder()
				w.Header().Set("Vary", "Origin")
				New(frontend.Options{Errors: form}).WriteError(w, r, frontend.Errorf(codes.NotFound, "gone"))
				contentType, body := "application/json", goneStatus
				if want {
					contentType, body = "application/problem+json", goneProblem
				}
				if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != contentType || w.Body.String() != body {
					t.Errorf("form %d: %d %s %s, want %s", form, w.Code, w.Header().Get("Content-Type"), w.Body, body)
				}
				if got := w.Header().Values("Vary"); !slices.Equal(got, []string{"Origin", "Accept"}) {
					t.Errorf("form %d: Vary %q", form, got)
				}
			}
		})
	}
}

func TestVaryNamesAcceptOnce(t *testing.T) {
	for given, want := range map[string]string{"": "Accept", "Origin": "Origin|Accept", "Origin, accept": "Origin, accept", "*": "*", "Accept-Encoding": "Accept-Encoding|Accept"} {
		h := http.Header{}
		if given != "" {
			h.Set("Vary", given)
		}
		addVary(h, "Accept")
		if got := strings.Join(h.Values("Vary"), "|"); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

// A client that names problem details need not name what else it takes: it speaks of errors.
func TestAcceptOfProblemDetailsRefusesNoAnswer(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		if a := c.do("GET", "/v1/echo/a", nil, "Accept: application/problem+json"); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("unary: %d %s", a.StatusCode, a.body)
		}
		if a := c.do("POST", "/v1/stream", `{"count":2}`, "Accept: application/problem+json"); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("stream: %d %s", a.StatusCode, a.body)
		}
		for accept, contentType := range map[string]string{"text/html": "application/json", "application/problem+json;q=0, text/html": "application/json"} {
			for _, path := range []string{"/v1/echo", "/v1/stream"} {
				if a := c.do("POST", path, `{}`, "Accept: "+accept); a.StatusCode != http.StatusNotAcceptable || a.Header.Get("Content-Type") != contentType {
					t.Errorf("%s %s: %d %s", path, accept, a.StatusCode, a.body)
				}
			}
		}
	})
}

func TestProblemDetailsOfCalls(t *testing.T) {
	w := newWorld(t, frontend.Options{Errors: frontend.ProblemErrors})
	const fails = `"script":{"failCode":5,"failMessage":"gone"`
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct{ name, method, path, body, want string }{
			{"unary", "POST", "/v1/echo", `{` + fails + `}}`, goneProblem},
			{"a stream that fails at once", "POST", "/v1/stream", `{"count":3,` + fails + `}}`, goneProblem},
			{"a client stream", "POST", "/v1/collect", `{` + fails + `}}`, goneProblem},
			{"bidi", "POST", "/v1/chat", `{` + fails + `}}`, goneProblem},
			{"of the gateway", "GET", "/v1/nowhere", "", `{"type":"about:blank","title":"NOT_FOUND","status":404,"detail":"no route for GET /v1/nowhere"}`},
		} {
			var body any
			if tc.body != "" {
				body = tc.body
			}
			a := c.do(tc.method, tc.path, body)
			if a.StatusCode != http.StatusNotFound || a.body != tc.want || a.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %s %s", tc.name, a.StatusCode, a.Header.Get("Content-Type"), a.body)
			}
		}
		if a := c.do("HEAD", "/v1/nowhere", nil); a.StatusCode != http.StatusNotFound || a.body != "" || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("HEAD: %d %q %v", a.StatusCode, a.body, a.Header)
		}
		// In a stream the message before is not problem details either.
		late := `{"count":2,` + fails + `,"failAfter":1}}`
		if a := c.do("POST", "/v1/stream", late); !strings.HasSuffix(a.body, "\n"+`{"error":`+goneStatus+"}\n") || a.StatusCode != http.StatusOK {
			t.Errorf("NDJSON: %d %s", a.StatusCode, a.body)
		}
		if a := c.do("POST", "/v1/stream", late, "Accept: text/event-stream, application/problem+json"); !strings.HasSuffix(a.body, "event: error\ndata: "+goneStatus+"\n\n") {
			t.Errorf("SSE: %s", a.body)
		}
	})
}

func TestErrorsInTheEnvelopeOfCalls(t *testing.T) {
	envelope := &frontend.Envelope{Prefix: []byte(`{"code":0,"message":"ok","data":`), Suffix: []byte("}"), Code: "code", Message: "message", Data: "data"}
	streams := *envelope
	streams.Streams = true
	const (
		fails = `"script":{"failCode":5,"failMessage":"gone"`
		want  = `{"code":5,"message":"gone","data":null}`
	)
	for name, tc := range map[string]struct {
		envelope    *frontend.Envelope
		ndjson, sse string
	}{
		"answers only": {envelope, `{"error":` + goneStatus + `}`, goneStatus},
		"streams, too": {&streams, want, want},
	} {
		w := newWorld(t, frontend.Options{Answers: &frontend.Answers{Envelope: tc.envelope}})
		c := w.client(t, "HTTP1")
		if a := c.do("POST", "/v1/echo", `{`+fails+`}}`); a.StatusCode != http.StatusNotFound || a.body != want || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if a := c.do("POST", "/v1/stream", `{`+fails+`}}`); a.StatusCode != http.StatusNotFound || a.body != want {
			t.Errorf("%s, a stream that fails at once: %d %s", name, a.StatusCode, a.body)
		}
		if a := c.do("POST", "/v1/echo", `{`+fails+`}}`, "Accept: application/problem+json"); a.body != goneProblem {
			t.Errorf("%s, and the client asks for problem details: %s", name, a.body)
		}
		late := `{"count":2,` + fails + `,"failAfter":1}}`
		if a := c.do("POST", "/v1/stream", late); !strings.HasSuffix(a.body, "\n"+tc.ndjson+"\n") {
			t.Errorf("%s, NDJSON: %s", name, a.body)
		}
		if a := c.do("POST", "/v1/stream", late, "Accept: text/event-stream"); !strings.HasSuffix(a.body, "event: error\ndata: "+tc.sse+"\n\n") {
			t.Errorf("%s, SSE: %s", name, a.body)
		}
	}
}

func TestTheConfigChoosesTheStatusOfCodes(t *testing.T) {
	w := newWorld(t, frontend.Options{Answers: &frontend.Answers{HTTPStatus: map[codes.Code]int{codes.FailedPrecondition: 412, codes.Aborted: 503, codes.Unimplemented: 404}}})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, path := range []string{"/v1/echo", "/v1/stream", "/v1/collect"} {
			c.do("POST", path, `{"script":{"failCode":9}}`).wantError(t, 412, 9, "")
		}
		a := c.do("POST", "/v1/echo", `{"script":{"failCode":10,"failRetryAfter":"2s"}}`)
		a.wantError(t, 503, 10, "")
		if got := a.Header.Get("Retry-After"); got != "2" {
			t.Errorf("Retry-After %q: it belongs to the status that the config chose", got)
		}
		c.do("DELETE", "/v1/echo", nil).wantError(t, 405, 12, "")
	})
}

// failing makes a backend whose calls end in err, with this metadata.
func failing(header, trailer metadata.MD, err error) testkit.Option {
	return testkit.WithServerOptions(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			if header != nil {
				_ = grpc.SendHeader(ctx, header)
			}
			_ = grpc.SetTrailer(ctx, trailer)
			return nil, err
		}),
		grpc.ChainStreamInterceptor(func(_ any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			if header != nil {
				_ = ss.SendHeader(header)
			}
			ss.SetTrailer(trailer)
			return err
		}))
}

func TestChallengeOfA401(t *testing.T) {
	const basic = `Basic realm="x"`
	own := metadata.Pairs("www-authenticate", basic)
	for _, tc := range []struct {
		name            string
		opts            frontend.Options
		header, trailer metadata.MD
		code            codes.Code
		want            string
	}{
		{name: "none of the service", code: codes.Unauthenticated, want: "Bearer"},
		{name: "the service's, with the error", trailer: own, code: codes.Unauthenticated, want: basic},
		{name: "after a header without metadata", header: metadata.MD{}, trailer: own, code: codes.Unauthenticated, want: basic},
		{name: "after a header with metadata", header: metadata.Pairs("x-a", "1"), trailer: own, code: codes.Unauthenticated, want: basic},
		{name: "in the header", header: own, trailer: metadata.Pairs("www-authenticate", "Digest"), code: codes.Unauthenticated, want: basic},
		{name: "dropped by a rule", opts: frontend.Options{ResponseMetadata: rules(t, frontend.CompileResponseRules, "-www-authenticate")},
			trailer: own, code: codes.Unauthenticated, want: "Bearer"},
		{name: "a 401 of the config", opts: frontend.Options{Answers: &frontend.Answers{HTTPStatus: map[codes.Code]int{codes.PermissionDenied: 401}}},
			code: codes.PermissionDenied, want: "Bearer"},
		{name: "not a 401", code: codes.PermissionDenied, want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.opts, failing(tc.header, tc.trailer, status.Error(tc.code, "no")))
			c := w.client(t, "HTTP2")
			for _, path := range []string{"/v1/echo", "/v1/stream", "/v1/collect"} {
				a := c.do("POST", path, `{}`)
				if got := strings.Join(a.Header.Values("WWW-Authenticate"), "|"); got != tc.want {
					t.Errorf("%s: %d, WWW-Authenticate %q, want %q", path, a.StatusCode, got, tc.want)
				}
			}
		})
	}
}

func TestMetadataOfAnErrorAfterAnEmptyHeader(t *testing.T) {
	w := newWorld(t, frontend.Options{}, failing(metadata.MD{}, metadata.Pairs("x-reset", "7"), status.Error(codes.ResourceExhausted, "slowly")))
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, path := range []string{"/v1/echo", "/v1/stream", "/v1/collect"} {
			a := c.do("POST", path, `{}`, "Te: trailers")
			if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("X-Reset") != "7" || len(a.Trailer) != 0 {
				t.Errorf("%s: %d, header %v, trailer %v", path, a.StatusCode, a.Header, a.Trailer)
			}
		}
	})
}
