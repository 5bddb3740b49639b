package module_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// deployment is what server reflection says of a server whose service Echo comes later.
type deployment struct {
	server   *grpc.Server
	deployed atomic.Bool
}

func (d *deployment) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := d.server.GetServiceInfo()
	if !d.deployed.Load() {
		delete(all, "gateway.test.v1.Echo")
	}
	return all
}

// TestOpenAPIFollowsADeployment has a service appear behind a gateway that runs. Nothing but the
// refresh of the schema can notice it: no connection opens or closes.
func TestOpenAPIFollowsADeployment(t *testing.T) {
	d := new(deployment)
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false), testkit.WithRegister(func(r grpc.ServiceRegistrar) {
		d.server = r.(*grpc.Server)
		reflectionv1.RegisterServerReflectionServer(r, reflection.NewServerV1(reflection.ServerOptions{Services: d}))
	}))
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream a {\n discover static "+backend.Addr()+"\n descriptors reflection {\n refresh 1s\n }\n }\n openapi\n }")
	before := s.want(s.get("/openapi.json"), http.StatusOK)
	if !strings.Contains(before.body, "Library/GetBook") || strings.Contains(before.body, "/v1/echo") {
		t.Fatalf("before the deployment: %s", before)
	}
	page := s.want(s.get("/docs/"), http.StatusOK).body
	d.deployed.Store(true)
	eventually(t, "the new method in the document", func() bool {
		return s.api("/openapi.json").Paths["/v1/echo/{text}"]["get"].Method == "gateway.test.v1.Echo/Unary"
	})
	for _, path := range []string{"/openapi.yaml", "/descriptors.binpb"} {
		if got := s.want(s.get(path), http.StatusOK); !strings.Contains(got.body, "ServerStream") {
			t.Errorf("%s does not have it", path)
		}
	}
	if got := s.fetch("GET", "/openapi.json", "If-None-Match", before.header.Get("ETag")); !got.is(http.StatusOK) {
		t.Errorf("a client with the old copy is told %s", got.Status)
	}
	if s.want(s.get("/docs/"), http.StatusOK).body != page {
		t.Error("the page depends on the schema")
	}
	d.deployed.Store(false)
	eventually(t, "the method is gone", func() bool { return len(s.api("/openapi.json").Paths["/v1/echo/{text}"]) == 0 })
}

