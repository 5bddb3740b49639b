package reflection_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/reflection"
	"github.com/caddy-grpc/gateway/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstream adds the methods of a schema to a table, except hidden ones.
func upstream(t *testing.T, table *frontend.Table, label string, hidden []string, files map[string]string) {
	t.Helper()
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
			if text, ok := files[name]; ok {
				return protocompile.SearchResult{Source: bytes.NewReader([]byte(text))}, nil
			}
			fd, err := protoregistry.GlobalFiles.FindFileByPath(name)
			return protocompile.SearchResult{Desc: fd}, err
		})),
	}
	set := &descriptorpb.FileDescriptorSet{}
	for name := range files {
		compiled, err := c.Compile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, protoutil.ProtoFromFileDescriptor(compiled[0]))
	}
	s, err := schema.New(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Methods() {
		if !slices.Contains(hidden, m.Name) {
			table.Methods["/"+m.Name] = &frontend.Method{Name: m.Name, Path: "/" + m.Name, Upstream: label, Desc: m.Desc, Types: s.Types(), Files: s.Types().Files()}
		}
	}
}

// twoUpstreams are two services that have a file of the same name. The first has methods that are
// hidden.
func twoUpstreams(t *testing.T) *frontend.Table {
	t.Helper()
	table := &frontend.Table{Methods: map[string]*frontend.Method{}}
	upstream(t, table, "one", []string{"alpha.Alpha/Purge", "alpha.Admin/Ban"}, map[string]string{
		"service.proto": `syntax = "proto2"; package alpha; import "types.proto"; import "secrets.proto"; import "google/api/annotations.proto";
			service Alpha { rpc Get(Req) returns (Req) { option (google.api.http) = { get: "/alpha" }; } rpc Purge(PurgeReq) returns (Req); }
			service Admin { rpc Ban(secrets.Key) returns (secrets.Key); }`,
		"types.proto":   `syntax = "proto2"; package alpha; message Req { extensions 100 to 200; enum Mode { FAST = 0; } optional Mode mode = 1; oneof one { int32 a = 2; } } message PurgeReq { extensions 100 to 200; }`,
		"secrets.proto": `syntax = "proto2"; package secrets; import "types.proto"; message Key {} extend alpha.PurgeReq { optional Key key = 100; } extend alpha.Req { optional int32 note = 101; }`,
	})
	upstream(t, table, "two", nil, map[string]string{
		"service.proto": `syntax = "proto3"; package beta; import "types.proto"; service Beta { rpc Get(Req) returns (Req); }`,
		"types.proto":   `syntax = "proto3"; package beta; message Req { int32 n = 1; } message ForAny {}`,
	})
	return table
}

// serve serves reflection and nothing else.
func serve(t *testing.T, table func() *frontend.Table) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	reflection.Register(s, table)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	cc, err := grpc.NewClient("passthrough:///gateway", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cc.Close()
		s.Stop()
		<-done
	})
	return cc
}

// client asks questions on one stream.
type client struct {
	t      *testing.T
	stream reflectionv1.ServerReflection_ServerReflectionInfoClient
	// files are what a client keeps: the first that comes under a name.
	files map[string]*descriptorpb.FileDescriptorProto
}

func newClient(t *testing.T, cc *grpc.ClientConn) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := reflectionv1.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, stream: stream, files: map[string]*descriptorpb.FileDescriptorProto{}}
}

// ask returns the names of the files in the answer, or nil for "not found".
func (c *client) ask(q *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, []string) {
	c.t.Helper()
	if err := c.stream.Send(q); err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	if !proto.Equal(resp.GetOriginalRequest(), q) {
		c.t.Errorf("original request %v, want %v", resp.GetOriginalRequest(), q)
	}
	if e := resp.GetErrorResponse(); e != nil && e.GetErrorCode() != int32(codes.NotFound) {
		c.t.Errorf("%v: %v", q, e)
	}
	var names []string
	for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
		fd := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, fd); err != nil {
			c.t.Fatal(err)
		}
		names = append(names, fd.GetName())
		if c.files[fd.GetName()] == nil {
			c.files[fd.GetName()] = fd
		}
	}
	return resp, names
}

