package module

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/statuspage"
)

// adminAPI shows operators what the gateway does:
//
//	GET /grpc_gateway/                   a page with all of this
//	GET /grpc_gateway/upstreams          all upstreams of the config in force
//	GET /grpc_gateway/upstreams/<name>   one of them
//	GET /grpc_gateway/routes             the route tables of its handlers
//	GET /grpc_gateway/catalog            the catalogs and their services
//	GET /grpc_gateway/overview           all of this in short, for the page
//
// An answer has an ETag, so that who asks often learns cheaply that nothing has changed.
//
// It is read-only. What the gateway does is changed by its config, through Caddy's own API.
//
// Caddy makes admin routers before apps, so this reads the state of the process and not that of a
// config.
type adminAPI struct{}

const (
	pagePath      = "/grpc_gateway/"
	upstreamsPath = "/grpc_gateway/upstreams"
	routesPath    = "/grpc_gateway/routes"
	catalogPath   = "/grpc_gateway/catalog"
	overviewPath  = "/grpc_gateway/overview"
)

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.grpc_gateway",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	page := statuspage.New()
	return []caddy.AdminRoute{
		{Pattern: pagePath, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return servePage(w, r, page) })},
		{Pattern: upstreamsPath, Handler: get(a.upstreams)},
		{Pattern: upstreamsPath + "/", Handler: get(a.upstream)},
		{Pattern: routesPath, Handler: get(a.routes)},
		{Pattern: catalogPath, Handler: get(a.catalogs)},
		{Pattern: overviewPath, Handler: get(a.overview)},
	}
}

// servePage answers GET and HEAD with the page.
func servePage(w http.ResponseWriter, r *http.Request, page statuspage.Page) error {
	if r.URL.Path != pagePath {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is nothing at %s", r.URL.Path)}
	}
	if err := onlyGet(w, r); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", page.Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	_, err := w.Write(page.HTML)
	return err
}

// onlyGet refuses other methods than GET and HEAD.
func onlyGet(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	w.Header().Set("Allow", "GET, HEAD")
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed: expected GET", r.Method)}
}

// get answers GET and HEAD with what show returns, in JSON. If the client has the same already, the
// answer is 304. Server-Timing says how long it took to find that out, so that the page can ask
// less often where it takes long.
func get(show func(app *App, r *http.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := onlyGet(w, r); err != nil {
			return err
		}
		began := time.Now()
		app := running.newest()
		if app == nil {
			app = new(App) // There is no config, so there is nothing to show.
		}
		v, err := show(app, r)
		if err != nil {
			return err
		}
		body, err := marshal(v, "")
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
		}
		h := w.Header()
		h.Set("ETag", etag(body))
		h.Set("Cache-Control", "no-cache")
		h.Set("Server-Timing", fmt.Sprintf("view;dur=%.1f", float64(time.Since(began).Microseconds())/1000))
		h.Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(body, '\n')))
		return nil
	}
}

// etagSeed makes tags of this process differ from those of others.
var etagSeed = maphash.MakeSeed()

// etag identifies a body. With its secret seed, a fast hash is enough.
func etag(body []byte) string {
	return fmt.Sprintf(`"%016x"`, maphash.Bytes(etagSeed, body))
}

// marshal returns JSON that can be shown on a terminal: characters that do not print are escaped.
func marshal(v any, indent string) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", indent)
	if indent == "" {
		raw, err = json.Marshal(v)
	}
	return printableJSON(raw), err
}

// printableJSON escapes the characters in JSON that do not print. The value stays the same: outside
// of strings JSON has only ASCII characters and white space. A carriage return is written as a
// blank, since a terminal would write over the line. A byte that is not UTF-8 can be in JSON that a
// service wrote itself. It is written as the replacement character, which is how it is read.
func printableJSON(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		plain := bytes.IndexFunc(raw, func(r rune) bool { return r < ' ' || r > '~' })
		if plain < 0 {
			return append(out, raw...)
		}
		out, raw = append(out, raw[:plain]...), raw[plain:]
		r, size := utf8.DecodeRune(raw)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r == '\r':
			out = append(out, ' ')
		case strconv.IsPrint(r), r == '\n', r == '\t':
			out = append(out, raw[:size]...)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		raw = raw[size:]
	}
	return out
}

func (*adminAPI) upstreams(app *App, _ *http.Request) (any, error) { return app.upstreamViews(), nil }

func (*adminAPI) upstream(app *App, r *http.Request) (any, error) {
	name := strings.TrimPrefix(r.URL.Path, upstreamsPath+"/")
	for _, v := range app.upstreamViews() {
		if v.Name == name {
			return v, nil
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no upstream named %q in the config in force", name)}
}

func (*adminAPI) catalogs(app *App, _ *http.Request) (any, error) { return app.catalogViews(), nil }

func (*adminAPI) overview(app *App, r *http.Request) (any, error) {
	return app.overview(r.URL.Query()), nil
}

func (*adminAPI) routes(app *App, _ *http.Request) (any, error) { return app.handlerViews(), nil }

// Interface guards.
var (
	_ caddy.Module      = (*adminAPI)(nil)
	_ caddy.AdminRouter = (*adminAPI)(nil)
)
