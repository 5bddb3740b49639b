package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestReflectionOfARealServer(t *testing.T) {
	want, err := FromFiles(testpb.File_internal_testkit_testpb_echo_proto)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		v1, v1alpha bool
	}{
		{"v1 and v1alpha", true, true},
		{"v1 only", true, false},
		{"v1alpha only", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Reflection(dialBackend(t, testkit.WithReflection(tc.v1, tc.v1alpha)), ReflectionOptions{}).Load(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			wantMethods(t, s, methodNames(want)...)
			if s.Fingerprint() != want.Fingerprint() {
				t.Error("the fingerprint is not that of the generated code")
			}
			if len(s.Problems()) != 0 {
				t.Errorf("problems: %v", s.Problems())
			}
			if len(s.Method("gateway.test.v1.Echo/Unary").Rules) != 7 {
				t.Errorf("rules: %v", s.Method("gateway.test.v1.Echo/Unary").Rules)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		_, err := Reflection(dialBackend(t, testkit.WithReflection(false, false)), ReflectionOptions{}).Load(testContext(t))
		var none *NoReflectionError
		if !errors.As(err, &none) {
			t.Fatalf("got %v", err)
		}
		wantError(t, err, "no server reflection", "descriptors protoset", "reflection.Register")
	})
	t.Run("only grpc services", func(t *testing.T) {
		_, err := Reflection(dialBackend(t, testkit.WithoutServices()), ReflectionOptions{}).Load(testContext(t))
		wantError(t, err, "no services")
	})
	t.Run("server down", func(t *testing.T) {
		b := testkit.StartBackend(t)
		cc := dial(t, b.Addr())
		b.Stop()
		_, err := Reflection(cc, ReflectionOptions{}).Load(testContext(t))
		if status.Code(err) != codes.Unavailable {
			t.Errorf("got %v", err)
		}
	})
}

func dialBackend(t *testing.T, opts ...testkit.Option) *grpc.ClientConn {
	t.Helper()
	return dial(t, testkit.StartBackend(t, opts...).Addr())
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

var fixtureServices = []string{"acme.Users", "acme.Other", "grpc.reflection.v1.ServerReflection"}

func TestReflectionOfUnusualServers(t *testing.T) {
	for _, tc := range []struct {
		name     string
		server   fakeReflection
		methods  []string // default: all of the fixture
		problems []string // subjects
	}{
		{name: "sends no imports along"},
		{name: "ends the stream after each answer", server: fakeReflection{perStream: 1}},
		{name: "ends the stream after two answers", server: fakeReflection{perStream: 2}},
		{name: "answers out of order", server: fakeReflection{backwards: true}},
		{name: "has v1alpha only", server: fakeReflection{methods: []string{reflectV1Alpha}}},
		{
			name: "sends every file with every answer",
			server: fakeReflection{edit: func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if files := resp.GetFileDescriptorResponse(); files != nil {
					files.FileDescriptorProto = append(files.FileDescriptorProto, files.FileDescriptorProto...)
				}
				return nil
			}},
		},
		{
			name:     "lists a service that it does not know",
			server:   fakeReflection{listed: append([]string{"acme.Ghost"}, fixtureServices...)},
			problems: []string{"acme.Ghost"},
		},
		{
			name:     "lists names that are none",
			server:   fakeReflection{listed: append([]string{"", "a b", "../etc"}, fixtureServices...)},
			problems: []string{"../etc", "a b"},
		},
		{name: "lists a service twice", server: fakeReflection{listed: append([]string{"acme.Users"}, fixtureServices...)}},
		{
			name: "does not have a file that only an option needs",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileByFilename() == "acme/opts.proto" {
					resp.MessageResponse = errorResponse(codes.NotFound).MessageResponse
				}
				return nil
			}},
			problems: []string{"acme/opts.proto"},
		},
		{
			name: "does not have a file whose types are needed",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileByFilename() == "acme/types.proto" || strings.HasPrefix(q.GetFileContainingSymbol(), "acme.User") && q.GetFileContainingSymbol() != "acme.Users" {
					resp.MessageResponse = errorResponse(codes.NotFound).MessageResponse
				}
				return nil
			}},
			methods:  []string{"acme.Other/Do"},
			problems: []string{"acme.Users"},
		},
		{
			name: "sends garbage for one service",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileContainingSymbol() == "acme.Users" {
					resp.MessageResponse = bytesResponse([]byte("garbage")).MessageResponse
				}
				return nil
			}},
			methods:  []string{"acme.Other/Do"},
			problems: []string{"acme.Users"},
		},
		{
			name: "ends the stream for a name that it does not know",
			server: fakeReflection{
				listed: append([]string{"acme.Ghost", "acme.Spirit"}, fixtureServices...),
				edit: func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
					if resp.GetErrorResponse() != nil {
						return status.Error(codes.NotFound, "no such symbol")
					}
					return nil
				},
			},
			problems: []string{"acme.Ghost", "acme.Spirit"},
		},
		{
			name: "finds a service only by the name of another in its file",
			server: fakeReflection{
				listed: []string{"acme.Users", "acme.Other", "acme.Third"},
				edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
					if q.GetFileContainingSymbol() == "acme.Third" {
						resp.MessageResponse = errorResponse(codes.NotFound).MessageResponse
					}
					if q.GetFileContainingSymbol() == "acme.Users" {
						third := &descriptorpb.FileDescriptorProto{Name: proto.String("acme/third.proto"), Package: proto.String("acme"), Service: []*descriptorpb.ServiceDescriptorProto{
							{Name: proto.String("Third"), Method: []*descriptorpb.MethodDescriptorProto{{Name: proto.String("Do"), InputType: proto.String(".acme.Nothing"), OutputType: proto.String(".acme.Nothing")}}},
						}}
						resp.GetFileDescriptorResponse().FileDescriptorProto = append(resp.GetFileDescriptorResponse().FileDescriptorProto, marshalOrNil(third))
					}
					return nil
				},
			},
			methods: []string{"acme.Other/Do", "acme.Third/Do", "acme.Users/Get", "acme.Users/Watch"},
		},
		{
			name:   "gives a part of a file that has nothing but what was asked for",
			server: fakeReflection{edit: editFile(func(string) string { return "" })},
		},
		{
			name:   "gives each declaration in a file of its own",
			server: fakeReflection{edit: editFile(func(symbol string) string { return symbol + ".proto" })},
		},
		{
			name: "gives files by another name than it was asked for",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if fd := fileOf(resp); fd != nil && q.GetFileByFilename() != "" {
					fd.Name = proto.String("src/" + fd.GetName())
					resp.MessageResponse = fileResponse(fd).MessageResponse
				}
				return nil
			}},
		},
		{
			name: "answers another kind of question",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileContainingSymbol() == "acme.Users" {
					resp.MessageResponse = nil
				}
				return nil
			}},
			methods:  []string{"acme.Other/Do"},
			problems: []string{"acme.Users"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := tc.server
			server.files = sources(t, fixture)
			if server.listed == nil {
				server.listed = fixtureServices
			}
			s, err := Reflection(&server, ReflectionOptions{}).Load(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if tc.methods == nil {
				tc.methods = fixtureMethods
			}
			wantMethods(t, s, tc.methods...)
			var subjects []string
			for _, p := range s.Problems() {
				subjects = append(subjects, p.Subject)
			}
			if !slices.Equal(subjects, tc.problems) {
				t.Errorf("problems %q, want %q", s.Problems(), tc.problems)
			}
		})
	}
}

