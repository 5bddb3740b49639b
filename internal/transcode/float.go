package transcode

import (
	"math"
	"strconv"
)

// powers64 are the powers of ten that a float64 holds exactly, powers32 those that a float32 holds.
var (
	powers64 = [...]float64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
		1e20, 1e21, 1e22,
	}
	powers32 = [...]float32{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}
)

// decimal takes a plain decimal number apart: m * 10^-scale. It gives up on exponents and on more than 18 digits.
func decimal(b []byte) (m uint64, scale int, negative, ok bool) {
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

// parseFloat64 returns the value of a JSON number, or of NaN, Infinity or -Infinity, and whether it is in range.
// If both the digits and the power of ten are exact in floating point, so is the rounding of their quotient.
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

// appendFloat64 appends the JSON form of a double: the shortest decimal that reads back as the same value, with an
// exponent below 1e-6 and from 1e21 on, as encoding/json and protojson write it.
func appendFloat64(out []byte, v float64) []byte {
	if abs := math.Abs(v); abs < 1e15 && abs >= 1e-3 {
		if out, ok := appendShortDecimal(out, v, abs); ok {
			return out
		}
	}
	return appendFloat(out, v, 64)
}

// appendFloat32 is appendFloat64 for a float.
func appendFloat32(out []byte, v float32) []byte {
	if abs := math.Abs(float64(v)); abs < 1<<24 && abs == math.Trunc(abs) && abs > 0 {
		if v < 0 {
			out = append(out, '-')
		}
		return appendUint(out, uint64(abs))
	}
	return appendFloat(out, float64(v), 32)
}

// appendShortDecimal writes numbers of up to fifteen digits with up to maxScale of them after the point. It looks for
// the least scale at which the number is m/10^scale with an integer m below 2^50. As m and the power are exact, the
// quotient is rounded as a parser would round the decimal; and as decimals of that scale lie several units in the
// last place apart, no other of them, and none of a lesser scale, reads back as the same value. So it is the
// shortest, as strconv defines it.
func appendShortDecimal(out []byte, v, abs float64) ([]byte, bool) {
	const maxScale = 6
	for scale := 0; scale <= maxScale; scale++ {
		m := math.RoundToEven(abs * powers64[scale])
		if m >= 1<<50 {
			return out, false
		}
		if m/powers64[scale] != abs {
			continue
		}
		if v < 0 {
			out = append(out, '-')
		}
		if scale == 0 {
			return appendUint(out, uint64(m)), true
		}
		unit := pow10[scale]
		out = appendUint(out, uint64(m)/unit)
		out = append(out, '.')
		return appendPadded(out, uint64(m)%unit, scale), true
	}
	return out, false
}

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// appendPadded appends v in exactly n digits.
func appendPadded(out []byte, v uint64, n int) []byte {
	for i := n - 1; i > 0; i-- {
		if v < pow10[i] {
			out = append(out, '0')
		} else {
			break
		}
	}
	return appendUint(out, v)
}

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
