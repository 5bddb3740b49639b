package module

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// This file has the metrics of requests. Those of pools and registries are in metrics_pool.go.
// Collectors belong to the process: each config comes with a registry of its own, and counts must
// not begin again with it.
var (
	requestsTotal   = newCounter("requests_total", "Requests by how they ended.", "upstream", "service", "method", "protocol", "code")
	requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: appName, Name: "request_duration_seconds",
		Help:    "Time from request to the end of the answer; of a stream, its life.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"upstream", "service", "method"})
	streamMessages = newCounter("stream_messages_total", "Messages of streaming calls that have ended: sent to instances, or received from them.", "direction")
	// validationTotal counts messages and not calls.
	validationTotal = newCounter("validation_total", "Request messages by the result of their checks: valid, invalid, or failed if they could not be judged.",
		"upstream", "service", "method", "result")
	schemaReloads = newCounter("schema_reloads_total", "Attempts to read a schema, by result: changed, unchanged or failed.", "result")

	transcodeDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: appName, Name: "transcode_duration_seconds",
		Help:    "Time to convert a message between JSON and protobuf, of one message in 64 by chance.",
		Buckets: []float64{5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2},
	}, []string{"direction"})

	toWire           = transcodeDuration.WithLabelValues("request")
	toJSON           = transcodeDuration.WithLabelValues("response")
	messagesSent     = streamMessages.WithLabelValues("sent")
	messagesReceived = streamMessages.WithLabelValues("received")
	noMethod         = newMethodMetrics("", "")
)

const (
	metricsNamespace = "caddy"
	// unknownLabel is the label of methods that no schema has. So what clients write never becomes
	// a label.
	unknownLabel = "unknown"
)

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Subsystem: appName, Name: name, Help: help}, labels)
}

// registerMetrics adds all collectors to the registry of a config. Each app of a config does so.
// The first one counts.
func registerMetrics(registry *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{requestsTotal, requestDuration, transcodeDuration, streamMessages, validationTotal, schemaReloads, pools} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// metricProtocols are the values of Info.Protocol.
var metricProtocols = [...]string{"rest", "connect", "grpcweb", "grpc", "mcp"}

const numCodes = int(codes.Unauthenticated) + 1

// methodMetrics are the metrics of one method. Their labels are looked up once per table. A series
// appears with its first request.
type methodMetrics struct {
	upstream, service, method string

	requests [len(metricProtocols)][numCodes]atomic.Pointer[prometheus.Counter]
	duration func() prometheus.Observer
}

// newMethodMetrics makes the metrics of a method "package.Service/Method". The name "" is for
// methods that are not known.
func newMethodMetrics(upstream, name string) *methodMetrics {
	m := &methodMetrics{upstream: upstream, service: unknownLabel, method: unknownLabel}
	if service, method, ok := strings.Cut(name, "/"); ok {
		m.service, m.method = service, method
	}
	m.duration = sync.OnceValue(func() prometheus.Observer {
		return requestDuration.WithLabelValues(m.upstream, m.service, m.method)
	})
	return m
}

// count returns the counter of requests with this protocol and code.
func (m *methodMetrics) count(protocol int, code codes.Code) prometheus.Counter {
	if int(code) >= numCodes {
		code = codes.Unknown
	}
	place := &m.requests[protocol][code]
	if c := place.Load(); c != nil {
		return *c
	}
	c := requestsTotal.WithLabelValues(m.upstream, m.service, m.method, metricProtocols[protocol], frontend.CodeName(code))
	place.Store(&c)
	return c
}

// observe counts a request that has ended. Requests without a protocol, such as a CORS preflight,
// are not counted.
func observe(info *frontend.Info, took time.Duration) {
	protocol := protocolIndex(info.Protocol)
	if protocol < 0 {
		return
	}
	m := noMethod
	if info.Method != nil {
		if of, ok := info.Method.Owner.(*methodMetrics); ok {
			m = of
		}
		if s := &info.Method.StreamDesc; info.Called && (s.ClientStreams || s.ServerStreams) {
			messagesSent.Add(float64(info.Sent))
			messagesReceived.Add(float64(info.Received))
		}
	}
	m.count(protocol, info.Code).Inc()
	m.duration().Observe(took.Seconds())
}

// timed is the Timed of all methods.
func timed(d frontend.Direction, took time.Duration) {
	if d == frontend.ToWire {
		toWire.Observe(took.Seconds())
	} else {
		toJSON.Observe(took.Seconds())
	}
}

func protocolIndex(name string) int {
	for i := range metricProtocols {
		if metricProtocols[i] == name {
			return i
		}
	}
	return -1
}

// countReload counts an attempt to read a schema.
func countReload(r schema.Result) { schemaReloads.WithLabelValues(string(r)).Inc() }
