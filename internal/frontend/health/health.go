// Package health tells load balancers whether the gateway and its services can be called. It is the
// gateway's own grpc.health.v1 service. Package pool checks the health of upstreams.
package health

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// interval is how often a Watch looks for a change.
const interval = time.Second

// Config says what the service reports on.
type Config struct {
	// Table returns the present table, or nil while there is none. The services are those of its
	// methods.
	Table func() *frontend.Table
	// Ready reports whether an upstream has an instance that can be called.
	Ready func(upstream string) bool
	// Drain is closed when the server stops. Then nothing is SERVING. Default: nil, never closed.
	Drain *frontend.Drain
}

// Register registers the service. The gateway as a whole (the empty name) is SERVING until it
// stops. A service is SERVING while its upstream has an instance that is ready.
func Register(to grpc.ServiceRegistrar, cfg Config) {
	healthpb.RegisterHealthServer(to, &server{Config: cfg})
}

type server struct {
	healthpb.UnimplementedHealthServer
	Config
}

// Check implements healthpb.HealthServer.
func (s *server) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	st := s.status(req.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

// List implements healthpb.HealthServer.
func (s *server) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	statuses := map[string]*healthpb.HealthCheckResponse{"": {Status: s.status("")}}
	if t := s.Table(); t != nil {
		for _, m := range t.Methods {
			name, _, _ := strings.Cut(m.Name, "/")
			if _, ok := statuses[name]; !ok {
				statuses[name] = &healthpb.HealthCheckResponse{Status: s.of(m)}
			}
		}
	}
	return &healthpb.HealthListResponse{Statuses: statuses}, nil
}

// Watch implements healthpb.HealthServer. It tells the status at once, and again within a second of
// each change.
func (s *server) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	drain := s.Drain.Done()
	told := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		if st := s.status(req.GetService()); st != told {
			told = st
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: st}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-drain:
			drain = nil // The status is told once more. Then the gateway ends the stream.
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func (s *server) draining() bool {
	select {
	case <-s.Drain.Done():
		return true
	default:
		return false
	}
}

func (s *server) status(service string) healthpb.HealthCheckResponse_ServingStatus {
	if service == "" {
		if s.draining() {
			return healthpb.HealthCheckResponse_NOT_SERVING
		}
		return healthpb.HealthCheckResponse_SERVING
	}
	t := s.Table()
	if t == nil {
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
	prefix := "/" + service + "/"
	for path, m := range t.Methods {
		if strings.HasPrefix(path, prefix) {
			return s.of(m)
		}
	}
	return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
}

// of is the status of a method's service.
func (s *server) of(m *frontend.Method) healthpb.HealthCheckResponse_ServingStatus {
	if s.draining() || !s.Ready(m.Upstream) {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}
