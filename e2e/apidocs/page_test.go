package apidocs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
)

// looks are those in which the page must be right.
var looks = map[string]browser.Look{
	"light":       {},
	"dark":        {Dark: true},
	"light-phone": {Phone: true},
	"dark-phone":  {Dark: true, Phone: true},
}

// TestPage opens the page as people do, and makes calls by clicking.
func TestPage(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	b := startBrowser(t)
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), "/", l)
			p.Wait("#title", "Books and echoes")
			block := p.operation("POST", "/v1/echo")
			p.Fill(block+` textarea`, `{"text": "by clicking", "big": "9007199254740993"}`)
			p.Click(block + " .execute")
			p.Wait(block+" .live-responses-table", "200", `"by clicking"`, "9007199254740993")
			if at := p.location(); !strings.Contains(at, "#/gateway.test.v1.Echo/") {
				t.Errorf("the address %s does not lead to the open call", at)
			}
			p.Shoot("page-" + name)
			if wide := p.Widest(); wide != "" {
				t.Errorf("the page is wider than the window: %s", wide)
			}
			if asked := p.Asked(); asked[caddy.URL("/v1/echo")] != 1 {
				t.Errorf("the call was made %d times: %v", asked[caddy.URL("/v1/echo")], asked)
			}
		})
	}
}

// TestExecuteAtOnce: a call can be made as soon as the button for it is there. Swagger UI shows the
// button too early.
func TestExecuteAtOnce(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
	p.Wait("#streams-title", "Streams")
	const block = `.opblock-get:has(> .opblock-summary [data-path="/v1/shelves:titles"])`
	p.Run(fmt.Sprintf(`(() => {
		const seen = new MutationObserver(() => {
			const button = document.querySelector(%q);
			if (!button?.checkVisibility()) return;
			seen.disconnect();
			button.click();
		});
		seen.observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
		document.querySelector(%q).click();
	})()`, block+" .execute", block+" .opblock-summary-control"))
	p.Wait(block+" .live-responses-table", "200")
}

// TestPageErrors: an error is shown with its status and its text, as any answer is.
func TestPageErrors(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
	p.Wait("#title", "Books and echoes")
	t.Run("404 from the service", func(t *testing.T) {
		block := p.operation("GET", "/v1/books/{name}")
		p.Fill(block+` tr[data-param-name=name] input`, "no such book")
		p.Click(block + " .execute")
		p.Wait(block+" .live-responses-table", "404", `"code": 5`)
	})
	t.Run("400 for a body that is no JSON", func(t *testing.T) {
		block := p.operation("POST", "/v1/echo")
		p.Fill(block+` textarea`, `{"text": 1}`)
		p.Click(block + " .execute")
		p.Wait(block+" .live-responses-table", "400", `"code": 3`)
	})
}

// TestPageBehindPrefix: handle_path takes a prefix from the path, and everything that the page does
// has to go through it.
func TestPageBehindPrefix(t *testing.T) {
	caddy, _ := startGateway(t, "handle_path /api/* {\n%s\n}\nrespond 404")
	b := startBrowser(t)
	for _, start := range []string{"/api/", "/api/docs"} {
		t.Run(start, func(t *testing.T) {
			p := b.open(t, caddy.URL(""), start, browser.Look{})
			p.Wait("#title", "Books and echoes")
			if got := p.location(); got != caddy.URL("/api/docs/") {
				t.Errorf("the page is at %s", got)
			}
			block := p.operation("POST", "/v1/echo")
			p.Fill(block+` textarea`, `{"text": "under a prefix"}`)
			p.Click(block + " .execute")
			p.Wait(block+" .live-responses-table", "200", "under a prefix")
			s := p.panel("POST", "/v1/stream", "application/x-ndjson")
			s.start(`{"text": "s", "count": 2}`)
			p.Wait("#stream-state", "HTTP 200: ended after 2 messages.")
			for _, file := range []string{"/api/openapi.json", "/api/openapi.yaml", "/api/descriptors.binpb"} {
				find := fmt.Sprintf(`[...document.querySelectorAll("nav a")].find((a) => a.href.endsWith(%q))`, file)
				if status := browser.JS[int](p.Tab, "fetch("+find+".href).then((r) => r.status)"); status != 200 {
					t.Errorf("the link to %s: %d", file, status)
				}
			}
			for address := range p.Asked() {
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
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
	block := p.operation("POST", "/v1/echo")
	p.Fill(block+` textarea`, `{"text": "still here"}`)
	p.Click(block + " .execute")
	p.Wait(block+" .live-responses-table", "200", "still here")
}

// TestPageWithoutDocument: the page says what is wrong.
func TestPageWithoutDocument(t *testing.T) {
	caddy, backend := startGateway(t, "route {\nrespond /openapi.json \"the description is broken\" 500\n%s\n}")
	b := startBrowser(t)
	b.open(t, caddy.URL(""), "/docs/", browser.Look{}).Wait("#notice", "cannot be shown", "500", "the description is broken")

	site := "grpc_gateway static:///" + backend.Addr() + " static:///" + kit.FreeAddr(t) + " {\n\topenapi\n}"
	if err := caddy.Reload(kit.Options{Site: site}); err != nil {
		t.Fatal(err)
	}
	b.open(t, caddy.URL(""), "/docs/", browser.Look{}).Wait("#notice", "Not known yet")
}
