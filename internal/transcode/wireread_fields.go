package transcode

import "fmt"

// fields writes the fields between p and end in one pass. Each field is written behind a comma; skip is 1 if the first is
// to go without.
func (w *writer) fields(out []byte, m *program, p, end, skip int) ([]byte, bool) {
	in := w.in
	last := -1
	required := 0
	var oneofs uint64
	defaults := w.c.opts.EmitDefaults
	for p < end {
		start := p
		tag := uint64(in[p])
		p++
		if tag >= 0x80 || tag < 8 {
			if tag, p = w.tag(start, end); p < 0 {
				return out, false
			}
		}
		f := m.byNumber(tag >> 3)
		if f == nil {
			if m.ranges {
				if x, err := m.extensionByNumber(int32(tag >> 3)); err != nil {
					return w.malformed(start, out, err.Error())
				} else if x != nil {
					return w.stray(out, m)
				}
			}
			if p = w.skip(p, end, tag); p < 0 {
				return out, false
			}
			continue
		}
		if !f.takes(tag) {
			if p = w.skip(p, end, tag); p < 0 {
				return w.within(f.name, out)
			}
			continue
		}
		i := int(f.index)
		if i <= last {
			return w.stray(out, m)
		}
		if defaults {
			out, skip = appendZeros(out, m.fields[last+1:i], skip)
		}
		last = i
		if f.oneof >= 0 {
			if f.oneof >= 64 || oneofs&(1<<uint(f.oneof)) != 0 {
				return w.stray(out, m)
			}
			oneofs |= 1 << uint(f.oneof)
		}
		if f.required {
			required++
		}
		var ok bool
		before := len(out)
		switch f.shape {
		case shapeSingular:
			out, p, ok = w.singular(out, f, p, end, skip)
		case shapeList:
			out, p, ok = w.list(out, f, p, end, tag, skip)
		default:
			out, p, ok = w.mapRun(out, f, p, end, skip)
		}
		if !ok {
			return w.within(f.name, out)
		}
		if len(out) > before {
			skip = 0
		}
	}
	if defaults {
		out, _ = appendZeros(out, m.fields[last+1:], skip)
	}
	if required < m.required && w.partial == 0 {
		return w.malformed(end, out, fmt.Sprintf("all required fields of %s", m.md.FullName()))
	}
	return out, true
}

// appendZeros appends the absent fields that EmitDefaults writes, and returns what skip is then.
func appendZeros(out []byte, fields []field, skip int) ([]byte, int) {
	for i := range fields {
		if zero := fields[i].zero; zero != "" {
			out = append(out, zero[skip:]...)
			skip = 0
		}
	}
	return out, skip
}

// appendKey appends the name of a field and the colon, behind a comma unless skip is 1.
func appendKey(out []byte, f *field, skip int) []byte {
	if f.keySize > 0 && cap(out)-len(out) >= len(f.keyWords) {
		n := len(out) - skip
		if skip == 0 || n >= 0 {
			first := byte(0)
			if skip == 1 {
				first = out[n]
			}
			*(*[len(f.keyWords)]byte)(out[n : n+len(f.keyWords)]) = f.keyWords
			if skip == 1 {
				out[n] = first
			}
			return out[:n+int(f.keySize)]
		}
	}
	return append(out, f.key[skip:]...)
}

// singular writes the field at p, whose wire type is right. A zero without presence is not written, or as the default.
func (w *writer) singular(out []byte, f *field, p, end, skip int) ([]byte, int, bool) {
	if f.kind < kindString {
		var v uint64
		q := p + 1
		if f.fixed == 0 && p < end && w.in[p] < 0x80 {
			v = uint64(w.in[p])
		} else if v, q = w.bits(f, p, end); q < 0 {
			return out, p, false
		}
		if f.implicit && f.isZero(v) {
			return w.absent(out, f, skip), q, true
		}
		return w.c.appendScalar(appendKey(out, f, skip), f, v), q, true
	}
	if f.implicit && p < end && w.in[p] == 0 {
		return w.absent(out, f, skip), p + 1, true
	}
	if f.implicit && p < end && w.in[p] == 0x80 { // a length of 0 may be written in more bytes than it takes
		if from, to := w.payload(p, end); to < 0 {
			return out, p, false
		} else if from == to {
			return w.absent(out, f, skip), to, true
		}
	}
	if f.kind == kindString && p < end && w.in[p] < 0x80 {
		if from, to := p+1, p+1+int(w.in[p]); to <= end {
			out, ok := appendJSONString(appendKey(out, f, skip), w.in[from:to])
			if !ok {
				out, ok = w.invalid(out, f, from)
			}
			return out, to, ok
		}
	}
	return w.value(appendKey(out, f, skip), f, p, end)
}

// value writes the value at p, whose wire type is right, and returns the position after it.
func (w *writer) value(out []byte, f *field, p, end int) ([]byte, int, bool) {
	switch f.kind {
	case kindString, kindBytes, kindMessage:
		from, to := w.payload(p, end)
		if to < 0 {
			return out, p, false
		}
		ok := true
		switch f.kind {
		case kindString:
			out, ok = w.str(out, f, from, to)
		case kindBytes:
			out = appendBase64(out, w.in[from:to])
		default:
			out, ok = w.plainMessage(out, f.msg, from, to)
		}
		return out, to, ok
	case kindGroup:
		to, next := w.group(p, end, uint64(f.num))
		if next < 0 {
			return out, p, false
		}
		out, ok := w.message(out, f.msg, p, to)
		return out, next, ok
	}
	v, q := w.bits(f, p, end)
	if q < 0 {
		return out, p, false
	}
	return w.c.appendScalar(out, f, v), q, true
}

// isZero reports whether what the wire says for a number is the kind's zero.
func (f *field) isZero(v uint64) bool {
	switch f.kind {
	case kindInt32, kindSint32, kindUint32, kindEnum, kindNull:
		return uint32(v) == 0
	default:
		return v == 0
	}
}

// absent writes what stands for a field that is set to its default.
func (w *writer) absent(out []byte, f *field, skip int) []byte {
	if !w.c.opts.EmitDefaults || f.zero == "" {
		return out
	}
	return append(out, f.zero[skip:]...)
}

// bits reads a number, bool or enum at p.
func (w *writer) bits(f *field, p, end int) (uint64, int) {
	switch f.fixed {
	case 0:
		v, q := readVarint(w.in, p, end)
		if q < 0 {
			w.malformed(p, nil, "a varint")
		}
		return v, q
	case 4:
		if end-p < 4 {
			w.malformed(p, nil, "four bytes")
			return 0, -1
		}
		return uint64(load32(w.in, p)), p + 4
	default:
		if end-p < 8 {
			w.malformed(p, nil, "eight bytes")
			return 0, -1
		}
		return load64(w.in, p), p + 8
	}
}

// str writes the string between from and to.
func (w *writer) str(out []byte, f *field, from, to int) ([]byte, bool) {
	out, ok := appendJSONString(out, w.in[from:to])
	if ok {
		return out, true
	}
	return w.invalid(out, f, from)
}

// invalid notes that the string from there on is no UTF-8.
func (w *writer) invalid(out []byte, f *field, from int) ([]byte, bool) {
	if f.utf8 {
		return w.malformed(from, out, "valid UTF-8")
	}
	return w.unrepresentable(out, "invalid UTF-8")
}
