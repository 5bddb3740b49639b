package clienttls

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// prefix is what the options are called in reverse_proxy's transport. Here it may be left out.
const prefix = "tls_"

// names returns the options of the block without their prefix.
func names() []string {
	return []string{"client_auth", "curves", "insecure_skip_verify", "renegotiation", "server_name", "trust_pool"}
}

// Unmarshal parses the option tls. The dispenser is at its name, and ends at the end of its block:
//
//	tls {
//		client_auth          <automate name> | <certificate file> <key file>
//		curves               <curves>...
//		insecure_skip_verify
//		renegotiation        never | once | freely
//		server_name          <name>
//		trust_pool           <module> ...
//	}
//
// Each option may have the prefix "tls_". The parser of reverse_proxy's transport parses them.
func Unmarshal(d *caddyfile.Dispenser) (*reverseproxy.TLSConfig, error) {
	if len(d.RemainingArgs()) > 0 {
		return nil, d.Err("tls: expected no argument, or a block")
	}
	config := new(reverseproxy.TLSConfig)
	transport := &reverseproxy.HTTPTransport{TLS: config}
	lines := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := strings.TrimPrefix(d.Val(), prefix)
		if !slices.Contains(names(), name) {
			return nil, d.Errf("unknown option %q in tls: expected one of %s", d.Val(), strings.Join(names(), ", "))
		}
		if first, ok := lines[name]; ok {
			return nil, d.Errf("option %q comes twice in tls: the first is in line %d", d.Val(), first)
		}
		lines[name] = d.Line()
		if err := unmarshalOption(d, transport, prefix+name); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// unmarshalOption lets the transport of reverse_proxy parse one option, under its long name.
func unmarshalOption(d *caddyfile.Dispenser, transport *reverseproxy.HTTPTransport, long string) error {
	segment := d.NextSegment()
	name, last := segment[0], segment[len(segment)-1]
	// The transport parses a block with this one option:
	//
	//	transport {
	//		tls_...
	//	}
	opening, option, closing := name, name, last
	opening.Text, option.Text, closing.Text = "{", long, "}"
	closing.Line = last.Line + last.NumLineBreaks() + 1
	tokens := append([]caddyfile.Token{name, opening, option}, segment[1:]...)
	return transport.UnmarshalCaddyfile(caddyfile.NewDispenser(append(tokens, closing)))
}
