// Package debug is what every process of the benchmarks has in common: flags, and a port where it
// can be asked for its memory statistics (/debug/vars) and its profiles (/debug/pprof). Caddy's
// admin endpoint serves the same.
package debug

import (
	_ "expvar" // serves /debug/vars
	"flag"
	"log"
	"net/http"
	_ "net/http/pprof" // serves /debug/pprof
	"time"

	_ "github.com/caddy-grpc/gateway/bench/internal/locks"
)

// Flags of a gateway.
var (
	Listen  = flag.String("listen", "127.0.0.1:8080", "where to serve")
	Backend = flag.String("backend", "127.0.0.1:9001", "the gRPC server behind")
	address = flag.String("debug", "", "where to serve /debug")
)

// Start parses the flags and serves them.
func Start() {
	flag.Parse()
	if *address == "" {
		return
	}
	server := &http.Server{Addr: *address, ReadHeaderTimeout: 10 * time.Second}
	go func() { log.Fatal(server.ListenAndServe()) }()
}
