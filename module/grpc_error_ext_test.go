package module_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// login is a user whose password nobody knows.
const login = "basic_auth {\n alice $2a$04$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n }\n"

// caller is one kind of client. call makes a call that fails, and returns the error as the client
// sees it, and the header of the response.
type caller struct {
	name string
	call func(s *site) (rpcError, http.Header)
	// unary is an error with the HTTP status of the refusal.
	unary bool
}

// rpcError is an error in any of the protocols.
type rpcError struct {
	code    codes.Code
	message string
	details int
}

const unaryPath = testpb.Echo_Unary_FullMethodName

// callers are the clients of all RPC protocols.
var callers = []caller{
	{"gRPC", callGRPC, false},
	{"gRPC-Web", func(s *site) (rpcError, http.Header) {
		return readWeb(s, s.want(s.post(unaryPath, "application/grpc-web+proto", "\x00\x00\x00\x00\x00"), 200), "application/grpc-web+proto")
	}, false},
	{"gRPC-Web as text", func(s *site) (rpcError, http.Header) {
		got := s.want(s.post(unaryPath, "application/grpc-web-text", "AAAAAAA="), 200)
		raw, err := base64.StdEncoding.DecodeString(got.body)
		if err != nil {
			s.t.Fatalf("%s: %v", got, err)
		}
		got.body = strings.TrimSpace(string(raw))
		return readWeb(s, got, "application/grpc-web-text+proto")
	}, false},
	{"Connect", func(s *site) (rpcError, http.Header) {
		return readConnect(s, s.post(unaryPath, "application/json", `{}`, "Connect-Protocol-Version", "1"))
	}, true},
	{"Connect in binary", func(s *site) (rpcError, http.Header) {
		return readConnect(s, s.post(unaryPath, "application/proto", ""))
	}, true},
	{"Connect by GET", func(s *site) (rpcError, http.Header) {
		return readConnect(s, s.get(testpb.Library_GetBook_FullMethodName+"?connect=v1&encoding=json&message=%7B%7D"))
	}, true},
	{"Connect stream", func(s *site) (rpcError, http.Header) {
		got := s.want(s.post(testpb.Echo_ServerStream_FullMethodName, "application/connect+json", "\x00\x00\x00\x00\x02{}"), 200)
		if got.header.Get("Content-Type") != "application/connect+json" || len(got.body) < 5 || got.body[0] != 2 {
			s.t.Fatalf("%v %q", got.header, got.body)
		}
		var end struct{ Error json.RawMessage }
		if err := json.Unmarshal([]byte(got.body[5:]), &end); err != nil {
			s.t.Fatal(err)
		}
		got.body = string(end.Error)
		got.header.Set("Content-Type", "application/json")
		return readConnect(s, got)
	}, false},
}

func callGRPC(s *site) (rpcError, http.Header) {
	var header, trailer metadata.MD
	_, err := testpb.NewEchoClient(s.dial()).Unary(bounded(s.t), &testpb.EchoRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	st := status.Convert(err)
	h := make(http.Header)
	for name, values := range metadata.Join(header, trailer) {
		h[http.CanonicalHeaderKey(name)] = values
	}
	return rpcError{st.Code(), st.Message(), len(st.Details())}, h
}

// readWeb reads a response of gRPC-Web that has only trailers, from its body without white space at
// the end.
func readWeb(s *site, got answer, contentType string) (rpcError, http.Header) {
	s.t.Helper()
	if got.header.Get("Content-Type") != contentType || len(got.body) < 5 || got.body[0] != 0x80 {
		s.t.Fatalf("%v %q", got.header, got.body)
	}
	var e rpcError
	for line := range strings.SplitSeq(got.body[5:], "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "grpc-status":
			_, _ = fmt.Sscan(value, &e.code)
		case "grpc-message":
			e.message = value
		case "grpc-status-details-bin":
			e.details++
		}
	}
	return e, got.header
}

func readConnect(s *site, got answer) (rpcError, http.Header) {
	s.t.Helper()
	var body struct {
		Code    string
		Message string
		Details []any
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%s %v", got, got.header)
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + strings.ToUpper(body.Code) + `"`)); err != nil {
		s.t.Fatalf("%s: %v", got, err)
	}
	got.header.Set("Status", fmt.Sprint(got.status))
	return rpcError{code, body.Message, len(body.Details)}, got.header
}