// TestHiddenIsOnNoSurface hides a service and a method, and looks for their names, and for those of
// the types that only they use, in everything that describes the API to strangers.
func TestHiddenIsOnNoSurface(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	config := `grpc_gateway ` + backend.Addr() + ` {
		hide gateway.test.v1.Library gateway.test.v1.Echo/Upload
		reflection on
		openapi {
			rpc on
		}
	}`
	s.load("", config)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	unpacked := func(t *testing.T, path string) string {
		packed := s.fetch("GET", path, "Accept-Encoding", "gzip")
		zr, err := gzip.NewReader(bytes.NewReader(packed.raw))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(zr)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	surfaces := map[string]func(t *testing.T) string{
		"a service by its name": func(t *testing.T) string {
			return s.want(s.get("/openapi.json?service=gateway.test.v1.Library"), http.StatusNotFound).body + s.get("/openapi.json").body
		},
		"packed":       func(t *testing.T) string { return unpacked(t, "/openapi.json") + unpacked(t, "/openapi.yaml") },
		"reflection":   func(t *testing.T) string { return reflected(t, s.dial(), false) },
		"v1alpha":      func(t *testing.T) string { return reflected(t, s.dial(), true) },
		"admin routes": func(t *testing.T) string { return s.admin0("GET", "/grpc_gateway/routes").body },
		"the command": func(t *testing.T) string {
			file := filepath.Join(t.TempDir(), "Caddyfile")
			write(t, file, s.caddyfile("", config))
			out, _, err := run(t, "", "openapi", "--config", file)
			if err != nil {
				t.Fatal(err)
			}
			return out
		},
	}
	for _, path := range []string{"/openapi.json", "/openapi.yaml", "/descriptors.binpb"} {
		surfaces[path] = func(*testing.T) string { return s.want(s.get(path), http.StatusOK).body }
	}
	for name, surface := range surfaces {
		t.Run(name, func(t *testing.T) {
			text := surface(t)
			if !strings.Contains(text, "ServerStream") {
				t.Errorf("what is not hidden is not there, so this surface shows nothing: %.300s", text)
			}
			for _, hidden := range []string{"Library", "GetBook", "ListBooks", "UpdateBookRequest", "UploadRequest", "/v1/upload/", "/v1/books"} {
				if strings.Contains(text, hidden) {
					t.Errorf("%s is there", hidden)
				}
			}
		})
	}
	t.Run("the page", func(t *testing.T) {
		// It knows nothing but where the document is.
		if page := s.want(s.get("/docs/"), http.StatusOK).body; strings.Contains(page, "gateway.test.v1") {
			t.Errorf("the page has names of the API: %s", page)
		}
	})
}

// reflected is everything that server reflection says.
func reflected(t *testing.T, cc *grpc.ClientConn, alpha bool) string {
	t.Helper()
	method := reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName
	if alpha {
		method = reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName
	}
	// Both versions have the same wire form.
	stream, err := cc.NewStream(bounded(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		resp := new(reflectionv1.ServerReflectionResponse)
		if err := stream.SendMsg(q); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(resp); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var out strings.Builder
	list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{ListServices: "*"}})
	for _, service := range list.GetListServicesResponse().GetService() {
		fmt.Fprintln(&out, service.GetName())
		files := ask(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.GetName()},
		})
		for _, raw := range files.GetFileDescriptorResponse().GetFileDescriptorProto() {
			out.Write(raw)
		}
	}
	_ = stream.CloseSend()
	return out.String()
}

// accessLog are the entries of an access log, when there are so many.
func accessLog(t *testing.T, path string, n int) []map[string]any {
	t.Helper()
	var entries []map[string]any
	eventually(t, "the lines of the access log", func() bool {
		raw, _ := os.ReadFile(path)
		entries = nil
		for line := range bytes.Lines(bytes.TrimSpace(raw)) {
			var e map[string]any
			if json.Unmarshal(line, &e) == nil {
				entries = append(entries, e)
			}
		}
		return len(entries) == n
	})
	return entries
}

// A request for a description is no call, so its line in the access log says nothing about one.
func TestOpenAPIAccessLog(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	path := filepath.Join(s.dir, "access.json")
	s.load("", "log {\n output file "+path+"\n }\n grpc_gateway "+backend.Addr()+" {\n openapi\n }")
	asked := []string{"/openapi.json", "/openapi.yaml", "/docs/", "/descriptors.binpb", "/v1/echo/x"}
	for _, p := range asked {
		s.want(s.get(p), http.StatusOK)
	}
	for i, e := range accessLog(t, path, len(asked)) {
		var fields []string
		for name := range e {
			if strings.HasPrefix(name, "grpc_") {
				fields = append(fields, name)
			}
		}
		if call := asked[i] == "/v1/echo/x"; call != slices.Contains(fields, "grpc_code") || !call && len(fields) > 0 {
			t.Errorf("%s: the log has %v", asked[i], fields)
		}
	}
}

