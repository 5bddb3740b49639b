package transcode

import (
	"math"
	"math/bits"
	"strconv"
)

// powers64 are the powers of ten that a float64 holds exactly. powers32 are those that a float32
// holds exactly.
var (
	powers64 = [...]float64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
		1e20, 1e21, 1e22,
	}
	powers32 = [...]float32{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}
)

// decimal splits a plain decimal number into m * 10^-scale and the sign. It gives up on exponents
// and on more than 18 digits.
func decimal(b []byte) (m uint64, scale int, negative, ok bool) {
	if len(b) > len("-")+18+len(".") {
		return 0, 0, false, false
	}
	i := 0
	if b[0] == '-' {
		negative = true
		i++
	}
	point := -1
	start := i
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c <= 9 {
			m = m*10 + uint64(c)
			continue
		}
		if b[i] != '.' || point >= 0 {
			return 0, 0, false, false
		}
		point = i
	}
	if point >= 0 {
		scale = len(b) - point - 1
	}
	return m, scale, negative, len(b)-start <= 18
}

// parseFloat64 returns the value of a JSON number, or of NaN, Infinity or -Infinity, and whether it
// is in range. If both the digits and the power of ten are exact in floating point, their quotient
// is rounded as it should be.
func parseFloat64(b []byte) (float64, bool) {
	if m, scale, negative, ok := decimal(b); ok && m < 1<<53 {
		v := float64(m) / powers64[scale]
		if negative {
			v = -v
		}
		return v, true
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// parseFloat32 is parseFloat64 for a float.
func parseFloat32(b []byte) (float32, bool) {
	if m, scale, negative, ok := decimal(b); ok && m < 1<<24 && scale < len(powers32) {
		v := float32(m) / powers32[scale]
		if negative {
			v = -v
		}
		return v, true
	}
	v, err := strconv.ParseFloat(string(b), 32)
	return float32(v), err == nil
}

// appendFloat64 appends the JSON form of a double: the shortest decimal that reads back as the same
// value, with an exponent below 1e-6 and from 1e21 on, as encoding/json and protojson write it.
//
// Most numbers in JSON have few digits after the point, and need not go through strconv. Let the
// double be m/10^scale, rounded, with m below 2^50. Then multiplying and rounding finds m, because
// the errors of both are far less than one half. Decimals of that scale lie several units in the
// last place apart. So no other one reads back as the same value, and none of a smaller scale does.
// m/10^scale is the shortest decimal once the zeros at its end are removed.
func appendFloat64(out []byte, v float64) []byte {
	out = grow(out, scalarRoom)
	buf := out[:cap(out)]
	return buf[:putFloat64(buf, len(out), v)]
}

func putFloat64(buf []byte, n int, v float64) int {
	abs := math.Abs(v)
	switch {
	case abs < 1e-3 || abs >= 1e15:
	case abs < 1e9:
		if m := math.RoundToEven(abs * 1e6); m/1e6 == abs {
			return putDecimal(buf, n, v < 0, uint64(m)/1e6, uint64(m)%1e6*100)
		}
	case abs < 1e12:
		if m := math.RoundToEven(abs * 1e3); m/1e3 == abs {
			return putDecimal(buf, n, v < 0, uint64(m)/1e3, uint64(m)%1e3*100_000)
		}
	case math.RoundToEven(abs) == abs:
		return putDecimal(buf, n, v < 0, uint64(abs), 0)
	}
	return len(appendFloat(buf[:n], v, 64))
}

// appendFloat32 is appendFloat64 for a float. With three digits after the point and a value below
// 4000, m is below 2^22. The quotient is rounded to a double and then to a float. That gives the
// same float as rounding once, because no such decimal lies close enough to the middle between two
// floats.
func appendFloat32(out []byte, v float32) []byte {
	out = grow(out, scalarRoom)
	buf := out[:cap(out)]
	return buf[:putFloat32(buf, len(out), v)]
}

func putFloat32(buf []byte, n int, v float32) int {
	abs := math.Abs(float64(v))
	if abs >= 1e-3 && abs < 4000 {
		if m := math.RoundToEven(abs * 1000); float64(float32(m/1000)) == abs {
			return putDecimal(buf, n, v < 0, uint64(m)/1000, uint64(m)%1000*100_000)
		}
	}
	return len(appendFloat(buf[:n], float64(v), 32))
}

// putDecimal writes a number with a fraction of eight digits, without zeros at the end.
func putDecimal(buf []byte, n int, negative bool, whole, fraction uint64) int {
	if negative {
		buf[n] = '-'
		n++
	}
	n = putUint(buf, n, whole)
	if fraction != 0 {
		digits := digits8(fraction)
		buf[n] = '.'
		store64(buf, n+1, digits+asciiZeros)
		n += 9 - bits.LeadingZeros64(digits)/8
	}
	return n
}

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

func appendFloat(out []byte, v float64, size int) []byte {
	switch {
	case math.IsNaN(v):
		return append(out, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(out, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 {
		if size == 64 && (abs < 1e-6 || abs >= 1e21) ||
			size == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
			format = 'e'
		}
	}
	out = strconv.AppendFloat(out, v, format, -1, size)
	if n := len(out); format == 'e' && n >= 4 && out[n-4] == 'e' && out[n-3] == '-' && out[n-2] == '0' {
		out[n-2] = out[n-1] // e-09 is written e-9
		out = out[:n-1]
	}
	return out
}
