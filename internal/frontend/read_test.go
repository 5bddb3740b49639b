package frontend

import (
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadAll(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000)
	for _, tc := range []struct {
		name, body  string
		size, limit int64
		err         error
	}{
		{"just enough", "hello", 5, 5, nil},
		{"one byte less", "hello", 5, 4, ErrTooLarge},
		{"no limit", "hello", 5, math.MaxInt64, nil},
		{"no promise", "hello", -1, 5, nil},
		{"no promise, one byte less", "hello", -1, 4, ErrTooLarge},
		{"nothing", "", 0, 0, nil},
		{"long", long, int64(len(long)), int64(len(long)), nil},
		{"long, no promise", long, -1, int64(len(long)), nil},
		{"long, one byte less", long, -1, int64(len(long)) - 1, ErrTooLarge},
		{"more promised", "hello", 1 << 20, 1 << 20, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"at once": strings.NewReader(tc.body), "the end with the last": iotest.DataErrReader(strings.NewReader(tc.body)),
				"in halves": iotest.HalfReader(strings.NewReader(tc.body)),
			} {
				got, err := ReadAll(r, tc.size, tc.limit)
				if !errors.Is(err, tc.err) || (err == nil) != (got != nil) {
					t.Fatalf("%s: %v, want %v", name, err, tc.err)
				}
				if err != nil {
					continue
				}
				if string(*got) != tc.body {
					t.Errorf("%s: %d bytes, want %d", name, len(*got), len(tc.body))
				}
				PutBuffer(got)
			}
		})
	}
}

// TestReadAllPromise: a client that promises much and sends nothing costs little.
func TestReadAllPromise(t *testing.T) {
	runtime.GC() // Twice, and the pools have no larger buffer of other tests.
	runtime.GC()
	room := 0
	broken := errors.New("broken")
	_, err := ReadAll(readFunc(func(p []byte) (int, error) {
		room = len(p)
		return 0, broken
	}), 64<<20, 64<<20)
	if !errors.Is(err, broken) || room > 4<<10 {
		t.Errorf("%v with room for %d bytes, want at most 4 KiB", err, room)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
