//go:build !nomcp

package module_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// mcpRequest is what one request of MCP is made of, in a revision without sessions.
func mcpRequest(b *testing.B, method, name, params string) func() *http.Request {
	b.Helper()
	const revision = "2026-07-28"
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + revision +
		`","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	return func() *http.Request {
		ctx := context.WithValue(b.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp", strings.NewReader(body))
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
			"Mcp-Protocol-Version": {revision}, "Mcp-Method": {method},
		}
		if name != "" {
			r.Header.Set("Mcp-Name", name)
		}
		return r
	}
}

// BenchmarkToolCall makes the same call by REST and as a tool, to a real backend.
// docs/performance.md quotes the ratio of the two.
//
//	go test -run '^$' -bench BenchmarkToolCall -benchtime 5000x ./module
func BenchmarkToolCall(b *testing.B) {
	backend := testkit.StartBackend(b)
	s := newSite(b)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	h := activeHandler(b)
	ways := map[string]func() *http.Request{
		"REST": func() *http.Request {
			ctx := context.WithValue(b.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/gateway.test.v1.Echo/Unary", strings.NewReader(`{"text":"x"}`))
			r.Header.Set("Content-Type", "application/json")
			return r
		},
		"tool": mcpRequest(b, "tools/call", "Echo_Unary", `"name":"Echo_Unary","arguments":{"text":"x"},`),
	}
	for _, name := range []string{"REST", "tool"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if err := h.ServeHTTP(w, ways[name](), nil); err != nil || w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"text":"x"`) {
					b.Fatalf("%v, status %d: %s", err, w.Code, w.Body)
				}
			}
		})
	}
}

// BenchmarkListTools lists 1,000 tools, with two messages of six fields each.
//
//	go test -run '^$' -bench BenchmarkListTools ./module
func BenchmarkListTools(b *testing.B) {
	s := newSite(b)
	set := filepath.Join(s.dir, "large.binpb")
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{manyMethods(1000)}})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(set, raw, 0o600); err != nil {
		b.Fatal(err)
	}
	s.load("", "grpc_gateway {\n\tupstream large {\n\t\tdiscover static 127.0.0.1:1\n\t\tdescriptors protoset "+set+"\n\t}\n\tmcp /mcp {\n\t\tsearch off\n\t}\n}")
	h := activeHandler(b)
	list := mcpRequest(b, "tools/list", "", "")
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, list(), nil); err != nil || w.Code != http.StatusOK {
			b.Fatalf("%v, status %d: %.500s", err, w.Code, w.Body)
		}
		size = w.Body.Len()
	}
	if size < 100_000 {
		b.Fatalf("the list has %d bytes", size)
	}
	b.ReportMetric(float64(size), "list-bytes")
}

// manyMethods is a file with so many methods without side effects.
func manyMethods(n int) *descriptorpb.FileDescriptorProto {
	const pkg = "large.v1"
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("large/v1/service.proto"), Package: proto.String(pkg), Syntax: proto.String("proto3")}
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Things")}
	for i := range n {
		name := fmt.Sprintf("GetThing%d", i)
		for _, suffix := range []string{"Request", "Response"} {
			message := &descriptorpb.DescriptorProto{Name: proto.String(name + suffix)}
			// Two texts, int64, bool, double, bytes.
			for j, kind := range []descriptorpb.FieldDescriptorProto_Type{9, 9, 3, 8, 1, 12} {
				message.Field = append(message.Field, &descriptorpb.FieldDescriptorProto{
					Name: proto.String(fmt.Sprintf("field_%d", j+1)), Number: proto.Int32(int32(j + 1)), Type: kind.Enum(),
					Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				})
			}
			file.MessageType = append(file.MessageType, message)
		}
		service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String("." + pkg + "." + name + "Request"), OutputType: proto.String("." + pkg + "." + name + "Response"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()},
		})
	}
	file.Service = []*descriptorpb.ServiceDescriptorProto{service}
	return file
}
