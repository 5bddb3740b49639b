// Package apidocs is the page on which people read an API and try it: Swagger UI, and a panel that
// shows streams as they arrive. The page is static. It reads the OpenAPI document of the handler,
// and asks no other host for anything.
//
// It knows nothing of routes or schemas.
package apidocs

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

//go:embed assets
var assets embed.FS

// Policy is the Content-Security-Policy of the page: nothing from elsewhere, and no inline scripts
// or styles. Swagger UI shows images of its own as data.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Links are what the page refers to, as paths that a browser can ask for.
type Links struct {
	Base           string // what paths of the API are relative to
	Document, YAML string
	Descriptors    string // "": there are none
}

// Page has the files of the page. It is immutable.
type Page struct {
	files map[string]file
}

type file struct {
	contentType string
	plain, gzip []byte // One of them is nil only while it is not needed.
	etag        string
}

// New returns the page with its links.
func New(links Links) (*Page, error) {
	p := &Page{files: make(map[string]file)}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("files of the page: %w", err)
	}
	for _, entry := range entries {
		data, err := assets.ReadFile("assets/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("files of the page: %w", err)
		}
		name, packed := strings.CutSuffix(entry.Name(), ".gz")
		kind, ok := contentTypes[path.Ext(name)]
		if !ok {
			continue
		}
		if name == "index.html" {
			data = links.fill(data)
		}
		f := file{contentType: kind, etag: etag(data)}
		if packed {
			f.gzip = data
		} else {
			f.plain = data
		}
		p.files[name] = f
	}
	return p, nil
}

// contentTypes is never changed.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
}

func (l Links) fill(page []byte) []byte {
	hidden := ""
	if l.Descriptors == "" {
		hidden = " hidden"
	}
	return []byte(strings.NewReplacer(
		"{{base}}", html.EscapeString(l.Base), "{{document}}", html.EscapeString(l.Document), "{{yaml}}", html.EscapeString(l.YAML),
		"{{descriptors}}", html.EscapeString(l.Descriptors), "{{hidden}}", hidden,
	).Replace(string(page)))
}

func etag(data []byte) string {
	sum := sha256.Sum256(data)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// Serve answers GET and HEAD for a file of the page. The name of the page itself is "". ok is false
// if there is no such file.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request, name string) (ok bool) {
	if name == "" {
		name = "index.html"
	}
	f, ok := p.files[name]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("Referrer-Policy", "same-origin")
	WriteFile(w, r, f.contentType, f.etag, f.plain, f.gzip)
	return true
}

// WriteFile answers GET and HEAD with a file that may be compressed ahead of time. If only the
// compressed form is there, it is unpacked for clients that do not accept gzip.
func WriteFile(w http.ResponseWriter, r *http.Request, contentType, etag string, plain, packed []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	// Ask each time: the answer is 304 if nothing has changed.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", "W/"+etag) // Both codings have it, so it is weak (RFC 9110, section 8.8.3.3).
	if packed != nil {
		h.Add("Vary", "Accept-Encoding")
	}
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := plain
	switch {
	case packed != nil && acceptsGzip(r.Header.Get("Accept-Encoding")):
		h.Set("Content-Encoding", "gzip")
		body = packed
	case plain == nil:
		var err error
		if body, err = unpack(packed); err != nil {
			http.Error(w, "the file is broken", http.StatusInternalServerError)
			return
		}
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // If the client has left, nobody needs to know.
	}
}

func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}

func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, quality, given := strings.Cut(weight, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(quality), 64)
			return !given || err != nil || q > 0
		}
	}
	return false
}

func unpack(packed []byte) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(zr); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Pack compresses a file ahead of time.
func Pack(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zw.Write(plain); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
