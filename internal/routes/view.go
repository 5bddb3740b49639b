package routes

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Where a route comes from: frontend.Binding.Source and View.Source.
const (
	SourceConfig     = "config"
	SourceAnnotation = "annotation"
	SourceRPC        = "rpc"
	SourceGateway    = "gateway"
)

// View is one way to reach a method, as the admin API shows it. Its JSON is public.
type View struct {
	// Method is the HTTP method, `*` for any.
	Method string `json:"method"`
	// Template is the path template.
	Template string `json:"template"`
	// RPC is `package.Service/Method`.
	RPC string `json:"rpc"`
	// Upstream is the label of the upstream.
	Upstream string `json:"upstream"`
	// Source is one of the Source constants.
	Source       string `json:"source"`
	Body         string `json:"body,omitempty"`
	ResponseBody string `json:"response_body,omitempty"`
	// Streams is `client`, `server` or `both`, and absent for unary methods.
	Streams string `json:"streams,omitempty"`
	// ShadowedBy is the route that gets the requests of this one.
	ShadowedBy string `json:"shadowed_by,omitempty"`
}

// Problem is something in routes or schemas that does not work as it is written. Everything else
// works. Its JSON is public.
type Problem struct {
	// Route is method and template.
	Route    string `json:"route,omitempty"`
	RPC      string `json:"rpc,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	Reason   string `json:"reason"`

	// Fatal problems are mistakes of the config; see Table.Check.
	Fatal bool `json:"-"`
}

func (p Problem) String() string {
	s := p.Reason
	if p.RPC != "" {
		s = p.RPC + ": " + s
	}
	if p.Route != "" {
		s = p.Route + ": " + s
	}
	return s
}

// Check returns an error if the config cannot work, no matter what the network brings. Only schemas
// that come from files count: what a running service says must not decide whether a config loads.
func (t *Table) Check() error {
	var members []Member
	for _, m := range t.members {
		if m.FromFiles {
			members = append(members, m)
		}
	}
	complete := len(members) == len(t.members) && !t.cfg.Open
	files := t
	if !complete {
		var err error
		if files, err = Compile(t.cfg, members); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range files.Problems {
		if p.Fatal && (complete || p.Upstream != "") {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}

func streams(md protoreflect.MethodDescriptor) string {
	switch {
	case md.IsStreamingClient() && md.IsStreamingServer():
		return "both"
	case md.IsStreamingClient():
		return "client"
	case md.IsStreamingServer():
		return "server"
	default:
		return ""
	}
}