// commentSet writes a descriptor set with the comment on each name of the test services. Nothing
// that the file imports is in the set.
func commentSet(t *testing.T, path string, comments map[string]string) {
	t.Helper()
	full := filepath.Join(t.TempDir(), "full.binpb")
	protoset(t, full, func(p *descriptorpb.FileDescriptorProto) {
		p.SourceCodeInfo = new(descriptorpb.SourceCodeInfo)
		for i, service := range p.GetService() {
			for j, method := range service.GetMethod() {
				if text, ok := comments[service.GetName()+"."+method.GetName()]; ok {
					p.SourceCodeInfo.Location = append(p.SourceCodeInfo.Location, &descriptorpb.SourceCodeInfo_Location{
						Path: []int32{6, int32(i), 2, int32(j)}, Span: []int32{1, 1, 1}, LeadingComments: proto.String(text),
					})
				}
			}
		}
	})
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal([]byte(read(t, full)), set); err != nil {
		t.Fatal(err)
	}
	set.File = set.File[len(set.File)-1:]
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(raw))
}

// TestOpenAPIComments gives words to a schema by reflection, which has none, and follows the file.
func TestOpenAPIComments(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	words := filepath.Join(s.dir, "words.binpb")
	config := "grpc_gateway " + backend.Addr() + " {\n hide gateway.test.v1.Library\n openapi {\n comments protoset " + words + "\n }\n }"

	t.Run("files that are refused", func(t *testing.T) {
		plain := filepath.Join(s.dir, "plain.binpb")
		protoset(t, plain, nil)
		for name, tt := range map[string]struct{ file, want string }{
			"missing":       {filepath.Join(s.dir, "none"), "openapi: read comments: open " + filepath.Join(s.dir, "none")},
			"something":     {s.logFile(), "log.json is not a serialised google.protobuf.FileDescriptorSet"},
			"without words": {plain, "plain.binpb: it has no comments (protoc puts them into the set with --include_source_info)"},
		} {
			if err := s.tryLoad("", strings.Replace(config, words, tt.file, 1)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q", name, err, tt.want)
			}
		}
	})

	commentSet(t, words, map[string]string{"Echo.Unary": " Says it again.\n", "Library.GetBook": " A secret.\n"})
	s.load("", config)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	first := s.want(s.get("/openapi.json"), http.StatusOK)
	if !strings.Contains(first.body, `"summary":"Says it again."`) || strings.Contains(first.body, "secret") || strings.Contains(first.body, "GetBook") {
		t.Fatalf("the words are not those of what is there: %s", first)
	}

	commentSet(t, words, map[string]string{"Echo.Unary": " Says it twice.\n"})
	eventually(t, "the new words", func() bool { return strings.Contains(s.get("/openapi.json").body, "Says it twice.") })

	write(t, words, "not a descriptor set")
	eventually(t, "the broken file in the log", func() bool { return len(s.logged("could not be read again")) > 0 })
	if got := s.get("/openapi.json"); !strings.Contains(got.body, "Says it twice.") {
		t.Errorf("a broken file has taken the words away: %s", got)
	}
}

