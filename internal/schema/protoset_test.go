package schema

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// writeFiles writes "name: content" under a new directory and returns it.
func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProtoset(t *testing.T) {
	descs := sources(t, fixture)
	set := func(names ...string) string { return string(marshal(t, setOf(descs, names...))) }
	changed := proto.CloneOf(descs["acme/types.proto"])
	changed.MessageType[0].Field[0].Name = proto.String("other")
	descriptor := protodesc.ToFileDescriptorProto(standardFile("google/protobuf/descriptor.proto"))
	older := proto.CloneOf(descriptor)
	older.MessageType = older.MessageType[:len(older.MessageType)-1]
	with := func(fds ...*descriptorpb.FileDescriptorProto) string {
		s := setOf(descs, "acme/user.proto", "acme/opts.proto", "acme/other.proto")
		s.File = append(s.File, fds...)
		return string(marshal(t, s))
	}

	for _, tc := range []struct {
		name  string
		files map[string]string // nil content: no such file
		want  []string          // methods
		err   []string
	}{
		{
			name:  "one complete set, not ordered",
			files: map[string]string{"a.pb": set("acme/user.proto", "acme/other.proto", "acme/types.proto", "acme/opts.proto")},
			want:  fixtureMethods,
		},
		{
			name:  "two sets that share files",
			files: map[string]string{"a.pb": set("acme/user.proto", "acme/types.proto", "acme/opts.proto"), "b.pb": set("acme/other.proto", "acme/types.proto")},
			want:  fixtureMethods,
		},
		{
			name:  "two sets with different releases of descriptor.proto",
			files: map[string]string{"a.pb": with(descs["acme/types.proto"], descriptor), "b.pb": with(older)},
			want:  fixtureMethods,
		},
		{
			name:  "two sets in conflict",
			files: map[string]string{"a.pb": set("acme/types.proto"), "b.pb": with(changed)},
			err:   []string{`"acme/types.proto"`, "a.pb", "b.pb", "two different versions"},
		},
		{
			name:  "a set without imports",
			files: map[string]string{"a.pb": set("acme/user.proto")},
			err:   []string{`"acme/types.proto"`, `"acme/user.proto"`, "--include_imports"},
		},
		{
			name:  "a set without services",
			files: map[string]string{"a.pb": set("acme/types.proto")},
			err:   []string{"a.pb", "no service"},
		},
		{
			name:  "an empty file",
			files: map[string]string{"a.pb": ""},
			err:   []string{"a.pb", "FileDescriptorSet"},
		},
		{
			name:  "a source file",
			files: map[string]string{"a.proto": fixture["acme/types.proto"]},
			err:   []string{"a.proto", "FileDescriptorSet", "descriptors proto"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, tc.files)
			var paths []string
			for _, name := range []string{"a.pb", "b.pb", "a.proto"} {
				if _, ok := tc.files[name]; ok {
					paths = append(paths, filepath.Join(dir, name))
				}
			}
			s, err := Protoset(paths...).Load(testContext(t))
			if tc.err != nil {
				wantError(t, err, tc.err...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantMethods(t, s, tc.want...)
		})
	}
}

func TestProtosetThatDoesNotExist(t *testing.T) {
	_, err := Protoset(filepath.Join(t.TempDir(), "no.pb")).Load(testContext(t))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestProtosetStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Protoset("x.pb").Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
