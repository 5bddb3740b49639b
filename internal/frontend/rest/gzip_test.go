package rest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

func gzipMember(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A client may end a member with each message, and wait for the answer before it sends another.
func TestGzipMembersAreHandedOverWhenTheyEnd(t *testing.T) {
	body, client := io.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	g := newUnpacker(codingGzip, body)
	defer g.release()
	for _, message := range []string{"first", "second", "third"} {
		go func() { _, _ = client.Write(gzipMember(t, message)) }()
		got := make([]byte, len(message))
		if _, err := io.ReadFull(g, got); err != nil || string(got) != message {
			t.Fatalf("%q: %v, want %q", got, err, message)
		}
	}
	_ = client.Close()
	if n, err := g.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the last member: %d bytes, %v", n, err)
	}
}

func TestGzipMembersAreOneBody(t *testing.T) {
	one, empty := gzipMember(t, "one"), gzipMember(t, "")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, tc := range map[string]struct {
		packed []byte
		want   string
		err    error
	}{
		"one":                 {one, "one", nil},
		"several":             {join(one, one, one), "oneoneone", nil},
		"an empty one first":  {join(empty, one), "one", nil},
		"empty ones between":  {join(one, empty, empty, one, empty), "oneone", nil},
		"only an empty one":   {empty, "", nil},
		"a cut header":        {join(one, one[:5]), "one", io.ErrUnexpectedEOF},
		"a cut member":        {join(one, one[:len(one)-1]), "one", io.ErrUnexpectedEOF},
		"text after a member": {join(one, []byte("0123456789")), "one", gzip.ErrHeader},
		"members without end": {join(one, bytes.Repeat(empty, 2*maxBarren/len(empty))), "one", errBarren},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(tc.packed), iotest.OneByteReader(bytes.NewReader(tc.packed))} {
				g := newUnpacker(codingGzip, r)
				got, err := io.ReadAll(g)
				g.release()
				if !bytes.HasPrefix(got, []byte(tc.want)) || tc.err == nil && string(got) != tc.want {
					t.Errorf("%q, want %q", got, tc.want)
				}
				if !errors.Is(err, tc.err) || tc.err != nil && !errors.Is(err, errCompressed) {
					t.Errorf("%v, want %v", err, tc.err)
				}
			}
		})
	}
}
