package connect_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T, opts frontend.Options) (*rpctest.Server, *testkit.Backend) {
	t.Helper()
	b := testkit.StartBackend(t)
	return rpctest.NewServer(t, connect.New(opts), rpctest.Table(t, rpctest.Dial(t, b.Addr()))), b
}

const (
	unary        = testpb.Echo_Unary_FullMethodName
	serverStream = testpb.Echo_ServerStream_FullMethodName
	clientStream = testpb.Echo_ClientStream_FullMethodName
	bidi         = testpb.Echo_Bidi_FullMethodName
	getBook      = testpb.Library_GetBook_FullMethodName
)

func TestUnary(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	for _, tr := range s.Transports(t) {
		for _, contentType := range []string{"application/proto", "application/json", "application/json; charset=utf-8"} {
			t.Run(tr.Name+" "+contentType, func(t *testing.T) {
				asJSON := strings.Contains(contentType, "json")
				req := &testpb.EchoRequest{Text: "hi", Script: &testpb.Script{
					Headers: map[string]string{"x-h": "v"}, Trailers: map[string]string{"x-t": "w", "x-t-bin": "AQ=="},
				}}
				body := rpctest.Wire(req)
				if asJSON {
					body, _ = protojson.Marshal(req)
				}
				h := http.Header{"Content-Type": {contentType}, "Connect-Protocol-Version": {"1"}, "X-A": {"1"}}
				resp, got := tr.Do(t, http.MethodPost, unary, h, bytes.NewReader(body))
				var answer testpb.EchoResponse
				var err error
				if asJSON {
					err = protojson.Unmarshal(got, &answer)
				} else {
					err = proto.Unmarshal(got, &answer)
				}
				if err != nil || resp.StatusCode != http.StatusOK || answer.GetText() != "hi" || answer.GetMetadata()["x-a"] != "1" {
					t.Fatalf("status %d, %q, %v", resp.StatusCode, got, err)
				}
				for name, want := range map[string]string{
					"Content-Type": strings.Split(contentType, ";")[0], "X-H": "v", "Trailer-X-T": "w", "Trailer-X-T-Bin": "AQ", "X-T": "",
				} {
					if got := resp.Header.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				if info := s.LastInfo(t); info.Protocol != "connect" || info.Code != codes.OK || info.Method == nil {
					t.Errorf("info %+v", info)
				}
			})
		}
	}
}

// connectError is Connect's error in JSON.
type connectError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type  string          `json:"type"`
		Value string          `json:"value"`
		Debug json.RawMessage `json:"debug"`
	} `json:"details"`
}

