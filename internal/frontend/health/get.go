package health

import (
	"encoding/json"
	"net/http"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Get answers load balancers that ask over plain HTTP. 200 means SERVING, 503 means NOT_SERVING and
// 404 means that the service is not known. The query parameter service names a service; without it
// the answer is about the gateway as a whole. The body is the JSON form of a HealthCheckResponse:
// {"status":"SERVING"}. Other methods than GET and HEAD are refused with 405.
func Get(w http.ResponseWriter, r *http.Request, cfg Config) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method "+r.Method+" is not allowed: expected GET", http.StatusMethodNotAllowed)
		return
	}
	st := (&server{Config: cfg}).status(r.URL.Query().Get("service"))
	body, err := json.Marshal(map[string]string{"status": st.String()})
	if err != nil {
		http.Error(w, "the status cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus(st))
	_, _ = w.Write(append(body, '\n')) // The client has gone if this fails.
}

func httpStatus(st healthpb.HealthCheckResponse_ServingStatus) int {
	switch st {
	case healthpb.HealthCheckResponse_SERVING:
		return http.StatusOK
	case healthpb.HealthCheckResponse_SERVICE_UNKNOWN:
		return http.StatusNotFound
	default:
		return http.StatusServiceUnavailable
	}
}
