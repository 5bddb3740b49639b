package transcode

import "math/bits"

// digits8 returns the eight decimal digits of v, which is below 10^8, one in each byte and the first in the lowest. The
// number is halved three times, in all lanes at once; the multiplications with a shift divide by 100 and by 10.
func digits8(v uint64) uint64 {
	x := v/10_000 | v%10_000<<32
	q := x * 10486 >> 20 & 0x0000007f_0000007f
	x = q | (x-q*100)<<16
	q = x * 103 >> 10 & 0x000f_000f_000f_000f
	return q | (x-q*10)<<8
}

const asciiZeros = '0' * eachByte

// appendUint appends v in decimal.
func appendUint(out []byte, v uint64) []byte {
	if v < 10 {
		return append(out, byte('0'+v))
	}
	out = grow(out, 24)
	at := len(out)
	buf := out[at : at+24]
	if v >= 1e8 {
		var n int
		if high := v / 1e8; high >= 1e8 {
			n = putDigits(buf, 0, high/1e8)
			store64(buf, n, digits8(high%1e8)+asciiZeros)
			n += 8
		} else {
			n = putDigits(buf, 0, high)
		}
		v %= 1e8
		store64(buf, n, digits8(v)+asciiZeros)
		return out[:at+n+8]
	}
	return out[:at+putDigits(buf, 0, v)]
}

// putDigits writes v, which is positive and below 10^8, without leading zeros at buf[at], and returns where it ends. Up to
// eight bytes are written.
func putDigits(buf []byte, at int, v uint64) int {
	digits := digits8(v)
	zeros := bits.TrailingZeros64(digits) &^ 7
	store64(buf, at, (digits+asciiZeros)>>uint(zeros))
	return at + 8 - zeros/8
}

// appendInt appends v in decimal.
func appendInt(out []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(out, '-'), -uint64(v))
	}
	return appendUint(out, uint64(v))
}

// appendPadded appends v in exactly n digits, of which there are nine at most.
func appendPadded(out []byte, v uint64, n int) []byte {
	if n == 9 {
		out = append(out, byte('0'+v/1e8))
		v, n = v%1e8, 8
	}
	out = grow(out, 8)
	at := len(out)
	store64(out[at:at+8], 0, (digits8(v)+asciiZeros)>>(64-8*uint(n)))
	return out[:at+n]
}
