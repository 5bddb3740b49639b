package transcode

import (
	"math"
	"unicode/utf8"
)

// appendScalar appends the JSON form of a number, bool or enum, given what the wire says for it.
func (c *Compiler) appendScalar(out []byte, f *field, v uint64) []byte {
	switch f.kind {
	case kindBool:
		if v != 0 {
			return append(out, "true"...)
		}
		return append(out, "false"...)
	case kindInt32, kindSfixed32:
		return appendInt(out, int64(int32(v)))
	case kindSint32:
		return appendInt(out, int64(int32(unzigzag(v&math.MaxUint32))))
	case kindUint32, kindFixed32:
		return appendUint(out, uint64(uint32(v)))
	case kindInt64, kindSfixed64:
		return append(appendInt(append(out, '"'), int64(v)), '"')
	case kindSint64:
		return append(appendInt(append(out, '"'), unzigzag(v)), '"')
	case kindUint64, kindFixed64:
		return append(appendUint(append(out, '"'), v), '"')
	case kindFloat:
		return appendFloat32(out, math.Float32frombits(uint32(v)))
	case kindDouble:
		return appendFloat64(out, math.Float64frombits(v))
	case kindEnum:
		if !c.opts.EnumsAsNumbers {
			if text := f.enum.text(int32(v)); text != "" {
				return append(out, text...)
			}
		}
		return appendInt(out, int64(int32(v)))
	default:
		return append(out, "null"...)
	}
}

// appendJSONString appends s as a JSON string, and reports whether s is valid UTF-8. Nothing is escaped but what must be:
// the quote, the backslash and control characters.
func appendJSONString(out, s []byte) ([]byte, bool) {
	n := len(s)
	out = grow(out, n+16)
	at := len(out)
	buf := out[at : at+n+2]
	buf[0] = '"'
	text := buf[1 : n+1]
	i := 0
	for ; i+8 <= n; i += 8 {
		x := load64(s, i)
		store64(text, i, x)
		if specials(x) != 0 {
			return appendOddString(out, s, i)
		}
	}
	switch rest := n - i; {
	case rest == 0:
	case n >= 8:
		x := load64(s, n-8)
		store64(text, n-8, x)
		if specials(x) != 0 {
			return appendOddString(out, s, i)
		}
	case rest >= 4:
		x, y := load32(s, 0), load32(s, n-4)
		store32(text, 0, x)
		store32(text, n-4, y)
		if specials(uint64(x)|uint64(y)<<32) != 0 {
			return appendOddString(out, s, i)
		}
	default:
		for ; i < n; i++ {
			c := s[i]
			text[i] = c
			if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
				return appendOddString(out, s, i)
			}
		}
	}
	buf[n+1] = '"'
	return out[:at+n+2], true
}

// appendOddString is appendJSONString for a string with something to escape or to validate, but not before s[i].
func appendOddString(out, s []byte, i int) ([]byte, bool) {
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
