package schema

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// never is longer than any test runs.
const never = time.Hour

func trackerOf(l Loader) *tracker {
	switch l := l.(type) {
	case *protoset:
		return l.tracker
	case *protoFiles:
		return l.tracker
	default:
		return nil
	}
}

// startWatch loads once and watches until the test ends. The channel that it returns holds a value
// after changed was called.
func startWatch(t *testing.T, l Loader) <-chan struct{} {
	t.Helper()
	_, _ = l.Load(testContext(t)) // Files are watched even if the load fails.
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return changed
}

func wantChange(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("the change was not seen")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchSeesChanges(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links and renames over open files are not what Windows has")
	}
	for _, tc := range []struct {
		name   string
		files  map[string]string
		load   string // under the directory, a descriptor set, or source when it ends in .proto
		roots  []string
		setup  func(t *testing.T, dir string)
		change func(t *testing.T, dir string)
	}{
		{
			name: "written in place", files: map[string]string{"a.pb": "1"}, load: "a.pb",
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "a.pb"), "22") },
		},
		{
			name: "replaced by rename, as editors do", files: map[string]string{"a.pb": "1"}, load: "a.pb",
			change: func(t *testing.T, dir string) {
				writeFile(t, filepath.Join(dir, ".a.pb.tmp"), "2")
				must(t, os.Rename(filepath.Join(dir, ".a.pb.tmp"), filepath.Join(dir, "a.pb")))
			},
		},
		{
			name: "removed", files: map[string]string{"a.pb": "1"}, load: "a.pb",
			change: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "a.pb"))) },
		},
		{
			name: "made", load: "a.pb",
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "a.pb"), "1") },
		},
		{
			name: "made in directories that were not there", load: "x/y/z/a.pb",
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "x/y/z/a.pb"), "1") },
		},
		{
			name: "a Kubernetes volume is swapped", files: map[string]string{"..1/a.pb": "1", "..2/a.pb": "2"}, load: "a.pb",
			setup: func(t *testing.T, dir string) {
				must(t, os.Symlink("..1", filepath.Join(dir, "..data")))
				must(t, os.Symlink("..data/a.pb", filepath.Join(dir, "a.pb")))
			},
			change: func(t *testing.T, dir string) {
				must(t, os.Symlink("..2", filepath.Join(dir, "..data_tmp")))
				must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
				must(t, os.RemoveAll(filepath.Join(dir, "..1")))
			},
		},
		{
			name: "a link to the directory above is swapped", files: map[string]string{"r1/d/a.pb": "1", "r2/d/a.pb": "2"}, load: "current/d/a.pb",
			setup: func(t *testing.T, dir string) { must(t, os.Symlink("r1", filepath.Join(dir, "current"))) },
			change: func(t *testing.T, dir string) {
				must(t, os.Symlink("r2", filepath.Join(dir, "tmp")))
				must(t, os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "current")))
			},
		},
		{
			name: "the target of a link is written", files: map[string]string{"real/a.pb": "1"}, load: "a.pb",
			setup:  func(t *testing.T, dir string) { must(t, os.Symlink("real/a.pb", filepath.Join(dir, "a.pb"))) },
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "real/a.pb"), "22") },
		},
		{
			name: "an imported file changes", files: fixture, load: "acme/user.proto", roots: []string{"."},
			change: func(t *testing.T, dir string) {
				writeFile(t, filepath.Join(dir, "acme/types.proto"), fixture["acme/types.proto"]+"\nmessage More {}")
			},
		},
		{
			name: "an imported file appears in an earlier import path", files: fixture, load: "acme/user.proto", roots: []string{"first", "."},
			change: func(t *testing.T, dir string) {
				writeFile(t, filepath.Join(dir, "first/acme/types.proto"), fixture["acme/types.proto"])
			},
		},
		{
			name: "a missing import is added", files: map[string]string{"m.proto": `syntax = "proto3"; import "x.proto"; service S { rpc Do(X) returns (X); }`}, load: "m.proto",
			change: func(t *testing.T, dir string) {
				writeFile(t, filepath.Join(dir, "x.proto"), `syntax = "proto3"; message X {}`)
			},
		},
	} {
		for _, how := range []string{"by events", "by polling"} {
			t.Run(tc.name+"/"+how, func(t *testing.T) {
				dir := writeFiles(t, tc.files)
				if tc.setup != nil {
					tc.setup(t, dir)
				}
				path := filepath.Join(dir, tc.load)
				l := Protoset(path)
				if filepath.Ext(path) == ".proto" {
					var roots []string
					for _, r := range tc.roots {
						roots = append(roots, filepath.Join(dir, r))
					}
					l = ProtoFiles([]string{path}, roots)
				}
				tr := trackerOf(l)
				tr.debounce, tr.poll, tr.fastPoll = 5*time.Millisecond, never, never
				if how == "by polling" {
					tr.fastPoll = 5 * time.Millisecond
					tr.newWatcher = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many watches") }
				}
				changed := startWatch(t, l)
				tc.change(t, dir)
				wantChange(t, changed)
			})
		}
	}
}

