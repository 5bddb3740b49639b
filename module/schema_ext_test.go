package module_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/module"
)

// protoset writes the descriptors of the test services with everything that they import. edit
// changes the file itself.
func protoset(t *testing.T, path string, edit func(*descriptorpb.FileDescriptorProto)) {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		p := protodesc.ToFileDescriptorProto(fd)
		if fd.Path() == testpb.File_internal_testkit_testpb_echo_proto.Path() && edit != nil {
			edit(p)
		}
		set.File = append(set.File, p)
	}
	add(testpb.File_internal_testkit_testpb_echo_proto)
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(raw))
}

// write replaces a file in one step, as a careful deployment does.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestProtosetIsFollowed(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false))
	path := filepath.Join(t.TempDir(), "echo.binpb")
	protoset(t, path, func(p *descriptorpb.FileDescriptorProto) {
		p.Service = p.Service[:1] // Library only
	})
	s := newSite(t)
	config := "grpc_gateway {\n upstream a {\n discover static " + backend.Addr() + "\n descriptors protoset " + path + "\n }\n }"
	s.load("", config)
	s.want(s.get("/v1/echo/x"), http.StatusNotFound)
	s.want(s.get("/v1/shelves/1/books"), http.StatusOK)

	protoset(t, path, nil)
	eventually(t, "the new service", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })

	write(t, path, "not a descriptor set")
	eventually(t, "the broken file was noticed", func() bool {
		var views []module.UpstreamView
		s.ask("/grpc_gateway/upstreams", &views)
		return views[0].Schema.LastError != ""
	})
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	// What the file was is still good for a reload that is about something else.
	s.load("", strings.Replace(config, "grpc_gateway {", "grpc_gateway {\n timeout 3s", 1))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
}

func TestTwoUpstreamsBehindOneHandler(t *testing.T) {
	dir := t.TempDir()
	library, echo, both := filepath.Join(dir, "library"), filepath.Join(dir, "echo"), filepath.Join(dir, "both")
	protoset(t, library, func(p *descriptorpb.FileDescriptorProto) { p.Service = p.Service[:1] })
	protoset(t, echo, func(p *descriptorpb.FileDescriptorProto) { p.Service = p.Service[1:] })
	protoset(t, both, nil)
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	config := func(first, second string) string {
		return "grpc_gateway {\n upstream a {\n discover static " + a.Addr() + "\n descriptors protoset " + first + "\n }\n" +
			"upstream b {\n discover static " + b.Addr() + "\n descriptors protoset " + second + "\n }\n }"
	}

	s.load("", config(library, echo))
	s.want(s.get("/v1/shelves/1/books"), http.StatusOK)
	if a.Calls() != 1 || b.Calls() != 0 {
		t.Errorf("the library was called at %d and %d", a.Calls(), b.Calls())
	}
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if b.Calls() != 1 {
		t.Errorf("echo was called %d times where it is", b.Calls())
	}

	err := s.tryLoad("", config(both, echo))
	const want = `upstream "b" has 7 methods that "a" has, too: gateway.test.v1.Echo/Bidi`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the same methods in both: got %v, want an error with %q", err, want)
	}
}

// TestSameMethodsByReflection checks that what running services say decides over calls, but not
// over configs.
func TestSameMethodsByReflection(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway static:///"+a.Addr()+" static:///"+b.Addr())
	eventually(t, "both schemas known", func() bool {
		var views []module.HandlerView
		s.ask("/grpc_gateway/routes", &views)
		return len(views) == 1 && views[0].Pending == "" && len(views[0].Problems) > 0
	})
	for range 5 {
		s.want(s.get("/v1/echo/x"), http.StatusOK)
	}
	if got := b.Executions(""); got != 0 {
		t.Errorf("the second upstream was called %d times", got)
	}
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	// One problem for the pair, however many methods there are.
	if p := views[0].Problems; len(p) != 1 || p[0].Upstream != b.Addr() || !strings.Contains(p[0].Reason, "12 methods that \""+a.Addr()+"\" has, too: ") {
		t.Errorf("problems: %v", p)
	}
}

func TestRoutesOfTheConfig(t *testing.T) {
	backend := testkit.StartBackend(t)
	path := filepath.Join(t.TempDir(), "echo.binpb")
	protoset(t, path, nil)
	s := newSite(t)
	upstream := "upstream a {\n discover static " + backend.Addr() + "\n descriptors protoset " + path + "\n }\n"

	for name, tt := range map[string]struct{ options, want string }{
		"no such method":    {"route GET /x gateway.test.v1.Echo/Nope", "GET /x: gateway.test.v1.Echo/Nope: no upstream has this method"},
		"no such field":     {"route GET /x/{nope} gateway.test.v1.Echo/Unary", `path variable "nope"`},
		"message in a path": {"route GET /x/{nested} gateway.test.v1.Echo/Unary", "field gateway.test.v1.EchoRequest.nested is a message"},
		"list in a path":    {"route GET /x/{list} gateway.test.v1.Echo/Unary", "field gateway.test.v1.EchoRequest.list is repeated"},
		"no such body":      {"route POST /x gateway.test.v1.Echo/Unary {\n body nope\n }", `body "nope"`},
		"same route twice":  {"route GET /x/{text} gateway.test.v1.Echo/Unary\n route GET /x/{path} gateway.test.v1.Echo/Unary", "ambiguous"},
	} {
		err := s.tryLoad("", "grpc_gateway {\n"+upstream+tt.options+"\n }")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tt.want)
		}
	}

	s.load("", "grpc_gateway {\n"+upstream+`
		annotations off
		rpc off
		route GET /echo/{text} gateway.test.v1.Echo/Unary {
			response_body text
		}
		route POST /nested gateway.test.v1.Echo/Unary {
			body nested
		}
		route GET /slow gateway.test.v1.Echo/Unary {
			timeout 50ms
		}
		route GET /endless gateway.test.v1.Echo/Unary {
			timeout off
		}
		route GET /usual gateway.test.v1.Echo/Unary
	}`)
	if got := s.want(s.get("/echo/hello"), http.StatusOK); got.body != `"hello"` {
		t.Errorf("response_body: %s", got)
	}
	if got := s.want(s.do("POST", "/nested", `{"value":"v"}`), http.StatusOK); got.field("request", "nested", "value") != "v" {
		t.Errorf("body: %s", got)
	}
	s.want(s.get("/slow?script.delay=5s"), http.StatusGatewayTimeout)
	if got := s.want(s.get("/endless"), http.StatusOK); got.field("deadlineMs") != nil {
		t.Errorf("timeout off: %s", got)
	}
	if got := s.want(s.get("/usual"), http.StatusOK); got.field("deadlineMs") == nil {
		t.Errorf("the handler's timeout: %s", got)
	}
	s.want(s.get("/v1/echo/x"), http.StatusNotFound)
	s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", `{}`), http.StatusNotFound)
}

func TestExposure(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n expose gateway.test.v1.*\n hide gateway.test.v1.Library gateway.test.v1.Echo/*Stream\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.get("/v1/stream/1"), http.StatusNotFound)
	s.want(s.get("/v1/shelves/1/books"), http.StatusNotFound)
	s.want(s.do("POST", "/gateway.test.v1.Library/ListBooks", `{}`), http.StatusNotFound)
}