// fileOf returns the only file of an answer, or nil.
func fileOf(resp *reflectionpb.ServerReflectionResponse) *descriptorpb.FileDescriptorProto {
	fd := &descriptorpb.FileDescriptorProto{}
	if raw := resp.GetFileDescriptorResponse().GetFileDescriptorProto(); len(raw) != 1 || proto.Unmarshal(raw[0], fd) != nil {
		return nil
	}
	return fd
}

// editFile leaves nothing in a file except the symbol that was asked for. Unless rename returns "",
// the file has neither its name nor its imports.
func editFile(rename func(symbol string) string) func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error {
	return func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		fd, symbol := fileOf(resp), q.GetFileContainingSymbol()
		if fd == nil {
			return nil
		}
		name := strings.TrimPrefix(symbol, fd.GetPackage()+".")
		fd.MessageType = slices.DeleteFunc(fd.MessageType, func(m *descriptorpb.DescriptorProto) bool { return m.GetName() != name })
		fd.EnumType = slices.DeleteFunc(fd.EnumType, func(e *descriptorpb.EnumDescriptorProto) bool { return e.GetName() != name })
		fd.Service = slices.DeleteFunc(fd.Service, func(s *descriptorpb.ServiceDescriptorProto) bool { return s.GetName() != name })
		fd.SourceCodeInfo = nil
		if to := rename(symbol); to != "" && symbol != "" {
			fd.Name, fd.Dependency = proto.String(to), nil
		}
		resp.MessageResponse = fileResponse(fd).MessageResponse
		return nil
	}
}