func TestUnaryErrors(t *testing.T) {
	s, b := setup(t, frontend.Options{MaxRequestSize: 1000})
	post := func(extra ...string) http.Header {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(extra); i += 2 {
			h.Set(extra[i], extra[i+1])
		}
		return h
	}
	for _, tc := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		code               string // "" where the answer is not Connect's
	}{
		{"of the upstream", http.MethodPost, unary, post(), `{"script":{"failCode":5,"failMessage":"gone"}}`, 404, "not_found"},
		{"code that gRPC does not have", http.MethodPost, unary, post(), `{"script":{"failCode":77}}`, 500, "unknown"},
		{"unknown method", http.MethodPost, "/a.B/C", post(), `{}`, 404, "unimplemented"},
		{"bad JSON", http.MethodPost, unary, post(), `{`, 400, "invalid_argument"},
		{"unknown field", http.MethodPost, unary, post(), `{"nope":1}`, 400, "invalid_argument"},
		{"other version", http.MethodPost, unary, post("Connect-Protocol-Version", "2"), `{}`, 400, "invalid_argument"},
		{"malformed deadline", http.MethodPost, unary, post("Connect-Timeout-Ms", "soon"), `{}`, 400, "invalid_argument"},
		{"deadline that has passed", http.MethodPost, unary, post("Connect-Timeout-Ms", "0"), `{}`, 504, "deadline_exceeded"},
		{"too large", http.MethodPost, unary, post(), `"` + strings.Repeat("x", 1000) + `"`, 429, "resource_exhausted"},
		{"too large when decompressed", http.MethodPost, unary, post("Content-Encoding", "gzip"),
			string(envelope.Gzip.Compress(nil, make([]byte, 100_000))), 429, "resource_exhausted"},
		{"unknown compression", http.MethodPost, unary, post("Content-Encoding", "br"), `{}`, 501, "unimplemented"},
		{"bad compression", http.MethodPost, unary, post("Content-Encoding", "gzip"), `{}`, 400, "invalid_argument"},
		{"PUT", http.MethodPut, unary, post(), `{}`, 405, ""},
		{"GET of a method with side effects", http.MethodGet, unary + "?encoding=json&message=%7B%7D", nil, ``, 405, ""},
		{"content type", http.MethodPost, unary, http.Header{"Content-Type": {"text/xml"}}, ``, 415, ""},
		{"charset", http.MethodPost, unary, http.Header{"Content-Type": {"application/json; charset=latin1"}}, ``, 415, ""},
		{"unary type for a stream", http.MethodPost, bidi, post(), `{}`, 415, ""},
		{"stream type for a unary method", http.MethodPost, unary, http.Header{"Content-Type": {"application/connect+json"}}, ``, 415, ""},
	} {
		for _, tr := range s.Transports(t) {
			t.Run(tc.name+" "+tr.Name, func(t *testing.T) {
				resp, got := tr.Do(t, tc.method, tc.path, tc.header, strings.NewReader(tc.body))
				if resp.StatusCode != tc.status {
					t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
				}
				if isJSON := resp.Header.Get("Content-Type") == "application/json"; isJSON != (tc.code != "") {
					t.Fatalf("content type %q", resp.Header.Get("Content-Type"))
				}
				if tc.code == "" {
					if tc.status == 415 && resp.Header.Get("Accept-Post") == "" || tc.status == 405 && resp.Header.Get("Allow") == "" {
						t.Errorf("header %v", resp.Header)
					}
					return
				}
				var e connectError
				if err := json.Unmarshal(got, &e); err != nil || e.Code != tc.code {
					t.Errorf("got %s, want %s", got, tc.code)
				}
				if info := s.LastInfo(t); info.Code == codes.OK {
					t.Errorf("info %+v", info)
				}
			})
		}
	}
	rpctest.Eventually(t, "no call is in flight", func() bool { return b.InFlight() == 0 })
}

func TestErrorDetails(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	tr := s.Transports(t)[0]
	h := http.Header{"Content-Type": {"application/json"}}
	body := `{"script":{"failCode":3,"failMessage":"\"no\"","failBadRequest":true,"failRetryAfter":"2s","trailers":{"x-t":"w"}}}`
	resp, got := tr.Do(t, http.MethodPost, unary, h, strings.NewReader(body))
	var e connectError
	if err := json.Unmarshal(got, &e); err != nil || e.Message != `"no"` || len(e.Details) != 2 {
		t.Fatalf("got %s, %v", got, err)
	}
	if d := e.Details[1]; d.Type != "google.rpc.RetryInfo" || d.Value != base64.RawStdEncoding.EncodeToString([]byte{10, 2, 8, 2}) ||
		string(d.Debug) != `{"retryDelay":"2s"}` {
		t.Errorf("got %s", got)
	}
	// Nothing was sent before the error, so its metadata is the header.
	if resp.Header.Get("X-T") != "w" || resp.Header.Get("Trailer-X-T") != "" {
		t.Errorf("header %v", resp.Header)
	}
}

