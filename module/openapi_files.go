package module

import (
	"crypto/sha256"
	"encoding/hex"
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

// descriptionFiles are what a table is described by. They are made once.
type descriptionFiles struct {
	json, yaml, descriptors []byte
	failed                  error // why they could not be made

	// server is the base URL that sent is for: the first one that was asked under. A client can
	// claim any, so only this one is kept, and compressed.
	server string
	sent   map[string]sentFile
}

// sentFile is a file as it is sent.
type sentFile struct {
	contentType, etag string
	plain, packed     []byte
}

// serveFile answers with the document or the descriptors.
func (d *description) serveFile(w http.ResponseWriter, r *http.Request, t *routes.Table) {
	kind := typeOpenAPIJSON
	switch r.URL.Path {
	case d.yaml:
		kind = typeOpenAPIYAML
	case d.options.Descriptors:
		kind = typeDescriptors
	}
	f, err := d.file(t, kind, serverURL(r))
	if err != nil {
		http.Error(w, "the description of the API could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	if t.Pending != "" {
		w.Header().Set("Retry-After", "1")
	}
	apidocs.WriteFile(w, r, f.contentType, f.etag, f.plain, f.packed)
}

// file returns one of the files for a table, for clients that reach the API under a base URL.
func (d *description) file(t *routes.Table, kind, server string) (sentFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.table != t {
		d.table, d.files = t, d.make(t)
		if d.files.failed != nil {
			d.log.Error("the API cannot be described", zap.Error(d.files.failed))
		}
	}
	if d.files.failed != nil {
		return sentFile{}, d.files.failed
	}
	if len(d.options.Servers) > 0 {
		server = ""
	}
	if d.files.sent == nil {
		d.files.server, d.files.sent = server, make(map[string]sentFile)
	}
	if d.files.server != server {
		return d.files.send(kind, server), nil
	}
	f, ok := d.files.sent[kind]
	if !ok {
		f = d.files.send(kind, server)
		var err error
		if f.packed, err = apidocs.Pack(f.plain); err != nil {
			return sentFile{}, err
		}
		d.files.sent[kind] = f
	}
	return f, nil
}

// make describes a table.
func (d *description) make(t *routes.Table) descriptionFiles {
	config := d.config
	config.Pending = t.PendingUpstreams()
	bindings := d.bindings(t)
	document, err := openapi.Build(config, bindings)
	if err != nil {
		return descriptionFiles{failed: err}
	}
	text, err := openapi.YAML(document)
	if err != nil {
		return descriptionFiles{failed: err}
	}
	set, err := descriptorSet(bindings, t)
	if err != nil {
		return descriptionFiles{failed: err}
	}
	return descriptionFiles{json: document, yaml: text, descriptors: set}
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
func (f *descriptionFiles) send(kind, server string) sentFile {
	out := sentFile{contentType: kind}
	switch kind {
	case typeOpenAPIYAML:
		out.plain = openapi.YAMLWithServer(f.yaml, server)
	case typeDescriptors:
		out.plain = f.descriptors
	default:
		out.plain = openapi.WithServer(f.json, server)
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
