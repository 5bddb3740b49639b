package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// fenced are the blocks of code in a page.
var fenced = regexp.MustCompile("(?ms)^```\n(.*?)^```$")

// inspected is what MCP's inspector prints.
type inspected struct {
	Tools []struct {
		Name         string         `json:"name"`
		InputSchema  map[string]any `json:"inputSchema"`
		OutputSchema map[string]any `json:"outputSchema"`
		Annotations  map[string]any `json:"annotations"`
	} `json:"tools"`
	IsError           bool                    `json:"isError"`
	Content           []struct{ Text string } `json:"content"`
	StructuredContent struct {
		Name      string `json:"name"`
		Messages  []any  `json:"messages"`
		Truncated bool   `json:"truncated"`
	} `json:"structuredContent"`
}

// TestExampleMCP runs the commands of examples/mcp/README.md as they are printed there, on the
// ports of a demo.
func TestExampleMCP(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(kit.RootDir(t), "examples/mcp/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range fenced.FindAllStringSubmatch(string(page), -1) {
		commands = append(commands, strings.TrimSpace(block[1]))
	}
	if len(commands) != 7 || commands[0] != `make demo ARGS="--caddyfile ../mcp/Caddyfile"` {
		t.Fatalf("the page has %d commands: %q", len(commands), commands)
	}
	d := startDemo(t, "--caddyfile", "../mcp/Caddyfile", "--listen-etcd", kit.FreeAddr(t))
	d.call(t)
	run := func(command string) (out string) {
		out, failed := d.runPrinted(t, command)
		if failed != strings.Contains(command, "delete_user") {
			t.Fatalf("%s: failed: %v\n%s", command, failed, out)
		}
		return out
	}
	inspect := func(command string) (got inspected) {
		if out := run(command); json.Unmarshal([]byte(out), &got) != nil {
			t.Fatalf("%s: %s", command, out)
		}
		return got
	}
	got := inspect(commands[1])
	if len(got.Tools) != 5 {
		t.Errorf("%d tools: %+v", len(got.Tools), got.Tools)
	}
	for _, tool := range got.Tools {
		if tool.InputSchema["type"] != "object" || tool.OutputSchema["type"] != "object" || tool.Annotations["readOnlyHint"] == nil && tool.Annotations["destructiveHint"] == nil {
			t.Errorf("%+v", tool)
		}
	}
	if got := inspect(commands[2]); got.IsError || got.StructuredContent.Name != "Ada Lovelace" {
		t.Errorf("a call: %+v", got)
	}
	if got := inspect(commands[3]); got.IsError || len(got.StructuredContent.Messages) != 5 || !got.StructuredContent.Truncated {
		t.Errorf("a stream: %+v", got)
	}
	if got := inspect(commands[4]); !got.IsError || len(got.Content) != 1 || got.Content[0].Text != `{"code":16,"message":"Unauthorized"}` {
		t.Errorf("an error: %+v", got)
	}
	kit.Contains(t, "curl", run(commands[5]), `"structuredContent":{"users":[{"id":"1","name":"Ada Lovelace"`)
	kit.Contains(t, "the metrics", run(commands[6]), `requests_total{code="OK",method="GetUser",protocol="mcp",service="demo.user.v1.UserService",upstream="user"} 1`,
		`requests_total{code="UNAUTHENTICATED",method="DeleteUser",protocol="mcp",service="demo.user.v1.UserService",upstream="user"} 1`)
	d.interrupt(t)
}

// runPrinted runs a command of a page for the usual ports, on those of the demo.
func (d *demo) runPrinted(t *testing.T, command string) (stdout string, failed bool) {
	t.Helper()
	command = strings.NewReplacer("localhost:8080", d.listen, "localhost:2019", d.admin).Replace(command)
	node, inspector := kit.Inspector(t)
	command = strings.Replace(command, "npx @modelcontextprotocol/inspector", "'"+node+"' '"+inspector+"'", 1)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
	return string(out), err != nil
}
