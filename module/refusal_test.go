package module

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// rpcProtocols are those whose clients cannot read the answers of a block.
var rpcProtocols = []frontend.Protocol{frontend.Connect, frontend.GRPC, frontend.GRPCWeb}

// respond is a block that answers.
func respond(status int, body string, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestBlocksThatAnswerRPCs(t *testing.T) {
	for _, tc := range []struct {
		name    string
		block   func(w http.ResponseWriter)
		code    codes.Code
		message string
		stays   http.Header // what stays of the response header
		carries http.Header // what the error has
	}{
		{
			name: "a page", block: respond(403, "<html>", "Content-Type", "text/html", "Content-Length", "6", "Etag", `"1"`, "Cache-Control", "no-store"),
			code: codes.PermissionDenied, message: "Forbidden", stays: http.Header{"Cache-Control": {"no-store"}},
		},
		{
			name: "a limit", block: respond(429, "", "Retry-After", "3"),
			code: codes.ResourceExhausted, message: "Too Many Requests", carries: http.Header{"Retry-After": {"3"}},
		},
		{
			name: "a redirect", block: respond(302, "", "Location", "/login", "Set-Cookie", "a=1", "Set-Cookie", "b=2"),
			code: codes.Unknown, message: "the policy answered with HTTP 302",
			carries: http.Header{"Location": {"/login"}, "Set-Cookie": {"a=1", "b=2"}},
		},
		{
			name:  "a compressed page with trailers",
			block: respond(503, "\x1f\x8b", "Content-Encoding", "gzip", "Vary", "Accept-Encoding", "Trailer", "X-T", http.TrailerPrefix+"X-T", "t"),
			code:  codes.Unavailable, message: "Service Unavailable", stays: http.Header{"Vary": {"Accept-Encoding"}},
		},
		{
			name: "what looks like a status of gRPC", block: respond(401, "", "Grpc-Status", "0", "Grpc-Status-Details-Bin", "AA"),
			code: codes.Unauthenticated, message: "Unauthorized",
		},
		{
			name: "a success without a type", block: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "ok") },
			code: codes.Unknown, message: "the policy answered with HTTP 200",
		},
		{
			name: "a copied body", block: func(w http.ResponseWriter) { _, _ = io.Copy(w, strings.NewReader("ok")) },
			code: codes.Unknown, message: "the policy answered with HTTP 200",
		},
		{
			name: "hints before it", block: func(w http.ResponseWriter) {
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusForbidden)
			},
			code: codes.PermissionDenied, message: "Forbidden",
		},
		{
			name: "twice", block: func(w http.ResponseWriter) {
				w.WriteHeader(http.StatusForbidden)
				w.WriteHeader(http.StatusOK)
			},
			code: codes.PermissionDenied, message: "Forbidden",
		},
		{
			name: "flushed", block: func(w http.ResponseWriter) {
				_ = http.NewResponseController(w).Flush()
				w.WriteHeader(http.StatusForbidden)
				_ = http.NewResponseController(w).Flush()
			},
			code: codes.PermissionDenied, message: "Forbidden",
		},
		{
			name: "a taken connection", block: func(w http.ResponseWriter) {
				w.WriteHeader(http.StatusSwitchingProtocols)
				if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
					panic(err)
				}
			},
			code: codes.Unknown, message: "the policy answered with HTTP 101",
		},
		{
			name: "nothing", block: func(http.ResponseWriter) {},
			code: codes.Unknown, message: "the policy ended the call without an answer",
		},
	} {
		for _, protocol := range rpcProtocols {
			t.Run(tc.name+" "+protocol.String(), func(t *testing.T) {
				client := httptest.NewRecorder()
				w := newRefusalWriter(client, &frontend.Policed{Protocol: protocol})
				tc.block(w)
				e := w.finish()
				if e == nil || e.Code() != tc.code || e.Status.GetMessage() != tc.message {
					t.Fatalf("got %v, want %s: %s", e, tc.code, tc.message)
				}
				if got := client.Header(); len(got)+len(tc.stays) > 0 && !reflect.DeepEqual(got, tc.stays) {
					t.Errorf("the response keeps %v, want %v", got, tc.stays)
				}
				if !reflect.DeepEqual(e.Header, tc.carries) {
					t.Errorf("the error has %v, want %v", e.Header, tc.carries)
				}
				if client.Body.Len() > 0 || client.Flushed || w.begun {
					t.Errorf("the client got something: %q", client.Body)
				}
				if w.enter() {
					t.Error("the call could still be made")
				}
			})
		}
	}
}

