package rest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdFrames compresses each part into a frame of its own.
func zstdFrames(t testing.TB, parts [][]byte, opts ...zstd.EOption) []byte {
	t.Helper()
	zw, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, p := range parts {
		zw.Reset(&out)
		for chunk := p; len(chunk) > 0; { // So that it does not know the size of the content.
			n := min(len(chunk), 100_000)
			_, _ = zw.Write(chunk[:n])
			chunk = chunk[n:]
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// noise is data that cannot be compressed.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func TestZstdUnpacksWhateverTheWindowIs(t *testing.T) {
	far := noise(3 << 20)
	far = append(far, far[:1<<20]...) // It refers back by 3 MiB.
	lines := []byte(strings.Repeat(`{"text":"the same line again and again"}`+"\n", 40_000))
	one, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	small := zstdFrames(t, [][]byte{[]byte("small")})
	for name, tc := range map[string]struct {
		packed []byte
		want   []byte
	}{
		"nothing at all":        {nil, nil},
		"an empty frame":        {one.EncodeAll(nil, nil), nil},
		"one byte":              {zstdFrames(t, [][]byte{{'x'}}), []byte("x")},
		"one segment":           {one.EncodeAll(lines, nil), lines},
		"one large segment":     {one.EncodeAll(far, nil), far},
		"lines":                 {zstdFrames(t, [][]byte{lines}), lines},
		"noise":                 {zstdFrames(t, [][]byte{noise(700_000)}), noise(700_000)},
		"a reference from afar": {zstdFrames(t, [][]byte{far}, zstd.WithEncoderLevel(zstd.SpeedBestCompression)), far},
		"without checksum":      {zstdFrames(t, [][]byte{lines}, zstd.WithEncoderCRC(false)), lines},
		"a small window":        {zstdFrames(t, [][]byte{lines}, zstd.WithWindowSize(1<<10)), lines},
		"several frames":        {zstdFrames(t, [][]byte{lines, []byte("x"), far}), append(append(bytes.Clone(lines), 'x'), far...)},
		"frames to be skipped":  {append([]byte("\x5f\x2a\x4d\x18\x03\x00\x00\x00abc"), small...), []byte("small")},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				z := newUnzstd(reader(bytes.NewReader(tc.packed)))
				defer z.release()
				got, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, tc.want) {
					t.Errorf("%d bytes that differ from the %d that were packed", len(got), len(tc.want))
				}
			})
		}
	}
}

func TestCompressedDataThatIsRefused(t *testing.T) {
	good := zstdFrames(t, [][]byte{bytes.Repeat([]byte("abcdefgh"), 1000)})
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for name, tc := range map[string]struct {
		coding string
		packed []byte
		want   error
	}{
		"a bad checksum":           {codingZstd, flipped, zstd.ErrCRCMismatch},
		"the end is missing":       {codingZstd, good[:len(good)-3], io.ErrUnexpectedEOF},
		"a block is missing":       {codingZstd, good[:8], io.ErrUnexpectedEOF},
		"the header is incomplete": {codingZstd, good[:3], io.ErrUnexpectedEOF},
		"another format":           {codingZstd, []byte("{}{}{}"), errZstdMagic},
		"more after the frame":     {codingZstd, append(bytes.Clone(good), "{}{}"...), errZstdMagic},
		"a dictionary":             {codingZstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7}, errZstdHeader},
		"a window above 8 MiB":     {codingZstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13<<3 | 1}, errZstdWindow},
		"a segment above 8 MiB":    {codingZstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 1}, errZstdWindow},
		"empty blocks, zstd": {codingZstd, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3}, bytes.Repeat([]byte{0, 0, 0}, maxBarren)...),
			errBarren},
		"empty blocks, gzip": {codingGzip, append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, maxBarren)...),
			errBarren},
		"a gzip header without end": {codingGzip, append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{'n'}, 2*maxBarren)...),
			gzip.ErrHeader},
	} {
		t.Run(name, func(t *testing.T) {
			z := newUnpacker(tc.coding, bytes.NewReader(tc.packed))
			defer z.release()
			n, err := io.Copy(io.Discard, z)
			if !errors.Is(err, errCompressed) || !errors.Is(err, tc.want) {
				t.Errorf("after %d bytes: %v, want %v", n, err, tc.want)
			}
		})
	}
}

// An error of the connection is not one of the data.
func TestUnpackingTellsWhoIsToBlame(t *testing.T) {
	broken := errors.New("broken connection")
	for _, coding := range codings {
		for _, packed := range [][]byte{nil, zstdFrames(t, [][]byte{noise(1000)})[:50]} {
			z := newUnpacker(coding, io.MultiReader(bytes.NewReader(packed), iotest.ErrReader(broken)))
			_, err := io.Copy(io.Discard, z)
			z.release()
			if coding == codingGzip && packed != nil {
				continue // The data is to blame first.
			}
			if !errors.Is(err, broken) || errors.Is(err, errCompressed) {
				t.Errorf("%s after %d bytes: %v", coding, len(packed), err)
			}
		}
	}
}

// FuzzZstd compares with the decoder that allocates the whole window: what both take is the same.
func FuzzZstd(f *testing.F) {
	f.Add(zstdFrames(f, [][]byte{noise(100), []byte(strings.Repeat("abc", 1000))}))
	f.Add(zstdFrames(f, [][]byte{bytes.Repeat(noise(20_000), 4)}))
	reference, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		if err := reference.Reset(bytes.NewReader(packed)); err != nil {
			t.Fatal(err)
		}
		want, wantErr := io.ReadAll(io.LimitReader(reference, 8<<20))
		z := newUnzstd(bytes.NewReader(packed))
		defer z.release()
		got, err := io.ReadAll(io.LimitReader(z, 8<<20))
		if wantErr == nil && err != nil {
			t.Fatalf("%v", err)
		}
		if err == nil && wantErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d", len(got), len(want))
		}
	})
}
