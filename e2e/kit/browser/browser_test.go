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

// TestClick: a click meets its element and nothing else, also when the element moves away under the
// mouse or something lies over it at first.
func TestClick(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>moves</title>
			<style>#cover { position: fixed; inset: 0 } body { height: 900px }</style>
			<button id="moves">moves</button><p id="moved">0</p>
			<label id="label" for="checked">label</label><input type="checkbox" id="checked">
			<button id="covered">covered</button><p id="reached">0</p><p id="wrong">0</p>
			<script>
				const count = (id) => document.getElementById(id).textContent++;
				const button = (id) => document.getElementById(id);
				button("moves").addEventListener("pointerdown", (e) => { e.target.style.marginTop = "300px" }, { once: true });
				button("moves").addEventListener("click", () => count("moved"));
				button("covered").addEventListener("click", () => count("reached"));
				function cover() {
					const over = document.createElement("div");
					over.id = "cover";
					over.addEventListener("mousedown", () => count("wrong"));
					over.addEventListener("click", () => count("wrong"));
					document.body.append(over);
					setTimeout(() => over.remove(), 500);
				}
			</script>`)
	}))
	defer site.Close()
	p := Start(t, Options{Pictures: "browser"}).Open(t, site.URL, "/", Look{})
	p.Click("#moves")
	p.Run("cover()")
	p.Click("#covered")
	p.Click("#label")
	if !JS[bool](p, `document.getElementById("checked").checked`) {
		t.Error("the click on a label does not check the box")
	}
	for selector, want := range map[string]string{"#moved": "1", "#reached": "1", "#wrong": "0"} {
		if got := p.Text(selector); got != want {
			t.Errorf("%s: %s, want %s", selector, got, want)
		}
	}
}
