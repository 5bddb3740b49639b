// Command vanguard is vanguard-go before a gRPC server: REST and Connect become gRPC, which a
// reverse proxy sends on over HTTP/2.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"connectrpc.com/vanguard"

	"github.com/caddy-grpc/gateway/bench/internal/debug"
	"github.com/caddy-grpc/gateway/bench/servicepb"
)

func main() {
	debug.Start()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: *debug.Backend})
	proxy.Transport = transport
	service := vanguard.NewServiceWithSchema(servicepb.File_service_proto.Services().ByName("Catalog"), proxy,
		vanguard.WithTargetProtocols(vanguard.ProtocolGRPC), vanguard.WithTargetCodecs(vanguard.CodecProto), vanguard.WithNoTargetCompression())
	handler, err := vanguard.NewTranscoder([]*vanguard.Service{service})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *debug.Listen, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
