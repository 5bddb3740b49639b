package mcpe2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// post sends a request of MCP.
func post(client *http.Client, url, method string, params any) (result json.RawMessage, err error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct{ Result, Error json.RawMessage }
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Error != nil {
		return nil, fmt.Errorf("%s: %s: %.500s", method, resp.Status, raw)
	}
	return answer.Result, nil
}

// sample is a call with a random message, and how the gateway has answered.
type sample struct {
	tool      string
	arguments map[string]any
	spoiled   string // How the message was made wrong. "": it was not.

	err     error
	IsError bool            `json:"isError"`
	Result  json.RawMessage `json:"structuredContent"`
	Content []struct{ Text string }
}

// samples makes calls with random messages. Every fifth message is wrong in one field. script tells
// the backend to fail and to wait, so it is left out.
func samples(n int) []*sample {
	r := newRandom(18)
	library := testpb.File_internal_testkit_testpb_echo_proto.Services().ByName("Library").Methods()
	tools := []struct {
		name    string
		request protoreflect.MessageDescriptor
	}{
		{"Echo_Unary", (&testpb.EchoRequest{}).ProtoReflect().Descriptor()},
		{"Echo_Unary", (&testpb.EchoRequest{}).ProtoReflect().Descriptor()},
		{"Library_CreateBook", library.ByName("CreateBook").Input()},
		{"Library_UpdateBook", library.ByName("UpdateBook").Input()},
	}
	out := make([]*sample, 0, n)
	for len(out) < n {
		tool := tools[len(out)%len(tools)]
		s := &sample{tool: tool.name, arguments: r.message(tool.request, 0, "script")}
		if len(out)%5 == 4 {
			if s.spoiled = r.spoil(tool.request, s.arguments, "script"); s.spoiled == "" {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// TestSchemasAgreeWithTheGateway calls tools with 5,000 random messages. ajv and the gateway have
// to agree on which are right, and ajv has to accept all results.
func TestSchemasAgreeWithTheGateway(t *testing.T) {
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{Site: "\tgrpc_gateway " + backend.Addr() + " {\n\t\tmcp /mcp {\n\t\t\ttools gateway.test.v1.*\n\t\t\tsearch off\n\t\t}\n\t}"})
	kit.Eventually(t, 30*time.Second, "the backend answers", func() error {
		_, _, err := kit.GetJSON(kit.H1(), caddy.URL("/v1/echo/x"))
		return err
	})
	raw, err := post(kit.H1(), caddy.URL("/mcp"), "tools/list", map[string]any{})
	var listed judged
	if err != nil || json.Unmarshal(raw, &listed) != nil || len(listed.Tools) != 9 {
		t.Fatalf("%v: %s", err, raw)
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, tool := range listed.Tools {
		_ = encoder.Encode(map[string]any{"name": tool.Name, "input": tool.InputSchema, "output": tool.OutputSchema})
	}
	all := samples(5000)
	callAll(caddy.URL("/mcp"), all)
	results := 0
	for _, s := range all {
		refused := s.IsError && len(s.Content) > 0 && strings.Contains(s.Content[0].Text, `"message":"request message: `)
		switch {
		case s.err != nil:
			t.Fatal(s.err)
		case refused != (s.spoiled != ""):
			arguments, _ := json.Marshal(s.arguments)
			t.Errorf("%s: spoiled by %q, refused: %v\n%s\n%+v", s.tool, s.spoiled, refused, arguments, s.Content)
			continue
		}
		_ = encoder.Encode(map[string]any{"name": s.tool, "arguments": s.arguments, "wrong": refused})
		if !s.IsError {
			results++
			_ = encoder.Encode(map[string]any{"name": s.tool, "result": s.Result})
		}
	}
	if results < 2000 {
		t.Errorf("only %d calls have results", results)
	}
	if complaints := node(t, lines.String(), "schemas.mjs"); complaints != "" {
		t.Errorf("%.4000s", complaints)
	}
}

// callAll makes the calls, some at a time.
func callAll(url string, all []*sample) {
	client := kit.H2C()
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	next := make(chan *sample)
	for range 8 {
		wg.Go(func() {
			for s := range next {
				var raw json.RawMessage
				raw, s.err = post(client, url, "tools/call", map[string]any{"name": s.tool, "arguments": s.arguments})
				if s.err == nil {
					s.err = json.Unmarshal(raw, s)
				}
			}
		})
	}
	for _, s := range all {
		next <- s
	}
	close(next)
	wg.Wait()
}
