package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// unlisted has types that no file of a service imports.
var unlisted = map[string]string{
	"svc.proto":    `syntax = "proto2"; package svc; message M { optional int32 n = 1; extensions 100 to 200; } service S { rpc Do(M) returns (M); } enum E { E0 = 0; }`,
	"hidden.proto": `syntax = "proto2"; package hidden; import "part.proto"; import "svc.proto"; message Thing { optional Part part = 1; optional svc.M m = 2; }`,
	"part.proto":   `syntax = "proto2"; package hidden; message Part { optional string label = 1; }`,
	"ext.proto":    `syntax = "proto2"; package ext; import "svc.proto"; import "part.proto"; extend svc.M { optional hidden.Part part = 100; optional int32 n = 101; }`,
}

// learning loads the schema of a server with types that the schema does not have.
func learning(t *testing.T, edit func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error) (*fakeReflection, Loader, *Schema) {
	t.Helper()
	server := &fakeReflection{files: sources(t, unlisted), listed: []string{"svc.S"}, edit: edit}
	loader := Reflection(server, ReflectionOptions{})
	s, err := loader.Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	server.asked, server.questions = nil, 0
	return server, loader, s
}

func wantFound(t *testing.T, types *Types, names ...protoreflect.FullName) {
	t.Helper()
	for _, name := range names {
		if mt, err := types.FindMessageByName(name); err != nil || mt.Descriptor().FullName() != name {
			t.Errorf("%s: %v, %v", name, mt, err)
		}
	}
}

func wantNotFound(t *testing.T, types *Types, names ...protoreflect.FullName) {
	t.Helper()
	for _, name := range names {
		if _, err := types.FindMessageByName(name); !errors.Is(err, protoregistry.NotFound) {
			t.Errorf("%s: %v, want not found", shortened(string(name), 50), err)
		}
	}
}

func wantAsked(t *testing.T, server *fakeReflection, want ...string) {
	t.Helper()
	if !slices.Equal(server.asked, want) {
		t.Errorf("asked for %q, want %q", server.asked, want)
	}
	server.asked = nil
}

func TestLearningATypeOfAny(t *testing.T) {
	server, _, s := learning(t, nil)
	mt, err := s.Types().FindMessageByURL("type.googleapis.com/hidden.Thing")
	if err != nil {
		t.Fatal(err)
	}
	wantAsked(t, server, "hidden.Thing", "part.proto")
	// What the schema has is not linked a second time, so that codecs need one program for it.
	if mt.Descriptor().Fields().ByName("m").Message() != s.Method("svc.S/Do").Desc.Input() {
		t.Error("a type of the schema is another one in what was learned")
	}
	wantFound(t, s.Types(), "hidden.Thing", "hidden.Part", "svc.M", "google.rpc.BadRequest")
	wantAsked(t, server)
	if _, err := s.Files().FindDescriptorByName("hidden.Thing"); err == nil {
		t.Error("the schema has changed")
	}
}

func TestLearningExtensions(t *testing.T) {
	t.Run("by number", func(t *testing.T) {
		server, _, s := learning(t, nil)
		xt, err := s.Types().FindExtensionByNumber("svc.M", 100)
		if err != nil || xt.TypeDescriptor().FullName() != "ext.part" {
			t.Fatalf("%v, %v", xt, err)
		}
		wantAsked(t, server, "svc.M 100", "part.proto")
		if _, err := s.Types().FindExtensionByName("ext.n"); err != nil {
			t.Error(err)
		}
		if _, err := s.Types().FindExtensionByNumber("svc.M", 101); err != nil {
			t.Error(err)
		}
		wantAsked(t, server)
		for range 3 {
			if _, err := s.Types().FindExtensionByNumber("svc.M", 102); !errors.Is(err, protoregistry.NotFound) {
				t.Error(err)
			}
		}
		wantAsked(t, server, "svc.M 102")
	})
	t.Run("by name", func(t *testing.T) {
		_, _, s := learning(t, nil)
		xt, err := s.Types().FindExtensionByName("ext.part")
		if err != nil || xt.TypeDescriptor().Number() != 100 {
			t.Errorf("%v, %v", xt, err)
		}
	})
}

