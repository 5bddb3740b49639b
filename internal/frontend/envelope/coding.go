package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// Coding is how messages are compressed.
type Coding uint8

// The codings that every implementation has.
const (
	Identity Coding = iota
	Gzip
)

// Supported names the codings for the headers that list them.
const Supported = "gzip"

// offers is never written.
var offers = []string{Supported}

// String is the name of the coding in headers.
func (c Coding) String() string {
	if c == Gzip {
		return "gzip"
	}
	return "identity"
}

// ParseCoding finds a coding by its name in a header. "" is Identity. ok is false if the coding is
// not supported.
func ParseCoding(name string) (c Coding, ok bool) {
	switch name {
	case "", "identity":
		return Identity, true
	case "gzip":
		return Gzip, true
	default:
		return Identity, false
	}
}

// Accepted chooses the coding of the response by the values of Grpc-Accept-Encoding,
// Connect-Accept-Encoding or Accept-Encoding.
func Accepted(values []string) Coding {
	if len(values) == 0 {
		return Identity
	}
	name, _ := negotiate.AcceptEncoding(values, offers)
	c, _ := ParseCoding(name)
	return c
}

// ErrTooLarge says that a message is larger than the limit.
var ErrTooLarge = errors.New("message too large")

// ErrCorrupt says that a message is not what its coding makes.
var ErrCorrupt = errors.New("bad compressed data")

// Readers and writers are expensive to make and hold nothing of a message once they are given back.
var gzipReaders, gzipWriters sync.Pool

// Compress appends the compressed form of src to dst.
func (c Coding) Compress(dst, src []byte) []byte {
	if c == Identity {
		return append(dst, src...)
	}
	out := bytes.NewBuffer(dst)
	w, ok := gzipWriters.Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		// Level 1 takes a fraction of the time of the default level and is nearly as good on
		// messages.
		w, _ = gzip.NewWriterLevel(out, gzip.BestSpeed)
	}
	_, _ = w.Write(src) // A bytes.Buffer has no errors.
	_ = w.Close()
	gzipWriters.Put(w)
	return out.Bytes()
}

// replace compresses what dst has from start on.
func (c Coding) replace(dst []byte, start int) []byte {
	plain := frontend.GetBuffer(len(dst) - start)
	defer frontend.PutBuffer(plain)
	*plain = append(*plain, dst[start:]...)
	return c.Compress(dst[:start], *plain)
}

// Decompress appends the plain form of src to dst, at most limit bytes. The error is ErrTooLarge or
// wraps ErrCorrupt. An empty src stays empty, because clients may leave an empty message
// uncompressed.
func (c Coding) Decompress(dst, src []byte, limit int64) ([]byte, error) {
	if c == Identity || len(src) == 0 {
		return append(dst, src...), nil
	}
	z, in := getGunzip(src)
	defer putGunzip(z)
	if in != nil {
		return dst, fmt.Errorf("%w: %w", ErrCorrupt, in)
	}
	start := int64(len(dst))
	for {
		if int64(len(dst))-start > limit {
			return dst, ErrTooLarge
		}
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		room := dst[len(dst):cap(dst)]
		if left := limit - (int64(len(dst)) - start); int64(len(room)) > left {
			room = room[:left+1] // One more tells that there is too much.
		}
		n, err := z.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case errors.Is(err, io.EOF) && int64(len(dst))-start <= limit:
			return dst, nil
		case err != nil && !errors.Is(err, io.EOF):
			return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
}

// gunzip is a pooled decompressor with its input.
type gunzip struct {
	gzip.Reader

	src bytes.Reader
}

func getGunzip(src []byte) (*gunzip, error) {
	z, ok := gzipReaders.Get().(*gunzip)
	if !ok {
		z = new(gunzip)
	}
	z.src.Reset(src)
	return z, z.Reset(&z.src)
}

func putGunzip(z *gunzip) {
	z.src.Reset(nil)
	gzipReaders.Put(z)
}
