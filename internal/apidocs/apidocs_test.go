package apidocs

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

func newPage(t *testing.T, links Links) *Page {
	t.Helper()
	p, err := New(links)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get asks for a file of the page, without compression.
func get(t *testing.T, p *Page, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	if !p.Serve(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody), name) || w.Code != http.StatusOK {
		t.Fatalf("%q: %d", name, w.Code)
	}
	return w.Body.String()
}

// TestFilesOfPage: everything that the page refers to is there, and nothing of it is elsewhere.
func TestFilesOfPage(t *testing.T) {
	p := newPage(t, Links{Base: "../", Document: "../openapi.json", YAML: "../openapi.yaml", Descriptors: "../api.binpb"})
	page := get(t, p, "")
	found := regexp.MustCompile(`(?:src|href)="([^"{]+)"`).FindAllStringSubmatch(page, -1)
	if len(found) < 6 {
		t.Fatalf("the page refers to %d files:\n%s", len(found), page)
	}
	for _, match := range found {
		switch link := match[1]; {
		case strings.HasPrefix(link, "data:"), strings.HasPrefix(link, "../"):
		case strings.ContainsAny(link, ":/"):
			t.Errorf("the page refers to %s", link)
		default:
			get(t, p, link)
		}
	}
	for _, forbidden := range []string{"<script>", "onclick=", "style="} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page has %s, which its policy forbids", forbidden)
		}
	}
}

func TestLinks(t *testing.T) {
	const document = `../a"b.json`
	for name, c := range map[string]struct {
		descriptors string
		want        []string
	}{
		"all":            {"../api.binpb", []string{`<a href="../api.binpb">`, `data-document="../a&#34;b.json"`, `data-base="../"`}},
		"no descriptors": {"", []string{`<a href="" hidden>`}},
	} {
		t.Run(name, func(t *testing.T) {
			page := get(t, newPage(t, Links{Base: "../", Document: document, YAML: "../a.yaml", Descriptors: c.descriptors}), "")
			for _, want := range c.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %s:\n%s", want, page)
				}
			}
			if strings.Contains(page, "{{") {
				t.Errorf("something is not filled in:\n%s", page)
			}
		})
	}
}

// TestFilesThatAreNotServed: the licenses are in the repository and not on the web, and there is no
// way out of the folder.
func TestFilesThatAreNotServed(t *testing.T) {
	p := newPage(t, Links{})
	for _, name := range []string{"swagger-ui.LICENSE", "swagger-ui-bundle.js.gz", "../apidocs.go", "assets/index.html", "index.html/"} {
		if p.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody), name) {
			t.Errorf("%s is served", name)
		}
	}
}

// TestNotice: NOTICE says what of others is embedded, in which version, and under which license.
func TestNotice(t *testing.T) {
	notice, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	bundle := get(t, newPage(t, Links{}), "swagger-ui-bundle.js")
	version := regexp.MustCompile(`PACKAGE_VERSION:"([0-9.]+)"`).FindStringSubmatch(bundle)
	if version == nil {
		t.Fatal("the bundle does not say its version")
	}
	for _, want := range []string{"swagger-ui-dist " + version[1], "Apache License, Version 2.0"} {
		if !strings.Contains(string(notice), want) {
			t.Errorf("NOTICE has no %q:\n%s", want, notice)
		}
	}
	for _, name := range regexp.MustCompile(`internal/apidocs/assets/[A-Za-z.-]*[A-Za-z]`).FindAllString(string(notice), -1) {
		if _, err := os.Stat("../../" + name); err != nil {
			t.Errorf("NOTICE names a file that is not there: %v", err)
		}
	}
	license, err := os.ReadFile("assets/swagger-ui.LICENSE")
	if err != nil || !strings.Contains(string(license), "Apache License") {
		t.Errorf("the license of swagger-ui: %v", err)
	}
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"":                           false,
		"gzip":                       true,
		"br, GZIP":                   true,
		"gzip;q=0.5":                 true,
		"gzip;q=0, br":               false,
		"identity;q=1, gzip ; q=0.0": false,
		"zgzip":                      false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
