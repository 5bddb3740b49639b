package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/wirecall"
)

func init() {
	caddy.RegisterModule(Floor{})
	httpcaddyfile.RegisterHandlerDirective("bench_floor", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		f := new(Floor)
		return f, f.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("bench_floor", httpcaddyfile.Before, "reverse_proxy")
}

// Floor is the least that a gateway in Caddy can do: it reads the whole request, makes the call
// with canned bytes, and writes canned bytes. It transcodes nothing and checks nothing.
type Floor struct {
	Backend string `json:"backend"`
	// Flush sends each message of a stream at once. Otherwise a buffer of 4 KiB goes out when it is
	// full, and a message may wait for those after it: cheaper than any gateway that serves live
	// streams can be.
	Flush bool `json:"flush,omitempty"`

	// Dial connects again for each call.
	Dial bool `json:"dial,omitempty"`
	// Wire makes the calls over the gateway's own transport. Otherwise grpc-go makes them.
	Wire bool `json:"wire,omitempty"`
	// CA is the file of the certificate that the backend must have; without it the connection is
	// not secured.
	CA string `json:"ca,omitempty"`

	client floorClient
	works  map[key]*canned.Work
	lines  map[*canned.Work][][]byte
}

// floorClient makes calls with canned bytes.
type floorClient interface {
	// Invoke makes a unary call, and drops the answer.
	Invoke(ctx context.Context, w *canned.Work) error
	// Stream makes a call whose answer is a stream, and calls each for every message.
	Stream(ctx context.Context, w *canned.Work, each func(i int) error) error
	Close() error
}

type key struct{ method, path, contentType string }

// CaddyModule returns the module's name.
func (Floor) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_floor", New: func() caddy.Module { return new(Floor) }}
}

// UnmarshalCaddyfile reads bench_floor <backend> [flush | dial | wire] [<CA file>].
func (f *Floor) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&f.Backend) {
		return d.ArgErr()
	}
	for _, arg := range d.RemainingArgs() {
		switch arg {
		case "flush":
			f.Flush = true
		case "dial":
			f.Dial = true
		case "wire":
			f.Wire = true
		default:
			f.CA = arg
		}
	}
	return nil
}

// Provision connects.
func (f *Floor) Provision(caddy.Context) (err error) {
	if f.client, err = f.connect(); err != nil {
		return err
	}
	f.works = make(map[key]*canned.Work)
	f.lines = make(map[*canned.Work][][]byte)
	for _, w := range canned.Works() {
		f.works[key{w.Method, w.Path, w.ContentType}] = w
		if w.Stream {
			f.lines[w] = w.Lines()
		}
	}
	return nil
}

func (f *Floor) connect() (floorClient, error) {
	if f.Wire {
		return wirecall.Dial(f.Backend)
	}
	return newGRPCClient(f.Backend, f.CA)
}

// Cleanup disconnects.
func (f *Floor) Cleanup() error { return f.client.Close() }

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// ServeHTTP makes one call.
func (f *Floor) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	k := key{method: r.Method, path: r.URL.Path}
	if r.Method == http.MethodPost {
		k.contentType = r.Header.Get("Content-Type")
		body := bodies.Get().(*bytes.Buffer)
		body.Reset()
		_, err := body.ReadFrom(r.Body)
		bodies.Put(body)
		if err != nil {
			return err
		}
	}
	work := f.works[k]
	if work == nil {
		return caddyhttp.Error(http.StatusNotFound, fmt.Errorf("no work at %s %s", r.Method, r.URL.Path))
	}
	w.Header().Set("Content-Type", work.AnswerType)
	if work.Stream {
		return f.stream(w, r, work)
	}
	client := f.client
	if f.Dial {
		var err error
		if client, err = f.connect(); err != nil {
			return err
		}
		defer client.Close()
	}
	if err := client.Invoke(r.Context(), work); err != nil {
		return caddyhttp.Error(http.StatusBadGateway, err)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(work.Answer)))
	_, err := w.Write(work.Answer)
	return err
}

func (f *Floor) stream(w http.ResponseWriter, r *http.Request, work *canned.Work) error {
	buffered := bufio.NewWriterSize(w, 4096)
	flusher := http.NewResponseController(w)
	lines := f.lines[work]
	err := f.client.Stream(r.Context(), work, func(i int) error {
		if !f.Flush {
			_, err := buffered.Write(lines[i])
			return err
		}
		if _, err := w.Write(lines[i]); err != nil {
			return err
		}
		return flusher.Flush()
	})
	if err != nil {
		return err
	}
	return buffered.Flush()
}

var (
	_ caddyhttp.MiddlewareHandler = (*Floor)(nil)
	_ caddy.CleanerUpper          = (*Floor)(nil)
)