func TestLearningIsNotFor(t *testing.T) {
	server, _, s := learning(t, nil)
	for _, name := range []protoreflect.FullName{"", "a b", ".hidden.Thing", "hidden.Thing.", "x/y", protoreflect.FullName(strings.Repeat("x", 501)), "\xff", "svc.E", "svc.S", "svc.M.n"} {
		wantNotFound(t, s.Types(), name)
	}
	if _, err := s.Types().FindExtensionByName("svc.M.n"); !errors.Is(err, protoregistry.NotFound) {
		t.Errorf("a field is taken for an extension: %v", err)
	}
	if _, err := s.Types().FindExtensionByNumber("svc.M", -1); !errors.Is(err, protoregistry.NotFound) {
		t.Error(err)
	}
	wantAsked(t, server)

	set, err := New(setOf(sources(t, unlisted), "svc.proto"))
	if err != nil {
		t.Fatal(err)
	}
	wantNotFound(t, set.Types(), "hidden.Thing") // Nobody can be asked.
}

func TestUnknownTypesAreAskedForAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, s := learning(t, nil)
		wantNotFound(t, s.Types(), "hidden.New", "hidden.New")
		wantAsked(t, server, "hidden.New")
		part := server.files["part.proto"]
		part.MessageType = append(part.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("New")})
		wantNotFound(t, s.Types(), "hidden.New")
		time.Sleep(forgetUnknown)
		wantFound(t, s.Types(), "hidden.New")
		wantAsked(t, server, "hidden.New")
	})
}

func TestAServiceInTroubleIsLeftAlone(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.Internal, codes.PermissionDenied} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trouble := false
				server, _, s := learning(t, func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error {
					if trouble {
						return status.Error(code, "trouble")
					}
					return nil
				})
				trouble = true
				wantNotFound(t, s.Types(), "hidden.Thing", "hidden.Part", "hidden.Other")
				wantAsked(t, server, "hidden.Thing")
				trouble = false
				wantNotFound(t, s.Types(), "hidden.Thing")
				time.Sleep(learnPause)
				wantFound(t, s.Types(), "hidden.Thing")
			})
		})
	}
}

func TestASilentServiceHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, s := learning(t, nil)
		server.silent = true
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { wantNotFound(t, s.Types(), "hidden.Thing") })
		}
		wg.Wait()
		if waited := time.Since(start); waited != learnTimeout {
			t.Errorf("waited for %s", waited)
		}
		wantNotFound(t, s.Types(), "hidden.Thing", "hidden.Part")
		if waited := time.Since(start); waited != learnTimeout {
			t.Errorf("waited for %s in all", waited)
		}
	})
}

// One message may need many types.
func TestASlowServiceHoldsAMessageUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := false
		server, _, s := learning(t, func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error {
			if slow {
				time.Sleep(300 * time.Millisecond)
			}
			return nil
		})
		slow = true
		start := time.Now()
		for n := range 100 {
			wantNotFound(t, s.Types(), protoreflect.FullName(fmt.Sprint("x", n)))
		}
		if waited := time.Since(start); waited != 1200*time.Millisecond {
			t.Errorf("waited for %s", waited)
		}
		server.asked = nil
		time.Sleep(learnPause)
		wantFound(t, s.Types(), "hidden.Part")
	})
}

// blockedConn counts questions that nobody answers.
type blockedConn struct {
	grpc.ClientConnInterface

	now, most, all atomic.Int64
}

func (c *blockedConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c.all.Add(1)
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func TestQuestionsAreBounded(t *testing.T) {
	t.Run("at a time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := &blockedConn{}
			types := &Types{known: emptyTypes()}
			types.learner.Store(newLearner(conn, reflectV1, nil))
			var wg sync.WaitGroup
			for n := range 100 {
				wg.Go(func() { wantNotFound(t, types, protoreflect.FullName(fmt.Sprint("x", n))) })
			}
			wg.Wait()
			if conn.all.Load() != learnConcurrent || conn.most.Load() != learnConcurrent {
				t.Errorf("%d questions, %d at a time", conn.all.Load(), conn.most.Load())
			}
		})
	})
	t.Run("over time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeReflection{}
			types := &Types{known: emptyTypes()}
			types.learner.Store(newLearner(server, reflectV1, nil))
			ask := func(kind string) {
				for n := range 10_000 {
					wantNotFound(t, types, protoreflect.FullName(fmt.Sprint(kind, n)))
				}
			}
			ask("a")
			if server.questions != learnBurst {
				t.Errorf("%d questions at once", server.questions)
			}
			for i := range 10 {
				time.Sleep(time.Second)
				ask(fmt.Sprint("b", i, "x"))
			}
			if server.questions != learnBurst+10*learnRate {
				t.Errorf("%d questions after 10 s", server.questions)
			}
		})
	})
	t.Run("in memory", func(t *testing.T) {
		l := newLearner(&blockedConn{}, reflectV1, nil)
		for n := range maxUnknown + 300 {
			l.mu.Lock()
			l.forgetLocked()
			l.unknown[lack{name: protoreflect.FullName(fmt.Sprint("x", n))}] = time.Now().Add(time.Hour)
			l.mu.Unlock()
		}
		if len(l.unknown) != maxUnknown {
			t.Errorf("%d names are kept", len(l.unknown))
		}
	})
}

