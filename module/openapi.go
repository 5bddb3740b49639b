package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/apidocs"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// OpenAPI makes the handler describe itself: as an OpenAPI document in JSON and YAML, as a page to
// read and try it, and as a descriptor set. It describes what this handler serves: hidden methods
// are nowhere, and routes of the config are there. A path of this option wins over a route of the
// API.
type OpenAPI struct {
	// The path of the document as JSON. It ends in `.json`. The document as YAML has the same path
	// with `.yaml`. Default: `/openapi.json`.
	Path string `json:"path,omitempty"`

	// The path of the page. A browser that asks for `/` is sent there, unless the API has a route
	// for it. `off`: there is no page. Default: `/docs`.
	Docs string `json:"docs,omitempty"`

	// The path of the descriptors of all methods that can be called, as a FileDescriptorSet, for
	// `buf generate` and `grpcurl -protoset`. `off`: there are none. Default: `/descriptors.binpb`.
	Descriptors string `json:"descriptors,omitempty"`

	// The version of OpenAPI: `3.1`, or `3.2`, which also describes the messages of streams. Many
	// tools cannot read 3.2 yet. Default: `3.1`.
	Version string `json:"version,omitempty"`

	// Whether `POST /<package.Service>/<Method>` is described: `on`, `off` or `auto`, which
	// describes it for services without any REST route. Default: `auto`.
	RPC string `json:"rpc,omitempty"`

	// The object `info` of the document: title, version, description, contact and so on. Default:
	// the title is the name of the upstreams, and the version is `0`.
	Info json.RawMessage `json:"info,omitempty"`

	// The URLs under which the API is reached. Default: the place from which the document was read,
	// with the prefix that `handle_path` or `uri` took from the path.
	Servers []string `json:"servers,omitempty"`

	// Whether oneofs are described by the keyword `oneOf`. Many code generators cannot read that.
	// Otherwise they are described in words. Default: false.
	OneOf bool `json:"one_of,omitempty"`

	// Where the words are: comments for a schema that has none, such as one by server reflection.
	// They describe what exists and change nothing else. Default: the comments of the schema.
	Comments *APIComments `json:"comments,omitempty"`
}

const off = "off"

// Validate says what is wrong with the options.
func (o *OpenAPI) Validate() error {
	_, err := o.withDefaults()
	return err
}

// withDefaults returns the options with every field set.
func (o *OpenAPI) withDefaults() (OpenAPI, error) {
	out := *o
	for _, field := range []struct {
		value    *string
		fallback string
	}{
		{&out.Path, "/openapi.json"}, {&out.Docs, "/docs"}, {&out.Descriptors, "/descriptors.binpb"},
		{&out.Version, openapi.Version31}, {&out.RPC, "auto"},
	} {
		if *field.value == "" {
			*field.value = field.fallback
		}
	}
	paths := map[string]string{"docs": out.Docs, "descriptors": out.Descriptors}
	for _, name := range []string{"docs", "descriptors"} {
		if p := paths[name]; p != off && !cleanPath(p) {
			return out, fmt.Errorf("%s %q: expected a path, such as /docs, or off", name, p)
		}
	}
	switch {
	case !cleanPath(out.Path) || path.Ext(out.Path) != ".json":
		return out, fmt.Errorf("path %q: expected a path that ends in .json", out.Path)
	case out.Version != openapi.Version31 && out.Version != openapi.Version32:
		return out, fmt.Errorf("version %q: expected 3.1 or 3.2", out.Version)
	case !slices.Contains([]string{"on", "off", "auto"}, out.RPC):
		return out, fmt.Errorf("rpc %q: expected on, off or auto", out.RPC)
	case out.Docs == out.Path || out.Descriptors == out.Path || out.Docs == out.Descriptors && out.Docs != off:
		return out, errors.New("path, docs and descriptors: expected different paths")
	}
	if err := out.Comments.Validate(); err != nil {
		return out, err
	}
	if len(out.Info) > 0 {
		var info map[string]json.RawMessage
		if err := json.Unmarshal(out.Info, &info); err != nil || info == nil {
			return out, errors.New("info: expected an object")
		}
	}
	return out, nil
}

func cleanPath(p string) bool { return strings.HasPrefix(p, "/") && p != "/" && path.Clean(p) == p }

