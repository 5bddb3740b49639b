package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// collector is an OTLP collector over HTTP that keeps the spans it is sent, by trace and span ID.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string]*tracepb.Span
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: map[string]*tracepb.Span{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData // on the wire the same as an ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &data)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("export to %s: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, rs := range data.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, span := range ss.GetSpans() {
					c.spans[hex.EncodeToString(span.GetTraceId())+"-"+hex.EncodeToString(span.GetSpanId())] = span
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// span waits for a span to be exported.
func (c *collector) span(t *testing.T, trace, id string) (span *tracepb.Span) {
	t.Helper()
	kit.Eventually(t, 20*time.Second, "the span "+id+" is exported", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if span = c.spans[trace+"-"+id]; span == nil {
			return fmt.Errorf("%d spans, but not this one", len(c.spans))
		}
		return nil
	})
	return span
}

// env has Caddy's tracing export to the collector.
func (c *collector) env() []string {
	return []string{
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL,
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_PROPAGATORS=tracecontext",
	}
}

// TestRequestSpanIsParentOfTheRPC: what an instance gets as traceparent is the span that Caddy's
// tracing directive made for the request.
func TestRequestSpanIsParentOfTheRPC(t *testing.T) {
	sink := startCollector(t)
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{
		// No header goes through as it is, traceparent neither: what arrives is from the span.
		Site: "tracing {\n\tspan gateway\n}\ngrpc_gateway " + backend.Addr() + " {\n\tmetadata {\n\t\trequest x-tenant\n\t}\n}",
		Env:  sink.env(),
	})
	caddy.WaitReady(t, 20*time.Second, backend.Addr())

	const clientTrace, clientSpan = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for name, c := range map[string]struct {
		method, path, body, contentType string
		header                          string // traceparent of the client
		state                           string // tracestate of the client
	}{
		"REST, a trace of its own": {method: "GET", path: "/v1/echo/x"},
		"REST, in the client's trace": {
			method: "GET", path: "/v1/echo/x",
			header: "00-" + clientTrace + "-" + clientSpan + "-01", state: "vendor=1",
		},
		"REST, a trace of the client's that is not sampled": {
			method: "GET", path: "/v1/echo/x", header: "00-" + clientTrace + "-" + clientSpan + "-00",
		},
		"Connect, in the client's trace": {
			method: "POST", path: "/gateway.test.v1.Echo/Unary", body: `{"text":"x"}`, contentType: "application/json",
			header: "00-" + clientTrace + "-" + clientSpan + "-01",
		},
		"a server stream": {method: "POST", path: "/v1/stream", body: `{"text":"x","count":1}`, contentType: "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, caddy.URL(c.path), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range map[string]string{"Content-Type": c.contentType, "Traceparent": c.header, "Tracestate": c.state} {
				if v != "" {
					req.Header.Set(k, v)
				}
			}
			md := echoedMetadata(t, req)
			parts := strings.Split(md["traceparent"], "-")
			if len(parts) != 4 {
				t.Fatalf("the instance got traceparent %q", md["traceparent"])
			}
			trace, parent, flags := parts[1], parts[2], parts[3]
			if c.header != "" && (trace != clientTrace || parent == clientSpan) {
				t.Errorf("the instance got traceparent %q, the client had sent %q", md["traceparent"], c.header)
			}
			if md["tracestate"] != c.state {
				t.Errorf("the instance got tracestate %q, want %q", md["tracestate"], c.state)
			}
			if strings.HasSuffix(c.header, "-00") {
				if flags != "00" {
					t.Errorf("what the client does not sample is sampled: %q", md["traceparent"])
				}
				return // and not exported
			}
			span := sink.span(t, trace, parent)
			if span.GetKind() != tracepb.Span_SPAN_KIND_SERVER || !strings.Contains(span.GetName(), "gateway") {
				t.Errorf("the parent is not the request's span: %v", span)
			}
			want := ""
			if c.header != "" {
				want = clientSpan
			}
			if got := hex.EncodeToString(span.GetParentSpanId()); got != want {
				t.Errorf("the request's span has the parent %q, want %q", got, want)
			}
		})
	}
}

// echoedMetadata makes a request and returns the metadata that the instance says it got.
func echoedMetadata(t *testing.T, req *http.Request) map[string]string {
	t.Helper()
	var answer struct{ Metadata map[string]string }
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s (%v)", resp.StatusCode, body, err)
	}
	if i := bytes.IndexByte(body, '{'); i > 0 { // the framing of a stream
		body = body[i:]
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return answer.Metadata
}
