package module

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// adminAPI shows operators what the gateway does:
//
//	GET /grpc_gateway/upstreams          all upstreams of the config in force
//	GET /grpc_gateway/upstreams/<name>   one of them
//	GET /grpc_gateway/routes             the route tables of its handlers
//
// Nothing can be changed here: the config is what is changed, through Caddy's own API.
//
// Caddy makes admin routers before apps, so this reads the state of the process, not that of a config.
type adminAPI struct{}

const (
	upstreamsPath = "/grpc_gateway/upstreams"
	routesPath    = "/grpc_gateway/routes"
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
	return []caddy.AdminRoute{
		{Pattern: upstreamsPath, Handler: get(a.upstreams)},
		{Pattern: upstreamsPath + "/", Handler: get(a.upstream)},
		{Pattern: routesPath, Handler: get(a.routes)},
	}
}

// get answers GET and HEAD with what show returns, in JSON.
func get(show func(app *App, r *http.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed: expected GET", r.Method)}
		}
		app := running.newest()
		if app == nil {
			app = new(App) // no config, nothing to show
		}
		v, err := show(app, r)
		if err != nil {
			return err
		}
		body, err := json.Marshal(v)
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
		}
		w.Header().Set("Content-Type", "application/json")
		_, err = w.Write(append(body, '\n'))
		return err
	}
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

func (*adminAPI) routes(app *App, _ *http.Request) (any, error) { return app.handlerViews(), nil }

// Interface guards.
var (
	_ caddy.Module      = (*adminAPI)(nil)
	_ caddy.AdminRouter = (*adminAPI)(nil)
)
