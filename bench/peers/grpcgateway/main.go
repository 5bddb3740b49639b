// Command grpcgateway is grpc-gateway with the code that it generates, and no options.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/caddy-grpc/gateway/bench/internal/debug"
	"github.com/caddy-grpc/gateway/bench/servicepb"
)

func main() {
	debug.Start()
	mux := runtime.NewServeMux()
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if err := servicepb.RegisterCatalogHandlerFromEndpoint(context.Background(), mux, *debug.Backend, opts); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *debug.Listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
