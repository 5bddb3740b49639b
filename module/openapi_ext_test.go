package module_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// describedAPI is what the tests read of a document.
type describedAPI struct {
	OpenAPI string
	Servers []struct{ URL string }
	Paths   map[string]map[string]struct {
		Method string `json:"x-grpc-method"`
	}
}

func (s *site) api(path string) describedAPI {
	s.t.Helper()
	got := s.want(s.get(path), http.StatusOK)
	var doc describedAPI
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
		s.t.Fatal(err)
	}
	return doc
}

// TestOpenAPI asks a running gateway for everything that describes it.
func TestOpenAPI(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", `uri strip_prefix /claimed
	handle_path /under/* {
		grpc_gateway `+backend.Addr()+` {
			openapi
		}
	}
	grpc_gateway `+backend.Addr()+` {
		hide */UpdateBook
		route GET /mine/{text} gateway.test.v1.Echo/Unary
		openapi
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	t.Run("the document has the routes of the schema and of the config", func(t *testing.T) {
		doc := s.api("/openapi.json")
		for path, method := range map[string]string{"/v1/echo/{text}": "get", "/mine/{text}": "get", "/v1/echo": "post"} {
			if got := doc.Paths[path][method].Method; got != "gateway.test.v1.Echo/Unary" {
				t.Errorf("%s %s: %q", method, path, got)
			}
		}
		if len(doc.Servers) != 1 || doc.Servers[0].URL != "http://"+s.addr {
			t.Errorf("servers %v", doc.Servers)
		}
	})
	t.Run("a prefix that was stripped is in the base URL", func(t *testing.T) {
		doc := s.api("/under/openapi.json")
		if len(doc.Servers) != 1 || doc.Servers[0].URL != "http://"+s.addr+"/under" {
			t.Errorf("servers %v", doc.Servers)
		}
		if got := s.fetch("GET", "/under/docs"); !got.is(http.StatusFound) || got.Header.Get("Location") != "docs/" {
			t.Errorf("got %s %v", got.Status, got.Header)
		}
	})
	t.Run("a hidden method is nowhere", func(t *testing.T) {
		for _, path := range []string{"/openapi.json", "/openapi.yaml", "/descriptors.binpb", "/docs/"} {
			got := s.want(s.get(path), http.StatusOK)
			if strings.Contains(got.body, "UpdateBook") {
				t.Errorf("%s names it", path)
			}
		}
	})
	t.Run("the descriptors can be linked", func(t *testing.T) {
		var set descriptorpb.FileDescriptorSet
		if err := proto.Unmarshal(s.fetch("GET", "/descriptors.binpb").raw, &set); err != nil {
			t.Fatal(err)
		}
		files, err := protodesc.NewFiles(&set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := files.FindDescriptorByName("gateway.test.v1.Echo.Unary"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a copy that is current is not sent again", func(t *testing.T) {
		for _, path := range []string{"/openapi.json", "/openapi.yaml", "/descriptors.binpb", "/docs/", "/docs/swagger-ui-bundle.js"} {
			first := s.fetch("GET", path)
			if got := s.fetch("GET", path, "If-None-Match", first.Header.Get("ETag")); !got.is(http.StatusNotModified) || len(got.raw) > 0 {
				t.Errorf("%s: got %s with %d bytes", path, got.Status, len(got.raw))
			}
			if got := s.fetch("GET", path, "If-None-Match", `"other"`); !got.is(http.StatusOK) || !bytes.Equal(got.raw, first.raw) {
				t.Errorf("%s: got %s with %d bytes for an old copy", path, got.Status, len(got.raw))
			}
		}
	})
	t.Run("compressed ahead of time", func(t *testing.T) {
		for _, path := range []string{"/openapi.json", "/docs/swagger-ui.css"} {
			packed := s.fetch("GET", path, "Accept-Encoding", "gzip")
			if packed.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("%s: %v", path, packed.Header)
			}
			zr, err := gzip.NewReader(bytes.NewReader(packed.raw))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(zr); err != nil || !bytes.Equal(text, s.fetch("GET", path).raw) {
				t.Errorf("%s: it unpacks to something else (%v)", path, err)
			}
		}
	})
	t.Run("a base URL that only this client claims", func(t *testing.T) {
		for range 2 {
			got := s.fetch("GET", "/claimed/openapi.json", "Accept-Encoding", "gzip")
			if got.Header.Get("Content-Encoding") != "" || !bytes.Contains(got.raw, []byte(`/claimed"}]`)) {
				t.Errorf("it is compressed for each claim: %v", got.Header)
			}
		}
		if got := s.fetch("GET", "/openapi.json", "Accept-Encoding", "gzip"); got.Header.Get("Content-Encoding") != "gzip" {
			t.Error("the file for the usual base URL was given up")
		}
	})
	t.Run("other methods and paths", func(t *testing.T) {
		if got := s.fetch("POST", "/openapi.json"); !got.is(http.StatusMethodNotAllowed) || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %s %v", got.Status, got.Header)
		}
		if got := s.fetch("HEAD", "/openapi.json"); !got.is(http.StatusOK) || got.ContentLength < 1000 {
			t.Errorf("HEAD: %s with %d bytes", got.Status, got.ContentLength)
		}
		s.want(s.get("/docs/other.js"), http.StatusNotFound)
		s.want(s.get("/openapi.json/x"), http.StatusNotFound)
	})
	t.Run("browsers are sent to the page", func(t *testing.T) {
		if got := s.fetch("GET", "/", "Accept", "text/html,*/*;q=0.8"); !got.is(http.StatusFound) || got.Header.Get("Location") != "docs/" {
			t.Errorf("got %s %v", got.Status, got.Header)
		}
		s.want(s.get("/"), http.StatusNotFound)
	})
	t.Run("the page allows nothing from elsewhere", func(t *testing.T) {
		got := s.want(s.get("/docs/"), http.StatusOK)
		if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") {
			t.Errorf("policy %q", policy)
		}
		if !strings.Contains(got.body, `data-document="../openapi.json"`) {
			t.Errorf("the page does not know its document:\n%s", got.body)
		}
	})
}