// TestOpenAPITooLarge has a document of more than 16 MiB, most of which is comments.
func TestOpenAPITooLarge(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	words := filepath.Join(s.dir, "words.binpb")
	commentSet(t, words, map[string]string{
		"Echo.Upload":        strings.Repeat("echo ", 9<<20/5),
		"Library.DeleteBook": strings.Repeat("book ", 9<<20/5),
	})
	s.load("", "grpc_gateway "+backend.Addr()+" {\n openapi {\n comments protoset "+words+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for _, path := range []string{"/openapi.json", "/openapi.yaml"} {
		if got := s.want(s.get(path), http.StatusInternalServerError); !strings.Contains(got.body, "?service=<package.Service>") {
			t.Errorf("%s: the client is told %s", path, got.body)
		}
	}
	if lines := s.logged("the API cannot be described"); len(lines) == 0 || !strings.Contains(lines[0], "expected at most 16777216") {
		t.Errorf("the log says %q", lines)
	}
	s.want(s.get("/descriptors.binpb"), http.StatusOK)
	for range 2 { // Only one of the two is kept.
		for service, path := range map[string]string{"Echo": "/v1/echo/{text}", "Library": "/v1/shelves:titles"} {
			doc := s.api("/openapi.json?service=gateway.test.v1." + service)
			if len(doc.Paths[path]) == 0 {
				t.Errorf("%s: %s is not there", service, path)
			}
			for path, item := range doc.Paths {
				for method, op := range item {
					if !strings.HasPrefix(op.Method, "gateway.test.v1."+service+"/") {
						t.Errorf("%s: %s %s belongs to %s", service, method, path, op.Method)
					}
				}
			}
		}
	}
	s.want(s.get("/openapi.json?service=nothing"), http.StatusNotFound)
	s.want(s.get("/openapi.yaml?service="+strings.Repeat("x", 1000)), http.StatusNotFound)
}

// TestOpenAPIOptionsThatAreRefused sets what only JSON can set wrong.
func TestOpenAPIOptionsThatAreRefused(t *testing.T) {
	s := newSite(t)
	for option, want := range map[string]string{
		`"info": "title"`:                      "openapi: info: expected an object",
		`"info": [1]`:                          "openapi: info: expected an object",
		`"info": null`:                         "",
		`"version": "2.0"`:                     `openapi: version "2.0": expected 3.1 or 3.2`,
		`"rpc": "some"`:                        `openapi: rpc "some": expected on, off or auto`,
		`"docs": "docs"`:                       `openapi: docs "docs": expected a path, such as /docs, or off`,
		`"comments": {}`:                       "openapi: comments protoset: expected at least one file",
		`"comments": {"source": "reflection"}`: `openapi: comments "reflection": expected protoset`,
	} {
		config := strings.Replace(string(adapt(t, s.caddyfile("", "grpc_gateway 127.0.0.1:1 {\n openapi\n }"))), `"openapi":{}`, `"openapi":{`+option+`}`, 1)
		err := caddy.Load([]byte(config), true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", option, err, want)
		}
	}
}

// TestCommandOpenAPI prints documents without a server.
func TestCommandOpenAPI(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	dir := t.TempDir()
	set, file := filepath.Join(dir, "echo.binpb"), filepath.Join(dir, "Caddyfile")
	protoset(t, set, nil)
	fromFiles := func(name, options string) string {
		return "grpc_gateway {\n upstream " + name + " {\n discover static 127.0.0.1:1\n descriptors protoset " + set + "\n }\n" + options + "\n }"
	}
	document := func(t *testing.T, args ...string) describedAPI {
		t.Helper()
		out, stderr, err := run(t, "", append([]string{"openapi", "--config", file}, args...)...)
		if err != nil || stderr != "" {
			t.Fatalf("%v %s", err, stderr)
		}
		var doc describedAPI
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return doc
	}

	t.Run("what the handler would serve", func(t *testing.T) {
		write(t, file, s.caddyfile("", fromFiles("echo", "hide gateway.test.v1.Library\n openapi {\n server https://api.example.com\n }")))
		doc := document(t)
		if doc.OpenAPI != "3.1.1" || len(doc.Servers) != 1 || doc.Servers[0].URL != "https://api.example.com" || len(doc.Paths["/v1/echo/{text}"]) == 0 {
			t.Errorf("got %+v", doc)
		}
		if doc := document(t, "--version", "3.2", "--server", "https://a.example", "--server", "https://b.example"); doc.OpenAPI != "3.2.0" || len(doc.Servers) != 2 {
			t.Errorf("with flags: %q %v", doc.OpenAPI, doc.Servers)
		}
		s.load("", strings.Replace(fromFiles("echo", "hide gateway.test.v1.Library\n openapi"), "127.0.0.1:1", backend.Addr(), 1))
		live := s.want(s.get("/openapi.yaml"), http.StatusOK).body
		out, _, err := run(t, "", "openapi", "--config", file, "--format", "yaml", "--server", "http://"+s.addr)
		if err != nil || strings.TrimSpace(out) != live {
			t.Errorf("%v: the command prints something else than the server serves, from here:\n%s", err, firstDifference(out, live))
		}
	})
	t.Run("a handler without the option", func(t *testing.T) {
		write(t, file, s.caddyfile("", fromFiles("echo", "")))
		if doc := document(t); len(doc.Paths) == 0 || len(doc.Servers) != 0 {
			t.Errorf("got %+v", doc)
		}
	})
	t.Run("by reflection", func(t *testing.T) {
		other := testkit.StartBackend(t) // No server of this process has its schema.
		write(t, file, s.caddyfile("", "grpc_gateway "+other.Addr()))
		if doc := document(t); len(doc.Paths["/v1/echo/{text}"]) == 0 {
			t.Errorf("got %+v", doc)
		}
	})
	t.Run("several handlers", func(t *testing.T) {
		several := "handle /a/* {\n" + fromFiles("one", "hide */GetBook") + "\n }\n handle {\n" + fromFiles("two", "hide */ListBooks") + "\n }"
		write(t, file, s.caddyfile("", several))
		_, _, err := run(t, "", "openapi", "--config", file)
		const want = "the config has several grpc_gateway handlers, choose one with --handler: 1 (one), 2 (two)"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if doc := document(t, "--handler", "2"); len(doc.Paths["/v1/{name}"]) > 0 || len(doc.Paths["/v1/shelves:titles"]) > 0 {
			t.Errorf("the second one: %v", doc.Paths)
		}
		if doc := document(t, "--handler", "1"); len(doc.Paths["/v1/shelves:titles"]) == 0 {
			t.Errorf("the first one: %v", doc.Paths)
		}
		_, _, err = run(t, "", "openapi", "--config", file, "--handler", "3")
		if err == nil || err.Error() != "handler 3: expected one of 1 (one), 2 (two)" {
			t.Errorf("a third one: %v", err)
		}
		write(t, file, s.caddyfile("", strings.Replace(several, "hide */GetBook", "openapi", 1)))
		if doc := document(t); len(doc.Paths["/v1/shelves:titles"]) == 0 {
			t.Errorf("the one with openapi is not taken: %v", doc.Paths)
		}
	})
	for name, tt := range map[string]struct {
		caddyfile string
		args      []string
		want      string
	}{
		"no handler":     {"respond ok", nil, "the config has no grpc_gateway handler"},
		"no schema":      {"grpc_gateway 127.0.0.1:1", []string{"--timeout", "300ms"}, "the schema of the upstream 127.0.0.1:1 is not known"},
		"bad format":     {"grpc_gateway 127.0.0.1:1", []string{"--format", "xml"}, `format "xml": expected json or yaml`},
		"bad version":    {fromFiles("echo", ""), []string{"--version", "2"}, `version "2": expected 3.1 or 3.2`},
		"bad config":     {fromFiles("echo", "route GET /x/{nope} gateway.test.v1.Echo/Unary"), nil, `path variable "nope"`},
		"bad descriptor": {strings.ReplaceAll(fromFiles("echo", ""), set, set+".none"), nil, "echo.binpb.none"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, file, s.caddyfile("", tt.caddyfile))
			out, _, err := run(t, "", append([]string{"openapi", "--config", file}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
				t.Errorf("got %v and %q, want %s", err, out, tt.want)
			}
		})
	}
	t.Run("no config", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if _, _, err := run(t, "", "openapi"); err == nil || !strings.Contains(err.Error(), "there is no config") {
			t.Errorf("got %v", err)
		}
	})
	eventually(t, "the commands have let go of their upstreams", func() bool {
		var views []module.UpstreamView
		s.ask("/grpc_gateway/upstreams", &views)
		return len(views) == 1
	})
}

// firstDifference is where two texts begin to differ.
func firstDifference(a, b string) string {
	mine, others := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range mine {
		if i >= len(others) || mine[i] != others[i] {
			return strings.Join(mine[i:min(i+5, len(mine))], "\n") + "\n---\n" + strings.Join(others[min(i, len(others)):min(i+5, len(others))], "\n")
		}
	}
	return "the second is longer"
}
