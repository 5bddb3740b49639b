package apidocs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
)

// excused are findings of axe that the page has, by rule, with the reason. None of them may be
// serious or critical.
var excused = map[string]string{}

// TestAccess: axe-core finds nothing serious on the page, in light and dark, with a call open and
// answered, and with the panel for streams in use.
func TestAccess(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	b := startBrowser(t)
	for name, l := range map[string]browser.Look{"light": {}, "dark": {Dark: true}} {
		t.Run(name, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), "/docs/", l)
			p.Wait("#streams-title", "Streams")
			block := p.operation("GET", "/v1/shelves:titles")
			p.Click(block + " .execute")
			p.Wait(block+" .live-responses-table", "200")
			p.Click(block + " .tablinks[data-name=model]")
			post := p.operation("POST", "/v1/echo")
			p.Fill(post+" textarea", `{"text": 1}`)
			p.Click(post + " .execute")
			p.Wait(post+" .live-responses-table", "400")
			s := p.panel("POST", "/v1/stream", "application/x-ndjson")
			s.start(`{"text": "s", "count": 3, "script": {"failCode": 5, "failMessage": "no such thing", "failAfter": 2}}`)
			p.Wait("#stream-state", "failed after 2 messages")
			p.Click(".models-control")
			p.Shoot("access-" + name)
			for _, v := range p.Axe() {
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

// TestJudges: what the other tests rely on does see what is wrong with a page that was spoiled.
func TestJudges(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
	p.Wait("#streams-title", "Streams")
	p.Run(`document.body.insertAdjacentHTML("beforeend", "<select></select><p style='width: 5000px'>wide</p><p class='wide' id='wide'>wide</p>")`)
	p.Run(`fetch("http://127.0.0.2:1/").catch(() => 0)`)
	p.Run(`document.getElementById("wide").style.width = "5000px"`)
	if wide := p.Widest(); !strings.Contains(wide, `id="wide"`) {
		t.Errorf("the page is not too wide: %q", wide)
	}
	if found := p.Axe(); !slices.ContainsFunc(found, func(v browser.Violation) bool { return v.ID == "select-name" && v.Impact == "critical" }) {
		t.Errorf("axe found %v", found)
	}
	trouble := strings.Join(p.TakeTrouble(), "\n")
	for _, want := range []string{"POLICY style-src-attr", "POLICY connect-src"} {
		if !strings.Contains(trouble, want) {
			t.Errorf("nobody noticed %q:\n%s", want, trouble)
		}
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
