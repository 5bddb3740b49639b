package transcode

import "math"

// The functions in this file are the short way of reading JSON. They read the most common values,
// and give up on all others by returning 0 as the position after the value. They also give up near
// the end of the input, where no whole words can be read.

// shortRoom is how many bytes of free output the short way needs: for a tag, and for a number or
// what putShort writes.
const shortRoom = 1 + maxShort + 9

// maxShort is how many bytes putShort looks at. They must hold the string and its closing quote. So
// the length of the string takes one byte.
const maxShort = 0x78

// putShort reads a short plain string with its quotes at in[p]. It writes a byte for the length,
// and the string, at buf[n]. It returns the positions after the input and after the output.
func putShort(in []byte, p int, buf []byte, n int) (int, int) {
	if uint(p) >= uint(len(in)) || in[p] != '"' {
		return 0, n
	}
	text := in[p+1:]
	text = text[:min(len(text), maxShort)]
	dst := buf[n+1:]
	dst = dst[:len(text)]
	for i := 0; i <= len(text)-8; i += 8 {
		x := load64(text, i)
		store64(dst, i, x)
		if mask := specials(x); mask != 0 {
			size := i + firstByte(mask)
			if text[size] != '"' {
				return 0, n
			}
			buf[n] = byte(size)
			return p + size + 2, n + size + 1
		}
	}
	return 0, n
}

// put reads the value of a member or an element at in[p], and writes it with its tag at buf[n]. In
// a packed list there is no tag. buf must have shortRoom bytes from n on. put returns the positions
// after the input and after the output.
func (f *field) put(in []byte, p int, buf []byte, n int) (int, int) {
	if uint(p) >= uint(len(in)) {
		return 0, n
	}
	q, v := 0, uint64(0)
	switch f.quick {
	case quickString:
		q, at := putShort(in, p, buf, n+1)
		if q > 0 && (at > n+2 || !f.implicit) {
			buf[n] = byte(f.byte1)
			n = at
		}
		return q, n
	case quickInteger:
		q, v = f.plainInteger(in, p)
	case quickDouble:
		q, v = plainDouble(in, p)
	case quickBool:
		q, v = plainBool(in, p)
	case quickEnum:
		number, end := f.enum.names.quoted(in, p)
		if end == 0 {
			return 0, n
		}
		q, v = end+1, uint64(int64(number))
	}
	if q > 0 && (v != 0 || !f.implicit) {
		if f.pack == 0 {
			buf[n] = byte(f.byte1)
			n++
		}
		if v < 0x80 && f.fixed == 0 {
			buf[n] = byte(v)
			return q, n + 1
		}
		n = putBits(buf, n, f, v)
	}
	return q, n
}

// quoted looks up the name in quotes at in[p]. It returns its number and the position of the
// closing quote. The position is 0 if the name is unknown, too long, or has escapes.
func (t *nameTable) quoted(in []byte, p int) (int32, int) {
	if p+9 > len(in) || in[p] != '"' {
		return 0, 0
	}
	p++
	first, last := load64(in, p), uint64(0)
	end := p
	mask := specials(first)
	if mask != 0 {
		n := firstByte(mask)
		first = lowBytes(first, n)
		end += n
	} else {
		for mask == 0 {
			if end += 8; end > p+24 || end+8 > len(in) {
				return 0, 0
			}
			mask = specials(load64(in, end))
		}
		end += firstByte(mask)
		last = load64(in, end-8)
	}
	if in[end] != '"' {
		return 0, 0
	}
	if v, ok := t.lookup(first, last, in[p:end]); ok {
		return v, end
	}
	return 0, 0
}

// plainInteger reads the integer at in[p], in quotes or without. It gives up unless the integer is
// written as digits only and is in the field's range.
func (f *field) plainInteger(in []byte, p int) (int, uint64) {
	quoted := in[p] == '"'
	if quoted {
		p++
	}
	negative := p < len(in) && in[p] == '-'
	if negative {
		p++
	}
	if p+8 > len(in) {
		return 0, 0
	}
	x := load64(in, p)
	k := leadingDigits(x)
	if k == 0 || in[p] == '0' && k > 1 {
		return 0, 0
	}
	v := parseEight(x << uint(64-8*k))
	if k < 8 {
		p += k
	} else if p, v = moreDigits(in, p+8, v); p == 0 {
		return 0, 0
	}
	if c := in[p]; quoted {
		if c != '"' {
			return 0, 0
		}
		p++
	} else if isWordByte(c) {
		return 0, 0
	}
	if v > math.MaxInt64 {
		return 0, 0
	}
	i := int64(v)
	if negative {
		i = -i
	}
	if i < f.low || i > f.high {
		return 0, 0
	}
	if f.zigzag {
		return p, zigzag(i)
	}
	return p, uint64(i)
}

// moreDigits reads the digits after the first eight of a number. The number may have nineteen in
// all.
func moreDigits(in []byte, p int, v uint64) (int, uint64) {
	if p+8 > len(in) {
		return 0, 0
	}
	x := load64(in, p)
	k := leadingDigits(x)
	if k < 8 {
		return p + k, v*pow10[k] + parseEight(x<<uint(64-8*k))
	}
	p += 8
	if p+8 > len(in) {
		return 0, 0
	}
	v = v*1e8 + parseEight(x)
	x = load64(in, p)
	if k = leadingDigits(x); k > 3 {
		return 0, 0
	}
	return p + k, v*pow10[k] + parseEight(x<<uint(64-8*k))
}

// plainDouble reads a number without an exponent that has at most seven digits before the point and
// seven after it. Its digits and the power of ten are exact in floating point, so their quotient is
// rounded as it should be.
func plainDouble(in []byte, p int) (int, uint64) {
	negative := in[p] == '-'
	if negative {
		p++
	}
	if p+8 > len(in) {
		return 0, 0
	}
	x := load64(in, p)
	whole := leadingDigits(x)
	if whole == 0 || whole == 8 || in[p] == '0' && whole > 1 {
		return 0, 0
	}
	m := parseEight(x << uint(64-8*whole))
	p += whole
	v := float64(m)
	if in[p] == '.' {
		p++
		if p+8 > len(in) {
			return 0, 0
		}
		x := load64(in, p)
		scale := leadingDigits(x)
		if scale == 0 || scale == 8 {
			return 0, 0
		}
		m = m*pow10[scale] + parseEight(x<<uint(64-8*scale))
		p += scale
		v = float64(m) / powers64[scale]
	}
	if isWordByte(in[p]) {
		return 0, 0
	}
	if negative {
		v = -v
	}
	return p, math.Float64bits(v)
}

// plainBool reads true or false.
func plainBool(in []byte, p int) (int, uint64) {
	if p+8 > len(in) {
		return 0, 0
	}
	x := load64(in, p)
	const yes, no = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24, 'f' | 'a'<<8 | 'l'<<16 | 's'<<24 | 'e'<<32
	switch {
	case uint32(x) == yes && !isWordByte(byte(x>>32)):
		return p + 4, 1
	case x&0xff_ffff_ffff == no && !isWordByte(byte(x>>40)):
		return p + 5, 0
	}
	return 0, 0
}
