package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// TestDocument merges two binaries, of which one has a module that the other does not.
func TestDocument(t *testing.T) {
	zap := &debug.Module{Path: "go.uber.org/zap", Version: "v1.28.0", Sum: "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
	unix := &debug.Module{Path: "example.com/unix", Version: "v1.0.0+incompatible"}
	forked := &debug.Module{Path: "example.com/a", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}}
	local := &debug.Module{Path: "example.com/here", Version: "v0.1.0", Replace: &debug.Module{Path: "../.."}}
	devel := &debug.Module{Path: "example.com/devel", Version: "v0.2.0", Replace: &debug.Module{Path: "../..", Version: "(devel)"}}
	linux := &debug.BuildInfo{GoVersion: "go1.26.4", Deps: []*debug.Module{zap, unix, forked}}
	windows := &debug.BuildInfo{GoVersion: "go1.26.4", Deps: []*debug.Module{local, devel, zap}}
	d := newDocument("gateway", "v0.1.0", []*debug.BuildInfo{linux, windows})
	var got []string
	for _, c := range d.Components {
		got = append(got, c.PURL)
	}
	want := []string{
		"pkg:golang/example.com/devel@v0.2.0",
		"pkg:golang/example.com/fork@v1.0.1",
		"pkg:golang/example.com/here@v0.1.0",
		"pkg:golang/example.com/unix@v1.0.0%2Bincompatible",
		"pkg:golang/go.uber.org/zap@v1.28.0",
		"pkg:golang/std@1.26.4",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("components are %q, want %q", got, want)
	}
	if strings.Join(d.Dependencies[0].DependsOn, "\n") != strings.Join(want, "\n") {
		t.Errorf("dependencies are %q", d.Dependencies)
	}
	if h := d.Components[4].Hashes; len(h) != 1 || h[0].Content != "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" {
		t.Errorf("the hash of zap is %v", h)
	}
	other := newDocument("gateway", "v0.1.0", []*debug.BuildInfo{windows, linux})
	a, _ := json.Marshal(d)
	if b, _ := json.Marshal(other); !bytes.Equal(a, b) {
		t.Error("the order of the binaries matters")
	}
}

// TestRun reads this test's own binary.
func TestRun(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{"gateway", "v0.1.0", binary}, &out); err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Metadata.Component.Version != "v0.1.0" || len(d.Components) != 1 || d.Components[0].Name != "std" {
		t.Errorf("the document is %s", &out)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"gateway", "v0.1.0"}, {"gateway", "v0.1.0", text}} {
		if err := run(args, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
