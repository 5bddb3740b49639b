package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestComments reads comments of every kind of declaration from a file without its imports.
func TestComments(t *testing.T) {
	dir := t.TempDir()
	first := commentFile(t, filepath.Join(dir, "first"), "talk.proto", `syntax = "proto3";
package talk.v1;
import "google/protobuf/timestamp.proto";
// A service.
service Talk {
  rpc Say(Line) returns (Line); // A method.
}
// A message.
message Line {
  // A field.
  google.protobuf.Timestamp at = 1;
  // A oneof.
  oneof kind {
    // A member.
    Tone tone = 2;
  }
  // A nested message.
  message Part {
    // A nested enum.
    enum Size {
      // A nested value.
      SMALL = 0;
    }
  }
  string silent = 3;
}
// An enum.
enum Tone {
  // A value.
  LOUD = 0;
}
`)
	second := commentFile(t, filepath.Join(dir, "second"), "talk.proto", `syntax = "proto3";
package talk.v1;
message Line {
  // Another field.
  string at = 1;
  // Not silent any more.
  string silent = 3;
}
`)
	comments, err := NewCommentFiles(first, second).Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[protoreflect.FullName]string{
		"talk.v1.Talk": "A service.", "talk.v1.Talk.Say": "A method.", "talk.v1.Line": "A message.", "talk.v1.Line.at": "A field.",
		"talk.v1.Line.kind": "A oneof.", "talk.v1.Line.tone": "A member.", "talk.v1.Line.Part": "A nested message.",
		"talk.v1.Line.Part.Size": "A nested enum.", "talk.v1.Line.Part.SMALL": "A nested value.", "talk.v1.Tone": "An enum.",
		"talk.v1.LOUD": "A value.", "talk.v1.Line.silent": "Not silent any more.", "talk.v1.Nothing": "",
	} {
		if got := strings.TrimSpace(comments.Of(name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if (*Comments)(nil).Of("talk.v1.Talk") != "" {
		t.Error("no comments say something")
	}
}

// commentFile compiles a source, and writes a set with this file alone.
func commentFile(t *testing.T, path, name, source string) string {
	t.Helper()
	set := setOf(sources(t, map[string]string{name: source}), name)
	if err := os.WriteFile(path, marshal(t, set), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