func TestAnswersFromACachePass(t *testing.T) {
	for _, tc := range []struct {
		name        string
		protocol    frontend.Protocol
		status      int
		contentType string
		passes      bool
	}{
		{"gRPC", frontend.GRPC, 200, "application/grpc+proto", true},
		{"gRPC-Web", frontend.GRPCWeb, 200, "application/grpc-web-text", true},
		{"Connect", frontend.Connect, 200, "application/proto", true},
		{"Connect stream", frontend.Connect, 200, "application/connect+json", true},
		{"Connect, not modified", frontend.Connect, 304, "", true},
		{"gRPC, not modified", frontend.GRPC, 304, "", false},
		{"another protocol's", frontend.GRPC, 200, "application/grpc-web", false},
		{"JSON for gRPC", frontend.GRPC, 200, "application/json", false},
		{"an error", frontend.Connect, 404, "application/json", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := httptest.NewRecorder()
			w := newRefusalWriter(client, &frontend.Policed{Protocol: tc.protocol})
			respond(tc.status, "body", "Content-Type", tc.contentType, "X-Cache", "hit")(w)
			e := w.finish()
			if passed := e == nil && client.Code == tc.status && client.Body.String() == "body"; passed != tc.passes {
				t.Errorf("%d %q %v, want it to pass: %v", client.Code, client.Body, e, tc.passes)
			}
			if w.enter() {
				t.Error("the call could still be made")
			}
		})
	}
}

func TestEverythingPassesOnceTheCallIsMade(t *testing.T) {
	for _, protocol := range append(rpcProtocols, frontend.REST) {
		t.Run(protocol.String(), func(t *testing.T) {
			client := httptest.NewRecorder()
			w := newRefusalWriter(client, &frontend.Policed{Protocol: protocol})
			w.Header().Set("X-Before", "1")
			if !w.enter() {
				t.Fatal("the call cannot be made")
			}
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, strings.NewReader("b"))
			if e := w.finish(); e != nil {
				t.Errorf("an error after the call: %v", e)
			}
			if client.Code != http.StatusTeapot || client.Body.String() != "ab" || !client.Flushed || client.Header().Get("X-Before") != "1" || !w.begun {
				t.Errorf("%d %v %q", client.Code, client.Header(), client.Body)
			}
		})
	}
}

func TestBlocksAnswerRESTThemselves(t *testing.T) {
	client := httptest.NewRecorder()
	w := newRefusalWriter(client, &frontend.Policed{Protocol: frontend.REST})
	respond(403, "<html>", "Content-Type", "text/html")(w)
	if w.enter() {
		t.Error("the call could still be made")
	}
	if e := w.finish(); e != nil || client.Code != 403 || client.Body.String() != "<html>" || client.Header().Get("Content-Type") != "text/html" {
		t.Errorf("%v, %d %v %q", e, client.Code, client.Header(), client.Body)
	}
}

func TestErrorsOfBlocks(t *testing.T) {
	own := frontend.Errorf(codes.NotFound, "no such book").WithHeader("X-Own", "1")
	for _, tc := range []struct {
		name    string
		err     error
		code    codes.Code
		http    int
		message string
	}{
		{"of a directive", caddyhttp.Error(401, errors.New("alice is locked")), codes.Unauthenticated, 401, "Unauthorized"},
		{"without a status", caddyhttp.Error(0, errors.New("dial 10.0.0.1")), codes.Internal, 500, "Internal Server Error"},
		{"of any handler", errors.New("dial 10.0.0.1"), codes.Internal, 500, "Internal Server Error"},
		{"of a proxy", caddyhttp.Error(502, errors.New("dial 10.0.0.1")), codes.Internal, 502, "Bad Gateway"},
		{"the gateway's", caddyhttp.Error(404, publicError{own}), codes.NotFound, 404, "no such book"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {"text/html"}, "Www-Authenticate": {"Basic"}, "X-Own": {"1"}, "X-Other": {"1"}}
			e := refusalOf(tc.err, h)
			if e.Code() != tc.code || e.HTTP() != tc.http || e.Status.GetMessage() != tc.message {
				t.Errorf("%v %d, want %s %d %s", e, e.HTTP(), tc.code, tc.http, tc.message)
			}
			for name := range e.Header {
				if h[name] != nil {
					t.Errorf("%s would come twice", name)
				}
			}
			if h["Content-Type"] != nil || h["X-Other"] == nil {
				t.Errorf("the header has %v", h)
			}
			if e != own && !errors.Is(e, tc.err) {
				t.Error("the log does not get the cause")
			}
		})
	}
}
