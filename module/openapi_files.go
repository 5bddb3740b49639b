package module

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/apidocs"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema/prune"
)

// Content types of what describes an API.
const (
	typeOpenAPIJSON = "application/json"
	typeOpenAPIYAML = "application/yaml"
	typeDescriptors = "application/x-protobuf"
)

// keptForServices is how many bytes of documents about single services are kept. More are made
// again for each request.
const keptForServices = openapi.MaxSize

// descriptionFiles are what describes a table. Each is made when it is first asked for.
type descriptionFiles struct {
	made map[fileKey]madeFile
	// kept is the size of those in made that are about single services.
	kept int

	// server is the base URL that sent is for: the first one that was asked under. A client can
	// claim any, so only this one is kept, and compressed.
	server string
	sent   map[fileKey]sentFile
}

// fileKey names a file: its content type, and the service that it is about. "": all services.
type fileKey struct{ kind, service string }

// madeFile is a file without a base URL, or why it could not be made.
type madeFile struct {
	raw []byte
	err error
}

// sentFile is a file as it is sent.
type sentFile struct {
	contentType, etag string
	plain, packed     []byte
}

// serveFile answers with the document or the descriptors.
func (d *description) serveFile(w http.ResponseWriter, r *http.Request, t *routes.Table) {
	key := fileKey{kind: typeOpenAPIJSON}
	switch r.URL.Path {
	case d.yaml:
		key.kind = typeOpenAPIYAML
	case d.options.Descriptors:
		key.kind = typeDescriptors
	}
	if key.kind != typeDescriptors && r.URL.RawQuery != "" {
		key.service = r.URL.Query().Get("service")
	}
	f, err := d.file(descriptionSource{t, d.comments.get()}, key, serverURL(r))
	switch {
	case errors.Is(err, errNoService):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case errors.Is(err, openapi.ErrTooLarge):
		http.Error(w, "the document has more than 16 MiB; ask for that of one service: ?service=<package.Service>", http.StatusInternalServerError)
		return
	case err != nil:
		http.Error(w, "the description of the API could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	if t.Pending != "" {
		w.Header().Set("Retry-After", "1")
	}
	apidocs.WriteFile(w, r, f.contentType, f.etag, f.plain, f.packed)
}

// errNoService means that no operation belongs to the service that was asked for.
var errNoService = errors.New("there is no such service")

// file returns one of the files, for clients that reach the API under a base URL.
func (d *description) file(from descriptionSource, key fileKey, server string) (sentFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from != from {
		d.from, d.files = from, descriptionFiles{made: make(map[fileKey]madeFile)}
	}
	if len(d.options.Servers) > 0 {
		server = ""
	}
	if d.files.sent == nil {
		d.files.server, d.files.sent = server, make(map[fileKey]sentFile)
	}
	if f, ok := d.files.sent[key]; ok && d.files.server == server {
		return f, nil
	}
	file := d.make(key)
	if file.err != nil {
		return sentFile{}, file.err
	}
	f := send(file.raw, key.kind, server)
	if _, kept := d.files.made[key]; !kept || d.files.server != server {
		return f, nil
	}
	var err error
	if f.packed, err = apidocs.Pack(f.plain); err != nil {
		return sentFile{}, err
	}
	d.files.sent[key] = f
	return f, nil
}

// make returns a file as it is kept, or makes it. Caller must hold d.mu.
func (d *description) make(key fileKey) madeFile {
	if f, ok := d.files.made[key]; ok {
		return f
	}
	var f madeFile
	switch key.kind {
	case typeDescriptors:
		f.raw, f.err = descriptorSet(d.bindings(d.from.table), d.from.table)
	case typeOpenAPIYAML:
		document := d.make(fileKey{typeOpenAPIJSON, key.service})
		if document.err != nil {
			return document
		}
		f.raw, f.err = openapi.YAML(document.raw)
	default:
		f.raw, f.err = d.document(key.service)
	}
	switch {
	case errors.Is(f.err, errNoService):
		return f // Clients choose the name, so nothing is kept for it.
	case f.err != nil:
		d.log.Error("the API cannot be described", zap.String("service", key.service), zap.Error(f.err))
	case key.service != "":
		if d.files.kept += len(f.raw); d.files.kept > keptForServices {
			d.files.kept -= len(f.raw)
			return f
		}
	}
	d.files.made[key] = f
	return f
}

// document makes the document as JSON, of one service or of all. Caller must hold d.mu.
func (d *description) document(service string) ([]byte, error) {
	config := d.config
	config.Pending, config.Comments = d.from.table.PendingUpstreams(), d.from.words.Of
	bindings := d.bindings(d.from.table)
	if service != "" {
		bindings = slices.DeleteFunc(bindings, func(b *frontend.Binding) bool {
			return string(b.Method.Desc.Parent().FullName()) != service
		})
		if len(bindings) == 0 {
			return nil, errNoService
		}
	}
	return openapi.Build(config, bindings)
}

// bindings are the operations of the document.
func (d *description) bindings(t *routes.Table) []*frontend.Binding {
	all := slices.Clone(t.Bindings)
	described := make(map[protoreflect.FullName]bool)
	for _, b := range all {
		described[b.Method.Desc.Parent().FullName()] = true
	}
	for _, p := range slices.Sorted(maps.Keys(t.Methods)) {
		m := t.Methods[p]
		if m.Desc == nil || d.options.RPC == off || d.options.RPC == "auto" && described[m.Desc.Parent().FullName()] {
			continue
		}
		all = append(all, &frontend.Binding{Method: m, HTTPMethod: http.MethodPost, BodyAll: true})
	}
	return all
}

// descriptorSet is a google.protobuf.FileDescriptorSet of all methods that can be called.
func descriptorSet(bindings []*frontend.Binding, t *routes.Table) ([]byte, error) {
	methods := make(map[string]*frontend.Method)
	for _, b := range bindings {
		methods[b.Method.Name] = b.Method
	}
	for _, m := range t.Methods {
		if m.Desc != nil {
			methods[m.Name] = m
		}
	}
	inputs := make(map[string]prune.Input)
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		m := methods[name]
		in := inputs[m.Upstream]
		in.Methods = append(in.Methods, m.Desc)
		in.Schema = m.Files
		inputs[m.Upstream] = in
	}
	var ordered []prune.Input
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		ordered = append(ordered, inputs[name])
	}
	set := &descriptorpb.FileDescriptorSet{File: prune.Files(ordered...)}
	raw, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("write the descriptors: %w", err)
	}
	return raw, nil
}

// send prepares a file for clients that reach the API under a base URL.
func send(raw []byte, kind, server string) sentFile {
	out := sentFile{contentType: kind, plain: raw}
	switch kind {
	case typeOpenAPIYAML:
		out.plain = openapi.YAMLWithServer(raw, server)
	case typeOpenAPIJSON:
		out.plain = openapi.WithServer(raw, server)
	}
	sum := sha256.Sum256(out.plain)
	out.etag = `"` + hex.EncodeToString(sum[:8]) + `"`
	return out
}

// serverURL is the base URL under which the client reaches the API.
func serverURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host := r.Host
	if trustedProxy(r) {
		if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			scheme = proto
		}
		if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
			host, _, _ = strings.Cut(forwarded, ",")
		}
	}
	return scheme + "://" + strings.TrimSpace(host) + strippedPrefix(r)
}

// strippedPrefix is what handlers before this one have taken from the beginning of the path.
func strippedPrefix(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil {
		return ""
	}
	prefix, ok := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !ok {
		return ""
	}
	return prefix
}
