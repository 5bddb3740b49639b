package openapie2e

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/judge"
)

// callsEach is how many calls are made of each route of each handler.
const callsEach = 4

// junk is how many of 1,000 values are of a wrong form.
const junk = 10

// TestMadeUpCalls makes calls of every route with values of every form. The gateway decides which
// requests are right, and the documents must agree. The calls are the same in each run.
func TestMadeUpCalls(t *testing.T) {
	all := handlers()
	caddy := startGateway(t, all)
	var results judge.Results
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			mine := results.Child()
			w := &world{
				t: t, base: "http://" + caddy.Listen, name: name, maker: maker{rand.New(rand.NewPCG(1, uint64(len(name)))), junk, name == "names"},
				client: kit.H2C(),
			}
			w.client.Transport = mine.Transport(w.client.Transport, judge.Fetcher(kit.DocumentPath, "X-Site"))
			for _, route := range w.routes() {
				// A message that is refused in the middle of a stream has no status that tells.
				w.junk = junk
				if route.method.IsStreamingClient() {
					w.junk = 0
				}
				for range callsEach {
					w.call(route)
				}
			}
			mine.Report(t)
		})
	}
	t.Logf("the judges have seen:\n%s", results.String())
	for what, least := range map[string]int{judge.Requests: 2000, judge.Answers: 2000, judge.Refused: 100} {
		if n := results.Count(what); n < least {
			t.Errorf("%d %s, want at least %d", n, what, least)
		}
	}
}

// world makes the calls of one handler.
type world struct {
	maker

	t          testing.TB
	base, name string
	client     *http.Client
}

// route is a way to call a method.
type route struct {
	method         protoreflect.MethodDescriptor
	verb, template string
	body           string
}

// routes are those of the descriptors that the gateway gives away, and the methods by name.
func (w *world) routes() []route {
	w.t.Helper()
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(w.fetch("/descriptors.binpb"), &set); err != nil {
		w.t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := files.FindFileByPath("wide.proto")
	if err != nil {
		w.t.Fatal(err)
	}
	var all []route
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			all = append(all, route{m, "POST", "/" + string(m.Parent().FullName()) + "/" + string(m.Name()), "*"})
			rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			if rule == nil {
				continue
			}
			for _, r := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
				verb, template := pattern(r)
				all = append(all, route{m, verb, template, r.Body})
			}
		}
	}
	return all
}

func (w *world) fetch(path string) []byte {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.base+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Site", w.name)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %v, %v", path, resp.Status, err)
	}
	return raw
}

func pattern(r *annotations.HttpRule) (verb, template string) {
	switch p := r.Pattern.(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.Kind, p.Custom.Path
	default:
		return "", ""
	}
}

var (
	variable = regexp.MustCompile(`\{([^}=]+)(?:=([^}]*))?\}`)
	wildcard = regexp.MustCompile(`\*\*?`)
)

// path fills a template.
func (w *world) path(r route) (path string, taken []string) {
	path = variable.ReplaceAllStringFunc(r.template, func(v string) string {
		match := variable.FindStringSubmatch(v)
		taken = append(taken, match[1])
		if match[2] != "" {
			return match[2]
		}
		fd := field(r.method.Input(), match[1])
		text := w.parameter(fd)
		if text == "" {
			text = "x"
		}
		return strings.ReplaceAll(url.PathEscape(text), "*", "%2A")
	})
	return wildcard.ReplaceAllStringFunc(path, func(star string) string {
		if star == "**" {
			return one(&w.maker, "a", "a/b", "a/b%20c/d")
		}
		return one(&w.maker, "a", "b%20c", "1", "%C3%A4")
	}), taken
}

func field(md protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	var fd protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		fd = md.Fields().ByName(protoreflect.Name(name))
		md = fd.Message()
	}
	return fd
}

// call makes one call of a route.
func (w *world) call(r route) {
	path, taken := w.path(r)
	query := make(url.Values)
	var body []byte
	contentType := ""
	switch in := r.method.Input(); r.body {
	case "*":
		body, contentType = w.body(r, func() any { return w.message(in, 0) }, in)
	case "":
		w.query(in, "", query)
	default:
		fd := field(in, r.body)
		body, contentType = w.body(r, func() any { return w.maker.field(fd, 0) }, fd.Message())
		w.query(in, "", query)
		taken = append(taken, r.body)
	}
	for _, name := range taken {
		first, _, _ := strings.Cut(name, ".")
		for key := range query {
			if jsonName := w.maker.name(field(r.method.Input(), first)); key == jsonName || strings.HasPrefix(key, jsonName+".") || strings.HasPrefix(key, jsonName+"[") {
				query.Del(key)
			}
		}
	}
	target := w.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequest(r.verb, target, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Site", w.name)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.method.IsStreamingServer() {
		req.Header.Set("Accept", one(&w.maker, "application/x-ndjson", "text/event-stream", "application/json"))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.verb, target, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && r.method.IsStreamingServer() == false {
		w.t.Errorf("%s %s: %v", r.verb, target, err)
	}
}

// body makes up a body of the messages that next makes, and its type.
func (w *world) body(r route, next func() any, md protoreflect.MessageDescriptor) (body []byte, contentType string) {
	if md != nil && md.FullName() == "google.api.HttpBody" {
		return []byte("\x00\xff raw"), one(&w.maker, "image/png", "text/plain; charset=utf-8", "application/json")
	}
	if w.name == "lenient" && md != nil && !r.method.IsStreamingClient() && w.IntN(4) == 0 {
		if _, known := w.wellKnown(md, 0); !known {
			form := make(url.Values)
			w.query(md, "", form)
			return []byte(form.Encode()), "application/x-www-form-urlencoded"
		}
	}
	encode := func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		return raw
	}
	if !r.method.IsStreamingClient() {
		return encode(next()), "application/json"
	}
	if w.IntN(2) == 0 {
		return encode([]any{next(), next()}), "application/json"
	}
	return append(append(encode(next()), '\n'), encode(next())...), "application/x-ndjson"
}
