package module_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// metric is the value of a series, 0 when there is none. Counts are the process's, so tests
// compare.
func (s *site) metric(series string) float64 {
	s.t.Helper()
	m := regexp.MustCompile(`(?m)^caddy_grpc_gateway_` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(s.metrics())
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *site) metrics() string {
	s.t.Helper()
	return s.want(s.admin0("GET", "/metrics"), http.StatusOK).body
}

func TestMetrics(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	config := func(option string) string {
		return "grpc_gateway {\n upstream metered {\n discover static " + backend.Addr() + " 127.0.0.1:1\n retry off\n}\n" + option + "}"
	}
	s.load("", config(""))
	const of = `service="gateway.test.v1.Echo",upstream="metered"`
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.get("/v1/echo/x?script.fail_code=5"), http.StatusNotFound)
	s.want(s.get("/v1/no/such/route"), http.StatusNotFound)
	s.want(s.do("POST", "/made.up.Service/Method", "{}"), http.StatusNotFound)
	s.want(s.do("POST", "/v1/stream", `{"count":3}`), http.StatusOK)

	// A reload begins a new registry, but the counts go on.
	s.load("", config("timeout 4s\n"))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	used, unused := "grpc", "wire"
	if testkit.Transport() == "wire" {
		used, unused = unused, used
	}
	for series, want := range map[string]float64{
		`requests_total{code="OK",method="Unary",protocol="rest",` + of + `}`:        3,
		`requests_total{code="NOT_FOUND",method="Unary",protocol="rest",` + of + `}`: 1,
		`request_duration_seconds_count{method="Unary",` + of + `}`:                  4,
		`endpoints{state="READY",upstream="metered"}`:                                1,
		`endpoints{state="draining",upstream="metered"}`:                             0,
		`endpoints{state="held",upstream="metered"}`:                                 0,
		`endpoints{state="unhealthy",upstream="metered"}`:                            0,
		`connections{state="READY",upstream="metered"}`:                              1,
		`transport_connections{transport="` + used + `",upstream="metered"}`:         1,
		`transport_connections{transport="` + unused + `",upstream="metered"}`:       0,
		`connects_total{upstream="metered"}`:                                         1,
		`retries_total{upstream="metered"}`:                                          0,
		`ejections_total{upstream="metered"}`:                                        0,
	} {
		if got := s.metric(series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	for _, series := range []string{
		`requests_total{code="NOT_FOUND",method="unknown",protocol="rest",service="unknown",upstream=""}`,
		`stream_messages_total{direction="sent"}`, `stream_messages_total{direction="received"}`,
		`registry_events_total{upstream="metered"}`, `schema_reloads_total{result="changed"}`,
	} {
		if s.metric(series) < 1 {
			t.Errorf("%s is 0", series)
		}
	}
	for series, call := range map[string]func() answer{
		`transcode_duration_seconds_count{direction="response"}`: func() answer { return s.get("/v1/echo/x") },
		`transcode_duration_seconds_count{direction="request"}`:  func() answer { return s.do("POST", "/v1/echo", `{"text":"x"}`) },
	} {
		eventually(t, series+" counts", func() bool {
			for range 20 { // One conversion in 64 is timed.
				s.want(call(), http.StatusOK)
			}
			return s.metric(series) > 0
		})
	}
	all := s.metrics()
	if strings.Contains(all, "made.up") {
		t.Error("what a client wrote became a label")
	}
	if !strings.Contains(all, `caddy_grpc_gateway_in_flight{upstream="metered"}`) {
		t.Error("no in_flight")
	}
}

// TestCountsOutliveChannels replaces the pool of an upstream. Its counter goes on.
func TestCountsOutliveChannels(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	last := 0.0
	for i := range 3 {
		s.load("", "grpc_gateway {\n upstream replaced {\n discover static "+backend.Addr()+"\n connect_timeout "+strconv.Itoa(i+1)+"s\n }\n }")
		s.want(s.get("/v1/echo/x"), http.StatusOK)
		got := s.metric(`connects_total{upstream="replaced"}`)
		if got <= last {
			t.Errorf("connects_total is %v after pool %d, %v before", got, i+1, last)
		}
		last = got
	}
}