// TestOpenAPIOptions sets what TestOpenAPI leaves at its default.
func TestOpenAPIOptions(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		openapi {
			path /spec.json
			docs off
			descriptors off
			version 3.2
			rpc off
			server https://api.example.com
		}
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	doc := s.api("/spec.json")
	if doc.OpenAPI != "3.2.0" || len(doc.Servers) != 1 || doc.Servers[0].URL != "https://api.example.com" {
		t.Errorf("version %q, servers %v", doc.OpenAPI, doc.Servers)
	}
	for path := range doc.Paths {
		if strings.HasPrefix(path, "/gateway.test.v1.") {
			t.Errorf("%s is described although rpc is off", path)
		}
	}
	for _, path := range []string{"/docs", "/docs/", "/descriptors.binpb", "/openapi.json"} {
		s.want(s.get(path), http.StatusNotFound)
	}
}

// TestOpenAPIRoot: who asks for / is sent to the page only if it is a browser, and if / is nothing
// else.
func TestOpenAPIRoot(t *testing.T) {
	backend := testkit.StartBackend(t)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	for name, c := range map[string]struct {
		options, method, accept string
		status                  int
		location                string
	}{
		"a browser":                   {"openapi", "GET", browser, http.StatusFound, "docs/"},
		"a browser, before it loads":  {"openapi", "HEAD", browser, http.StatusFound, "docs/"},
		"a browser, the page moved":   {"openapi {\ndocs /my/api\n}", "GET", browser, http.StatusFound, "my/api/"},
		"a program":                   {"openapi", "GET", "*/*", http.StatusNotFound, ""},
		"a form of a browser":         {"openapi", "POST", browser, http.StatusNotFound, ""},
		"a browser, and no page":      {"openapi {\ndocs off\n}", "GET", browser, http.StatusNotFound, ""},
		"a browser, without openapi":  {"", "GET", browser, http.StatusNotFound, ""},
		"a browser, / is a route":     {"openapi\nroute GET / gateway.test.v1.Echo/Unary", "GET", browser, http.StatusOK, ""},
		"a browser, / is for another": {"openapi\nroute POST / gateway.test.v1.Echo/Unary", "GET", browser, http.StatusMethodNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n"+c.options+"\n}")
			s.want(s.get("/v1/echo/x"), http.StatusOK)
			if got := s.fetch(c.method, "/", "Accept", c.accept); !got.is(c.status) || got.Header.Get("Location") != c.location {
				t.Errorf("got %s to %q", got.Status, got.Header.Get("Location"))
			}
		})
	}
}

// fetched is an answer to the byte.
type fetched struct {
	*http.Response

	raw []byte
}

// fetch asks for a path, and follows no redirect. headers are names and values in turns.
func (s *site) fetch(method, path string, headers ...string) fetched {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return fetched{resp, raw}
}

func (f fetched) is(status int) bool { return f.StatusCode == status }
