package transcode

// single reads the one value of a wrapper or of a map entry, and appends it with its tag.
func (d *decoder) single(p int, out []byte, f *field) (int, []byte) {
	if buf := out[:cap(out)]; f.quick != quickNone && len(buf)-len(out) >= shortRoom {
		if q, n := f.put(d.in, p, buf, len(out)); q > 0 {
			return q, buf[:n]
		}
	}
	return d.value(p, out, f)
}

// value reads one value in any form, and appends it with its tag.
func (d *decoder) value(p int, out []byte, f *field) (int, []byte) {
	switch f.kind {
	case kindString:
		if f.implicit && p+1 < len(d.in) && d.in[p] == '"' && d.in[p+1] == '"' {
			return p + 2, out
		}
		out = appendTag(out, f.tag)
		if f.quick == quickString && !f.counted {
			return d.oddString(p, out) // field.put has tried the short way
		}
		return d.str(p, out)
	case kindMessage, kindGroup:
		return d.delimited(p, out, f)
	case kindBytes:
		before := len(out)
		p, out = d.bytes(p, appendTag(out, f.tag))
		if f.implicit && p >= 0 && out[len(out)-1] == 0 && len(out) == before+varintSize(uint64(f.tag))+1 {
			out = out[:before]
		}
		return p, out
	default:
		v, q := d.scalar(p, f)
		if d.dropped {
			d.dropped = false
			return q, out
		}
		if q < 0 || v == 0 && f.implicit {
			return q, out
		}
		return q, appendBits(appendTag(out, f.tag), f, v)
	}
}

// scalar reads a number, bool or enum value and returns its wire value. An unknown enum name that
// is to be ignored gives 0 and sets dropped.
func (d *decoder) scalar(p int, f *field) (uint64, int) {
	switch f.kind {
	case kindInt32:
		v, q := d.signed(p, 32)
		return uint64(v), q
	case kindInt64:
		v, q := d.signed(p, 64)
		return uint64(v), q
	case kindUint32, kindFixed32:
		return d.unsigned(p, 32)
	case kindUint64, kindFixed64:
		return d.unsigned(p, 64)
	case kindBool:
		return d.boolean(p)
	case kindEnum:
		return d.enum(p, f)
	case kindSint32:
		v, q := d.signed(p, 32)
		return zigzag(v) & 0xffffffff, q
	case kindSint64:
		v, q := d.signed(p, 64)
		return zigzag(v), q
	case kindSfixed32:
		v, q := d.signed(p, 32)
		return uint64(uint32(v)), q
	case kindSfixed64:
		v, q := d.signed(p, 64)
		return uint64(v), q
	case kindFloat:
		return d.float32(p)
	case kindDouble:
		return d.float64(p)
	case kindNull:
		if d.is(p, 'n') {
			return 0, d.literal(p, "null")
		}
		return d.enum(p, f)
	}
	_, _ = d.fail(p, nil, "a scalar")
	return 0, -1
}

// boolean reads true or false.
func (d *decoder) boolean(p int) (uint64, int) {
	switch {
	case d.is(p, 't'):
		return 1, d.literal(p, "true")
	case d.is(p, 'f'):
		return 0, d.literal(p, "false")
	}
	p, _ = d.fail(p, nil, "true or false")
	return 0, p
}

// literal reads the word, which is true, false or null.
func (d *decoder) literal(p int, word string) int {
	end := p + len(word)
	if end > len(d.in) || string(d.in[p:end]) != word || end < len(d.in) && isWordByte(d.in[end]) {
		p, _ = d.fail(p, nil, word)
		return p
	}
	return end
}

// enum reads the name or the number of an enum value.
func (d *decoder) enum(p int, f *field) (uint64, int) {
	if !d.is(p, '"') {
		if !d.is(p, '-') && (p >= len(d.in) || d.in[p] < '0' || d.in[p] > '9') {
			p, _ = d.fail(p, nil, "a value of "+string(f.fd.Enum().FullName()))
			return 0, p
		}
		v, q := d.signed(p, 32)
		return uint64(v), q
	}
	name, q := d.text(p)
	if q < 0 {
		return 0, q
	}
	if n, ok := f.enum.number(name); ok {
		return uint64(int64(n)), q
	}
	if d.c.opts.DiscardUnknown {
		d.dropped = true
		return 0, q
	}
	p, _ = d.fail(p, nil, "a value of "+string(f.fd.Enum().FullName()))
	return 0, p
}
