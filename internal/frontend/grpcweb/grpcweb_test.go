package grpcweb_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T, opts frontend.Options) (*rpctest.Server, *testkit.Backend) {
	t.Helper()
	b := testkit.StartBackend(t)
	return rpctest.NewServer(t, grpcweb.New(opts), rpctest.Table(t, rpctest.Dial(t, b.Addr()))), b
}

// answer is a decoded response.
type answer struct {
	status   int
	header   http.Header
	messages [][]byte
	trailers http.Header
}

// call makes a call with any number of messages.
func call(t *testing.T, tr rpctest.Transport, path, contentType string, header http.Header, messages ...[]byte) answer {
	t.Helper()
	var body []byte
	for _, m := range messages {
		body = envelope.Append(body, 0, m)
	}
	return post(t, tr, path, contentType, header, body)
}

func post(t *testing.T, tr rpctest.Transport, path, contentType string, header http.Header, body []byte) answer {
	t.Helper()
	h := http.Header{"Content-Type": {contentType}}
	for k, v := range header {
		h[k] = v
	}
	if strings.Contains(contentType, "-text") {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	resp, got := tr.Do(t, http.MethodPost, path, h, bytes.NewReader(body))
	a := answer{status: resp.StatusCode, header: resp.Header, trailers: make(http.Header)}
	if strings.Contains(resp.Header.Get("Content-Type"), "-text") {
		got = decodeText(t, string(got))
	}
	if resp.StatusCode != http.StatusOK {
		return a
	}
	for len(got) > 0 {
		if a.trailers.Get("Grpc-Status") != "" {
			t.Fatalf("%q follows the trailers", got)
		}
		if len(got) < 5 || len(got)-5 < int(binary.BigEndian.Uint32(got[1:])) {
			t.Fatalf("%q is no envelope", got)
		}
		flags, payload := got[0], got[5:5+binary.BigEndian.Uint32(got[1:])]
		got = got[5+len(payload):]
		if flags&envelope.WebTrailers == 0 {
			a.messages = append(a.messages, payload)
			continue
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(payload), "\r\n"), "\r\n") {
			name, value, ok := strings.Cut(line, ": ")
			if !ok || name != strings.ToLower(name) {
				t.Errorf("trailer line %q", line)
			}
			a.trailers.Add(name, value)
		}
	}
	return a
}

// decodeText decodes base64 in padded pieces.
func decodeText(t *testing.T, text string) []byte {
	t.Helper()
	var out []byte
	for len(text) >= 4 {
		b, err := base64.StdEncoding.DecodeString(text[:4])
		if err != nil {
			t.Fatalf("%q: %v", text[:4], err)
		}
		out = append(out, b...)
		text = text[4:]
	}
	if text != "" {
		t.Fatalf("%q is left", text)
	}
	return out
}

var types = []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"}

func TestCallsOfAllKinds(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	request := func(text string, count int32) []byte {
		return rpctest.Wire(&testpb.EchoRequest{Text: text, Count: count, Script: &testpb.Script{
			Headers: map[string]string{"x-h": "v"}, Trailers: map[string]string{"x-t": "w", "x-t-bin": "AQ=="},
		}})
	}
	for _, tr := range s.Transports(t) {
		for _, contentType := range types {
			for _, tc := range []struct {
				path     string
				requests [][]byte
				want     []string
			}{
				{testpb.Echo_Unary_FullMethodName, [][]byte{request("a", 0)}, []string{"a"}},
				{testpb.Echo_ServerStream_FullMethodName, [][]byte{request("a", 3)}, []string{"a", "a", "a"}},
				{testpb.Echo_ClientStream_FullMethodName, [][]byte{request("a", 0), request("b", 0)}, []string{"a,b"}},
				{testpb.Echo_Bidi_FullMethodName, [][]byte{request("a", 1), request("b", 2)}, []string{"a", "b", "b"}},
			} {
				t.Run(tr.Name+" "+contentType+" "+tc.path, func(t *testing.T) {
					a := call(t, tr, tc.path, contentType, nil, tc.requests...)
					var got []string
					for _, m := range a.messages {
						var resp testpb.EchoResponse
						if err := proto.Unmarshal(m, &resp); err != nil {
							t.Fatal(err)
						}
						got = append(got, resp.GetText())
					}
					if strings.Join(got, ";") != strings.Join(tc.want, ";") {
						t.Errorf("got %q, want %q", got, tc.want)
					}
					if a.trailers.Get("Grpc-Status") != "0" || a.trailers.Get("X-T") != "w" || a.trailers.Get("X-T-Bin") != "AQ" || a.header.Get("X-H") != "v" {
						t.Errorf("trailers %v, header %v", a.trailers, a.header)
					}
					if want := strings.TrimSuffix(contentType, "+proto") + "+proto"; a.header.Get("Content-Type") != want {
						t.Errorf("content type %q, want %q", a.header.Get("Content-Type"), want)
					}
				})
			}
		}
	}
}

