package transcode

import (
	"encoding/binary"
	"math/bits"
)

// Strings are scanned eight bytes at a time ("SIMD within a register"). In a mask, each byte of
// interest has its high bit set. Only the lowest set bit is exact, because a borrow may leak
// upwards from there. So only the lowest one is used.

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// Words are read and written through slices of exactly their size. With b[i:] the compiler checks
// the length once more. It also masks the pointer, so that an empty slice does not point after the
// array.

// load64 reads eight bytes at b[i] so that b[i] is the lowest byte.
func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8 : i+8]) }

func store64(b []byte, i int, x uint64) { binary.LittleEndian.PutUint64(b[i:i+8:i+8], x) }

func store32(b []byte, i int, x uint32) { binary.LittleEndian.PutUint32(b[i:i+4:i+4], x) }

// load32 reads four bytes at b[i] so that b[i] is the lowest byte.
func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i : i+4 : i+4]) }

// specials marks the bytes that cannot be copied between a JSON string and a proto string as they
// are: controls, the quote, the backslash, and everything that is not ASCII (its UTF-8 must be
// checked).
func specials(x uint64) uint64 { return (odd(x) | x) & highBits }

// specialsASCII is specials without the bytes that are not ASCII.
func specialsASCII(x uint64) uint64 { return odd(x) &^ x & highBits }

// odd marks controls, the quote and the backslash, and may mark what is not ASCII. Flipping the
// second bit turns the quote into a space, and the controls stay below that. So one subtraction
// finds both.
func odd(x uint64) uint64 {
	return ((x ^ 0x02*eachByte) - (' '+1)*eachByte) | ((x ^ '\\'*eachByte) - eachByte)
}

// firstByte returns the index of the lowest marked byte.
func firstByte(mask uint64) int { return bits.TrailingZeros64(mask) >> 3 }

// lowBytes keeps the n lowest bytes of a word, for n from 0 to 8.
func lowBytes(x uint64, n int) uint64 {
	if n >= 8 {
		return x
	}
	return x & (1<<(uint(n)*8) - 1)
}

// eightDigits reports whether all eight bytes are decimal digits.
func eightDigits(x uint64) bool {
	return (x&0xf0f0f0f0f0f0f0f0)|(((x+0x0606060606060606)&0xf0f0f0f0f0f0f0f0)>>4) == 0x3333333333333333
}

// leadingDigits returns how many of the bytes, from the lowest on, are decimal digits.
func leadingDigits(x uint64) int {
	x ^= '0' * eachByte
	return firstByte((x + (0x80-10)*eachByte | x) & highBits)
}

// parseEight returns the number that eight decimal digits represent.
func parseEight(x uint64) uint64 {
	x = (x & 0x0f0f0f0f0f0f0f0f) * (1 + 10<<8) >> 8
	x = (x & 0x00ff00ff00ff00ff) * (1 + 100<<16) >> 16
	return (x & 0x0000ffff0000ffff) * (1 + 10000<<32) >> 32
}
