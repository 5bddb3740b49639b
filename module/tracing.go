package module

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// traced makes the span of the request, which Caddy's `tracing` directive starts, the parent of the
// RPC. Its W3C trace context goes out as metadata in place of the client's, even if the metadata
// rules say otherwise. Without a span nothing changes.
func traced(ctx context.Context) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = make(metadata.MD)
	}
	delete(md, "tracestate") // It belongs to the traceparent, and is set again if the span has one.
	propagation.TraceContext{}.Inject(ctx, carrier(md))
	return metadata.NewOutgoingContext(ctx, md)
}

// tracedPairs is traced for metadata as names and values, alternately. It returns another list if
// there is a span.
func tracedPairs(ctx context.Context, pairs []string) []string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return pairs
	}
	own := make(propagation.MapCarrier)
	propagation.TraceContext{}.Inject(ctx, own)
	out := make([]string, 0, len(pairs)+4)
	for pair := range slices.Chunk(pairs, 2) {
		if pair[0] != "traceparent" && pair[0] != "tracestate" {
			out = append(out, pair...)
		}
	}
	for name, value := range own {
		out = append(out, name, value)
	}
	return out
}

// carrier lets OpenTelemetry write metadata.
type carrier metadata.MD

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
