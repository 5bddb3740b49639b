package schema

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// tracker knows which files the last load looked at, and what they were like before it did. Files that were looked for
// and not found are among them: an import that appears in an earlier import path matters as much as one that changes.
type tracker struct {
	debounce time.Duration // quiet time after an event, while a file is being written
	poll     time.Duration // between looks at files that the operating system tells about
	fastPoll time.Duration // where it does not: no watcher, or its limit is reached

	newWatcher func() (*fsnotify.Watcher, error)

	mu     sync.Mutex
	files  map[string]stamp
	loaded chan struct{} // closed and replaced at the end of each load
}

func newTracker() *tracker {
	return &tracker{
		debounce: 100 * time.Millisecond, poll: 10 * time.Second, fastPoll: 2 * time.Second,
		newWatcher: fsnotify.NewWatcher, files: map[string]stamp{}, loaded: make(chan struct{}),
	}
}

// stamp is what tells one content of a file from another without reading it.
type stamp struct {
	info os.FileInfo // nil: there is no such file
	real string      // with symbolic links resolved
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info: info, real: resolved}
}

func (s stamp) equal(t stamp) bool {
	if s.info == nil || t.info == nil {
		return s.info == nil && t.info == nil
	}
	return s.real == t.real && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime()) && os.SameFile(s.info, t.info)
}

// reading is one load. Safe for concurrent use.
type reading struct {
	t     *tracker
	mu    sync.Mutex
	files map[string]stamp
}

func (t *tracker) begin() *reading { return &reading{t: t, files: map[string]stamp{}} }

// end makes what was read the state that changes are measured against.
func (r *reading) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	// The compiler may still be ending its goroutines, which come too late for this load.
	r.t.files, r.files = r.files, map[string]stamp{}
	close(r.t.loaded)
	r.t.loaded = make(chan struct{})
}

// look takes the stamp before the content is read, so that a change in between is seen as one.
func (r *reading) look(path string) stamp {
	// Events have absolute paths. Abs fails only where the working directory is gone, and everything with it.
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.files[path]
	if !ok {
		s = stampOf(path)
		r.files[path] = s
	}
	return s
}

func (r *reading) file(path string) ([]byte, error) {
	r.look(path)
	return os.ReadFile(path)
}

func (r *reading) exists(path string) bool { return r.look(path).info != nil }

// watch calls changed when a file that the last load looked at has changed, until ctx is done. It follows directories, because
// editors and Kubernetes replace files rather than write them, and polls as a safety net.
func (t *tracker) watch(ctx context.Context, changed func()) {
	var events chan fsnotify.Event
	var errs chan error
	w, err := t.newWatcher()
	if err == nil {
		defer w.Close()
		events, errs = w.Events, w.Errors
	} else {
		w = nil // Polling has to do.
	}
	files, loaded := t.current()
	var named bool            // an event named one of the files
	var deadline time.Time    // when a burst of events is looked at, even if it goes on
	timer := time.NewTimer(0) // when to look next
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-loaded:
			files, loaded = t.current()
			// A new load may have looked at other files.
			timer.Reset(0)
		case e := <-events:
			if e.Op == fsnotify.Chmod {
				continue
			}
			if _, ok := files[filepath.Clean(e.Name)]; ok {
				named = true
			}
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(10 * t.debounce)
			}
			timer.Reset(min(t.debounce, deadline.Sub(now)))
		case err := <-errs:
			if err != nil { // Events were lost.
				timer.Reset(t.debounce)
			}
		case <-timer.C:
			deadline = time.Time{}
			interval := t.poll
			if !follow(w, files) {
				interval = t.fastPoll
			}
			now := make(map[string]stamp, len(files))
			differs := named
			named = false
			for path, before := range files {
				now[path] = stampOf(path)
				differs = differs || !now[path].equal(before)
			}
			if differs {
				files = now
				changed()
			}
			timer.Reset(interval)
		}
	}
}

func (t *tracker) current() (map[string]stamp, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files, t.loaded
}

// follow watches the directories that matter to the files and no others. It reports whether that worked.
func follow(w *fsnotify.Watcher, files map[string]stamp) bool {
	if w == nil {
		return false
	}
	// A directory may be made below one after it was looked for and before this one is watched. So the directories
	// are looked for again until all of them are watched already: from then on each change is an event.
	const most = 20
	for range most {
		dirs := map[string]bool{}
		for path := range files {
			for _, dir := range watchDirs(path) {
				dirs[dir] = true
			}
		}
		watched := map[string]bool{}
		for _, dir := range w.WatchList() {
			if watched[dir] = true; !dirs[dir] {
				_ = w.Remove(dir)
			}
		}
		ok, complete := true, true
		for dir := range dirs {
			complete = complete && watched[dir]
			// Repeated because a directory that was removed and made anew is no longer watched, whatever the list says.
			ok = w.Add(dir) == nil && ok
		}
		if !ok || complete {
			return ok
		}
	}
	return false
}

// watchDirs lists the directories in which something happens when the path comes to mean another file: its own, that of each
// symbolic link on the way, and the last that exists where it does not.
func watchDirs(path string) []string {
	const maxLinks = 40
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var dirs []string
	for range maxLinks {
		dir, next := nextLink(path)
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		if next == "" {
			break
		}
		path = next
	}
	return dirs
}

// nextLink walks down an absolute path to the first symbolic link. It returns the directory of that link and the path with the
// link replaced; or, where there is none, the directory of the path, or of its first part that does not exist, and "".
func nextLink(path string) (dir, next string) {
	var parts []string // from the path itself up to below the root
	for p := path; p != filepath.Dir(p); p = filepath.Dir(p) {
		parts = append(parts, p)
	}
	for _, p := range slices.Backward(parts) {
		info, err := os.Lstat(p)
		if err != nil {
			return filepath.Dir(p), ""
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := os.Readlink(p)
		if err != nil {
			return filepath.Dir(p), ""
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(p), target)
		}
		rest, err := filepath.Rel(p, path)
		if err != nil {
			return filepath.Dir(p), ""
		}
		return filepath.Dir(p), filepath.Join(target, rest)
	}
	return filepath.Dir(path), ""
}