func TestErrors(t *testing.T) {
	s, _ := setup(t, frontend.Options{MaxRequestSize: 1000})
	fails := rpctest.Wire(&testpb.EchoRequest{Count: 3, Script: &testpb.Script{
		FailCode: int32(codes.Aborted), FailMessage: "ü\n", FailAfter: 2, FailBadRequest: true, Trailers: map[string]string{"x-t": "w"},
	}})
	ok := rpctest.Wire(&testpb.EchoRequest{})
	for _, tr := range s.Transports(t) {
		for _, tc := range []struct {
			name, path string
			requests   [][]byte
			messages   int
			status     string
			message    string
		}{
			{"of a unary call", testpb.Echo_Unary_FullMethodName, [][]byte{fails}, 0, "10", "%C3%BC%0A"},
			{"of a stream, in its middle", testpb.Echo_ServerStream_FullMethodName, [][]byte{fails}, 2, "10", "%C3%BC%0A"},
			{"of an unknown method", "/a.B/C", [][]byte{ok}, 0, "12", ""},
			{"of no message", testpb.Echo_Unary_FullMethodName, nil, 0, "12", ""},
			{"of two messages", testpb.Echo_ServerStream_FullMethodName, [][]byte{ok, ok}, 0, "12", ""},
			{"of a message too large", testpb.Echo_Unary_FullMethodName, [][]byte{make([]byte, 1001)}, 0, "8", ""},
			{"of a message too large in a stream", testpb.Echo_ClientStream_FullMethodName, [][]byte{ok, make([]byte, 1001)}, 0, "8", ""},
		} {
			for _, contentType := range []string{types[0], types[2]} {
				t.Run(tr.Name+" "+contentType+" "+tc.name, func(t *testing.T) {
					a := call(t, tr, tc.path, contentType, nil, tc.requests...)
					if a.status != http.StatusOK || len(a.messages) != tc.messages || a.trailers.Get("Grpc-Status") != tc.status {
						t.Errorf("HTTP %d, %d messages, trailers %v", a.status, len(a.messages), a.trailers)
					}
					if tc.message != "" && (a.trailers.Get("Grpc-Message") != tc.message || a.trailers.Get("Grpc-Status-Details-Bin") == "" ||
						a.trailers.Get("X-T") != "w") {
						t.Errorf("trailers %v", a.trailers)
					}
					if info := s.LastInfo(t); info.Protocol != "grpcweb" || info.Code == codes.OK {
						t.Errorf("info %+v", info)
					}
				})
			}
		}
	}
}

func TestRequestsThatAreNoGRPCWeb(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	tr := s.Transports(t)[0]
	for _, tc := range []struct {
		name, method, contentType string
		status                    int
	}{
		{"GET", http.MethodGet, types[0], 405},
		{"unknown subformat", http.MethodPost, "application/grpc-web+thrift", 415},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, _ := tr.Do(t, tc.method, testpb.Echo_Unary_FullMethodName, http.Header{"Content-Type": {tc.contentType}}, nil)
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
		})
	}
}

