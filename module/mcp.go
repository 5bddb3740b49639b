package module

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/toolname"
)

// MCP makes methods tools for language models. It serves the Model Context Protocol
// (https://modelcontextprotocol.io) over HTTP, with revision 2026-07-28 and the older ones. A tool
// call is a call like any other: `policies`, `metadata`, deadlines, retries and `validate` apply to
// it, and so do `expose` and `hide`. Methods whose requests stream are no tools.
type MCP struct {
	// The path at which agents connect, such as `/mcp`. It wins over a route of the API. Required.
	Path string `json:"path,omitempty"`

	// The methods that are tools, as patterns for `package.Service` or `package.Service/Method`, in
	// which `*` matches any text. A pattern that matches no method is an error if all schemas are
	// files. Otherwise it is reported. Default: the methods without side effects. These have
	// `idempotency_level = NO_SIDE_EFFECTS`, or a GET route.
	Tools []string `json:"tools,omitempty"`

	// Further tools, and names and descriptions for them. Default: none.
	NamedTools []MCPTool `json:"named_tools,omitempty"`

	// Whether agents search for tools. `on` offers the tools `search_methods`, `describe_method`
	// and `call_method` in place of a list. `off` lists all tools. `auto` (default) searches if
	// there are more than 40.
	Search string `json:"search,omitempty"`

	// What is collected of the answer of a method whose responses stream. Default: see MCPStream.
	Stream *MCPStream `json:"stream,omitempty"`

	// A text for the model that says what the tools are for. Default: none.
	Instructions string `json:"instructions,omitempty"`

	// The URLs of the OAuth servers that give out tokens. Requests without the header
	// `Authorization` then get 401, with a challenge that points to the metadata of RFC 9728. So do
	// tool calls that a policy or the service refuses as UNAUTHENTICATED. The gateway does not
	// check tokens: a policy or the service has to. Default: none, no token is asked for.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
}

// MCPTool is a tool of the config.
type MCPTool struct {
	// The method, as `package.Service/Method`. Required.
	Method string `json:"method,omitempty"`

	// The name of the tool: a letter, then letters, digits, `_` and `-`, at most 64 characters in
	// all. Default: the option `(mcp.v1.tool_name)` of the method, or else `Service_Method`.
	As string `json:"as,omitempty"`

	// What the tool does, for the model. Default: the comment of the method.
	Description string `json:"description,omitempty"`
}

// MCPStream bounds what is collected of the answer of a method whose responses stream. At the first
// of these limits the call is cancelled, and the result has `"truncated": true`.
type MCPStream struct {
	// The number of messages. Default: 100.
	Messages int `json:"messages,omitempty"`

	// The size of the messages as JSON, in bytes. Default: 65536 (64 KiB).
	Size int64 `json:"size,omitempty"`

	// The time from the beginning of the call. Default: 10s.
	Duration caddy.Duration `json:"duration,omitempty"`
}

// Defaults of MCPStream.
const (
	defaultCollected     = 100
	defaultCollectedSize = 64 << 10
	defaultCollectedTime = 10 * time.Second
)

// Values of MCP.Search.
const (
	searchAuto = "auto"
	searchOn   = "on"
	searchOff  = "off"
)

// Validate says what is wrong with the options.
func (m *MCP) Validate() error {
	switch {
	case m == nil:
		return nil
	case m.Path == "":
		return errors.New("expected a path, such as /mcp")
	case !cleanPath(m.Path):
		return fmt.Errorf("path %q: expected a path, such as /mcp", m.Path)
	case !oneOf(m.Search, searchAuto, searchOn, searchOff):
		return fmt.Errorf("search %q: expected auto, on or off", m.Search)
	}
	for _, pattern := range m.Tools {
		if err := ValidatePattern(pattern); err != nil {
			return fmt.Errorf("tools: %w", err)
		}
	}
	if err := m.checkNamed(); err != nil {
		return err
	}
	if s := m.Stream; s != nil && (s.Messages < 0 || s.Size < 0 || s.Duration < 0) {
		return errors.New("stream: expected limits above 0")
	}
	for _, server := range m.AuthorizationServers {
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("authorization_server %q: expected a URL, such as https://idp.example.com", server)
		}
	}
	return nil
}

func (m *MCP) checkNamed() error {
	methods, names := make(map[string]bool), make(map[string]bool)
	for i := range m.NamedTools {
		t := &m.NamedTools[i]
		service, method, ok := strings.Cut(t.Method, "/")
		switch {
		case !ok || service == "" || method == "" || strings.ContainsAny(t.Method, "* ") || strings.Contains(method, "/"):
			return fmt.Errorf("tool %q: expected a method, such as package.Service/Method", t.Method)
		case t.As != "" && !toolname.Valid(t.As):
			return fmt.Errorf("tool %s as %q: expected a letter, then letters, digits, _ and -, at most %d characters", t.Method, t.As, toolname.MaxLen)
		case t.As == "search_methods" || t.As == "describe_method" || t.As == "call_method":
			return fmt.Errorf("tool %s as %q: expected another name, because the search has this one", t.Method, t.As)
		case methods[t.Method]:
			return fmt.Errorf("tool %s comes twice", t.Method)
		case t.As != "" && names[t.As]:
			return fmt.Errorf("tool %s as %q: another tool has this name", t.Method, t.As)
		}
		if err := ValidatePattern(t.Method); err != nil {
			return fmt.Errorf("tool: %w", err)
		}
		methods[t.Method], names[t.As] = true, true
	}
	return nil
}

// claim tells the table's config which methods the options name.
func (m *MCP) claim(table *routes.Config) {
	if m == nil {
		return
	}
	table.ToolPatterns = append(table.ToolPatterns, m.Tools...)
	for i := range m.NamedTools {
		table.ToolPatterns = append(table.ToolPatterns, m.NamedTools[i].Method)
	}
}
