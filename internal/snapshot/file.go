package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

const (
	// formatVersion is that of the file. A file of another version is not read.
	formatVersion = 1
	// MaxAge is the maximum age of a list that is used. Older lists say too little about the
	// present.
	MaxAge = 24 * time.Hour
	// maxSize is the maximum size of a file in bytes. A hundred thousand instances take a quarter
	// of it.
	maxSize = 64 << 20
	// litterAge is the age at which files are removed that nobody has written since.
	litterAge = 7 * 24 * time.Hour
)

// list is a list of instances as it is on disk.
type list struct {
	saved     time.Time // when the registry last vouched for it
	revision  int64
	endpoints []discovery.Endpoint // sorted by ID, never empty
}

// file is the JSON of a list.
type file struct {
	Version   int        `json:"version"`
	Source    string     `json:"source"`
	Saved     time.Time  `json:"saved"`
	Revision  int64      `json:"revision,omitempty"`
	Endpoints []endpoint `json:"endpoints"`
}

type endpoint struct {
	ID           string            `json:"id"`
	Addr         string            `json:"address"`
	Weight       uint32            `json:"weight,omitempty"`
	Registration int64             `json:"registration,omitempty"`
	Created      int64             `json:"created,omitempty"`
	Service      string            `json:"service,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

// Path is the file of a source, by its ID, in the directory.
func Path(dir, source string) string {
	sum := sha256.Sum256([]byte(source))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".json")
}

// load reads the list of a source. The error is fs.ErrNotExist if there is no file. Other errors
// say why the file cannot be used.
func load(path, source string, now time.Time) (*list, error) {
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("reading it as JSON: %w", err)
	}
	switch age := now.Sub(f.Saved); {
	case f.Version != formatVersion:
		return nil, fmt.Errorf("expected version %d, found %d", formatVersion, f.Version)
	case f.Source != source:
		return nil, fmt.Errorf("expected the instances of %s, found those of %s", discovery.Excerpt(source), discovery.Excerpt(f.Source))
	case age > MaxAge:
		return nil, fmt.Errorf("it is %v old, more than %v", age.Round(time.Second), MaxAge)
	case age < -MaxAge: // A clock that is not set yet is allowed for, within limits.
		return nil, fmt.Errorf("it is %v ahead of the clock", -age.Round(time.Second))
	case len(f.Endpoints) == 0:
		return nil, errors.New("it has no instances")
	}
	l := &list{saved: f.Saved, revision: f.Revision, endpoints: make([]discovery.Endpoint, len(f.Endpoints))}
	for i, e := range f.Endpoints {
		if err := discovery.CheckAddr(e.Addr); err != nil {
			return nil, fmt.Errorf("instance %s: %w", discovery.Excerpt(e.ID), err)
		}
		l.endpoints[i] = discovery.Endpoint(e)
	}
	slices.SortStableFunc(l.endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	return l, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxSize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	return raw, nil
}

// save replaces the file of a source in one step. Readers see the old list or the new one, even
// after a crash. If several processes write, the last one wins.
func save(path, source string, l *list) (err error) {
	f := file{Version: formatVersion, Source: source, Saved: l.saved.UTC(), Revision: l.revision, Endpoints: make([]endpoint, len(l.endpoints))}
	for i, e := range l.endpoints {
		f.Endpoints[i] = endpoint(e)
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // what is left over is litter
		}
	}()
	_, err = temp.Write(append(raw, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes the new name durable. If a directory cannot be synced, the file system does it
// later.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close() // it was only read
	}
}

// fileName is what the names of lists and of half-written ones look like.
var fileName = regexp.MustCompile(`^[0-9a-f]{32}\.json(\.[0-9]+\.tmp)?$`)

// sweep removes lists of sources that nobody has watched for a long time, and files that a crash
// has left half-written.
func sweep(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !fileName.MatchString(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > litterAge {
			_ = os.Remove(filepath.Join(dir, e.Name())) // another process may have done so
		}
	}
}

// sameEndpoints reports whether two lists say the same.
func sameEndpoints(a, b []discovery.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b discovery.Endpoint) bool {
		return a.ID == b.ID && a.Addr == b.Addr && a.Weight == b.Weight && a.Registration == b.Registration &&
			a.Created == b.Created && a.Service == b.Service && maps.Equal(a.Metadata, b.Metadata)
	})
}
