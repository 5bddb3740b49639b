package rest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

const (
	// maxRatio and freeRatio bound what is held of a compressed body at a time, which is a message
	// or a window: maxRatio bytes for each byte that came in, and freeRatio bytes besides. DEFLATE
	// never unpacks to more than that. A zstd block of 4 bytes may be 128 KiB. 2 MiB are the usual
	// window of zstd encoders, so a stream that repeats one line passes.
	maxRatio  = 1032
	freeRatio = 2 << 20
	// maxBarren is how many bytes of a compressed body may come in without anything to unpack. It
	// is larger than the largest block of a coding (zstd: 128 KiB). Clients that flush send empty
	// blocks of a few bytes.
	maxBarren = 256 << 10
)

// codings are those of request bodies.
var codings = []string{codingGzip, codingZstd}

const (
	codingGzip = "gzip"
	codingZstd = "zstd"
)

var (
	// errCompressed wraps errors in the compressed data.
	errCompressed = errors.New("bad compressed data")
	errRatio      = fmt.Errorf("a message unpacks to more than %d times its size", maxRatio)
	errBarren     = fmt.Errorf("%d bytes of it unpack to nothing", maxBarren)
)

// packedLimit is the largest size of a compressed body that unpacks to at most limit bytes. Data
// that cannot be compressed grows by less than a thousandth.
func packedLimit(limit int64) int64 { return limit + limit/1000 + 1<<10 }

// bodyCoding returns the compression of the body, or negotiate.Identity.
func bodyCoding(h http.Header) (string, error) {
	coding, err := negotiate.ContentEncoding(h["Content-Encoding"], codings)
	if err != nil {
		return "", frontend.Errorf(codes.InvalidArgument, "%s; supported: %s", err, strings.Join(codings, ", ")).
			WithHTTP(http.StatusUnsupportedMediaType).WithHeader("Accept-Encoding", strings.Join(codings, ", "))
	}
	return coding, nil
}

// unpacker reads compressed data.
type unpacker interface {
	io.Reader
	// allowed is how many bytes may be held, given those that came in.
	allowed() int64
	// release gives back what unpacking needed.
	release()
}

// newUnpacker returns a reader of the unpacked form of r, or nil if r is not compressed.
func newUnpacker(coding string, r io.Reader) unpacker {
	switch coding {
	case codingGzip:
		return &gunzip{source: source{r: r}}
	case codingZstd:
		return newUnzstd(r)
	default:
		return nil
	}
}

// source is compressed data. It keeps its error, which tells errors of the connection from errors
// in the data. It counts its bytes.
type source struct {
	r      io.Reader
	err    error
	read   int64 // Bytes that came in.
	barren int64 // Bytes that came in since the last byte was unpacked.
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.barren > maxBarren {
		return 0, errBarren
	}
	n, err := s.r.Read(p)
	s.err = err
	s.read += int64(n)
	s.barren += int64(n)
	return n, err
}

// unpacked notes that n bytes were unpacked.
func (s *source) unpacked(n int) {
	if n > 0 {
		s.barren = 0
	}
}

// allowed implements unpacker.
func (s *source) allowed() int64 { return allowed(s.read) }

// allowed is how many bytes may be held for so many compressed bytes.
func allowed(packed int64) int64 { return freeRatio + maxRatio*packed }

// explain returns the error of unpacking. It wraps errCompressed if the data is to blame.
func (s *source) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case s.err != nil && !errors.Is(s.err, io.EOF):
		return s.err
	default:
		return fmt.Errorf("%w: %w", errCompressed, err)
	}
}

// gzipReaders are expensive to make, and hold nothing of a request once they are given back.
var gzipReaders sync.Pool

// gzipReader reads one member at a time. It reads ahead into buf, so that the bytes after a member
// are not lost.
type gzipReader struct {
	gzip.Reader
	buf bufio.Reader
}

// gunzip unpacks gzip. It reads the header of a member only when data is asked for that the member
// before it does not have, because the header may not have come yet. gzip.Reader alone would wait
// for the header of the next member before it hands over the last bytes of this one.
type gunzip struct {
	source
	zr     *gzipReader
	within bool // A member was begun, and has not ended.
}

// Read implements io.Reader.
func (g *gunzip) Read(p []byte) (int, error) {
	for {
		if !g.within {
			if err := g.begin(); err != nil {
				return 0, g.source.explain(err)
			}
		}
		n, err := g.zr.Read(p)
		g.source.unpacked(n)
		if !errors.Is(err, io.EOF) {
			return n, g.source.explain(err)
		}
		g.within = false
		if n > 0 {
			return n, nil
		}
	}
}

// begin reads the header of the next member. io.EOF means that there is none.
func (g *gunzip) begin() error {
	if g.zr == nil {
		zr, ok := gzipReaders.Get().(*gzipReader)
		if !ok {
			zr = new(gzipReader)
		}
		zr.buf.Reset(&g.source)
		g.zr = zr
	}
	if err := g.zr.Reset(&g.zr.buf); err != nil {
		return err
	}
	g.zr.Multistream(false)
	g.within = true
	return nil
}

func (g *gunzip) release() {
	if g.zr != nil {
		g.zr.buf.Reset(nil)
		gzipReaders.Put(g.zr)
		g.zr = nil
	}
}
