//go:build !nomcp

package module

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/cors"
	"github.com/caddy-grpc/gateway/internal/frontend/local"
	"github.com/caddy-grpc/gateway/internal/mcp"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/toolname"
)

// tools answers for the path of MCP.
type tools struct {
	mcp  *mcp.Handler
	cors *cors.Policy // Nil: pages of other origins may not call.
	path string
	// source returns what tools are made of at the moment.
	source func(context.Context) mcp.Source
	// key is that of the names in toolNames.
	key string
}

// sharedNames are the names of the tools of a handler. They stay while a reload replaces it.
type sharedNames struct{ toolname.Registry }

// Destruct implements caddy.Destructor.
func (*sharedNames) Destruct() error { return nil }

// makeTools compiles the option. Without it, it returns nil.
func (h *Handler) makeTools(opts *frontend.Options) (*tools, error) {
	if h.MCP == nil {
		return nil, nil //nolint:nilnil // Nil has no tools.
	}
	t := &tools{path: h.MCP.Path, cors: h.protocols.cors, key: strings.Join([]string{h.MCP.Path, h.title()}, " ")}
	names, _ := acquire(toolNames, t.key, func() *sharedNames { return new(sharedNames) })
	options := *opts
	if t.cors != nil {
		options.Origins = t.cors
	}
	t.mcp = mcp.New(mcp.Config{
		Options: options, Path: h.MCP.Path, Title: h.title(), Instructions: h.MCP.Instructions,
		Matches: h.MCP.matches(), Named: h.MCP.named(), Names: &names.Registry,
		Search:        map[string]mcp.Search{searchOn: mcp.SearchOn, searchOff: mcp.SearchOff}[h.MCP.Search],
		Limits:        h.MCP.Stream.limits(),
		Authorization: h.MCP.AuthorizationServers, Base: serverURL,
		Enter: enterTool, Leave: leaveTool,
		Complain: func(method, reason string) {
			h.log.Warn("a method is not a tool", zap.String("method", method), zap.String("reason", reason))
		},
	})
	schemas := openapi.Options{JSON: h.json, Hidden: h.HideFields}
	t.source = func(ctx context.Context) mcp.Source { return h.toolSource(ctx, schemas) }
	return t, nil
}

// toolKey is what tools are made of, besides the config.
type toolKey struct {
	table *routes.Table
	words any
}

// toolSource returns what tools are made of at the moment.
func (h *Handler) toolSource(ctx context.Context, schemas openapi.Options) mcp.Source {
	t := h.routing.whole(ctx)
	key := toolKey{table: t}
	if h.description != nil {
		if words := h.description.comments.get(); words != nil {
			key.words, schemas.Comments = words, words.Of
		}
	}
	return mcp.Source{Key: key, Schemas: schemas, Bindings: t.Bindings, Methods: func() map[string]*frontend.Method {
		methods := make(map[string]*frontend.Method, len(t.Methods))
		for path, m := range t.Methods {
			if m.Upstream != local.Upstream {
				methods[path] = m
			}
		}
		return methods
	}}
}

// serve answers a request for a path of MCP. done is false if it is for another path.
func (t *tools) serve(w http.ResponseWriter, r *http.Request) (done bool) {
	if !t.mcp.Handles(r.URL.Path) {
		return false
	}
	if t.cors != nil && r.URL.Path == t.path {
		// It has noted in the header that the origin may not call, so there is nothing to log.
		if w, done, _ = t.cors.Handle(w, r, func() []string { return []string{http.MethodPost} }); done {
			return true
		}
	}
	t.mcp.Serve(w, r, t.source)
	return true
}

// close gives back the names of the tools.
func (t *tools) close() {
	if t != nil {
		_, _ = toolNames.Delete(t.key)
	}
}

// matches is mcp.Config.Matches.
func (m *MCP) matches() func(string) bool {
	if len(m.Tools) == 0 {
		return nil
	}
	return func(method string) bool { return routes.Matches(m.Tools, method) }
}

func (m *MCP) named() []mcp.Named {
	out := make([]mcp.Named, len(m.NamedTools))
	for i, t := range m.NamedTools {
		out[i] = mcp.Named(t)
	}
	return out
}

func (s *MCPStream) limits() mcp.Limits {
	if s == nil {
		s = new(MCPStream)
	}
	return mcp.Limits{
		Messages: cmp.Or(s.Messages, defaultCollected), Bytes: int(cmp.Or(s.Size, defaultCollectedSize)),
		Time: cmp.Or(time.Duration(s.Duration), defaultCollectedTime),
	}
}

// enterTool prepares the request of a tool call for handlers of Caddy. Placeholders and matchers
// then see the call, and not the HTTP request that it came with. What handlers before this one have
// set stays.
func enterTool(inner, outer *http.Request, w http.ResponseWriter) *http.Request {
	ctx := outer.Context()
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return inner
	}
	repl := caddy.NewReplacer()
	r := caddyhttp.PrepareRequest(inner, repl, w, server)
	if before, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(before.Get)
	}
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if before, ok := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any); ok && vars != nil {
		maps.Copy(vars, before)
	}
	if fields := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey); fields != nil {
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ExtraLogFieldsCtxKey, fields))
	}
	return r
}

// leaveTool records a tool call.
func leaveTool(outer *http.Request, info *frontend.Info, took time.Duration) {
	record(outer, info)
	observe(info, took)
}
