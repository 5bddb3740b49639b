package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestJudges: a page that does what it may not is caught.
func TestJudges(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "style-src 'none'")
		fmt.Fprintf(w, `<!doctype html><title>bad</title><p id="p" style="color: red">text</p><select></select>
			<script>fetch(%q).catch(() => 0); setTimeout(() => { throw new Error("thrown") })</script>`, other.URL)
	}))
	defer site.Close()
	p := Start(t, Options{Pictures: "browser"}).Open(t, site.URL, "/", Look{Phone: true})
	p.Wait("#p", "text")
	var trouble []string
	kit.Eventually(t, patience, "everything is noticed", func() error {
		trouble = append(trouble, p.TakeTrouble()...)
		for _, want := range []string{"another host: " + other.URL, "POLICY style-src-attr", "exception: "} {
			if !strings.Contains(strings.Join(trouble, "\n"), want) {
				return fmt.Errorf("no %q in %q", want, trouble)
			}
		}
		return nil
	})
	if found := p.Axe(); !slices.ContainsFunc(found, func(v Violation) bool { return v.ID == "select-name" && v.Impact == "critical" }) {
		t.Errorf("axe found %v", found)
	}
	if wide := p.Widest(); wide != "" {
		t.Errorf("the page is too wide: %s", wide)
	}
	p.Run(`document.getElementById("p").style.width = "5000px"`)
	if wide := p.Widest(); !strings.Contains(wide, `id="p"`) {
		t.Errorf("the page is not too wide: %q", wide)
	}
	p.TakeTrouble()
}