// A server may send all files with every answer. Each counts once.
func TestReflectionCountsAFileOnce(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: fixtureServices}
	var all [][]byte
	size := 0
	for _, fd := range server.files {
		all = append(all, marshal(t, fd))
		size += len(marshal(t, fd))
	}
	server.edit = func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if resp.GetFileDescriptorResponse() != nil {
			resp.MessageResponse = bytesResponse(append(slices.Clone(all), all...)...).MessageResponse
		}
		return nil
	}
	s, err := Reflection(server, ReflectionOptions{MaxBytes: size + 1}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, fixtureMethods...)
	if server.questions != 2 {
		t.Errorf("%d questions, want no more after the first file", server.questions)
	}
	server.edit = func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if resp.GetFileDescriptorResponse() != nil {
			resp.MessageResponse = bytesResponse(slices.Repeat(all, 10)...).MessageResponse
		}
		return nil
	}
	_, err = Reflection(server, ReflectionOptions{MaxBytes: size + 1}).Load(testContext(t))
	wantError(t, err, "larger than the limit")
}

// A server that sends parts of one file without end meets a limit.
func TestReflectionOfEndlessParts(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: manyNames(5000)}
	n := 0
	server.edit = func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if q.GetListServices() != "" {
			return nil
		}
		n++
		fd := &descriptorpb.FileDescriptorProto{Name: proto.String("x.proto"), MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String(fmt.Sprint("M", n))}}}
		resp.MessageResponse = fileResponse(fd).MessageResponse
		return nil
	}
	_, err := Reflection(server, ReflectionOptions{}).Load(testContext(t))
	wantError(t, err, "two different versions")
}

// largeReflection sends one file that is larger than what gRPC accepts by default.
type largeReflection struct {
	reflectionpb.UnimplementedServerReflectionServer
	fake *fakeReflection
}

func (l *largeReflection) ServerReflectionInfo(ss reflectionpb.ServerReflection_ServerReflectionInfoServer) error {
	for {
		q, err := ss.Recv()
		if err != nil {
			return err
		}
		if err := ss.Send(l.fake.answer(q)); err != nil {
			return err
		}
	}
}

func TestReflectionOfALargeFile(t *testing.T) {
	files := sources(t, map[string]string{"l.proto": `syntax = "proto3"; package l; message M {} service S { rpc Do(M) returns (M); }`})
	files["l.proto"].SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
		{Span: []int32{0, 0, 0}, LeadingComments: proto.String(strings.Repeat("x", 5<<20))},
	}}
	server := &largeReflection{fake: &fakeReflection{files: files, listed: []string{"l.S"}}}
	cc := dialBackend(t, testkit.WithReflection(false, false), testkit.WithRegister(func(r grpc.ServiceRegistrar) {
		reflectionpb.RegisterServerReflectionServer(r, server)
	}))
	s, err := Reflection(cc, ReflectionOptions{}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, "l.S/Do")
}

// A file is imported as "types.proto" and registered as "acme/types.proto".
func TestReflectionRepairsImportsByAnotherPath(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: fixtureServices}
	user := server.files["acme/user.proto"]
	user.Dependency[slices.Index(user.Dependency, "acme/types.proto")] = "types.proto"
	s, err := Reflection(server, ReflectionOptions{}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, fixtureMethods...)
	if m := s.Method("acme.Users/Get"); m == nil || m.Desc.Output().Fields().ByName("name") == nil {
		t.Error("the output type is not resolved")
	}
}

func TestReflectionDoesNotAskForCommonFiles(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: fixtureServices}
	if _, err := Reflection(server, ReflectionOptions{}).Load(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, name := range server.asked {
		if strings.HasPrefix(name, "google") || strings.HasPrefix(name, "grpc.") {
			t.Errorf("asked for %s", name)
		}
	}
}

func TestReflectionFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		server fakeReflection
		opts   ReflectionOptions
		want   []string
	}{
		{name: "empty list", server: fakeReflection{listed: []string{}}, want: []string{"no services"}},
		{name: "nothing usable", server: fakeReflection{listed: []string{"acme.Ghost"}}, want: []string{"none of the services", "acme.Ghost"}},
		{name: "too many bytes", opts: ReflectionOptions{MaxBytes: 300}, want: []string{"larger than the limit"}},
		{name: "too many services", server: fakeReflection{listed: manyNames(maxServices + 1)}, want: []string{"20001 services"}},
		{
			name: "no list",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetListServices() != "" {
					resp.MessageResponse = nil
				}
				return nil
			}},
			want: []string{"list services"},
		},
		{
			name: "permission denied",
			server: fakeReflection{edit: func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error {
				return status.Error(codes.PermissionDenied, "not you")
			}},
			want: []string{"PermissionDenied", "not you"},
		},
		{
			name: "two versions of one file",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileContainingSymbol() == "acme.Users" {
					other := marshalOrNil(&descriptorpb.FileDescriptorProto{Name: proto.String("acme/other.proto")})
					resp.GetFileDescriptorResponse().FileDescriptorProto = append(resp.GetFileDescriptorResponse().FileDescriptorProto, other)
				}
				return nil
			}},
			want: []string{`"acme/other.proto"`, "two different versions"},
		},
		{
			name: "the stream fails in the middle",
			server: fakeReflection{edit: func(q *reflectionpb.ServerReflectionRequest, _ *reflectionpb.ServerReflectionResponse) error {
				if q.GetFileByFilename() != "" {
					return status.Error(codes.Unavailable, "gone")
				}
				return nil
			}},
			want: []string{"gone"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := tc.server
			server.files = sources(t, fixture)
			if server.listed == nil {
				server.listed = fixtureServices
			}
			_, err := Reflection(&server, tc.opts).Load(testContext(t))
			wantError(t, err, tc.want...)
		})
	}
}