func TestWatchSeesWhatChangedBeforeItBegan(t *testing.T) {
	dir := writeFiles(t, map[string]string{"a.pb": "1"})
	l := Protoset(filepath.Join(dir, "a.pb"))
	_, _ = l.Load(testContext(t))
	writeFile(t, filepath.Join(dir, "a.pb"), "22")
	ctx, cancel := context.WithCancel(testContext(t))
	seen := false
	l.Watch(ctx, func() {
		seen = true
		cancel()
	})
	if !seen {
		t.Error("the change was not seen")
	}
}

func TestWatchFollowsTheFilesOfTheLastLoad(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"m.proto": `syntax = "proto3"; message M {} service S { rpc Do(M) returns (M); }`,
		"x.proto": `syntax = "proto3"; message X {}`,
	})
	l := ProtoFiles([]string{filepath.Join(dir, "m.proto")}, nil)
	tr := trackerOf(l)
	tr.debounce, tr.poll, tr.fastPoll = 5*time.Millisecond, never, never
	changed := startWatch(t, l)
	writeFile(t, filepath.Join(dir, "m.proto"), `syntax = "proto3"; import "x.proto"; service S { rpc Do(X) returns (X); }`)
	wantChange(t, changed)
	if _, err := l.Load(testContext(t)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "x.proto"), `syntax = "proto3"; message X { string s = 1; }`)
	wantChange(t, changed)
}

func TestWatchIgnoresOtherFiles(t *testing.T) {
	dir := writeFiles(t, map[string]string{"a.pb": "1"})
	l := Protoset(filepath.Join(dir, "a.pb"))
	tr := trackerOf(l)
	tr.debounce, tr.poll, tr.fastPoll = time.Millisecond, 5*time.Millisecond, 5*time.Millisecond
	changed := startWatch(t, l)
	for range 10 {
		writeFile(t, filepath.Join(dir, "b.pb"), "x")
		time.Sleep(5 * time.Millisecond)
	}
	select {
	case <-changed:
		t.Error("another file counted as a change")
	default:
	}
}

func TestWatchDirs(t *testing.T) {
	dir, err := filepath.EvalSymlinks(writeFiles(t, map[string]string{"real/a.pb": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"real/a.pb", []string{"real"}},
		{"link/a.pb", []string{".", "real"}},
		{"real/no/such/a.pb", []string{"real"}},
		{"loop/a.pb", []string{"."}},
	} {
		t.Run(tc.path, func(t *testing.T) {
			got := watchDirs(filepath.Join(dir, tc.path))
			if len(got) != len(tc.want) {
				t.Fatalf("got %q, want %q", got, tc.want)
			}
			for i, want := range tc.want {
				if got[i] != filepath.Join(dir, want) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}
