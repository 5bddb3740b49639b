// Package mcp makes RPCs tools for language models: it serves the Model Context Protocol
// (https://modelcontextprotocol.io) on one path. Tools are made of the routing table. A tool call
// is a call like any other, in a protocol of its own.
//
// It is not an MCP implementation: the official SDK reads and writes the messages. Nor does it
// check tokens: policies and services do.
//
// # The way of a request
//
//   - Handler.Serve (serve.go) refuses pages of other sites, asks for a token, and reads the body.
//   - The SDK decodes it. It has a server for each routing table, with a tool for each method
//     (toolbox.go), or with three tools by which the others are found (search.go).
//   - A tool call becomes a request of its own (call.go), which passes through the policy of the
//     method, and then through frontend.Options.Invoke or Open.
//   - What comes out becomes the result of the tool. It is kept until it is whole, so nothing of it
//     is sent if the handler has to answer with 401 instead (authorization.go).
//
// Nothing is kept between requests: there are no sessions.
package mcp

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/toolname"
)

// Config is what a Handler is made from.
type Config struct {
	// Options are those of all protocols.
	Options frontend.Options
	// Path is where the protocol is served.
	Path string
	// Title names the server to clients.
	Title string
	// Instructions are for the model. "": none.
	Instructions string

	// Matches reports whether a method `package.Service/Method` is a tool. Nil: methods without
	// side effects are.
	Matches func(method string) bool
	// Named are tools with names and descriptions of the config, whatever Matches says.
	Named []Named
	// Names gives names to the other tools.
	Names *toolname.Registry
	// Search says whether clients search for tools or list them.
	Search Search
	// Limits bound what is collected of a stream.
	Limits Limits
	// Authorization are the URLs of the servers that give out tokens. If there are any, requests
	// need a token. Default: none.
	Authorization []string
	// Base returns the URL under which the client reaches the handler, without the path of the
	// request. Used only with Authorization.
	Base func(*http.Request) string

	// Enter, if set, prepares the request of a tool call for the policies. outer is the request
	// that it came with.
	Enter func(inner, outer *http.Request, w http.ResponseWriter) *http.Request
	// Leave, if set, is told how a tool call has ended. outer is the request that it came with.
	Leave func(outer *http.Request, info *frontend.Info, took time.Duration)
	// Complain, if set, is told why a method that the config names is not a tool.
	Complain func(method, reason string)
}

// Named is a tool of the config.
type Named struct {
	Method      string // "package.Service/Method"
	As          string // The name of the tool. "": the one that it would have otherwise.
	Description string // "": that of the schema.
}

// Search says whether clients search for tools or list them.
type Search uint8

// The values of Search.
const (
	SearchAuto Search = iota // Search if there are more than maxListed tools.
	SearchOn
	SearchOff
)

// maxListed is how many tools are listed with SearchAuto. Each takes room in the context of the
// model, and models choose worse among many.
const maxListed = 40

// Limits bound what is collected of a stream. Each is above 0.
type Limits struct {
	Messages int
	Bytes    int           // Of the messages in JSON.
	Time     time.Duration // From the beginning of the call.
}

// Source is what tools are made of. It is never changed, only replaced.
type Source struct {
	// Key tells sources apart. It is comparable.
	Key any
	// Methods returns those that can be called by name, by path. It is asked once for each key.
	Methods func() map[string]*frontend.Method
	// Bindings are the routes.
	Bindings []*frontend.Binding
	// Schemas say how messages are described.
	Schemas openapi.Options
}

// Handler serves the protocol. Safe for concurrent use.
type Handler struct {
	cfg  Config
	opts frontend.Options
	sdk  *mcp.StreamableHTTPHandler

	mu      sync.Mutex
	current *toolbox // of the last source
	// made are the tools of current, to be used again.
	made map[toolKey]*tool
	// complained are the methods about which Complain was told.
	complained map[string]string
}

// New returns a handler.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, opts: cfg.Options.WithDefaults(), complained: make(map[string]string)}
	h.sdk = mcp.NewStreamableHTTPHandler(serverOf, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, PropagateRequestCancellation: true,
		// Serve has its own rules for both.
		DisableLocalhostProtection: true, MaxRequestBodyBytes: -1,
	})
	return h
}

// exchangeKey is the key of an *exchange in a context.
type exchangeKey struct{}

// exchange is one HTTP request.
type exchange struct {
	h     *Handler
	r     *http.Request
	box   *toolbox
	began time.Time // When the client's deadline began to run. Zero: with the call.

	// These are set by the tool call, while the request waits for it.
	header   http.Header // Of the answer to the call. It may be nil.
	denied   *frontend.Error
	panicked any
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// serverOf returns the server for a request. It is nil for requests that are not from Serve.
func serverOf(r *http.Request) *mcp.Server {
	if x := exchangeOf(r.Context()); x != nil {
		return x.box.server
	}
	return nil
}
