package httpe2e

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
)

// row is a row of docs/http.md or of the design it comes from, with its proofs.
type row struct {
	name  string
	cases []exchange
}

// exchange is a request and what its answer must be.
type exchange struct {
	request string // "METHOD path"
	headers string // "Name: value" lines, separated by |
	body    string

	status int    // default 200
	saw    string // the request message as the backend saw it, in JSON
	exact  string // the whole body
	has    string // part of the body
	fields string // "Name: value" response headers, separated by |; without a value: must be absent
	ends   string // trailers, likewise
}

// run proves the rows over HTTP/1.1 and HTTP/2.
func run(t *testing.T, w *world, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				for _, x := range r.cases {
					x.prove(t, c)
				}
			})
		})
	}
}

func (x exchange) prove(t *testing.T, c *client) {
	t.Helper()
	method, path, _ := strings.Cut(x.request, " ")
	var body []byte
	if x.body != "" {
		body = []byte(x.body)
	}
	a := c.do(method, path, body, split(x.headers)...)
	name := x.request + " " + x.headers
	if want := cmp.Or(x.status, http.StatusOK); a.StatusCode != want {
		t.Errorf("%s: want status %d, got %s", name, want, a)
		return
	}
	if a.err != nil {
		t.Errorf("%s: reading the body: %v", name, a.err)
	}
	if x.saw != "" && !strings.Contains(a.body, `"request":`+x.saw+`,`) {
		t.Errorf("%s: the backend should see %s, got %s", name, x.saw, a)
	}
	if x.exact != "" && a.body != x.exact {
		t.Errorf("%s: want %q, got %s", name, x.exact, a)
	}
	if !strings.Contains(a.body, x.has) {
		t.Errorf("%s: want …%s…, got %s", name, x.has, a)
	}
	if method == "HEAD" && a.body != "" {
		t.Errorf("%s: HEAD has a body: %s", name, a)
	}
	for where, want := range map[string]string{"header": x.fields, "trailer": x.ends} {
		got := a.Header
		if where == "trailer" {
			got = a.Trailer
		}
		for _, field := range split(want) {
			key, value, _ := strings.Cut(field, ": ")
			if v := strings.Join(got.Values(key), ", "); v != value {
				t.Errorf("%s: %s %s: %q, want %q", name, where, key, v, value)
			}
		}
	}
}

func split(lines string) []string {
	if lines == "" {
		return nil
	}
	return strings.Split(lines, "|")
}