func (c *client) symbol(name string) []string {
	c.t.Helper()
	_, names := c.ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
	return names
}

func (c *client) file(name string) []string {
	c.t.Helper()
	_, names := c.ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
	return names
}

func (c *client) extension(of string, number int32) []string {
	c.t.Helper()
	_, names := c.ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingExtension{
		FileContainingExtension: &reflectionv1.ExtensionRequest{ContainingType: of, ExtensionNumber: number},
	}})
	return names
}

func (c *client) numbers(of string) []int32 {
	c.t.Helper()
	resp, _ := c.ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_AllExtensionNumbersOfType{AllExtensionNumbersOfType: of}})
	if resp.GetAllExtensionNumbersResponse() == nil {
		return nil
	}
	return append([]int32{}, resp.GetAllExtensionNumbersResponse().GetExtensionNumber()...)
}

func (c *client) services() []string {
	c.t.Helper()
	resp, _ := c.ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	var names []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names
}

func TestHiddenMethodsAreInNoAnswer(t *testing.T) {
	table := twoUpstreams(t)
	c := newClient(t, serve(t, func() *frontend.Table { return table }))
	if got := c.services(); !slices.Equal(got, []string{"alpha.Alpha", "beta.Beta"}) {
		t.Errorf("services %q", got)
	}
	for _, name := range []string{
		"alpha.Alpha", "alpha.Alpha.Get", "alpha.Req", "alpha.Req.mode", "alpha.Req.a", "alpha.Req.one", "alpha.Req.Mode", "alpha.Req.FAST",
		"secrets.note", "beta.Beta", "beta.Req.n", "beta.ForAny", "google.rpc.BadRequest", "google.api.HttpRule", "google.api.http",
	} {
		if len(c.symbol(name)) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	for _, name := range []string{
		"alpha.Admin", "alpha.Admin.Ban", "alpha.Alpha.Purge", "alpha.PurgeReq", "secrets.Key", "secrets.key", "alpha.Req.nope", "alpha", "", ".alpha.Req",
	} {
		if got := c.symbol(name); got != nil {
			t.Errorf("%q is found in %q", name, got)
		}
	}
	if got := c.extension("alpha.Req", 101); len(got) == 0 || got[0] != "secrets.proto" {
		t.Errorf("the extension of a visible message is in %q", got)
	}
	if got := c.extension("alpha.PurgeReq", 100); got != nil {
		t.Errorf("the extension of a hidden message is in %q", got)
	}
	if got := c.extension("google.protobuf.MethodOptions", 72295728); len(got) == 0 {
		t.Error("google.api.http is not found")
	}
	if got := c.numbers("alpha.Req"); !slices.Equal(got, []int32{101}) {
		t.Errorf("extensions %v", got)
	}
	if got := c.numbers("beta.Req"); got == nil || len(got) != 0 {
		t.Errorf("a message without extensions: %v", got)
	}
	if got := c.numbers("alpha.PurgeReq"); got != nil {
		t.Errorf("a hidden message has extensions %v", got)
	}
	for _, path := range []string{"service.proto", "types.proto", "secrets.proto", "google/api/annotations.proto", "beta/service.proto"} {
		if got := c.file(path); len(got) == 0 || got[0] != path {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := c.file("nope.proto"); got != nil {
		t.Errorf("a file that there is not: %q", got)
	}
	var all []byte
	for _, fd := range c.files {
		raw, err := proto.Marshal(fd)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	for _, name := range []string{"Purge", "Admin", "Ban", "Key"} {
		if bytes.Contains(all, []byte(name)) {
			t.Errorf("%s is in one of the files", name)
		}
	}
}

// A client keeps files by name, and must be able to link all that came on one stream.
func TestFilesOfTheSameName(t *testing.T) {
	table := twoUpstreams(t)
	c := newClient(t, serve(t, func() *frontend.Table { return table }))
	for _, want := range []struct {
		symbol string
		files  []string
	}{
		{"alpha.Alpha", []string{"service.proto", "types.proto", "google/api/annotations.proto"}},
		{"beta.Beta", []string{"beta/service.proto", "beta/types.proto"}},
		{"beta.Req", []string{"beta/types.proto"}}, // asked for again
		{"alpha.Alpha", []string{"service.proto"}},
	} {
		if got := c.symbol(want.symbol); len(got) < len(want.files) || !slices.Equal(got[:len(want.files)], want.files) {
			t.Errorf("%s: files %q, want %q", want.symbol, got, want.files)
		}
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, fd := range c.files {
		set.File = append(set.File, fd)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.FindDescriptorByName("beta.Beta.Get"); err != nil {
		t.Error(err)
	}
}

// The gateway's own client must be able to read what the gateway serves, in both versions.
func TestASchemaOfTheGateway(t *testing.T) {
	table := twoUpstreams(t)
	cc := serve(t, func() *frontend.Table { return table })
	for name, conn := range map[string]grpc.ClientConnInterface{"v1": cc, "v1alpha": alphaOnly{cc}} {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Reflection(conn, schema.ReflectionOptions{}).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var methods []string
			for _, m := range s.Methods() {
				methods = append(methods, m.Name)
			}
			if !slices.Equal(methods, []string{"alpha.Alpha/Get", "beta.Beta/Get"}) || len(s.Problems()) > 0 {
				t.Errorf("methods %q, problems %v", methods, s.Problems())
			}
			if rules := s.Method("alpha.Alpha/Get").Rules; len(rules) != 1 || rules[0].GetGet() != "/alpha" {
				t.Errorf("rules %v", rules)
			}
		})
	}
}

// alphaOnly is a connection to a server without v1.
type alphaOnly struct{ grpc.ClientConnInterface }

func (c alphaOnly) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !strings.Contains(method, "v1alpha") {
		return nil, status.Error(codes.Unimplemented, "unknown service")
	}
	return c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}

func TestTheTableChanges(t *testing.T) {
	var table atomic.Pointer[frontend.Table]
	c := newClient(t, serve(t, table.Load))
	if got := c.services(); len(got) != 0 {
		t.Errorf("services without a table: %q", got)
	}
	if got := c.symbol("google.rpc.BadRequest"); got != nil {
		t.Errorf("without a table: %q", got)
	}
	first := &frontend.Table{Methods: map[string]*frontend.Method{"/none": {Upstream: "none"}}}
	upstream(t, first, "one", nil, map[string]string{
		"a.proto": `syntax = "proto3"; package a; import "b.proto"; message M { b.M m = 1; } service S { rpc Do(M) returns (M); }`,
		"b.proto": `syntax = "proto3"; package b; message M {}`,
	})
	table.Store(first)
	if got := c.symbol("a.S"); !slices.Equal(got, []string{"a.proto", "b.proto"}) {
		t.Errorf("files %q", got)
	}
	second := &frontend.Table{Methods: map[string]*frontend.Method{}}
	upstream(t, second, "one", nil, map[string]string{
		"a.proto": `syntax = "proto3"; package a; import "b.proto"; message M { b.M m = 1; } service S { rpc Do(M) returns (M); rpc New(M) returns (M); }`,
		"b.proto": `syntax = "proto3"; package b; message M { int32 n = 1; }`,
	})
	table.Store(second)
	if got := c.symbol("a.S.New"); !slices.Equal(got, []string{"a.proto", "b.proto"}) {
		t.Errorf("files after a change %q", got)
	}
}

func TestQuestionsOfNoKind(t *testing.T) {
	table := twoUpstreams(t)
	cc := serve(t, func() *frontend.Table { return table })
	c := newClient(t, cc)
	if err := c.stream.Send(&reflectionv1.ServerReflectionRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
	alpha, err := reflectionv1alpha.NewServerReflectionClient(cc).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := alpha.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := alpha.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of the questions: %v", err)
	}
}
