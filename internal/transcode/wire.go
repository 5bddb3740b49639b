package transcode

import "math/bits"

// varintSize is the number of bytes that v takes as a varint.
func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// maxVarint is how many bytes of free output putVarint needs: for the longest varint, or for a
// word.
const maxVarint = 10

// putVarint writes v at b[n], and returns where it ends.
func putVarint(b []byte, n int, v uint64) int {
	switch {
	case v < 0x80:
		b[n] = byte(v)
		return n + 1
	case v < 1<<56:
		size := varintSize(v)
		x := v&0x0fff_ffff | v<<4&0x0fff_ffff_0000_0000
		x = x&0x0000_3fff_0000_3fff | x<<2&0x3fff_0000_3fff_0000
		x = x&0x007f_007f_007f_007f | x<<1&0x7f00_7f00_7f00_7f00
		store64(b, n, x|highBits&(1<<uint(8*size-1)-1))
		return n + size
	}
	for v >= 0x80 {
		b[n] = byte(v) | 0x80
		v >>= 7
		n++
	}
	b[n] = byte(v)
	return n + 1
}

func appendVarint(out []byte, v uint64) []byte {
	if v < 0x80 {
		return append(out, byte(v))
	}
	return appendLongVarint(out, v)
}

func appendLongVarint(out []byte, v uint64) []byte {
	out = grow(out, maxVarint)
	buf := out[:cap(out)]
	return buf[:putVarint(buf, len(out), v)]
}

func appendTag(out []byte, tag uint32) []byte {
	if tag < 0x80 {
		return append(out, byte(tag))
	}
	return appendVarint(out, uint64(tag))
}

func appendFixed32(out []byte, v uint32) []byte {
	return append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func appendFixed64(out []byte, v uint64) []byte {
	return append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

// appendBits appends a number in the wire type of f.
func appendBits(out []byte, f *field, v uint64) []byte {
	switch f.wire {
	case wireFixed32:
		return appendFixed32(out, uint32(v))
	case wireFixed64:
		return appendFixed64(out, v)
	default:
		return appendVarint(out, v)
	}
}

// putBits writes a number in the wire type of f at b[n], and returns where it ends.
func putBits(b []byte, n int, f *field, v uint64) int {
	switch f.wire {
	case wireFixed32:
		store32(b, n, uint32(v))
		return n + 4
	case wireFixed64:
		store64(b, n, v)
		return n + 8
	default:
		return putVarint(b, n, v)
	}
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// readVarint reads the varint at in[p], and returns its value and the position after it. The varint
// must not reach beyond end. The position is negative if it does, or if it is too long.
func readVarint(in []byte, p, end int) (uint64, int) {
	if p < end && in[p] < 0x80 {
		return uint64(in[p]), p + 1
	}
	return readLongVarint(in, p, end)
}

func readLongVarint(in []byte, p, end int) (uint64, int) {
	if p+8 > len(in) {
		return readLastVarint(in, p, end)
	}
	x := load64(in, p)
	stop := ^x & highBits
	if stop == 0 { // more than eight bytes
		return readLastVarint(in, p, end)
	}
	q := p + bits.TrailingZeros64(stop)/8 + 1
	if q > end {
		return 0, -1
	}
	return joinSevens(x & (stop ^ (stop - 1))), q
}

// joinSevens joins the lower seven bits of eight bytes. Those of the lowest byte become the lowest.
func joinSevens(x uint64) uint64 {
	x = x&0x007f_007f_007f_007f | x&0x7f00_7f00_7f00_7f00>>1
	x = x&0x0000_3fff_0000_3fff | x&0x3fff_0000_3fff_0000>>2
	return x&0x0fff_ffff | x&0x0fff_ffff_0000_0000>>4
}

// readLastVarint is readVarint for a varint that is long, or near the end of the input.
func readLastVarint(in []byte, p, end int) (uint64, int) {
	in = in[:end]
	var v uint64
	shift := uint(0)
	if p+8 <= len(in) {
		if x := load64(in, p); ^x&highBits == 0 {
			v, p, shift = joinSevens(x), p+8, 56
		}
	}
	for ; shift < 64; shift += 7 {
		if uint(p) >= uint(len(in)) {
			return 0, -1
		}
		c := in[p]
		p++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, -1
			}
			return v, p
		}
	}
	return 0, -1
}
