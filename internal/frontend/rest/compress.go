package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// zstdWindow bounds what one zstd body may make us allocate: the window that RFC 9659 lets every recipient require.
const zstdWindow = 8 << 20

// codings are those of request bodies.
var codings = []string{"gzip", "zstd"}

// errCompressed wraps errors in the compressed data.
var errCompressed = errors.New("bad compressed data")

// Decompressors are expensive to make and hold nothing of a request once they are given back.
var gzipReaders, zstdReaders sync.Pool

// decompress puts the decompressor between that Content-Encoding asks for.
func (b *bodyReader) decompress(h http.Header) error {
	src := &source{r: b.Reader}
	coding, err := negotiate.ContentEncoding(h["Content-Encoding"], codings)
	switch {
	case err != nil:
		return frontend.Errorf(codes.InvalidArgument, "%s; supported: %s", err, strings.Join(codings, ", ")).
			WithHTTP(http.StatusUnsupportedMediaType).WithHeader("Accept-Encoding", strings.Join(codings, ", "))
	case coding == "gzip":
		b.Reader, b.compressed = &gunzip{src: src, b: b}, true
		return nil
	case coding == "zstd":
		return b.unzstd(src)
	default:
		return nil
	}
}

// source is what is decompressed. It keeps its error, so that one of the connection is told from one in the data.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.err = err
	return n, err
}

// explain returns the error of decompressing, marked where the data is to blame.
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

// gunzip reads the gzip header only when data is asked for: it may not be there yet.
type gunzip struct {
	src *source
	b   *bodyReader
	zr  *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.zr == nil {
		zr, ok := gzipReaders.Get().(*gzip.Reader)
		if !ok {
			zr = new(gzip.Reader)
		}
		if err := zr.Reset(g.src); err != nil {
			return 0, g.src.explain(err)
		}
		g.zr = zr
		g.b.close = append(g.b.close, func() { gzipReaders.Put(zr) })
	}
	n, err := g.zr.Read(p)
	return n, g.src.explain(err)
}

func (b *bodyReader) unzstd(src *source) error {
	zr, ok := zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		zr, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	if err := zr.Reset(src); err != nil {
		return fmt.Errorf("start the zstd decoder: %w", err)
	}
	b.close = append(b.close, func() {
		if zr.Reset(nil) == nil {
			zstdReaders.Put(zr)
		}
	})
	b.Reader, b.compressed = unzstd{zr, src}, true
	return nil
}

type unzstd struct {
	zr  *zstd.Decoder
	src *source
}

func (z unzstd) Read(p []byte) (int, error) {
	n, err := z.zr.Read(p)
	return n, z.src.explain(err)
}
