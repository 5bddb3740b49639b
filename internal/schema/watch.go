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

// tracker knows which files the last load looked at, and what they were like before. It includes
// files that were looked for and not found: an import that appears in an earlier import path
// matters as much as one that changes.
type tracker struct {
	// debounce is the quiet time after an event, while a file is being written.
	debounce time.Duration
	// poll is the time between two looks at files whose changes the operating system reports.
	poll time.Duration
	// fastPoll is that time if it does not, because there is no watcher or its limit is reached.
	fastPoll time.Duration

	newWatcher func() (*fsnotify.Watcher, error)

	mu    sync.Mutex
	files map[string]stamp
	// loaded is closed and replaced at the end of each load.
	loaded chan struct{}
}

func newTracker() *tracker {
	return &tracker{
		debounce: 100 * time.Millisecond, poll: 10 * time.Second, fastPoll: 2 * time.Second,
		newWatcher: fsnotify.NewWatcher, files: map[string]stamp{}, loaded: make(chan struct{}),
	}
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	// info is nil if the file does not exist.
	info os.FileInfo
	// real is the path with symbolic links resolved.
	real string
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
	return s.real == t.real && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime()) &&
		os.SameFile(s.info, t.info)
}

// reading is one load. Safe for concurrent use.
type reading struct {
	t     *tracker
	mu    sync.Mutex
	files map[string]stamp
}

func (t *tracker) begin() *reading { return &reading{t: t, files: map[string]stamp{}} }

// end makes what was read the state that later changes are compared with.
func (r *reading) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	// Goroutines of the compiler may still be reading. That is too late for this load.
	r.t.files, r.files = r.files, map[string]stamp{}
	close(r.t.loaded)
	r.t.loaded = make(chan struct{})
}

// look takes the stamp of a file. It is called before the content is read, so that a change in
// between is noticed.
func (r *reading) look(path string) stamp {
	// Events have absolute paths. Abs fails only if the working directory is gone.
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

// watch calls changed when a file that the last load looked at has changed, until ctx is done. It
// follows directories, because editors and Kubernetes replace files rather than write to them. It
// also polls, as a safety net.
func (t *tracker) watch(ctx context.Context, changed func()) {
	var events chan fsnotify.Event
	var errs chan error
	w, err := t.newWatcher()
	if err == nil {
		defer w.Close()
		events, errs = w.Events, w.Errors
	} else {
		w = nil // Then it only polls.
	}
	files, loaded := t.current()
	var (
		named    bool      // whether an event named one of the files
		deadline time.Time // when to look at the files, even if events go on
	)
	timer := time.NewTimer(0) // fires when it is time to look
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-loaded:
			files, loaded = t.current()
			timer.Reset(0) // The load may have looked at other files.
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
			if err != nil { // Events are lost.
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

// follow watches the directories that matter to the files, and no others. It reports whether that
// worked.
func follow(w *fsnotify.Watcher, files map[string]stamp) bool {
	if w == nil {
		return false
	}
	// A directory may be created in another one before that one is watched. So this lists the
	// directories again until all of them are watched already. From then on every change is an
	// event.
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
			// Add is repeated because a directory that was removed and created again is no longer
			// watched, even if it is in the list.
			ok = w.Add(dir) == nil && ok
		}
		if !ok || complete {
			return ok
		}
	}
	return false
}

// watchDirs lists the directories in which something changes when the path comes to mean another
// file: its own directory, that of each symbolic link on the way, and the last one that exists if
// the path does not.
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

// nextLink walks down an absolute path to the first symbolic link. It returns the directory of that
// link, and the path with the link replaced. If there is no link, it returns "" and the directory
// of the path, or that of its first part that does not exist.
func nextLink(path string) (dir, next string) {
	var parts []string // from the path itself up to the one below the root
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
