package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
)

// Peer is a gateway, or a floor: what does less than a gateway and shows what the rest costs.
type Peer struct {
	Name    string
	Program string
	Binary  string                // instead of the program that Build made, if not empty
	Site    func(Backends) string // the site's block in a Caddyfile, for Caddy
	Works   []string
	Filler  bool // see traffic.Cell
}

// Backends is what a Caddyfile needs to know.
type Backends struct{ GRPC, Connect, Protoset string }

// Names of peers that ratios are taken of.
const (
	Ours         = "ours"
	OursAgain    = "ours again"
	OursWire     = "ours over wire" // what OursOver makes of wire
	GRPCGateway  = "grpc-gateway"
	Vanguard     = "vanguard"
	GoZero       = "go-zero"
	PassThrough  = "pass-through"
	FlushEach    = "pass-through flushing"
	PassWire     = "pass-through over wire"
	ByHand       = "by hand over wire"
	Respond      = "respond"
	ReverseProxy = "reverse_proxy"
)

// Peers returns all, in the order of the tables.
func Peers() []Peer {
	rest := []string{canned.Get, canned.Post, canned.List, canned.Upload}
	restAndStream := append(slices.Clone(rest), canned.Stream)
	connect := []string{canned.Connect, canned.ConnectJSON}
	native := []string{canned.GRPC, canned.ClientStream}
	all := slices.Concat(restAndStream, native, connect)
	caddy := func(name string, site func(Backends) string, works ...string) Peer {
		return Peer{Name: name, Program: "caddy", Site: site, Works: works}
	}
	respond := caddy(Respond, respondSite, rest...)
	respond.Filler = true
	return []Peer{
		caddy(Ours, oursSite, all...),
		caddy(OursAgain, oursSite, all...),
		{Name: GRPCGateway, Program: "grpcgateway", Works: restAndStream},
		{Name: Vanguard, Program: "vanguard", Works: append(slices.Clone(rest), connect...)},
		{Name: GoZero, Program: "gozero", Works: restAndStream},
		caddy(PassThrough, func(b Backends) string { return "bench_floor " + b.GRPC }, append(slices.Clone(restAndStream), connect...)...),
		caddy(FlushEach, func(b Backends) string { return "bench_floor " + b.GRPC + " flush" }, canned.Stream),
		caddy(PassWire, func(b Backends) string { return "bench_floor " + b.GRPC + " wire" }, append(slices.Clone(restAndStream), connect...)...),
		{Name: ByHand, Program: "byhand", Works: append(slices.Clone(restAndStream), connect...)},
		respond,
		caddy(ReverseProxy, reverseProxySite, slices.Concat(native, connect)...),
	}
}

// OursOf is the gateway in another Caddy than the one that was built here. A name that ends in
// " over wire" says the transport of its upstream.
func OursOf(name, binary string) Peer {
	p := Peers()[0]
	if _, transport, ok := strings.Cut(name, " over "); ok {
		p = OursOver(transport)
	}
	p.Name, p.Binary = name, binary
	return p
}

// OursOver is the gateway with another transport than the default.
func OursOver(transport string) Peer {
	p := Peers()[0]
	p.Name += " over " + transport
	p.Site = func(b Backends) string { return oursSiteWith(b, "\n\t\ttransport "+transport) }
	return p
}

func oursSite(b Backends) string { return oursSiteWith(b, "") }

// oursSiteWith adds lines to the upstream.
func oursSiteWith(b Backends, options string) string {
	return fmt.Sprintf("grpc_gateway {\n\tupstream bench {\n\t\tdiscover static %s\n\t\tdescriptors protoset %s%s\n\t}\n}", b.GRPC, b.Protoset, options)
}

// reverseProxySite sends gRPC to the gRPC server and Connect to the server of that protocol.
func reverseProxySite(b Backends) string {
	return fmt.Sprintf("@grpc header Content-Type application/grpc*\nreverse_proxy @grpc h2c://%s\nreverse_proxy h2c://%s", b.GRPC, b.Connect)
}

// respondSite answers with as many bytes as an answer has, out of the config.
func respondSite(Backends) string {
	var b strings.Builder
	for i, w := range canned.Works() {
		if w.Stream || w.Method == "" || w.Path == w.RPC {
			continue
		}
		fmt.Fprintf(&b, "@w%d {\n\tmethod %s\n\tpath %s\n}\nheader @w%[1]d Content-Type %[4]s\nrespond @w%[1]d %[5]s\n",
			i, w.Method, w.Path, w.AnswerType, canned.Filler(len(w.Answer)))
	}
	return b.String()
}

// Find returns the peer of a name.
func Find(name string) (Peer, error) {
	for _, p := range append(Peers(), OursOver("wire")) {
		if p.Name == name {
			return p, nil
		}
	}
	return Peer{}, fmt.Errorf("no peer %q", name)
}
