package transcode

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string and appends its length and its bytes.
func (d *decoder) str(p int, out []byte) (int, []byte) {
	if buf := out[:cap(out)]; len(buf)-len(out) >= shortRoom {
		if q, n := putShort(d.in, p, buf, len(out)); q > 0 {
			return q, buf[:n]
		}
	}
	return d.oddString(p, out)
}

// oddString is str without the short way for plain strings.
func (d *decoder) oddString(p int, out []byte) (int, []byte) {
	in := d.in
	if !d.is(p, '"') {
		return d.fail(p, out, "a string")
	}
	start := p + 1
	q, plain := d.scan(start)
	if q < 0 {
		return q, out
	}
	if in[q] == '"' {
		s := in[start:q]
		if !plain && !utf8.Valid(s) {
			return d.invalidUTF8(start, out)
		}
		return q + 1, append(appendVarint(out, uint64(len(s))), s...)
	}
	index := len(d.patches)
	out = d.open(out)
	p, out = d.unescape(start, out)
	if p >= 0 {
		d.close(index, out)
	}
	return p, out
}

// scan finds the first quote or backslash from p on, which is within a string. It reports whether
// all bytes before it are ASCII. It fails at a control character and at the end of the input.
func (d *decoder) scan(p int) (int, bool) {
	in := d.in
	plain := true
	for p+8 <= len(in) {
		x := load64(in, p)
		mask := specialsASCII(x)
		if mask == 0 {
			plain = plain && x&highBits == 0
			p += 8
			continue
		}
		n := firstByte(mask)
		plain = plain && lowBytes(x, n)&highBits == 0
		return d.scanned1(p+n, plain)
	}
	for ; p < len(in); p++ {
		switch c := in[p]; {
		case c == '"' || c == '\\' || c < ' ':
			return d.scanned1(p, plain)
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	p, _ = d.fail(p, nil, "the end of the string")
	return p, false
}

func (d *decoder) scanned1(p int, plain bool) (int, bool) {
	if d.in[p] < ' ' {
		p, _ = d.fail(p, nil, "a string without control characters")
	}
	return p, plain
}

func (d *decoder) invalidUTF8(start int, out []byte) (int, []byte) {
	in := d.in[start:]
	p := start
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		if r == utf8.RuneError && n == 1 {
			break
		}
		in, p = in[n:], p+n
	}
	d.err = &SyntaxError{Offset: p, Expected: "valid UTF-8", Found: "an invalid byte"}
	return -1, out
}

// unescape appends the bytes of the string whose content starts at p, and returns the position
// after the closing quote.
func (d *decoder) unescape(p int, out []byte) (int, []byte) {
	for {
		q, plain := d.scan(p)
		if q < 0 {
			return q, out
		}
		if !plain && !utf8.Valid(d.in[p:q]) {
			return d.invalidUTF8(p, out)
		}
		out = append(out, d.in[p:q]...)
		if d.in[q] == '"' {
			return q + 1, out
		}
		if p, out = d.escape(q, out); p < 0 {
			return p, out
		}
	}
}

// escape reads the escape sequence at p, which is a backslash.
func (d *decoder) escape(p int, out []byte) (int, []byte) {
	if p+1 >= len(d.in) {
		return d.fail(p+1, out, "an escape")
	}
	switch c := d.in[p+1]; c {
	case '"', '\\', '/':
		return p + 2, append(out, c)
	case 'b':
		return p + 2, append(out, '\b')
	case 'f':
		return p + 2, append(out, '\f')
	case 'n':
		return p + 2, append(out, '\n')
	case 'r':
		return p + 2, append(out, '\r')
	case 't':
		return p + 2, append(out, '\t')
	case 'u':
		r := d.hexRune(p)
		p += 6
		if utf16.IsSurrogate(r) {
			r = utf16.DecodeRune(r, d.hexRune(p))
			p += 6
			if r == utf8.RuneError {
				r = -1
			}
		}
		if r >= 0 {
			return p, utf8.AppendRune(out, r)
		}
		return d.fail(min(p, len(d.in)), out, "a Unicode escape of a whole character")
	}
	return d.fail(p+1, out, "an escape that JSON knows")
}

// hexRune returns the value of the escape \uXXXX at p, or -1.
func (d *decoder) hexRune(p int) rune {
	if p+6 > len(d.in) || d.in[p] != '\\' || d.in[p+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range d.in[p+2 : p+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// text reads a string and returns its bytes and the position after it. The bytes are valid until
// the next call.
func (d *decoder) text(p int) ([]byte, int) {
	if !d.is(p, '"') {
		p, _ = d.fail(p, nil, "a string")
		return nil, p
	}
	start := p + 1
	q, plain := d.scan(start)
	if q < 0 {
		return nil, q
	}
	if d.in[q] == '"' {
		s := d.in[start:q]
		if !plain && !utf8.Valid(s) {
			p, _ = d.invalidUTF8(start, nil)
			return nil, p
		}
		return s, q + 1
	}
	q, d.name = d.unescape(start, d.name[:0])
	return d.name, q
}

// memberName reads the name of a member and the colon, and returns the position after it.
func (d *decoder) memberName(p int) ([]byte, int) {
	name, q := d.text(p)
	if q < 0 {
		return nil, q
	}
	if !d.is(q, ':') {
		if q = d.space(q); !d.is(q, ':') {
			q, _ = d.fail(q, nil, "':'")
			return nil, q
		}
	}
	return name, q + 1
}
