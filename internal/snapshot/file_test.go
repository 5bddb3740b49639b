package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestWhatIsSavedIsLoaded(t *testing.T) {
	path := Path(filepath.Join(t.TempDir(), "made", "when needed"), "etcd://x")
	want := &list{saved: noon, revision: 42, endpoints: []discovery.Endpoint{
		{ID: "a", Addr: "10.0.0.1:1", Weight: 3, Registration: 7, Metadata: map[string]string{"zone": "b"}},
		{ID: "b", Addr: "[::1]:2"},
	}}
	if err := save(path, "etcd://x", want); err != nil {
		t.Fatal(err)
	}
	got, err := load(path, "etcd://x", noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !got.saved.Equal(noon) || got.revision != 42 || !sameEndpoints(got.endpoints, want.endpoints) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestFilesThatAreNotUsed(t *testing.T) {
	const good = `{"version":1,"source":"s","saved":"2026-01-02T12:00:00Z","endpoints":[{"id":"a","address":"10.0.0.1:1"}]}`
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, c := range map[string]struct {
		content string
		age     time.Duration
		want    string // part of the error; empty: none
	}{
		"a good one":                 {good, time.Hour, ""},
		"a day old":                  {good, 24 * time.Hour, ""},
		"of a clock that is not set": {good, -time.Hour, ""},
		"older than a day":           {good, 24*time.Hour + time.Second, "24h0m1s old"},
		"far ahead of the clock":     {good, -25 * time.Hour, "25h0m0s ahead of the clock"},
		"empty":                      {"", 0, "reading it as JSON"},
		"cut off":                    {good[:len(good)/2], 0, "reading it as JSON"},
		"zeros, as after a crash":    {strings.Repeat("\x00", len(good)), 0, "reading it as JSON"},
		"of a later version":         {replace(`"version":1`, `"version":2`), 0, "expected version 1, found 2"},
		"of another source":          {replace(`"s"`, `"other"`), 0, `expected the instances of "s", found those of "other"`},
		"without instances":          {replace(`{"id":"a","address":"10.0.0.1:1"}`, ""), 0, "no instances"},
		"with a bad address":         {replace("10.0.0.1:1", "0.0.0.0:1"), 0, `instance "a": expected an address that can be dialled`},
		"too large":                  {good + string(bytes.Repeat([]byte(" "), maxSize)), 0, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := Path(t.TempDir(), "s")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := load(path, "s", noon.Add(c.age))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := load(Path(t.TempDir(), "s"), "s", noon); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

// TestSeveralWriters has readers never see anything but what one of the writers wrote, whole.
func TestSeveralWriters(t *testing.T) {
	path := Path(t.TempDir(), "s")
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for range 25 {
				l := &list{saved: noon}
				for i := range 10 * (w + 1) {
					l.endpoints = append(l.endpoints, discovery.Endpoint{ID: fmt.Sprintf("%03d", i), Addr: fmt.Sprintf("10.0.0.%d:1", w)})
				}
				if err := save(path, "s", l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop, reader := make(chan struct{}), sync.WaitGroup{}
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			l, err := load(path, "s", noon)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			var writer int
			if _, err := fmt.Sscanf(l.endpoints[0].Addr, "10.0.0.%d:1", &writer); err != nil || len(l.endpoints) != 10*(writer+1) {
				t.Errorf("%d endpoints, beginning with %v", len(l.endpoints), l.endpoints[0])
				return
			}
		}
	})
	writers.Wait()
	close(stop)
	reader.Wait()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestSweepRemovesLitterOnly(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Base(Path(dir, "s"))
	old, young := time.Now().Add(-8*24*time.Hour), time.Now().Add(-time.Hour)
	for file, at := range map[string]time.Time{
		name:                            old,
		name + ".123.tmp":               old,
		filepath.Base(Path(dir, "t")):   young,
		name + ".124.tmp":               young,
		"somebody's.json":               old,
		name + ".bak":                   old,
		"x" + filepath.Base(name)[1:32]: old,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, file), at, at); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir, time.Now())
	for file, want := range map[string]bool{
		name: false, name + ".123.tmp": false, filepath.Base(Path(dir, "t")): true, name + ".124.tmp": true,
		"somebody's.json": true, name + ".bak": true, "x" + filepath.Base(name)[1:32]: true,
	} {
		if _, err := os.Stat(filepath.Join(dir, file)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", file, err == nil, want)
		}
	}
}
