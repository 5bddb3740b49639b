package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/toolname"
)

// toolNameOption is an option of methods by which their author chooses the name of the tool. It is
// that of protoc-gen-go-mcp.
const toolNameOption = protoreflect.FullName("mcp.v1.tool_name")

// toolbox has the tools of one source. It is immutable.
type toolbox struct {
	key    any
	server *mcp.Server
	tools  []*tool // By name.
	byName map[string]*tool
}

// toolbox returns the tools of a source. They are made when a source is first seen, and not for
// each request.
func (h *Handler) toolbox(s Source) *toolbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil || h.current.key != s.Key {
		h.current = h.build(s)
	}
	return h.current
}

// candidate is a method that is to become a tool.
type candidate struct {
	method   *frontend.Method
	readOnly bool
	named    *Named // Nil: the config does not name it.
}

// build makes the tools of a source. Caller must hold h.mu.
func (h *Handler) build(s Source) *toolbox {
	chosen := h.choose(s)
	box := &toolbox{key: s.Key, server: h.newServer(), byName: make(map[string]*tool, len(chosen))}
	made := make(map[toolKey]*tool, len(chosen))
	for name, c := range h.name(chosen) {
		key := toolKey{c.method.Desc, name, c.readOnly}
		t := h.made[key]
		if t == nil {
			var err error
			if t, err = newTool(name, c, s.Schemas); err != nil {
				h.complain(c.method.Name, err.Error())
				continue
			}
		}
		t = t.withMethod(c.method)
		made[key] = t
		box.byName[name] = t
		box.tools = append(box.tools, t)
	}
	h.made = made
	slices.SortFunc(box.tools, func(a, b *tool) int { return cmp.Compare(a.def.Name, b.def.Name) })
	if h.cfg.Search == SearchOn || h.cfg.Search == SearchAuto && len(box.tools) > maxListed {
		box.addSearch()
		return box
	}
	for _, t := range box.tools {
		if err := box.add(t); err != nil {
			h.complain(t.method.Name, err.Error())
		}
	}
	return box
}

// add lists a tool. The SDK panics if it does not like one, and schemas come from other processes.
func (b *toolbox) add(t *tool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the tool was refused: %v", p)
		}
	}()
	b.server.AddTool(t.def, b.handle(t))
	return nil
}

func (h *Handler) newServer() *mcp.Server {
	s := mcp.NewServer(
		&mcp.Implementation{Name: cmp.Or(h.cfg.Title, "grpc_gateway"), Version: "1"},
		&mcp.ServerOptions{
			Instructions: h.cfg.Instructions,
			// Nothing is kept between requests, so nobody can be told that tools have changed.
			Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
		})
	s.AddReceivingMiddleware(onlyTools)
	return s
}

// served are the requests that a server of tools alone answers.
var served = map[string]bool{
	"initialize": true, "ping": true, "server/discover": true, "subscriptions/listen": true, "tools/list": true, "tools/call": true,
}

// onlyTools refuses the requests of capabilities that the server does not declare, such as
// prompts. The SDK answers them with empty lists, which clients take for a capability.
func onlyTools(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if !served[method] && !strings.HasPrefix(method, "notifications/") {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: fmt.Sprintf("the server does not support %q: it has tools alone", method)}
		}
		return next(ctx, method, req)
	}
}

// choose returns the methods that become tools, by name.
func (h *Handler) choose(s Source) []candidate {
	reachable := make(map[string]*candidate)
	for _, m := range s.Methods() {
		if m.Desc != nil {
			reachable[m.Name] = &candidate{method: m, readOnly: m.HasNoSideEffects()}
		}
	}
	for _, b := range s.Bindings {
		c := reachable[b.Method.Name]
		if c == nil {
			c = &candidate{method: b.Method, readOnly: b.Method.HasNoSideEffects()}
			reachable[b.Method.Name] = c
		}
		c.readOnly = c.readOnly || b.HTTPMethod == http.MethodGet
	}
	for i := range h.cfg.Named {
		named := &h.cfg.Named[i]
		c := reachable[named.Method]
		switch {
		case c == nil: // The routes have a problem for it if it can never come.
			continue
		case c.method.StreamDesc.ClientStreams:
			h.complain(named.Method, "its requests are a stream")
		}
		c.named = named
	}
	var out []candidate
	for _, name := range slices.Sorted(maps.Keys(reachable)) {
		c := reachable[name]
		matches := c.readOnly
		if h.cfg.Matches != nil {
			matches = h.cfg.Matches(name)
		}
		if (c.named != nil || matches) && !c.method.StreamDesc.ClientStreams {
			out = append(out, *c)
		}
	}
	return out
}

// name gives each method its name.
func (h *Handler) name(chosen []candidate) map[string]candidate {
	reserved := map[string]bool{searchMethods: true, describeMethod: true, callMethod: true}
	for i := range h.cfg.Named {
		reserved[h.cfg.Named[i].As] = true
	}
	out := make(map[string]candidate, len(chosen))
	var others []toolname.Method
	for _, c := range chosen {
		if c.named != nil && c.named.As != "" {
			out[c.named.As] = c
			continue
		}
		others = append(others, toolname.Method{Name: c.method.Name, Wanted: openapi.MethodText(c.method.Desc, toolNameOption)})
	}
	names := h.cfg.Names.Assign(others, reserved)
	for _, c := range chosen {
		if name, ok := names[c.method.Name]; ok {
			out[name] = c
		}
	}
	return out
}

// complain says once why a method is not a tool. Caller must hold h.mu.
func (h *Handler) complain(method, reason string) {
	if h.cfg.Complain != nil && h.complained[method] != reason {
		h.complained[method] = reason
		h.cfg.Complain(method, reason)
	}
}

// toolKey is what a tool is made from, besides the config.
type toolKey struct {
	desc     protoreflect.MethodDescriptor
	name     string
	readOnly bool
}

// tool is a method as a tool. It is immutable.
type tool struct {
	def    *mcp.Tool
	method *frontend.Method
	// readOnly says that the method has no side effects, so it may be called twice.
	readOnly bool
	// wrapsArguments says that the request message is a member of the arguments. wrapsResult says
	// so for the answer.
	wrapsArguments, wrapsResult bool
	words                       searchable
}

// newTool describes a method.
func newTool(name string, c candidate, opts openapi.Options) (*tool, error) {
	t := &tool{readOnly: c.readOnly}
	in, wraps, err := openapi.Arguments(opts, c.method.Desc)
	if err != nil {
		return nil, err
	}
	t.wrapsArguments = wraps
	out, wraps, err := openapi.Result(opts, c.method.Desc)
	if err != nil {
		return nil, err
	}
	t.wrapsResult = wraps
	description := openapi.Describe(opts, c.method.Desc)
	if c.named != nil && c.named.Description != "" {
		description = c.named.Description
	}
	destructive := !c.readOnly
	t.def = &mcp.Tool{
		Name: name, Description: cmp.Or(description, "Calls "+c.method.Name+"."),
		InputSchema: json.RawMessage(in), OutputSchema: json.RawMessage(out),
		Annotations: &mcp.ToolAnnotations{
			ReadOnlyHint: c.readOnly, IdempotentHint: c.readOnly || c.method.Idempotent, DestructiveHint: &destructive,
		},
	}
	t.words = newSearchable(name, c.method.Name, t.def.Description)
	return t, nil
}

// withMethod returns the tool for the same method in another routing table.
func (t *tool) withMethod(m *frontend.Method) *tool {
	if t.method == m {
		return t
	}
	next := *t
	next.method = m
	return &next
}
