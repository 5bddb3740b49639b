package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
	"github.com/caddy-grpc/gateway/internal/openapi"
)

// handle returns the handler of a tool.
func (b *toolbox) handle(t *tool) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return callTool(ctx, t, req.Params.Arguments)
	}
}

// errNoExchange means that a tool is called by somebody else than Handler.Serve.
var errNoExchange = errors.New("the tool call belongs to no request")

// callTool calls the method of a tool. It runs in a goroutine of the SDK, in which a panic would
// end the process.
func callTool(ctx context.Context, t *tool, args json.RawMessage) (result *mcp.CallToolResult, err error) {
	x := exchangeOf(ctx)
	if x == nil {
		return nil, errNoExchange
	}
	defer func() {
		if p := recover(); p != nil {
			x.panicked, err = p, errNoExchange
		}
	}()
	return x.call(t, args)
}

// call is one tool call.
type call struct {
	h      *Handler
	x      *exchange
	tool   *tool
	method *frontend.Method
	info   *frontend.Info
	// failed is the error of the call. Nil: it has succeeded.
	failed *frontend.Error
}

// call calls the method of a tool, inside of its policy.
func (x *exchange) call(t *tool, args json.RawMessage) (*mcp.CallToolResult, error) {
	message, err := t.message(args)
	if err != nil {
		return nil, err
	}
	c := &call{h: x.h, x: x, tool: t, method: t.method, info: &frontend.Info{Protocol: frontend.MCP.String(), Method: t.method}}
	if x.h.cfg.Leave != nil {
		// This is deferred, because a policy may abort the request by a panic.
		defer func(began time.Time) { x.h.cfg.Leave(x.r, c.info, time.Since(began)) }(time.Now())
	}
	// The context of the SDK does not end when a client of an older revision leaves.
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	w := newRecorder()
	r := c.request(ctx, message, w)
	c.run(w, r)
	x.header = w.header
	return c.result(w)
}

// run makes the call.
func (c *call) run(w http.ResponseWriter, r *http.Request) {
	attempt := func(w http.ResponseWriter, r *http.Request) error {
		if err := c.exchange(w, r); err != nil {
			c.refuse(w, r, frontend.AsError(err))
		}
		return nil
	}
	if c.method.Policy == nil {
		_ = attempt(w, r) // It has no error: refuse has answered.
		return
	}
	policed := &frontend.Policed{Protocol: frontend.MCP, Method: c.method, Info: c.info, Refuse: c.refuse}
	if err := c.method.Policy.Around(w, r, policed, attempt); err != nil {
		c.refuse(w, r, frontend.AsError(err))
	}
}

// request makes the request that policies and metadata rules see: the call of the method by its
// name, with the headers of the client. It has none that belong to MCP.
func (c *call) request(ctx context.Context, message []byte, w http.ResponseWriter) *http.Request {
	outer := c.x.r
	r := outer.WithContext(ctx)
	r.Header = outer.Header.Clone()
	for name := range r.Header {
		if strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Accept") || name == "Last-Event-Id" {
			delete(r.Header, name)
		}
	}
	r.Header["Content-Type"] = []string{"application/json"}
	r.Header["Accept"] = []string{"application/json"}
	r.Method, r.TransferEncoding = http.MethodPost, nil
	r.URL = &url.URL{Scheme: outer.URL.Scheme, Host: outer.URL.Host, Path: c.method.Path}
	r.RequestURI = c.method.Path
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(message)), int64(len(message))
	if c.h.cfg.Enter != nil {
		r = c.h.cfg.Enter(r, outer, w)
	}
	return r
}

// message returns the request message in JSON.
func (t *tool) message(args json.RawMessage) ([]byte, error) {
	if len(args) == 0 || string(args) == "null" {
		args = json.RawMessage("{}")
	}
	if !t.wrapsArguments {
		return args, nil
	}
	var in map[string]json.RawMessage
	if err := json.Unmarshal(args, &in); err != nil || in[openapi.Wrapped] == nil || len(in) != 1 {
		return nil, invalidParams("arguments: expected an object with the member %q alone", openapi.Wrapped)
	}
	return in[openapi.Wrapped], nil
}

// exchange reads the message, calls the method and writes the answer as JSON. If it returns an
// error, nothing has been written yet.
func (c *call) exchange(w http.ResponseWriter, r *http.Request) error {
	text, err := frontend.ReadAll(r.Body, r.ContentLength, c.h.opts.MaxRequestSize)
	switch {
	case errors.Is(err, frontend.ErrTooLarge):
		return frontend.Errorf(codes.ResourceExhausted, "the request message is larger than %d bytes", c.h.opts.MaxRequestSize)
	case err != nil:
		return frontend.Errorf(codes.InvalidArgument, "the request message is incomplete").WithCause(err)
	}
	msg, err := relay.FromJSON(c.method, &c.h.opts, *text)
	frontend.PutBuffer(text)
	if err != nil {
		return err
	}
	settings := frontend.CallSettings{Request: r, Idempotent: c.tool.readOnly, Began: c.x.began}
	if c.method.StreamDesc.ServerStreams {
		return c.collect(w, r, settings, msg)
	}
	out, answer, err := c.h.opts.Invoke(r.Context(), c.method, settings, msg, c.info)
	switch {
	case out == nil:
		return err
	case err != nil:
		e := frontend.AsError(err)
		c.h.opts.WriteErrorHeader(w.Header(), out, e.HTTP())
		return e
	}
	c.h.opts.WriteHeader(w.Header(), out.Header())
	body := frontend.GetBuffer(c.method.ToJSON.Guess(answer.Len()))
	defer frontend.PutBuffer(body)
	if c.tool.wrapsResult {
		*body = append(*body, `{"`+openapi.Wrapped+`":`...)
	}
	var room [4][]byte
	*body, err = relay.AppendMessage(*body, c.method, answer.AppendParts(room[:0]), true)
	answer.Free()
	if err != nil {
		return err
	}
	if c.tool.wrapsResult {
		*body = append(*body, '}')
	}
	c.write(w, http.StatusOK, *body)
	return nil
}

func (c *call) write(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // It goes into memory, as JSON.
}

// refuse answers with an error, before anything was written. It is frontend.Policed.Refuse.
func (c *call) refuse(w http.ResponseWriter, _ *http.Request, err *frontend.Error) {
	c.failed = err
	c.info.Fail(err)
	for name, values := range err.Header {
		w.Header()[name] = values
	}
	c.write(w, err.HTTP(), frontend.AppendStatusJSON(nil, err.Status, err.Types))
}

// result is what the client gets. A policy may have changed the answer, or have it from a cache.
func (c *call) result(w *recorder) (*mcp.CallToolResult, error) {
	body := bytes.TrimSpace(w.body.Bytes())
	if c.failed == nil && c.method.Policy != nil && (w.status() > 299 || !isObject(body)) {
		c.failed = frontend.Refusal(max(w.status(), http.StatusMultipleChoices), "", w.header)
		if w.status() < http.StatusMultipleChoices {
			c.failed = frontend.Errorf(codes.Unknown, "a policy has changed the answer to something else than a JSON object")
		}
		c.info.Fail(c.failed)
	}
	if c.failed == nil {
		return &mcp.CallToolResult{
			Content: []mcp.Content{&mcp.TextContent{Text: string(body)}}, StructuredContent: json.RawMessage(body),
		}, nil
	}
	if c.failed.Code() == codes.Unauthenticated {
		c.x.denied = c.failed
	}
	text := frontend.AppendStatusJSON(nil, c.failed.Status, c.failed.Types)
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}}, nil
}

func isObject(text []byte) bool {
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}
