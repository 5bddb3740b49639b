package transcode

import (
	"bytes"
	"math"
	"strconv"
)

// signed reads an integer of 32 or 64 bits, as a number or as a string that holds one.
func (d *decoder) signed(p int, size uint) (int64, int) {
	in := d.in
	q := p
	quoted := q < len(in) && in[q] == '"'
	if quoted {
		q++
	}
	negative := q < len(in) && in[q] == '-'
	if negative {
		q++
	}
	v, q, ok := d.digits(q, quoted)
	if !ok {
		return d.oddInteger(p, size, true)
	}
	limit := uint64(1) << (size - 1)
	if !negative {
		limit--
	}
	if v > limit {
		return d.oddInteger(p, size, true)
	}
	if negative {
		return -int64(v), q
	}
	return int64(v), q
}

// unsigned reads an unsigned integer of 32 or 64 bits, as a number or as a string that holds one.
func (d *decoder) unsigned(p int, size uint) (uint64, int) {
	quoted := d.is(p, '"')
	q := p
	if quoted {
		q++
	}
	v, q, ok := d.digits(q, quoted)
	if !ok || v > 1<<(size-1)<<1-1 {
		v, q := d.oddInteger(p, size, false)
		return uint64(v), q
	}
	return v, q
}

// digits reads a plain integer below 2^64 at p. It reports whether there is one, and whether it
// ends as a number or a string must end. oddInteger reads all other forms.
func (d *decoder) digits(p int, quoted bool) (uint64, int, bool) {
	in := d.in
	start := p
	var v uint64
	words := 0
	for ; words < 3 && p+8 <= len(in); words++ {
		x := load64(in, p)
		k := leadingDigits(x)
		if k == 8 {
			v = v*100_000_000 + parseEight(x)
			p += 8
			continue
		}
		if k > 0 {
			v = v*pow10[k] + parseEight(x<<uint(64-8*k))
			p += k
		}
		break
	}
	for p < len(in) && p+8 > len(in) {
		c := in[p] - '0'
		if c > 9 {
			break
		}
		v = v*10 + uint64(c)
		p++
	}
	n := p - start
	if n == 0 || p >= len(in) || in[start] == '0' && n > 1 {
		return 0, p, false
	}
	// A number of 20 digits fits 64 bits if it starts with a 1 and v is at least 10^19. Otherwise v
	// has overflowed.
	if n > 19 && (n > 20 || in[start] != '1' || v < 1e19) {
		return 0, p, false
	}
	if quoted {
		return v, p + 1, in[p] == '"'
	}
	return v, p, !isWordByte(in[p])
}

// oddInteger reads an integer in every form that JSON has for it: with a fraction of zeros, with an
// exponent, and with escapes if it is a string. It fails if the value is not an integer.
func (d *decoder) oddInteger(p int, size uint, signed bool) (int64, int) {
	expected := expectedInteger(size, signed)
	token, q := d.numberText(p, expected)
	if q < 0 {
		return 0, q
	}
	v, negative, ok := integerOf(token)
	switch {
	case !ok || negative && !signed:
	case !signed:
		if size == 64 || v <= math.MaxUint32 {
			return int64(v), q
		}
	case negative:
		if v <= 1<<(size-1) {
			return -int64(v), q
		}
	case v <= 1<<(size-1)-1:
		return int64(v), q
	}
	p, _ = d.fail(p, nil, expected)
	return 0, p
}

func expectedInteger(size uint, signed bool) string {
	switch {
	case signed && size == 32:
		return "an integer of 32 bits"
	case signed:
		return "an integer of 64 bits"
	case size == 32:
		return "an unsigned integer of 32 bits"
	default:
		return "an unsigned integer of 64 bits"
	}
}

// numberText returns the text of the number at p, or in the string at p, and the position after it.
func (d *decoder) numberText(p int, expected string) ([]byte, int) {
	if !d.is(p, '"') {
		q := p + numberSize(d.in[min(p, len(d.in)):])
		if q == p {
			q, _ = d.fail(p, nil, expected)
		}
		if q < 0 {
			return nil, q
		}
		return d.in[p:q], q
	}
	s, q := d.text(p)
	if q < 0 {
		return nil, q
	}
	if n := numberSize(s); n == 0 || n != len(s) {
		p, _ = d.fail(p, nil, expected)
		return nil, p
	}
	return s, q
}

