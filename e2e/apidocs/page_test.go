package apidocs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// looks are those in which the page must be right.
var looks = map[string]look{
	"light":       {},
	"dark":        {dark: true},
	"light-phone": {phone: true},
	"dark-phone":  {dark: true, phone: true},
}

// TestPage opens the page as people do, and makes calls by clicking.
func TestPage(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	b := startBrowser(t)
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), "/", l)
			p.wait("#title", "Books and echoes")
			block := p.operation("POST", "/v1/echo")
			p.fill(block+` textarea`, `{"text": "by clicking", "big": "9007199254740993"}`)
			p.click(block + " .execute")
			p.wait(block+" .live-responses-table", "200", `"by clicking"`, "9007199254740993")
			if at := p.location(); !strings.Contains(at, "#/gateway.test.v1.Echo/") {
				t.Errorf("the address %s does not lead to the open call", at)
			}
			p.shoot("page-" + name)
			if wide := js[string](p, widest); wide != "" {
				t.Errorf("the page is wider than the window: %s", wide)
			}
			if p.asked[caddy.URL("/v1/echo")] != 1 {
				t.Errorf("the call was made %d times: %v", p.asked[caddy.URL("/v1/echo")], p.asked)
			}
		})
	}
}

// widest names an element that makes the page wider than the window, if there is one.
const widest = `(() => {
	const width = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth <= width) return "";
	const scrolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
	const wide = [...document.querySelectorAll("body *")].find((e) => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
	return document.documentElement.scrollWidth + " > " + width + ": " + (wide ? wide.outerHTML.slice(0, 300) : "?");
})()`

// TestPageErrors: an error is shown with its status and its text, as any answer is.
func TestPageErrors(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{})
	p.wait("#title", "Books and echoes")
	t.Run("404 from the service", func(t *testing.T) {
		block := p.operation("GET", "/v1/books/{name}")
		p.fill(block+` tr[data-param-name=name] input`, "no such book")
		p.click(block + " .execute")
		p.wait(block+" .live-responses-table", "404", `"code": 5`)
	})
	t.Run("400 for a body that is no JSON", func(t *testing.T) {
		block := p.operation("POST", "/v1/echo")
		p.fill(block+` textarea`, `{"text": 1}`)
		p.click(block + " .execute")
		p.wait(block+" .live-responses-table", "400", `"code": 3`)
	})
}

// TestPageBehindPrefix: handle_path takes a prefix from the path, and everything that the page does
// has to go through it.
func TestPageBehindPrefix(t *testing.T) {
	caddy, _ := startGateway(t, "handle_path /api/* {\n%s\n}\nrespond 404")
	b := startBrowser(t)
	for _, start := range []string{"/api/", "/api/docs"} {
		t.Run(start, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), start, look{})
			p.wait("#title", "Books and echoes")
			if got := p.location(); got != caddy.URL("/api/docs/") {
				t.Errorf("the page is at %s", got)
			}
			block := p.operation("POST", "/v1/echo")
			p.fill(block+` textarea`, `{"text": "under a prefix"}`)
			p.click(block + " .execute")
			p.wait(block+" .live-responses-table", "200", "under a prefix")
			s := p.panel("POST", "/v1/stream", "application/x-ndjson")
			s.start(`{"text": "s", "count": 2}`)
			p.wait("#stream-state", "HTTP 200: ended after 2 messages.")
			for _, file := range []string{"/api/openapi.json", "/api/openapi.yaml", "/api/descriptors.binpb"} {
				find := fmt.Sprintf(`[...document.querySelectorAll("nav a")].find((a) => a.href.endsWith(%q))`, file)
				if status := js[int](p, "fetch("+find+".href).then((r) => r.status)"); status != 200 {
					t.Errorf("the link to %s: %d", file, status)
				}
			}
			for address := range p.asked {
				if strings.HasPrefix(address, "http") && !strings.HasPrefix(address, caddy.URL("/api/")) {
					t.Errorf("a request outside of the prefix: %s", address)
				}
			}
		})
	}
}

// TestPageOfAnotherServer: the document names base URLs that the page may not call. The page calls
// the gateway that it came from.
func TestPageOfAnotherServer(t *testing.T) {
	caddy, backend := startGateway(t, "%s")
	site := fmt.Sprintf("grpc_gateway %s {\n\topenapi {\n\t\tserver https://api.example.com\n\t}\n}", backend.Addr())
	if err := caddy.Reload(kit.Options{Site: site}); err != nil {
		t.Fatal(err)
	}
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{})
	block := p.operation("POST", "/v1/echo")
	p.fill(block+` textarea`, `{"text": "still here"}`)
	p.click(block + " .execute")
	p.wait(block+" .live-responses-table", "200", "still here")
}

// TestPageWithoutDocument: the page says what is wrong.
func TestPageWithoutDocument(t *testing.T) {
	caddy, backend := startGateway(t, "route {\nrespond /openapi.json \"the description is broken\" 500\n%s\n}")
	b := startBrowser(t)
	b.open(t, caddy.URL(""), "/docs/", look{}).wait("#notice", "cannot be shown", "500", "the description is broken")

	site := fmt.Sprintf("grpc_gateway static:///%s static:///%s {\n\topenapi\n}", backend.Addr(), kit.FreeAddr(t))
	if err := caddy.Reload(kit.Options{Site: site}); err != nil {
		t.Fatal(err)
	}
	b.open(t, caddy.URL(""), "/docs/", look{}).wait("#notice", "Not known yet")
}

// location is where the tab is.
func (tb *tab) location() string {
	tb.t.Helper()
	return js[string](tb, "location.href")
}
