package clienttls

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
)

// unsettled is how long after its last change a file counts as being written. Until then it is read
// for each handshake, because a second change may leave the same time and size behind. An error is
// not reported until then either: a renewal writes a certificate and its key one after the other.
const unsettled = 2 * time.Second

// followed is a value that is made of files, and made again when they have changed. It is not safe
// for concurrent use.
type followed[T any] struct {
	// what the value is, for logs.
	what  string
	names []string
	// parse makes the value of the files' contents. An error names the file.
	parse func(contents [][]byte) (T, error)
	// note returns what else the log says about a renewed value.
	note func(T) []zap.Field
	log  func() *zap.Logger

	// value is the last good one, made of contents with this sum.
	value T
	sum   [sha256.Size]byte
	// seen are the files at the last look, and settled says that they need no further one as long
	// as they are the same.
	seen    []os.FileInfo
	settled bool
	// reported is the error that was logged last. "": the last look found no error.
	reported string
}

// look reads the files if they have changed, and reports whether there is a new value.
func (f *followed[T]) look() bool {
	// This comes before the reading, so that a change in between is noticed at the next look.
	now := stat(f.names)
	if f.settled && slices.EqualFunc(now, f.seen, same) {
		return false
	}
	settled := !slices.ContainsFunc(now, fresh)
	known := f.sum
	if err := f.load(); err != nil {
		f.settled = false // Permissions may change without a trace in seen.
		if settled && f.reported != err.Error() {
			f.reported = err.Error()
			f.log().Warn("cannot use the new "+f.what+"; keeping the last good one", zap.Strings("files", f.names), zap.Error(err))
		}
		return false
	}
	f.seen, f.settled, f.reported = now, settled, ""
	if f.sum == known {
		return false
	}
	f.log().Info("using the new "+f.what, append(f.note(f.value), zap.Strings("files", f.names))...)
	return true
}

// load reads the files. If that fails, the value stays as it was.
func (f *followed[T]) load() error {
	contents := make([][]byte, len(f.names))
	hash := sha256.New()
	for i, name := range f.names {
		var err error
		if contents[i], err = os.ReadFile(name); err != nil {
			return err
		}
		sum := sha256.Sum256(contents[i])
		hash.Write(sum[:])
	}
	sum := [sha256.Size]byte(hash.Sum(nil))
	if sum == f.sum {
		return nil
	}
	value, err := f.parse(contents)
	if err != nil {
		return err
	}
	f.value, f.sum = value, sum
	return nil
}

// stat follows symbolic links. A file that is not there is nil.
func stat(names []string) []os.FileInfo {
	infos := make([]os.FileInfo, len(names))
	for i, name := range names {
		if info, err := os.Stat(name); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// fresh reports whether a file may still be being written.
func fresh(info os.FileInfo) bool {
	if info == nil {
		return false
	}
	age := time.Since(info.ModTime())
	return -unsettled < age && age < unsettled
}

// checkComplete returns an error if a file has no certificate, or one that is cut off. Parsers skip
// what they do not understand, and would trust or send less than the file is meant to have.
func checkComplete(name string, content []byte) error {
	begun := bytes.Count(append([]byte("\n"), content...), []byte("\n-----BEGIN "))
	whole, certificates := 0, 0
	for rest := content; ; whole++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			certificates++
		}
	}
	switch {
	case whole < begun:
		return fmt.Errorf("%s: expected complete PEM blocks, found %d complete of %d", name, whole, begun)
	case certificates == 0:
		return fmt.Errorf("%s: expected a certificate in PEM format, found none", name)
	}
	return nil
}