// description answers for the paths of OpenAPI. It makes what it answers with once for each routing
// table, when it is asked for.
type description struct {
	log     *zap.Logger
	options OpenAPI
	config  openapi.Config
	yaml    string // the path of the document as YAML
	page    *apidocs.Page
	// comments are words from files. Nil without the option.
	comments *followedComments

	mu    sync.Mutex
	from  descriptionSource // what files was made from
	files descriptionFiles
}

// descriptionSource is what a description is made from, besides the config.
type descriptionSource struct {
	table *routes.Table
	words *schema.Comments
}

// start follows the files that the description uses, until stop is called.
func (d *description) start() {
	if d != nil {
		d.comments.start()
	}
}

func (d *description) stop() {
	if d != nil {
		d.comments.stop()
	}
}

// describe compiles the option. Without it, it returns nil.
func (h *Handler) describe(opts *frontend.Options) (*description, error) {
	if h.OpenAPI == nil {
		return nil, nil //nolint:nilnil // Nil describes nothing.
	}
	options, err := h.OpenAPI.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &description{log: h.log, options: options, yaml: strings.TrimSuffix(options.Path, ".json") + ".yaml"}
	d.config = openapi.Config{
		Version: options.Version, Info: options.Info, Title: h.title(), Servers: options.Servers,
		Forms: opts.Forms, FormQuery: opts.FormsToQuery, ResultLines: opts.ResultLines,
		Errors: opts.Errors, OwnErrors: h.Errors == errorsPass, ETag: opts.ETag,
		Options: openapi.Options{JSON: h.json, OneOf: options.OneOf, Hidden: h.HideFields, Partial: opts.Fields != nil},
	}
	if opts.Fields != nil {
		d.config.FieldsParameter = opts.Fields.Parameter
	}
	if a := opts.Answers; a != nil {
		d.config.Envelope, d.config.EmptyStatus, d.config.StatusFrom = a.Envelope, a.EmptyStatus, a.StatusFrom != ""
	}
	if d.comments, err = options.Comments.open(h.log); err != nil {
		return nil, err
	}
	if options.Docs == off {
		return d, nil
	}
	links := apidocs.Links{
		Base: fromPage(options.Docs, "/"), Document: fromPage(options.Docs, options.Path), YAML: fromPage(options.Docs, d.yaml),
	}
	if options.Descriptors != off {
		links.Descriptors = fromPage(options.Docs, options.Descriptors)
	}
	d.page, err = apidocs.New(links)
	return d, err
}

// title names the API by its upstreams.
func (h *Handler) title() string {
	names := make([]string, 0, len(h.Upstreams)+len(h.Catalogs))
	for i := range h.Upstreams {
		names = append(names, h.Upstreams[i].Name)
	}
	names = append(names, h.Catalogs...)
	return strings.Join(names, ", ")
}

// fromPage is the link from the page to a path. It is relative, so that it works under any prefix.
func fromPage(page, to string) string {
	return strings.Repeat("../", strings.Count(page, "/")) + to[1:]
}

// serve answers the request if it is for one of the paths. done is false if it is not.
func (d *description) serve(w http.ResponseWriter, r *http.Request, table func(context.Context) *routes.Table) (done bool) {
	asked := r.URL.Path
	inPage := d.page != nil && (asked == d.options.Docs || strings.HasPrefix(asked, d.options.Docs+"/"))
	switch {
	case inPage, asked == d.options.Path, asked == d.yaml, asked == d.options.Descriptors:
	case asked == "/" && d.page != nil && wantsPage(r) && len(table(r.Context()).AllowedMethods("/")) == 0:
		redirect(w, d.options.Docs[1:]+"/")
		return true
	default:
		return false
	}
	frontend.LeaveBody(w, r)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case asked == d.options.Docs:
		redirect(w, path.Base(asked)+"/")
	case inPage:
		if !d.page.Serve(w, r, asked[len(d.options.Docs)+1:]) {
			w.WriteHeader(http.StatusNotFound)
		}
	default:
		d.serveFile(w, r, table(r.Context()))
	}
	return true
}

// redirect sends the client to a path that is relative to the one it has asked for.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}

// wantsPage reports whether the client is a browser that shows a page.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}