func TestJSONAndCompression(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	text := strings.Repeat("compress me ", 100)
	zipped := envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, []byte(`{"text":"`+text+`"}`)))
	h := http.Header{"Grpc-Encoding": {"gzip"}, "Grpc-Accept-Encoding": {"gzip"}}
	a := post(t, s.Transports(t)[0], testpb.Echo_Unary_FullMethodName, "application/grpc-web+json", h, zipped)
	if len(a.messages) != 1 || a.header.Get("Grpc-Encoding") != "gzip" {
		t.Fatalf("got %+v", a)
	}
	plain, err := envelope.Gzip.Decompress(nil, a.messages[0], 1<<20)
	if err != nil || !strings.Contains(string(plain), text) {
		t.Errorf("got %q, %v", plain, err)
	}
}

func TestAcceptDecidesBetweenTextAndBinary(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	for _, tc := range []struct{ contentType, accept, want string }{
		{types[0], "", "application/grpc-web+proto"},
		{types[0], "*/*", "application/grpc-web+proto"},
		{types[0], "application/grpc-web-text", "application/grpc-web-text+proto"},
		{types[2], "", "application/grpc-web-text+proto"},
		{types[2], "application/grpc-web-text", "application/grpc-web-text+proto"},
		{types[2], "application/grpc-web+proto", "application/grpc-web+proto"},
	} {
		t.Run(tc.contentType+" "+tc.accept, func(t *testing.T) {
			h := http.Header{}
			if tc.accept != "" {
				h.Set("Accept", tc.accept)
			}
			a := call(t, s.Transports(t)[0], testpb.Echo_Unary_FullMethodName, tc.contentType, h, nil)
			if a.header.Get("Content-Type") != tc.want || a.trailers.Get("Grpc-Status") != "0" {
				t.Errorf("got %q, trailers %v", a.header.Get("Content-Type"), a.trailers)
			}
		})
	}
}

// A client over HTTP/1.1 that sends on and on is answered when the backend has had enough, and its
// connection is not used for what it sends then.
func TestEarlyEndOverHTTP1(t *testing.T) {
	s, b := setup(t, frontend.Options{})
	for range 15 {
		pr, pw := io.Pipe()
		go func() {
			m := envelope.Append(nil, 0, rpctest.Wire(&testpb.EchoRequest{Script: &testpb.Script{FailCode: int32(codes.OutOfRange)}}))
			for {
				if _, err := pw.Write(m); err != nil {
					return
				}
			}
		}()
		tr := s.Transports(t)[0]
		resp, got := tr.Do(t, http.MethodPost, testpb.Echo_Bidi_FullMethodName, http.Header{"Content-Type": {types[0]}}, pr)
		pr.Close()
		if !strings.Contains(string(got), "grpc-status: 11\r\n") || !resp.Close {
			t.Fatalf("got %q, close %v", got, resp.Close)
		}
		a := call(t, tr, testpb.Echo_Unary_FullMethodName, types[0], nil, nil)
		if a.trailers.Get("Grpc-Status") != "0" {
			t.Fatalf("the next call: %v", a.trailers)
		}
	}
	rpctest.Eventually(t, "no call is in flight", func() bool { return b.InFlight() == 0 })
}

// Requests that were read to their end leave the connection in use.
func TestStreamsOverHTTP1KeepTheConnection(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	tr := s.Transports(t)[0]
	for range 50 {
		h := http.Header{"Content-Type": {types[0]}}
		body := envelope.Append(nil, 0, rpctest.Wire(&testpb.EchoRequest{Text: "a"}))
		resp, got := tr.Do(t, http.MethodPost, testpb.Echo_ClientStream_FullMethodName, h, bytes.NewReader(body))
		if resp.Close || !strings.Contains(string(got), "grpc-status: 0\r\n") {
			t.Fatalf("close %v, got %q", resp.Close, got)
		}
	}
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	s, b := setup(t, frontend.Options{})
	evil := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
	for _, tr := range s.Transports(t) {
		for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
			t.Run(tr.Name+" "+contentType, func(t *testing.T) {
				got := call(t, tr, testpb.Echo_Unary_FullMethodName, contentType, evil, rpctest.Wire(&testpb.EchoRequest{}))
				if got.status != http.StatusOK || len(got.messages) > 0 || got.trailers.Get("Grpc-Status") != "7" {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
	if n := b.Calls(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}
