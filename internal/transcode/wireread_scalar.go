package transcode

import (
	"math"
	"unicode/utf8"
)

// appendScalar appends the JSON form of a number, bool or enum, given what the wire says for it.
func (c *Compiler) appendScalar(out []byte, f *field, v uint64) []byte {
	out = grow(out, maxDigits+3) // with quotes and a sign
	buf, n := out[:cap(out)], len(out)
	switch f.kind {
	case kindBool:
		word, size := uint64('f'|'a'<<8|'l'<<16|'s'<<24|'e'<<32), 5
		if v != 0 {
			word, size = 't'|'r'<<8|'u'<<16|'e'<<24, 4
		}
		store64(buf, n, word)
		n += size
	case kindInt32, kindSfixed32:
		n = putInt(buf, n, int64(int32(v)))
	case kindSint32:
		n = putInt(buf, n, int64(int32(unzigzag(v&math.MaxUint32))))
	case kindUint32, kindFixed32:
		n = putUint(buf, n, uint64(uint32(v)))
	case kindInt64, kindSfixed64:
		n = putQuoted(buf, n, int64(v))
	case kindSint64:
		n = putQuoted(buf, n, unzigzag(v))
	case kindUint64, kindFixed64:
		buf[n] = '"'
		n = putUint(buf, n+1, v)
		buf[n] = '"'
		n++
	case kindFloat:
		return appendFloat32(out, math.Float32frombits(uint32(v)))
	case kindDouble:
		return appendFloat64(out, math.Float64frombits(v))
	case kindEnum:
		return c.appendEnum(out, f.enum, int32(v))
	default:
		return append(out, "null"...)
	}
	return buf[:n]
}

func putQuoted(buf []byte, n int, v int64) int {
	buf[n] = '"'
	n = putInt(buf, n+1, v)
	buf[n] = '"'
	return n + 1
}

// appendEnum appends the name of an enum value, or its number if it has none.
func (c *Compiler) appendEnum(out []byte, t *enumTable, v int32) []byte {
	if c.opts.EnumsAsNumbers {
		return appendInt(out, int64(v))
	}
	if i, n := int64(v)-int64(t.low), len(out); i >= 0 && i < int64(len(t.words)) && t.words[i].size > 0 && cap(out)-n >= 31 {
		*(*[31]byte)(out[n : n+31 : n+31]) = t.words[i].text
		return out[:n+int(t.words[i].size)]
	}
	if text := t.text(v); text != "" {
		return append(out, text...)
	}
	return appendInt(out, int64(v))
}

// appendJSONString appends s as a JSON string, and reports whether s is valid UTF-8. Nothing is escaped but what must be:
// the quote, the backslash and control characters.
func appendJSONString(out, s []byte) ([]byte, bool) {
	return appendText(grow(out, len(s)+textSlack), s, 0, len(s))
}

// textSlack is the room that appendText needs beyond the length of the string.
const textSlack = 16

// appendText is appendJSONString for in[from:to], into output with room for it. Eight bytes are copied and looked at in one step,
// the last of which may lie behind the string.
func appendText(out, in []byte, from, to int) ([]byte, bool) {
	buf, n := out[:cap(out)], len(out)
	buf[n] = '"'
	n++
	i := from
	for ; i+8 <= len(in); i, n = i+8, n+8 {
		x := load64(in, i)
		store64(buf, n, x)
		mask := specials(x)
		if rest := to - i; rest <= 8 {
			if mask<<uint(64-8*rest) != 0 {
				return appendOddText(out, in, from, i, to)
			}
			buf[n+rest] = '"'
			return buf[:n+rest+1], true
		}
		if mask != 0 {
			return appendOddText(out, in, from, i, to)
		}
	}
	for ; i < to; i, n = i+1, n+1 {
		c := in[i]
		buf[n] = c
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendOddText(out, in, from, i, to)
		}
	}
	buf[n] = '"'
	return buf[:n+1], true
}

// appendOddText is appendText for a string with something to escape or to validate, but not before in[at].
func appendOddText(out, in []byte, start, at, end int) ([]byte, bool) {
	s, i := in[start:end], at-start
	if !utf8.Valid(s[i:]) {
		return out, false
	}
	out = append(append(out, '"'), s[:i]...)
	from := i
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
