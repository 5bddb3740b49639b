package rest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest window of a zstd body, in bytes: the one that RFC 9659 asks every
	// recipient for.
	maxWindow = 8 << 20
	// firstWindow is the window in bytes that a body gets at first.
	firstWindow = 16 << 10
	// maxBlock is the size of the largest block, unpacked (RFC 8878, section 3.1.1.2.4).
	maxBlock = 128 << 10
	// keptWindow is the largest window in bytes of a decoder that is used again.
	keptWindow = 256 << 10
)

// unzstd unpacks a zstd body as it arrives.
//
// A frame says in its first bytes how far back its data may refer (RFC 8878, section 3.1.1.1.2),
// and a decoder allocates that much at once: 8 MiB for a body of ten bytes. Here a decoder gets a
// small window first. Decoding fails if the data refers further back or has a larger block. Then a
// decoder with a window four times as large starts the frame again, and drops what was returned
// before. Until then the compressed data of the frame is kept. A window is never larger than what
// was unpacked plus one block. So the memory that a body takes grows with what came in, and with
// what it unpacked to.
type unzstd struct {
	source
	in *zstdInput

	zr     *zstd.Decoder // Nil outside of a frame.
	window int           // That of the decoder.
	// returned counts the bytes of the frame that were returned. Beyond maxWindow nothing depends
	// on it.
	returned int64
	// again is how many of these bytes the decoder has yet to make a second time.
	again int64
}

// zstdInput is what unzstd needs and gives back.
type zstdInput struct {
	buf     *bufio.Reader
	frame   zstdFrame
	decoder *zstd.Decoder
}

var zstdInputs sync.Pool

func newUnzstd(r io.Reader) *unzstd { return &unzstd{source: source{r: r}} }

// Read implements io.Reader.
func (z *unzstd) Read(p []byte) (int, error) {
	for {
		if z.zr == nil {
			if err := z.begin(); err != nil {
				return 0, z.source.explain(err)
			}
		}
		n, err := z.zr.Read(p)
		if z.again > 0 {
			repeated := int(min(int64(n), z.again))
			z.again -= int64(repeated)
			n = copy(p, p[repeated:n])
		}
		z.returned += int64(n)
		z.source.unpacked(n)
		switch {
		case errors.Is(err, io.EOF):
			z.zr = nil // The next frame, if there is one.
			err = nil
		case err != nil && z.mayWiden():
			err = z.widen()
		}
		if n > 0 || err != nil {
			return n, z.source.explain(err)
		}
	}
}

// begin starts the next frame. io.EOF means that there is none.
func (z *unzstd) begin() error {
	if z.in == nil {
		in, ok := zstdInputs.Get().(*zstdInput)
		if !ok {
			in = &zstdInput{buf: bufio.NewReaderSize(nil, 4<<10)}
		}
		in.buf.Reset(&z.source)
		z.in = in
	}
	if err := z.in.frame.begin(z.in.buf); err != nil {
		return err
	}
	z.window, z.returned = min(firstWindow, z.in.frame.window), 0
	return z.decode()
}

// mayWiden reports whether a larger window can help. Then the input has come, and the data with the
// block that failed is longer than the window.
func (z *unzstd) mayWiden() bool {
	return z.in.frame.failed == nil && z.window < z.in.frame.window && int64(z.window) < z.returned+maxBlock
}

// widen starts the frame again, with a larger window.
func (z *unzstd) widen() error {
	z.window = min(4*z.window, roundWindow(int(z.returned)+maxBlock), z.in.frame.window)
	if int64(z.window) > z.allowed() {
		return errRatio
	}
	z.again = z.returned
	return z.decode()
}