// refusals are sites whose error routes have the handler, and what callers see.
func TestErrorsInTheProtocolOfTheRequest(t *testing.T) {
	backend := testkit.StartBackend(t)
	const routes = "\nhandle_errors {\n grpc_error\n }"
	for _, tc := range []struct {
		name, site string
		want       rpcError
		status     int
		header     http.Header
	}{
		{
			"a login for the whole site", login + "grpc_gateway " + backend.Addr() + routes,
			rpcError{codes.Unauthenticated, "Unauthorized", 0}, 401, http.Header{"Www-Authenticate": {`Basic realm="restricted"`}},
		},
		{
			"a limit", "header Retry-After 7\nheader Content-Encoding br\nerror \"alice has used up hers\" 429" + routes,
			rpcError{codes.ResourceExhausted, "Too Many Requests", 1}, 429, http.Header{"Retry-After": {"7"}, "Content-Encoding": nil},
		},
		{
			"a proxy without its server", "reverse_proxy h2c://" + freeAddr(t) + routes,
			rpcError{codes.Unavailable, "Bad Gateway", 0}, 502, nil,
		},
		{
			"error routes that rewrite", "error 403\nhandle_errors {\n method PATCH\n rewrite * /denied.html\n grpc_error\n }",
			rpcError{codes.PermissionDenied, "Forbidden", 0}, 403, nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			s.load("", tc.site)
			check := func(t *testing.T, got rpcError, h http.Header) {
				t.Helper()
				if got != tc.want {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
				for name, values := range tc.header {
					if !reflect.DeepEqual(h[name], values) {
						t.Errorf("%s: %q, want %q", name, h[name], values)
					}
				}
			}
			for _, c := range callers {
				t.Run(c.name, func(t *testing.T) {
					got, h := c.call(s)
					check(t, got, h)
					if c.unary && h.Get("Status") != fmt.Sprint(tc.status) {
						t.Errorf("status %s, want %d", h.Get("Status"), tc.status)
					}
				})
			}
			t.Run("REST", func(t *testing.T) {
				got := s.want(s.do("POST", "/v1/echo", `{"text":"x"}`), tc.status)
				code, _ := got.field("code").(float64)
				message, _ := got.field("message").(string)
				details, _ := got.field("details").([]any)
				check(t, rpcError{codes.Code(code), message, len(details)}, got.header)
				if got.header.Get("Content-Type") != "application/json" {
					t.Errorf("%v", got.header)
				}
			})
			t.Run("gRPC over HTTP/1.1", func(t *testing.T) {
				req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+unaryPath, strings.NewReader("\x00\x00\x00\x00\x00"))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/grpc")
				s.want(send(http.DefaultClient, req), http.StatusHTTPVersionNotSupported)
				http.DefaultClient.CloseIdleConnections()
			})
		})
	}
}

// TestPassedErrorsKeepTheirStatus is about errors of the gateway that `errors pass` left to the
// error routes.
func TestPassedErrorsKeepTheirStatus(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n errors pass\n }\nhandle_errors {\n grpc_error\n }")
	got := s.want(s.do("POST", "/v1/echo",
		`{"script":{"failCode":14,"failMessage":"not now","failRetryAfter":"2s","headers":{"x-h":"v"}}}`), http.StatusServiceUnavailable)
	if got.field("message") != "not now" || got.field("code") != 14. || !strings.Contains(got.body, `"retryDelay":"2s"`) {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]string{"Retry-After": "2", "X-H": "v"} {
		if values := got.header[name]; len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want it once: %s", name, values, want)
		}
	}
}

// TestPassedErrorsKeepTheStatusOfTheConfig is about `map`, which even makes 502 of a code.
func TestPassedErrorsKeepTheStatusOfTheConfig(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		errors pass
		answers {
			map FAILED_PRECONDITION 412
			map INTERNAL 502
		}
	}
	handle_errors {
		grpc_error
	}`)
	for code, want := range map[codes.Code]int{codes.FailedPrecondition: 412, codes.Internal: 502, codes.NotFound: 404} {
		got := s.want(s.do("POST", "/v1/echo", fmt.Sprintf(`{"script":{"failCode":%d}}`, code)), want)
		if got.field("code") != float64(code) {
			t.Errorf("%s: got %s", code, got)
		}
	}
}

func TestOutsideOfErrorRoutesItCallsTheNext(t *testing.T) {
	s := newSite(t)
	s.load("", "grpc_error\nrespond hello")
	if got := s.want(s.get("/"), http.StatusOK); got.body != "hello" {
		t.Errorf("got %s", got)
	}
}

// TestErrorsForSomeClientsOnly has a page for people beside the errors for programs.
func TestErrorsForSomeClientsOnly(t *testing.T) {
	s := newSite(t)
	s.load("", `error 403
	handle_errors {
		@rpc header Content-Type application/grpc*
		grpc_error @rpc
		respond "a page" {err.status_code}
	}`)
	if got := s.want(s.get("/"), http.StatusForbidden); got.body != "a page" {
		t.Errorf("REST: %s", got)
	}
	if got, _ := callGRPC(s); got.code != codes.PermissionDenied {
		t.Errorf("gRPC: %+v", got)
	}
}

func TestErrorsAreInTheAccessLog(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "access.json")
	s.load("", "log {\n output file "+path+"\n }\nerror 403\nhandle_errors {\n grpc_error\n }")
	callGRPC(s)
	eventually(t, "the log has the code", func() bool {
		raw, _ := os.ReadFile(path)
		return strings.Contains(string(raw), `"grpc_code":"PERMISSION_DENIED"`)
	})
}

// TestClientsReadTheDelay is about grpc-go: it finds the RetryInfo.
func TestClientsReadTheDelay(t *testing.T) {
	s := newSite(t)
	s.load("", "header Retry-After 7\nerror 429\nhandle_errors {\n grpc_error\n }")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := testpb.NewEchoClient(s.dial()).Unary(ctx, &testpb.EchoRequest{})
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() == 7*time.Second {
			return
		}
	}
	t.Errorf("there is no RetryInfo of 7s in %v", err)
}