// What a service says about types must do no harm.
func TestLearningOfBadAnswers(t *testing.T) {
	message := func(names ...string) []*descriptorpb.DescriptorProto {
		var list []*descriptorpb.DescriptorProto
		for _, name := range names {
			list = append(list, &descriptorpb.DescriptorProto{Name: proto.String(name)})
		}
		return list
	}
	file := func(name string, imports []string, types ...string) []byte {
		return marshalOrNil(&descriptorpb.FileDescriptorProto{
			Name: proto.String(name), Package: proto.String("hidden"), Dependency: imports, MessageType: message(types...),
		})
	}
	many := make([]string, maxLearnedDeclarations)
	for i := range many {
		many[i] = fmt.Sprint("Thing", i)
	}
	many[0] = "Thing"
	n := 0
	for _, tc := range []struct {
		name   string
		answer func(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse
	}{
		{"garbage", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse([]byte("garbage"))
		}},
		{"nothing", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse()
		}},
		{"another kind of answer", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return &reflectionpb.ServerReflectionResponse{}
		}},
		{"another type", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", nil, "Else"))
		}},
		{"a file that imports itself", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", []string{"x.proto"}, "Thing"))
		}},
		{"files in a circle", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", []string{"y.proto"}, "Thing"), file("y.proto", []string{"x.proto"}, "Else"))
		}},
		{"two versions of a file", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", nil, "Thing"), marshalOrNil(&descriptorpb.FileDescriptorProto{Name: proto.String("x.proto")}))
		}},
		{"too many declarations", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", nil, many...))
		}},
		{"too many bytes", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", nil, "Thing", strings.Repeat("x", maxLearnedBytes)))
		}},
		{"imports without end", func(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			n++
			return bytesResponse(file(fmt.Sprint(q.GetFileByFilename(), n), []string{fmt.Sprint("i", n), fmt.Sprint("j", n)}, fmt.Sprint("T", n)))
		}},
		{"a type of the schema in another file", func(*reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			return bytesResponse(file("x.proto", nil, "Thing"), marshalOrNil(&descriptorpb.FileDescriptorProto{
				Name: proto.String("z.proto"), Package: proto.String("svc"), MessageType: message("M"),
			}))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			loaded := false
			server, _, s := learning(t, func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
				if loaded {
					resp.MessageResponse = tc.answer(q).GetMessageResponse()
				}
				return nil
			})
			loaded = true
			_, err := s.Types().FindMessageByName("hidden.Thing")
			if tc.name == "a type of the schema in another file" {
				if err != nil {
					t.Errorf("the file that has nothing wrong: %v", err)
				}
				mt, err := s.Types().FindMessageByName("svc.M")
				if err != nil || mt.Descriptor() != s.Method("svc.S/Do").Desc.Input() {
					t.Errorf("a type of the schema has changed: %v", err)
				}
				return
			}
			if !errors.Is(err, protoregistry.NotFound) {
				t.Errorf("got %v", err)
			}
			if server.questions > maxLearnQuestions {
				t.Errorf("%d questions", server.questions)
			}
			// One bad answer does not keep the others out.
			loaded = false
			wantFound(t, s.Types(), "hidden.Part")
		})
	}
}

