package apidocs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// excused are findings of axe that the page has, by rule, with the reason. None of them may be
// serious or critical.
var excused = map[string]string{}

// TestAccess: axe-core finds nothing serious on the page, in light and dark, with a call open and
// answered, and with the panel for streams in use.
func TestAccess(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	b := startBrowser(t)
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), "/docs/", l)
			p.wait("#streams-title", "Streams")
			block := p.operation("GET", "/v1/shelves:titles")
			p.click(block + " .execute")
			p.wait(block+" .live-responses-table", "200")
			post := p.operation("POST", "/v1/echo")
			p.fill(post+" textarea", `{"text": 1}`)
			p.click(post + " .execute")
			p.wait(post+" .live-responses-table", "400")
			s := p.panel("POST", "/v1/stream", "application/x-ndjson")
			s.start(`{"text": "s", "count": 3, "script": {"failCode": 5, "failMessage": "no such thing", "failAfter": 2}}`)
			p.wait("#stream-state", "failed after 2 messages")
			found := p.axe()
			if len(found) == 0 {
				t.Log("axe found nothing")
			}
			for _, v := range found {
				if reason, ok := excused[v.ID]; ok && (v.Impact == "minor" || v.Impact == "moderate") {
					t.Logf("%s (%s): %s", v.ID, v.Impact, reason)
					continue
				}
				t.Errorf("%s (%s): %s, %d times", v.ID, v.Impact, v.Help, len(v.Nodes))
				for _, node := range v.Nodes[:min(len(v.Nodes), 12)] {
					t.Logf("  %s\n  %s", node.HTML, node.FailureSummary)
				}
			}
		})
	}
}

// TestAxeFinds: axe runs at all. It finds what is wrong on a page that was spoiled.
func TestAxeFinds(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{})
	p.wait("#streams-title", "Streams")
	p.run(`document.querySelector("main").append(document.createElement("select"))`)
	if found := p.axe(); !slices.ContainsFunc(found, func(v violation) bool { return v.ID == "select-name" && v.Impact == "critical" }) {
		t.Errorf("axe found %v", found)
	}
}

// TestSwaggerUIAsPublished: what is embedded is what the npm package has, byte for byte.
func TestSwaggerUIAsPublished(t *testing.T) {
	published := filepath.Join(packages(t), "node_modules", "swagger-ui-dist")
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		packed, err := os.Open(filepath.Join(kit.RootDir(t), "internal", "apidocs", "assets", name+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		zr, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(zr)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(published, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, and other ones than the %d that are published", name, len(got), len(want))
		}
	}
}
