package module_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// probe is a handler as a plugin would bring one. It notes what it sees, and may misbehave.
//
//	probe <name> [<what it does>]
type probe struct {
	Name string `json:"name,omitempty"`
	Does string `json:"does,omitempty"`
}

// probes counts the requests that each probe has seen, those that came back to it, and how often it
// was cleaned up.
var probes = struct {
	sync.Mutex

	in, out, cleaned map[string]int
}{in: map[string]int{}, out: map[string]int{}, cleaned: map[string]int{}}

func init() {
	caddy.RegisterModule(new(probe))
	httpcaddyfile.RegisterHandlerDirective("probe", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		p := new(probe)
		if args := h.RemainingArgs(); len(args) > 0 {
			p.Name, p.Does = args[0], strings.Join(args[1:], " ")
		}
		return p, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("probe", httpcaddyfile.Before, "header")
}

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) Cleanup() error {
	note(probes.cleaned, p.Name)
	return nil
}

// seen returns how many requests the probe has seen, and how many of them came back.
func seen(name string) (in, out int) {
	probes.Lock()
	defer probes.Unlock()
	return probes.in[name], probes.out[name]
}

func note(counts map[string]int, name string) {
	probes.Lock()
	defer probes.Unlock()
	counts[name]++
}

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	note(probes.in, p.Name)
	r.Header.Set("X-Way", strings.TrimSpace(r.Header.Get("X-Way")+" "+p.Name))
	err := p.serve(w, r, next)
	note(probes.out, p.Name)
	return err
}

func (p *probe) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	does, arg, _ := strings.Cut(p.Does, " ")
	switch does {
	case "refuse":
		status, _ := strconv.Atoi(arg)
		w.Header().Set("Retry-After", "7")
		return caddyhttp.Error(status, errors.New("an internal text"))
	case "panic":
		panic("the probe panics")
	case "twice":
		err := next.ServeHTTP(w, r)
		if second := next.ServeHTTP(w, r); second == nil {
			panic("the call was made twice")
		}
		return err
	case "leave": // as caches do: the call goes on in a goroutine when its client has left
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan error, 1)
		go func() { done <- next.ServeHTTP(w, r.WithContext(ctx)) }()
		for !strings.Contains(arg, "at once") {
			select {
			case err := <-done:
				cancel()
				return err
			case <-r.Context().Done():
				cancel()
				return r.Context().Err()
			}
		}
		cancel()
		return nil
	case "fail": // after the answer
		if err := next.ServeHTTP(w, r); err != nil {
			return err
		}
		return errors.New("an internal text")
	case "drop": // without an answer
		return nil
	case "early":
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "early")
		return next.ServeHTTP(w, r)
	}
	return next.ServeHTTP(w, r)
}