func TestMetadataOfErrors(t *testing.T) {
	s, _ := setup(t, frontend.Options{Answers: &frontend.Answers{HTTPStatus: map[codes.Code]int{codes.Unauthenticated: 400, codes.NotFound: 401}}})
	tr := s.Transports(t)[0]
	for _, tc := range []struct {
		name, script string
		status       int
		want         map[string]string
	}{
		{"of an error at once", `"failCode":8,"trailers":{"x-t":"w","x-t-bin":"AQ=="}`, 429,
			map[string]string{"X-T": "w", "X-T-Bin": "AQ", "Trailer-X-T": "", "WWW-Authenticate": ""}},
		{"after a header", `"failCode":8,"headers":{"x-h":"v"},"trailers":{"x-t":"w"}`, 429,
			map[string]string{"X-H": "v", "X-T": "", "Trailer-X-T": "w"}},
		{"a 401 without a challenge", `"failCode":16`, 401, map[string]string{"WWW-Authenticate": "Bearer"}},
		{"a 401 with the service's challenge", `"failCode":16,"trailers":{"www-authenticate":"Basic"}`, 401, map[string]string{"WWW-Authenticate": "Basic"}},
		{"a 401 with the service's challenge after a header", `"failCode":16,"headers":{"x-h":"v"},"trailers":{"www-authenticate":"Basic"}`, 401,
			map[string]string{"WWW-Authenticate": "Basic", "Trailer-Www-Authenticate": "Basic"}},
		{"the config does not change statuses here", `"failCode":5`, 404, map[string]string{"WWW-Authenticate": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, _ := tr.Do(t, http.MethodPost, unary, http.Header{"Content-Type": {"application/json"}}, strings.NewReader(`{"script":{`+tc.script+`}}`))
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
			for name, want := range tc.want {
				if got := strings.Join(resp.Header.Values(name), "|"); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestCompressionOfAnswers(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	for _, tc := range []struct {
		name, accept string
		size         int
		compressed   bool
	}{
		{"accepted", "gzip", 5000, true},
		{"accepted, and not worth it", "gzip", 10, false},
		{"accepted among others", "br, gzip;q=0.5", 5000, true},
		{"not accepted", "br", 5000, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {"application/json"}, "Accept-Encoding": {tc.accept}, "Content-Encoding": {"gzip"}}
			text := strings.Repeat("x", tc.size)
			body := envelope.Gzip.Compress(nil, []byte(`{"text":"`+text+`"}`))
			resp, got := s.Transports(t)[0].Do(t, http.MethodPost, unary, h, bytes.NewReader(body))
			if (resp.Header.Get("Content-Encoding") == "gzip") != tc.compressed {
				t.Errorf("Content-Encoding %q", resp.Header.Get("Content-Encoding"))
			}
			if tc.compressed {
				var err error
				if got, err = envelope.Gzip.Decompress(nil, got, 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(string(got), `"`+text+`"`) {
				t.Errorf("got %.100s", got)
			}
		})
	}
}

func TestGET(t *testing.T) {
	s, b := setup(t, frontend.Options{})
	message := `{"name":"shelves/1/books/none"}`
	wire := rpctest.Wire(&testpb.GetBookRequest{Name: "shelves/1/books/none"})
	query := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return "?" + v.Encode()
	}
	for _, tc := range []struct {
		name, query string
		status      int
		code        string
	}{
		{"JSON", query("connect", "v1", "encoding", "json", "message", message), 404, "not_found"},
		{"without the version", query("encoding", "json", "message", message), 404, "not_found"},
		{"proto in base64", query("encoding", "proto", "base64", "1", "message", base64.RawURLEncoding.EncodeToString(wire)), 404, "not_found"},
		{"padded base64", query("encoding", "proto", "base64", "1", "message", base64.URLEncoding.EncodeToString(wire)), 404, "not_found"},
		{"compressed", query("encoding", "json", "base64", "1", "compression", "gzip",
			"message", base64.URLEncoding.EncodeToString(envelope.Gzip.Compress(nil, []byte(message)))), 404, "not_found"},
		{"with other parameters", query("encoding", "json", "message", message, "utm", "x"), 404, "not_found"},
		{"empty proto", query("encoding", "proto", "message", ""), 404, "not_found"},
		{"other version", query("connect", "v2", "encoding", "json", "message", message), 400, "invalid_argument"},
		{"no encoding", query("message", message), 400, "invalid_argument"},
		{"unknown encoding", query("encoding", "xml", "message", message), 400, "invalid_argument"},
		{"no message", query("encoding", "json"), 400, "invalid_argument"},
		{"two messages", query("encoding", "json", "message", message, "message", message), 400, "invalid_argument"},
		{"bad base64", query("encoding", "json", "base64", "1", "message", "!"), 400, "invalid_argument"},
		{"unknown compression", query("encoding", "json", "compression", "br", "message", message), 501, "unimplemented"},
		{"bad JSON", query("encoding", "json", "message", "{"), 400, "invalid_argument"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := b.Calls()
			resp, got := s.Transports(t)[1].Do(t, http.MethodGet, getBook+tc.query, nil, nil)
			var e connectError
			if err := json.Unmarshal(got, &e); err != nil || resp.StatusCode != tc.status || e.Code != tc.code {
				t.Errorf("status %d, %s, want %d, %s", resp.StatusCode, got, tc.status, tc.code)
			}
			if called := b.Calls() > before; called != (tc.code == "not_found") {
				t.Errorf("called: %v", called)
			}
		})
	}
}

// streamAnswer is a decoded stream.
type streamAnswer struct {
	header   http.Header
	messages [][]byte
	end      struct {
		Error    *connectError       `json:"error"`
		Metadata map[string][]string `json:"metadata"`
	}
}

func stream(t *testing.T, tr rpctest.Transport, path, contentType string, body []byte, header http.Header) streamAnswer {
	t.Helper()
	h := http.Header{"Content-Type": {contentType}}
	for k, v := range header {
		h[k] = v
	}
	resp, got := tr.Do(t, http.MethodPost, path, h, bytes.NewReader(body))
	a := streamAnswer{header: resp.Header}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentType {
		t.Fatalf("status %d, content type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for ended := false; len(got) > 0; {
		if ended || len(got) < 5 || len(got)-5 < int(binary.BigEndian.Uint32(got[1:])) {
			t.Fatalf("%q is no envelope, or follows the end", got)
		}
		flags, payload := got[0], got[5:5+binary.BigEndian.Uint32(got[1:])]
		got = got[5+len(payload):]
		if flags&envelope.Compressed != 0 {
			var err error
			if payload, err = envelope.Gzip.Decompress(nil, payload, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if flags&envelope.ConnectEnd == 0 {
			a.messages = append(a.messages, payload)
			continue
		}
		ended = true
		if err := json.Unmarshal(payload, &a.end); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
	}
	return a
}

func TestStreams(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	const script = `"script":{"headers":{"x-h":"v"},"trailers":{"x-t":"w","x-t-bin":"AQ=="}}`
	for _, tr := range s.Transports(t) {
		for _, contentType := range []string{"application/connect+proto", "application/connect+json"} {
			for _, tc := range []struct {
				path     string
				requests []string
				want     []string
			}{
				{serverStream, []string{`{"text":"a","count":3,` + script + `}`}, []string{"a", "a", "a"}},
				{serverStream, []string{`{"count":0,` + script + `}`}, nil},
				{clientStream, []string{`{"text":"a",` + script + `}`, `{"text":"b"}`}, []string{"a,b"}},
				{bidi, []string{`{"text":"a",` + script + `}`, `{"text":"b","count":2}`}, []string{"a", "b", "b"}},
			} {
				t.Run(tr.Name+" "+contentType+" "+tc.path, func(t *testing.T) {
					asJSON := strings.HasSuffix(contentType, "json")
					var body []byte
					for _, text := range tc.requests {
						payload := []byte(text)
						if !asJSON {
							var m testpb.EchoRequest
							if err := protojson.Unmarshal(payload, &m); err != nil {
								t.Fatal(err)
							}
							payload = rpctest.Wire(&m)
						}
						body = envelope.Append(body, 0, payload)
					}
					a := stream(t, tr, tc.path, contentType, body, nil)
					var got []string
					for _, m := range a.messages {
						var resp testpb.EchoResponse
						err := proto.Unmarshal(m, &resp)
						if asJSON {
							err = protojson.Unmarshal(m, &resp)
						}
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, resp.GetText())
					}
					if strings.Join(got, ";") != strings.Join(tc.want, ";") {
						t.Errorf("got %q, want %q", got, tc.want)
					}
					md := a.end.Metadata
					if a.end.Error != nil || len(md["x-t"]) != 1 || md["x-t"][0] != "w" || len(md["x-t-bin"]) != 1 || md["x-t-bin"][0] != "AQ" ||
						a.header.Get("X-H") != "v" {
						t.Errorf("end %+v, header %v", a.end, a.header)
					}
				})
			}
		}
	}
}

func TestStreamErrors(t *testing.T) {
	s, b := setup(t, frontend.Options{MaxRequestSize: 1000})
	one := envelope.Append(nil, 0, []byte(`{}`))
	for _, tc := range []struct {
		name, path string
		body       []byte
		header     http.Header
		messages   int
		code       string
	}{
		{"of the upstream, after messages", serverStream, envelope.Append(nil, 0, []byte(`{"count":3,"script":{"failCode":10,"failAfter":2}}`)), nil, 2, "aborted"},
		{"of the upstream, at once", serverStream, envelope.Append(nil, 0, []byte(`{"count":3,"script":{"failCode":10}}`)), nil, 0, "aborted"},
		{"unknown method", "/a.B/C", one, nil, 0, "unimplemented"},
		{"no message", serverStream, nil, nil, 0, "unimplemented"},
		{"two messages", serverStream, append(one[:len(one):len(one)], one...), nil, 0, "unimplemented"},
		{"half a message", clientStream, one[:6], nil, 0, "invalid_argument"},
		{"bad JSON", clientStream, envelope.Append(nil, 0, []byte("{")), nil, 0, "invalid_argument"},
		{"too large", bidi, envelope.Append(nil, 0, make([]byte, 1001)), nil, 0, "resource_exhausted"},
		{"an end from the client", bidi, envelope.Append(nil, envelope.ConnectEnd, []byte("{}")), nil, 0, "internal"},
		{"unknown compression", bidi, one, http.Header{"Connect-Content-Encoding": {"br"}}, 0, "unimplemented"},
		{"other version", bidi, one, http.Header{"Connect-Protocol-Version": {"2"}}, 0, "invalid_argument"},
		{"deadline", bidi, one, http.Header{"Connect-Timeout-Ms": {"0"}}, 0, "deadline_exceeded"},
	} {
		for _, tr := range s.Transports(t) {
			t.Run(tc.name+" "+tr.Name, func(t *testing.T) {
				a := stream(t, tr, tc.path, "application/connect+json", tc.body, tc.header)
				if a.end.Error == nil || a.end.Error.Code != tc.code || len(a.messages) != tc.messages {
					t.Errorf("%d messages, error %+v, want %s", len(a.messages), a.end.Error, tc.code)
				}
			})
		}
	}
	rpctest.Eventually(t, "no call is in flight", func() bool { return b.InFlight() == 0 })
}

func TestCompressedStream(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	text := strings.Repeat("compress me ", 100)
	body := envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, []byte(`{"text":"`+text+`"}`)))
	a := stream(t, s.Transports(t)[1], bidi, "application/connect+json", body,
		http.Header{"Connect-Content-Encoding": {"gzip"}, "Connect-Accept-Encoding": {"gzip"}})
	if a.header.Get("Connect-Content-Encoding") != "gzip" || len(a.messages) != 1 || !strings.Contains(string(a.messages[0]), text) {
		t.Errorf("got %+v", a)
	}
}

func TestErrorsOfGETVaryByEncoding(t *testing.T) {
	s, _ := setup(t, frontend.Options{})
	tr := s.Transports(t)[0]
	for _, accept := range []string{"gzip", "identity"} {
		resp, _ := tr.Do(t, http.MethodGet, getBook+"?encoding=json&message=nonsense", http.Header{"Accept-Encoding": {accept}}, nil)
		if got := resp.Header.Get("Vary"); resp.StatusCode != http.StatusBadRequest || got != "Accept-Encoding" {
			t.Errorf("accepting %s: status %d, Vary %q", accept, resp.StatusCode, got)
		}
	}
}

// badAnswers is an upstream whose streams bring one message that is none, and have no end of their
// own.
type badAnswers struct{ grpc.ClientConnInterface }

func (badAnswers) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &badStream{ctx: ctx}, nil
}

type badStream struct {
	ctx   context.Context
	sent  bool
	ended bool
}

func (s *badStream) Context() context.Context     { return s.ctx }
func (s *badStream) Header() (metadata.MD, error) { return metadata.MD{}, nil }
func (s *badStream) SendMsg(any) error            { return nil }
func (s *badStream) CloseSend() error             { return nil }
func (s *badStream) Trailer() metadata.MD {
	if !s.ended {
		return metadata.Pairs("asked", "too-early") // gRPC is still writing to it.
	}
	return nil
}

func (s *badStream) RecvMsg(m any) error {
	if !s.sent {
		s.sent = true
		*m.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer{0xff}}
		return nil
	}
	<-s.ctx.Done()
	s.ended = true
	return status.FromContextError(s.ctx.Err()).Err()
}

func TestTrailersAreReadOnlyWhenTheCallHasEnded(t *testing.T) {
	s := rpctest.NewServer(t, connect.New(frontend.Options{}), rpctest.Table(t, badAnswers{}))
	body := envelope.Append(nil, 0, []byte("{}"))
	h := http.Header{"Content-Type": {"application/connect+json"}}
	_, got := s.Transports(t)[0].Do(t, http.MethodPost, serverStream, h, bytes.NewReader(body))
	if !bytes.Contains(got, []byte(`"code":"internal"`)) || bytes.Contains(got, []byte("too-early")) {
		t.Errorf("got %q", got)
	}
}

// TestPanicsEndTheirRequestOnly: another goroutine of the request panics, and the process goes on.
func TestPanicsEndTheirRequestOnly(t *testing.T) {
	b := testkit.StartBackend(t)
	conn := rpctest.Dial(t, b.Addr())
	table := rpctest.Table(t, conn)
	table.Methods[serverStream].Conn = rpctest.Panicking{ClientConnInterface: conn}
	table.Methods[clientStream].Conn = rpctest.Panicking{ClientConnInterface: conn, Send: true}
	s := rpctest.NewServer(t, connect.New(frontend.Options{}), table)
	for _, path := range []string{serverStream, clientStream} {
		body := envelope.Append(nil, 0, []byte(`{"count":3}`))
		resp, err := http.Post(s.URL+path, "application/connect+json", bytes.NewReader(body))
		if err != nil {
			continue // The connection was closed before there was an answer.
		}
		if got, err := io.ReadAll(resp.Body); err == nil && !bytes.Contains(got, []byte(`"error"`)) {
			t.Errorf("%s looks like a success: %q", path, got)
		}
		resp.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if resp, got := s.Transports(t)[0].Do(t, http.MethodPost, unary, h, strings.NewReader(`{"text":"hi"}`)); resp.StatusCode != http.StatusOK {
		t.Errorf("the next call got %d %s", resp.StatusCode, got)
	}
}

// noting is an upstream that notes the deadline of a call.
type noting struct {
	grpc.ClientConnInterface

	deadline time.Time
}

func (n *noting) Invoke(ctx context.Context, _ string, args, _ any, _ ...grpc.CallOption) error {
	args.(mem.BufferSlice).Free()
	n.deadline, _ = ctx.Deadline()
	return nil
}

// slow is a body that comes late.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(300 * time.Millisecond)
	return s.Reader.Read(p)
}

func TestDeadlineCountsFromTheRequestOn(t *testing.T) {
	for name, tc := range map[string]struct {
		opts    frontend.Options
		timeout string
		want    time.Duration // from the beginning of the request
	}{
		"the client's":                    {frontend.Options{}, "2s", 2 * time.Second},
		"ours, which is for the call":     {frontend.Options{Timeout: time.Second}, "", 1600 * time.Millisecond},
		"ours, shorter than the client's": {frontend.Options{Timeout: time.Second}, "2s", 1600 * time.Millisecond},
		"the client's, with less left":    {frontend.Options{Timeout: 1500 * time.Millisecond}, "2s", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var upstream noting
				r := httptest.NewRequest(http.MethodPost, unary, slow{strings.NewReader("{}")})
				r.Header = http.Header{"Content-Type": {"application/json"}}
				if tc.timeout != "" {
					r.Header.Set("X-Request-Timeout", tc.timeout)
				}
				w := httptest.NewRecorder()
				connect.New(tc.opts).Serve(w, r, rpctest.Table(t, &upstream), new(frontend.Info))
				if w.Code != http.StatusOK {
					t.Fatalf("status %d", w.Code)
				}
				if got := upstream.deadline.Sub(began); got != tc.want {
					t.Errorf("the deadline is %s after the beginning, want %s", got, tc.want)
				}
			})
		})
	}
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	s, b := setup(t, frontend.Options{})
	evil := func(contentType string) http.Header {
		return http.Header{"Content-Type": {contentType}, "Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
	}
	for _, tr := range s.Transports(t) {
		t.Run(tr.Name, func(t *testing.T) {
			resp, got := tr.Do(t, http.MethodPost, unary, evil("application/json"), strings.NewReader(`{"text":"x"}`))
			var e connectError
			if err := json.Unmarshal(got, &e); err != nil || resp.StatusCode != http.StatusForbidden || e.Code != "permission_denied" {
				t.Errorf("unary: status %d, %s", resp.StatusCode, got)
			}
			resp, got = tr.Do(t, http.MethodPost, bidi, evil("application/connect+json"), bytes.NewReader(envelope.Append(nil, 0, []byte(`{}`))))
			if resp.StatusCode != http.StatusOK || got[0] != envelope.ConnectEnd || !bytes.Contains(got, []byte(`{"error":{"code":"permission_denied"`)) {
				t.Errorf("stream: status %d, %q", resp.StatusCode, got)
			}
			if info := s.LastInfo(t); info.Code != codes.PermissionDenied || info.Err == nil {
				t.Errorf("info %+v", info)
			}
			resp, got = tr.Do(t, http.MethodGet, getBook+"?encoding=json&message="+url.QueryEscape(`{"name":"shelves/1/books/1"}`),
				http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil)
			if resp.StatusCode == http.StatusForbidden {
				t.Errorf("GET: status %d, %s", resp.StatusCode, got)
			}
		})
	}
	if n := b.Calls(); n != len(s.Transports(t)) {
		t.Errorf("%d calls, want only those by GET", n)
	}
}
