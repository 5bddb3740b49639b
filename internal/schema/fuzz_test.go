package schema

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// FuzzProtoset: any bytes are refused or make a schema that can be used to the end.
func FuzzProtoset(f *testing.F) {
	descs := sources(f, fixture)
	f.Add(marshal(f, setOf(descs, "acme/user.proto", "acme/types.proto", "acme/opts.proto", "acme/other.proto")))
	f.Add(marshal(f, setOf(descs, "acme/user.proto")))
	f.Add(marshal(f, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(testpb.File_internal_testkit_testpb_echo_proto),
	}}))
	f.Add(marshal(f, &descriptorpb.FileDescriptorSet{File: diamonds(3)}))
	f.Add([]byte(fixture["acme/types.proto"]))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := newAssembly()
		if err := a.addSet(raw, "fuzz"); err != nil {
			return
		}
		s, err := a.buildStrict()
		if err != nil {
			return
		}
		use(t, s)
	})
}

// FuzzReflection: answers of any shape are refused or make a schema that can be used to the end,
// within the limits.
func FuzzReflection(f *testing.F) {
	descs := sources(f, fixture)
	server := &fakeReflection{listed: fixtureServices, files: descs}
	var session []byte
	for _, q := range []*reflectionpb.ServerReflectionRequest{
		{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "acme.Other"}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "acme.Users"}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: "acme/types.proto"}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: "acme/opts.proto"}},
	} {
		session = appendFrame(session, marshal(f, server.answer(q)))
	}
	f.Add(session, 0)
	f.Add(session, 1)
	f.Add([]byte{}, 0)
	f.Add(appendFrame(nil, []byte("garbage")), 2)
	f.Fuzz(func(t *testing.T, frames []byte, perStream int) {
		rest := frames
		hostile := &fakeReflection{perStream: max(0, perStream)}
		hostile.edit = func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
			proto.Reset(resp)
			var frame []byte
			frame, rest = nextFrame(rest)
			if frame == nil {
				rest = frames // The same again, without end.
			}
			return proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(frame, resp)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s, err := Reflection(hostile, ReflectionOptions{MaxBytes: 1 << 20}).Load(ctx)
		if ctx.Err() != nil {
			t.Fatal("it was stopped by the clock")
		}
		if err == nil {
			use(t, s)
		}
	})
}

// Each frame begins with its length, in two bytes.
func appendFrame(dst, frame []byte) []byte {
	return append(append(dst, byte(len(frame)>>8), byte(len(frame))), frame...)
}

func nextFrame(raw []byte) (frame, rest []byte) {
	if len(raw) < 2 {
		return nil, nil
	}
	n := int(raw[0])<<8 | int(raw[1])
	n = min(n, len(raw)-2)
	return raw[2 : 2+n], raw[2+n:]
}

// FuzzProtoFiles: any source is refused or makes a schema.
func FuzzProtoFiles(f *testing.F) {
	for _, text := range fixture {
		f.Add(text)
	}
	f.Add(`edition = "2023"; service S { rpc Do(S.M) returns (stream .S); }`)
	f.Fuzz(func(t *testing.T, text string) {
		dir := writeFiles(t, map[string]string{"f.proto": text})
		s, err := ProtoFiles([]string{filepath.Join(dir, "f.proto")}, nil).Load(testContext(t))
		if err == nil {
			use(t, s)
		}
	})
}

// use does what the gateway does with a schema.
func use(t *testing.T, s *Schema) {
	t.Helper()
	for _, m := range s.Methods() {
		if s.Method(m.Name) != m {
			t.Errorf("%q is not found by its name", m.Name)
		}
		for _, md := range []protoreflect.MessageDescriptor{m.Desc.Input(), m.Desc.Output()} {
			if md.IsPlaceholder() {
				t.Errorf("%s: %s is a placeholder", m.Name, md.FullName())
			}
			if _, err := s.Types().FindMessageByName(md.FullName()); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			_ = proto.Unmarshal([]byte{8, 1, 18, 1, 'a'}, dynamicpb.NewMessage(md))
		}
		for _, r := range m.Rules {
			if r.GetAdditionalBindings() != nil {
				t.Errorf("%s: rule is not flat", m.Name)
			}
			_ = r.String()
		}
	}
	s.Files().RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		_ = protodesc.ToFileDescriptorProto(fd)
		return true
	})
}