// An empty message takes two bytes on the wire.
func TestReflectionOfAMemoryBomb(t *testing.T) {
	server := &fakeReflection{listed: []string{"x.S"}}
	server.edit = func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if q.GetListServices() == "" {
			bomb := bytes.Repeat([]byte{4<<3 | 2, 0}, maxDeclarations+1)
			resp.MessageResponse = bytesResponse(append(bomb, marshalOrNil(&descriptorpb.FileDescriptorProto{Name: proto.String("x")})...)).MessageResponse
		}
		return nil
	}
	_, err := Reflection(server, ReflectionOptions{}).Load(testContext(t))
	wantError(t, err, "more than 1000000 declarations")
}

func TestProblemsAreBounded(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: append(manyNames(1000), "acme.Users", strings.Repeat("long", 1000))}
	s, err := Reflection(server, ReflectionOptions{}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, fixtureMethods[1:]...)
	if n := len(s.Problems()); n != maxProblems+1 {
		t.Errorf("%d problems", n)
	}
	for _, p := range s.Problems() {
		if len(p.String()) > 2*maxText {
			t.Errorf("a problem of %d bytes", len(p.String()))
		}
	}
}

func TestCountDeclarations(t *testing.T) {
	fd := marshal(t, sources(t, fixture)["acme/types.proto"])
	n := countDeclarations(fd, "FileDescriptorProto", maxDeclarations)
	if n < 10 || n > 100 {
		t.Errorf("counted %d in a file with a message of three fields and an enum", n)
	}
	if got := countDeclarations(fd, "FileDescriptorProto", 3); got < 4 || got > n {
		t.Errorf("counted %d where 3 are the limit", got)
	}
	for i := range fd {
		// Malformed bytes must do no harm.
		countDeclarations(fd[i:], "FileDescriptorProto", maxDeclarations)
	}
}

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("acme.S", i)
	}
	return names
}

func marshalOrNil(m proto.Message) []byte {
	raw, _ := proto.Marshal(m)
	return raw
}

func TestReflectionGivesUp(t *testing.T) {
	t.Run("after its timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := Reflection(&fakeReflection{silent: true}, ReflectionOptions{}).Load(t.Context())
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("when it is cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := Reflection(&fakeReflection{silent: true}, ReflectionOptions{}).Load(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// A server that invents imports without end is stopped by the byte limit, not by the clock.
func TestReflectionOfEndlessImports(t *testing.T) {
	server := &fakeReflection{listed: []string{"x.S"}}
	n := 0
	server.edit = func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if q.GetListServices() != "" {
			return nil
		}
		name := q.GetFileByFilename()
		if name == "" {
			name = "start"
		}
		n++
		fd := &descriptorpb.FileDescriptorProto{Name: &name, Dependency: []string{fmt.Sprint("a", n), fmt.Sprint("b", n)}}
		resp.MessageResponse = fileResponse(fd).MessageResponse
		return nil
	}
	_, err := Reflection(server, ReflectionOptions{MaxBytes: 64 << 10}).Load(testContext(t))
	wantError(t, err, "larger than the limit")
}

func TestReflectionBuildsOnlyWhatIsNew(t *testing.T) {
	server := &fakeReflection{files: sources(t, fixture), listed: fixtureServices}
	l := Reflection(server, ReflectionOptions{})
	load := func() *Schema {
		t.Helper()
		s, err := l.Load(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := load()
	if load() != first {
		t.Error("the same answers were built twice")
	}
	server.files["acme/other.proto"].GetService()[0].GetMethod()[0].Name = proto.String("Redo")
	if s := load(); s == first || s.Method("acme.Other/Redo") == nil {
		t.Error("the change is not seen")
	}
}
