package module

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func TestObserveAllocatesNothing(t *testing.T) {
	info := &frontend.Info{Protocol: "rest", Called: true, Method: &frontend.Method{Owner: newMethodMetrics("test", "a.B/C")}}
	if n := testing.AllocsPerRun(100, func() { observe(info, time.Millisecond) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestObserveTakesEverything observes what an instance or a bug could bring. It must add no series
// except the known ones.
func TestObserveTakesEverything(t *testing.T) {
	observe(&frontend.Info{}, 0)
	observe(&frontend.Info{Protocol: "gopher"}, 0)
	m := newMethodMetrics("test", "a.B/D")
	observe(&frontend.Info{Protocol: "grpc", Code: codes.Code(4711), Method: &frontend.Method{Owner: m}}, 0)
	if m.requests[3][codes.Unknown].Load() == nil {
		t.Error("a code that does not exist is not counted as UNKNOWN")
	}
}

func BenchmarkObserve(b *testing.B) {
	info := &frontend.Info{Protocol: "rest", Called: true, Method: &frontend.Method{Owner: newMethodMetrics("bench", "a.B/C")}}
	b.ReportAllocs()
	for b.Loop() {
		observe(info, time.Millisecond)
	}
}

func TestTraced(t *testing.T) {
	const clients = "00-11111111111111111111111111111111-2222222222222222-01"
	out := metadata.Pairs("traceparent", clients, "tracestate", "x=y", "other", "stays")
	ctx := metadata.NewOutgoingContext(context.Background(), out)
	if traced(ctx) != ctx {
		t.Error("the context changes without a span")
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}, TraceFlags: trace.FlagsSampled})
	got, _ := metadata.FromOutgoingContext(traced(trace.ContextWithSpanContext(ctx, span)))
	want := "00-ab000000000000000000000000000000-cd00000000000000-01"
	if p := got.Get("traceparent"); len(p) != 1 || p[0] != want {
		t.Errorf("traceparent %q, want %q", p, want)
	}
	if len(got.Get("tracestate")) != 0 || got.Get("other")[0] != "stays" {
		t.Errorf("metadata %v", got)
	}
	if out.Get("traceparent")[0] != clients {
		t.Error("the caller's metadata was written to")
	}

	pairs := []string{"traceparent", clients, "tracestate", "x=y", "other", "stays"}
	if got := tracedPairs(context.Background(), pairs); !slices.Equal(got, pairs) {
		t.Errorf("the pairs change without a span: %q", got)
	}
	before := slices.Clone(pairs)
	gotPairs := tracedPairs(trace.ContextWithSpanContext(context.Background(), span), pairs)
	if wantPairs := []string{"other", "stays", "traceparent", want}; !slices.Equal(gotPairs, wantPairs) || !slices.Equal(pairs, before) {
		t.Errorf("pairs are %q, want %q; the caller's are %q", gotPairs, wantPairs, pairs)
	}
	state, err := trace.ParseTraceState("own=1")
	if err != nil {
		t.Fatal(err)
	}
	gotPairs = tracedPairs(trace.ContextWithSpanContext(context.Background(), span.WithTraceState(state)), pairs)
	if i := slices.Index(gotPairs, "tracestate"); len(gotPairs) != 6 || i < 0 || gotPairs[i+1] != "own=1" {
		t.Errorf("pairs are %q, want the span's tracestate in place of the client's", gotPairs)
	}
}