// decode starts decoding the frame with the window.
func (z *unzstd) decode() error {
	f := &z.in.frame
	z.zr = z.in.decoder
	z.in.decoder = nil
	if z.zr == nil || z.window > keptWindow {
		var err error
		z.zr, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	if z.window <= keptWindow {
		z.in.decoder = z.zr
	}
	kept := f.kept
	if z.window == f.window {
		f.kept, f.keep = nil, false
	}
	if err := z.zr.Reset(io.MultiReader(bytes.NewReader(f.header(z.window)), bytes.NewReader(kept), f)); err != nil {
		return fmt.Errorf("start the zstd decoder: %w", err)
	}
	return nil
}

func (z *unzstd) release() {
	in := z.in
	z.in, z.zr = nil, nil
	if in == nil {
		return
	}
	in.buf.Reset(nil)
	in.frame = zstdFrame{}
	if in.decoder == nil || in.decoder.Reset(nil) == nil {
		zstdInputs.Put(in)
	}
}

// zstdFrame reads one frame, without its header.
type zstdFrame struct {
	r        *bufio.Reader
	window   int
	checksum bool

	head   [3]byte
	ahead  []byte // What was read of head and not returned.
	left   int    // Bytes that are left of a block, or of the checksum.
	last   bool   // This is the last block.
	over   bool   // Only the bytes above are left.
	keep   bool   // Keep what is returned.
	kept   []byte
	failed error // Other than the end.
}

const (
	zstdMagic     = 0xFD2FB528
	skippable     = 0x184D2A50 // And the 15 numbers after it.
	checksumSize  = 4
	blockRLE      = 1
	minWindowLog  = 10
	fcsFlagShift  = 6
	singleSegment = 1 << 5
	reservedBit   = 1 << 3
	checksumFlag  = 1 << 2
	dictionaryID  = 3
)

var (
	errZstdMagic  = errors.New("it does not begin like a frame")
	errZstdHeader = errors.New("a frame has a header that is not supported")
	errZstdWindow = fmt.Errorf("a frame wants a window of more than %d bytes", maxWindow)
)

// begin reads the header of the next frame. It skips skippable frames before it. io.EOF means that
// there is no frame.
func (f *zstdFrame) begin(r *bufio.Reader) error {
	*f = zstdFrame{r: r, keep: true}
	for {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		magic, err := f.uint32()
		switch {
		case err != nil:
			return err
		case magic == zstdMagic:
			return f.readHeader()
		case magic&^0xF != skippable:
			return errZstdMagic
		}
		size, err := f.uint32()
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
			return unexpected(err)
		}
	}
}

func (f *zstdFrame) uint32() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return 0, unexpected(err)
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

// unexpected returns the error of reading what must be there.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readHeader reads what follows the magic number (RFC 8878, section 3.1.1.1).
func (f *zstdFrame) readHeader() error {
	descriptor, err := f.r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if descriptor&(reservedBit|dictionaryID) != 0 {
		return errZstdHeader
	}
	f.checksum = descriptor&checksumFlag != 0
	single := descriptor&singleSegment != 0
	var b [9]byte // The descriptor of the window, and the size of the content.
	size := 1 << (descriptor >> fcsFlagShift)
	if size == 1 && !single {
		size = 0
	}
	start := 1
	if !single {
		start = 0
	}
	if _, err := io.ReadFull(f.r, b[start:1+size]); err != nil {
		return unexpected(err)
	}
	window := uint64(1<<minWindowLog) << (b[0] >> 3)
	window += window / 8 * uint64(b[0]&7)
	if single {
		window = binary.LittleEndian.Uint64(b[1:])
		if size == 2 {
			window += 256
		}
	}
	if window > maxWindow {
		return errZstdWindow
	}
	f.window = roundWindow(int(window))
	return nil
}

// roundWindow is the next larger window that is a power of two.
func roundWindow(window int) int {
	return max(1<<minWindowLog, 1<<bits.Len(uint(max(window, 1)-1)))
}

// header makes a header with another window.
func (f *zstdFrame) header(window int) []byte {
	h := binary.LittleEndian.AppendUint32(make([]byte, 0, 6), zstdMagic)
	descriptor := byte(0)
	if f.checksum {
		descriptor = checksumFlag
	}
	return append(h, descriptor, byte(bits.Len(uint(window))-1-minWindowLog)<<3)
}

// Read implements io.Reader: it returns the blocks and the checksum.
func (f *zstdFrame) Read(p []byte) (int, error) {
	n, err := f.next(p)
	if f.keep {
		f.kept = append(f.kept, p[:n]...)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.failed = err
	}
	return n, err
}

func (f *zstdFrame) next(p []byte) (int, error) {
	for {
		switch {
		case len(f.ahead) > 0:
			n := copy(p, f.ahead)
			f.ahead = f.ahead[n:]
			return n, nil
		case f.left > 0:
			n, err := f.r.Read(p[:min(len(p), f.left)])
			f.left -= n
			return n, unexpected(err)
		case f.over:
			return 0, io.EOF
		case f.last:
			f.over = true
			if f.checksum {
				f.left = checksumSize
			}
		default:
			if _, err := io.ReadFull(f.r, f.head[:]); err != nil {
				return 0, unexpected(err)
			}
			f.block()
		}
	}
}

// block reads the header of a block (section 3.1.1.2).
func (f *zstdFrame) block() {
	h := uint32(f.head[0]) | uint32(f.head[1])<<8 | uint32(f.head[2])<<16
	f.ahead = f.head[:]
	f.last = h&1 != 0
	f.left = int(h >> 3)
	if h>>1&3 == blockRLE {
		f.left = 1
	}
}
