package transcode

import (
	"math"
	"unicode/utf8"
)

// appendScalar appends the JSON form of a number, bool or enum, given its wire value.
func (c *Compiler) appendScalar(out []byte, f *field, v uint64) []byte {
	out = grow(out, scalarRoom)
	buf := out[:cap(out)]
	if n := c.putScalar(buf, len(out), f, v); n >= 0 {
		return buf[:n]
	}
	return append(out, f.enum.text(int32(v))...) // a long name
}

// scalarRoom is how many bytes of free output putScalar needs. They hold maxDigits with quotes and
// a sign, or the name of an enum value that fits enumWords, or what strconv writes for a double.
const scalarRoom = 32

// putScalar writes the JSON form of a number, bool or enum at buf[n], and returns where it ends. It
// returns -1 for an enum value with a long name.
func (c *Compiler) putScalar(buf []byte, n int, f *field, v uint64) int {
	switch f.kind {
	case kindBool:
		word, size := uint64('f'|'a'<<8|'l'<<16|'s'<<24|'e'<<32), 5
		if v != 0 {
			word, size = 't'|'r'<<8|'u'<<16|'e'<<24, 4
		}
		store64(buf, n, word)
		return n + size
	case kindInt32, kindSfixed32:
		return putInt(buf, n, int64(int32(v)))
	case kindSint32:
		return putInt(buf, n, int64(int32(unzigzag(v&math.MaxUint32))))
	case kindUint32, kindFixed32:
		return putUint(buf, n, uint64(uint32(v)))
	case kindInt64, kindSfixed64:
		return putQuoted(buf, n, int64(v))
	case kindSint64:
		return putQuoted(buf, n, unzigzag(v))
	case kindUint64, kindFixed64:
		buf[n] = '"'
		n = putUint(buf, n+1, v)
		buf[n] = '"'
		return n + 1
	case kindFloat:
		return putFloat32(buf, n, math.Float32frombits(uint32(v)))
	case kindDouble:
		return putFloat64(buf, n, math.Float64frombits(v))
	case kindEnum:
		if !c.opts.EnumsAsNumbers {
			return putEnum(buf, n, f.enum, int32(v))
		}
		return putInt(buf, n, int64(int32(v)))
	default:
		return n + copy(buf[n:], "null")
	}
}

func putQuoted(buf []byte, n int, v int64) int {
	buf[n] = '"'
	n = putInt(buf, n+1, v)
	buf[n] = '"'
	return n + 1
}

// putEnum writes the name of an enum value, or its number if it has no name. It returns -1 if the
// name is long.
func putEnum(buf []byte, n int, t *enumTable, v int32) int {
	if i := int64(v) - int64(t.low); i >= 0 && i < int64(len(t.words)) && t.words[i].size > 0 {
		*(*[31]byte)(buf[n : n+31 : n+31]) = t.words[i].text
		return n + int(t.words[i].size)
	}
	if t.text(v) != "" {
		return -1
	}
	return putInt(buf, n, int64(v))
}

// appendJSONString appends s as a JSON string, and reports whether s is valid UTF-8. It escapes
// only the quote, the backslash and control characters.
func appendJSONString(out, s []byte) ([]byte, bool) {
	return appendText(out, s, 0, len(s))
}

// appendText is appendJSONString for in[from:to].
func appendText(out, in []byte, from, to int) ([]byte, bool) {
	out = grow(out, to-from+textRoom)
	buf := out[:cap(out)]
	if n := putText(buf, len(out), in, from, to); n >= 0 {
		return buf[:n], true
	}
	return appendOddText(out, in[from:to])
}

// textRoom is how many bytes of free output putText needs beyond the length of the string.
const textRoom = 16

// putText writes in[from:to] as a JSON string at buf[n], and returns where it ends. It returns -1
// if something in the string must be escaped or validated. It copies and checks words of eight
// bytes, of which the last overlaps the one before it, so that no length needs a loop over bytes.
func putText(buf []byte, n int, in []byte, from, to int) int {
	buf[n] = '"'
	n++
	size := to - from
	end := n + size
	switch {
	case size < 8:
		if !putFew(buf, n, in, from, to) {
			return -1
		}
	case size <= 16:
		a, b := load64(in, from), load64(in, to-8)
		store64(buf, n, a)
		store64(buf, end-8, b)
		if specials(a)|specials(b) != 0 {
			return -1
		}
	case size <= 32:
		a, b, c, d := load64(in, from), load64(in, from+8), load64(in, to-16), load64(in, to-8)
		store64(buf, n, a)
		store64(buf, n+8, b)
		store64(buf, end-16, c)
		store64(buf, end-8, d)
		if specials(a)|specials(b)|specials(c)|specials(d) != 0 {
			return -1
		}
	default:
		for ; from < to-8; from, n = from+8, n+8 {
			x := load64(in, from)
			store64(buf, n, x)
			if specials(x) != 0 {
				return -1
			}
		}
		x := load64(in, to-8)
		store64(buf, end-8, x)
		if specials(x) != 0 {
			return -1
		}
	}
	buf[end] = '"'
	return end + 1
}

// putFew copies fewer than eight bytes, and reports whether a JSON string can have them. It may
// write up to eight bytes.
func putFew(buf []byte, n int, in []byte, from, to int) bool {
	size := to - from
	unused := uint(64 - 8*size)
	var x uint64 // Its lowest bytes are the text.
	switch {
	case from+8 <= len(in):
		x = load64(in, from)
	case to >= 8:
		x = load64(in, to-8) >> unused
	default:
		for i, c := range in[from:to] {
			x |= uint64(c) << (8 * i)
		}
	}
	store64(buf, n, x)
	return specials(x)<<unused == 0
}

// appendOddText is appendJSONString for a string with something to escape or to validate.
func appendOddText(out, s []byte) ([]byte, bool) {
	if !utf8.Valid(s) {
		return out, false
	}
	out = append(out, '"')
	i, from := 0, 0
	for i < len(s) {
		if i+8 <= len(s) {
			mask := specialsASCII(load64(s, i))
			if mask == 0 {
				i += 8
				continue
			}
			i += firstByte(mask)
		}
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		out = appendEscape(append(out, s[from:i]...), c)
		i++
		from = i
	}
	return append(append(out, s[from:]...), '"'), true
}

func appendEscape(out []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, '\\', 'b')
	case '\f':
		return append(out, '\\', 'f')
	case '\n':
		return append(out, '\\', 'n')
	case '\r':
		return append(out, '\\', 'r')
	case '\t':
		return append(out, '\\', 't')
	}
	return append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