// numberSize returns the length of the number token at the start of b, or 0 if there is none. It
// follows protojson, which also accepts an exponent without digits. Such a token has a value only
// as an integer; see integerOf.
func numberSize(b []byte) int {
	n := 0
	if n < len(b) && b[n] == '-' {
		n++
	}
	switch {
	case n >= len(b) || b[n] < '0' || b[n] > '9':
		return 0
	case b[n] == '0':
		n++
	default:
		n = skipDigits(b, n)
	}
	if n+1 < len(b) && b[n] == '.' && '0' <= b[n+1] && b[n+1] <= '9' {
		n = skipDigits(b, n+1)
	}
	if n+1 < len(b) && (b[n] == 'e' || b[n] == 'E') {
		n++
		if b[n] == '+' || b[n] == '-' {
			n++
			if n == len(b) {
				return 0
			}
		}
		n = skipDigits(b, n)
	}
	if n < len(b) && isWordByte(b[n]) {
		return 0
	}
	return n
}

func skipDigits(b []byte, n int) int {
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}

// integerOf returns the magnitude and the sign of a number token, and whether it is an integer that
// may fit 64 bits.
func integerOf(token []byte) (v uint64, negative, ok bool) {
	if token[0] == '-' {
		negative = true
		token = token[1:]
	}
	whole := token[:skipDigits(token, 0)]
	rest := token[len(whole):]
	if whole[0] == '0' {
		whole = nil
	}
	var fraction []byte
	if len(rest) > 0 && rest[0] == '.' {
		n := skipDigits(rest, 1)
		fraction, rest = bytes.TrimRight(rest[1:n], "0"), rest[n:]
	}
	if len(whole) == 0 && len(fraction) == 0 {
		// protojson reads the token a second time, on its own. Then it refuses an exponent that is
		// only a sign, but accepts one without sign and digits.
		bareSign := len(rest) == 2 && (rest[1] == '+' || rest[1] == '-')
		return 0, false, !bareSign
	}
	exponent := 0
	if len(rest) > 1 {
		n, err := strconv.ParseInt(string(rest[1:]), 10, 32)
		if err != nil {
			return 0, negative, false
		}
		exponent = int(n)
	}
	const maxDigits = 20 // of the largest uint64
	zeros := 0
	if exponent >= 0 {
		zeros = exponent - len(fraction)
		if zeros < 0 || len(whole)+exponent > maxDigits {
			return 0, negative, false
		}
	} else {
		kept := len(whole) + exponent
		if len(fraction) > 0 || kept < 0 || len(bytes.Trim(whole[kept:], "0")) > 0 {
			return 0, negative, false
		}
		whole = whole[:kept]
	}
	for _, digits := range [...][]byte{whole, fraction} {
		for _, c := range digits {
			if v, ok = appendDigit(v, c-'0'); !ok {
				return 0, negative, false
			}
		}
	}
	for range zeros {
		if v, ok = appendDigit(v, 0); !ok {
			return 0, negative, false
		}
	}
	return v, negative, true
}

func appendDigit(v uint64, digit byte) (uint64, bool) {
	if v > math.MaxUint64/10 || v == math.MaxUint64/10 && digit > math.MaxUint64%10 {
		return 0, false
	}
	return v*10 + uint64(digit), true
}

// float32 reads a float and returns its bits.
func (d *decoder) float32(p int) (uint64, int) {
	token, q := d.floatText(p)
	if q < 0 {
		return 0, q
	}
	v, ok := parseFloat32(token)
	if !ok {
		p, _ = d.fail(p, nil, "a number within the range of a float")
		return 0, p
	}
	return uint64(math.Float32bits(v)), q
}

// float64 reads a double and returns its bits. plainDouble is faster for plain numbers.
func (d *decoder) float64(p int) (uint64, int) {
	token, q := d.floatText(p)
	if q < 0 {
		return 0, q
	}
	v, ok := parseFloat64(token)
	if !ok {
		p, _ = d.fail(p, nil, "a number within the range of a double")
		return 0, p
	}
	return math.Float64bits(v), q
}

// floatText returns the text of the floating-point number at p. The number may be in a string. A
// string may also be NaN, Infinity or -Infinity, for which JSON has no numbers.
func (d *decoder) floatText(p int) ([]byte, int) {
	if d.is(p, '"') {
		s, q := d.text(p)
		if q < 0 {
			return nil, q
		}
		switch string(s) {
		case "NaN", "Infinity", "-Infinity":
			return s, q
		}
	}
	return d.numberText(p, "a number")
}