func TestWhatIsLearnedIsBounded(t *testing.T) {
	t.Run("in types", func(t *testing.T) { testLearningMuch(t, 0, maxLearned) })
	// Each type comes with others. The message and its name count as two.
	t.Run("in declarations", func(t *testing.T) { testLearningMuch(t, 1999, maxLearnedDeclarations/4000-1) })
}

func testLearningMuch(t *testing.T, others, want int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		loaded := false
		_, _, s := learning(t, func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
			if name, ok := strings.CutPrefix(q.GetFileContainingSymbol(), "many."); ok && loaded {
				fd := &descriptorpb.FileDescriptorProto{
					Name: proto.String(name), Package: proto.String("many"), MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String(name)}},
				}
				for n := range others {
					fd.MessageType = append(fd.MessageType, &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprint(name, "x", n))})
				}
				resp.MessageResponse = fileResponse(fd).MessageResponse
			}
			return nil
		})
		loaded = true
		found := 0
		for n := range want + 10 {
			if _, err := s.Types().FindMessageByName(protoreflect.FullName(fmt.Sprint("many.M", n))); err == nil {
				found++
			}
			time.Sleep(time.Second)
		}
		if found != want {
			t.Errorf("%d types were learned, want %d", found, want)
		}
	})
}

// Codecs keep the types that they were made for, so a change must make a new schema.
func TestReloadingChecksWhatWasLearned(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(files map[string]*descriptorpb.FileDescriptorProto)
		same   bool
	}{
		{"nothing has changed", func(map[string]*descriptorpb.FileDescriptorProto) {}, true},
		{"a learned type has changed", func(files map[string]*descriptorpb.FileDescriptorProto) {
			files["hidden.proto"].GetMessageType()[0].GetField()[0].Name = proto.String("renamed")
		}, false},
		{"a learned type is gone", func(files map[string]*descriptorpb.FileDescriptorProto) { delete(files, "hidden.proto") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, loader, s := learning(t, nil)
			wantFound(t, s.Types(), "hidden.Thing")
			if _, err := s.Types().FindExtensionByNumber("svc.M", 101); err != nil {
				t.Fatal(err)
			}
			tc.change(server.files)
			next, err := loader.Load(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if (next == s) != tc.same || (next.Fingerprint() == s.Fingerprint()) != tc.same {
				t.Errorf("same schema: %t, same fingerprint: %t", next == s, next.Fingerprint() == s.Fingerprint())
			}
			again, err := loader.Load(testContext(t))
			if err != nil || again != next {
				t.Errorf("the next load makes another schema: %v", err)
			}
		})
	}
}

// A schema that differs in its problems only does not replace the one in force.
func TestReloadingKeepsWhatWasLearned(t *testing.T) {
	server, loader, s := learning(t, nil)
	wantFound(t, s.Types(), "hidden.Thing")
	server.listed = append(server.listed, "svc.Ghost")
	next, err := loader.Load(testContext(t))
	if err != nil || next == s || next.Fingerprint() != s.Fingerprint() {
		t.Fatalf("the problem makes no schema with the same fingerprint: %v", err)
	}
	server.asked = nil
	wantFound(t, next.Types(), "hidden.Thing")
	wantAsked(t, server)
}

func TestAskingLikeAnotherSchema(t *testing.T) {
	down, _, s := learning(t, nil)
	down.silent = true
	_, _, other := learning(t, nil)
	s.AskLike(other)
	wantFound(t, s.Types(), "hidden.Thing")
	wantAsked(t, down)
}

func TestLearningFromARealServer(t *testing.T) {
	cc := dialBackend(t)
	s, err := Reflection(cc, ReflectionOptions{}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	// It is linked into this program, and no service of the backend's uses it.
	wantFound(t, s.Types(), "grpc.health.v1.HealthCheckRequest")
	wantNotFound(t, s.Types(), "gateway.test.v1.Nope")
}

// A name may be the end of a URL of any length.
func TestLearningKeepsNoMoreThanTheName(t *testing.T) {
	_, _, s := learning(t, nil)
	url := strings.Repeat("x", 1000) + "/hidden.Unknown"
	if _, err := s.Types().FindMessageByURL(url); !errors.Is(err, protoregistry.NotFound) {
		t.Fatal(err)
	}
	for what := range s.Types().learner.Load().unknown {
		if unsafe.StringData(string(what.name)) == unsafe.StringData(url[1001:]) {
			t.Error("the whole URL is kept")
		}
	}
}
