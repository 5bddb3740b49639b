package transcode

import "math/bits"

const asciiZeros = '0' * eachByte

// pairs8 takes four numbers below 100, one in each 16-bit lane of x. It returns their decimal
// digits, one in each byte, with the first digit of a lane in the lower byte. The multiplication
// with a shift divides by 10 in all lanes at once.
func pairs8(x uint64) uint64 {
	q := x * 103 >> 10 & 0x000f_000f_000f_000f
	return q | (x-q*10)<<8
}

// digits4 returns the four decimal digits of v, which is below 10^4, in the same way.
func digits4(v uint64) uint64 {
	q := v * 5243 >> 19
	return pairs8(q | (v-q*100)<<16)
}

// digits8 returns the eight decimal digits of v, which is below 10^8, in the same way.
func digits8(v uint64) uint64 {
	q := v / 10_000
	x := q | (v-q*10_000)<<32
	q = x * 10486 >> 20 & 0x0000007f_0000007f
	return pairs8(q | (x-q*100)<<16)
}

// maxDigits is how many bytes of free output putUint needs: for the longest number, and for up to
// seven bytes after it.
const maxDigits = 24

// putUint writes v in decimal at buf[n], and returns where it ends.
func putUint(buf []byte, n int, v uint64) int {
	switch {
	case v < 1e4:
		digits := digits4(v)
		zeros := bits.TrailingZeros64(digits|1<<24) &^ 7 // the last digit is not a leading zero
		store32(buf, n, uint32((digits+asciiZeros)>>uint(zeros&31)))
		return n + 4 - zeros/8
	case v < 1e8:
		digits := digits8(v)
		zeros := bits.TrailingZeros64(digits) &^ 7
		store64(buf, n, (digits+asciiZeros)>>uint(zeros&63))
		return n + 8 - zeros/8
	}
	high := v / 1e8
	n = putUint(buf, n, high)
	store64(buf, n, digits8(v-high*1e8)+asciiZeros)
	return n + 8
}

// putInt is putUint for a number that may be negative. It needs one byte more.
func putInt(buf []byte, n int, v int64) int {
	if v < 0 {
		buf[n] = '-'
		return putUint(buf, n+1, -uint64(v))
	}
	return putUint(buf, n, uint64(v))
}

// appendUint appends v in decimal.
func appendUint(out []byte, v uint64) []byte {
	out = grow(out, maxDigits)
	buf := out[:cap(out)]
	return buf[:putUint(buf, len(out), v)]
}

// appendInt appends v in decimal.
func appendInt(out []byte, v int64) []byte {
	out = grow(out, maxDigits+1)
	buf := out[:cap(out)]
	return buf[:putInt(buf, len(out), v)]
}

// appendPadded appends v in exactly n digits. n is nine at most.
func appendPadded(out []byte, v uint64, n int) []byte {
	if n == 9 {
		out = append(out, byte('0'+v/1e8))
		v, n = v%1e8, 8
	}
	out = grow(out, 8)
	at := len(out)
	store64(out, at, (digits8(v)+asciiZeros)>>(64-8*uint(n)))
	return out[:at+n]
}
