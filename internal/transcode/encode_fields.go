package transcode

// fields writes the fields between p and end in one pass, each followed by a comma.
//
// The functions whose names begin with put write the most common values, into output that is known
// to have room. buf is all of the memory of the output, and its first n bytes are written. A put
// function gives up by returning a negative position. Then the functions that grow the output take
// over, and they write all other values, too.
func (e *encoder) fields(out []byte, m *program, p, end int) ([]byte, bool) {
	in := e.in
	buf, n := out[:cap(out)], len(out)
	next := 0 // index of the expected field: the one after the last
	var set fieldsSet
	for p < end {
		tag := uint64(in[p])
		var f *field
		if next < len(m.fields) && tag == uint64(m.fields[next].byte1) {
			f = &m.fields[next]
			next++
			p++
		} else {
			if f, tag, p = e.otherField(m, p, end, next); p < 0 {
				return buf[:n], false
			}
			switch {
			case f != nil:
			case set.replaced(m, tag):
				return e.stray(buf[:n], m)
			default:
				continue
			}
			out = e.absentFields(buf[:n], m.fields[next:f.index])
			buf, n = out[:cap(out)], len(out)
			next = int(f.index) + 1
		}
		if f.counted && !set.count(f) {
			return e.stray(buf[:n], m)
		}
		if f.keySize > 0 && p < end && len(buf)-n >= putRoom {
			switch {
			case f.form < kindString:
				v, q := uint64(in[p]), p+1
				switch {
				case f.fixed == 8 && end-p >= 8:
					v, q = load64(in, p), p+8
				case v >= 0x80 || f.fixed > 0:
					if v, q = e.bits(f, p, end); q < 0 {
						return e.within(f.name, buf[:n])
					}
				}
				if f.implicit && f.isZero(v) {
					break
				}
				if at := e.c.putScalar(buf, putKey(buf, n, f), f, v); at > 0 {
					buf[at] = ','
					n, p = at+1, q
					continue
				}
			case f.form == kindString && in[p] < 0x80:
				if to := p + 1 + int(in[p]); to <= end && (to > p+1 || !f.implicit) && len(buf)-n >= to-p+putRoom {
					if at := putText(buf, putKey(buf, n, f), in, p+1, to); at > 0 {
						buf[at] = ','
						n, p = at+1, to
						continue
					}
				}
			}
		}
		var ok bool
		if out, p, ok = e.field(buf[:n], f, p, end, tag); !ok {
			return e.within(f.name, out)
		}
		buf, n = out[:cap(out)], len(out)
	}
	out = e.absentFields(buf[:n], m.fields[next:])
	if set.required < m.required && e.partial == 0 {
		return e.missing(end, out, m)
	}
	return out, true
}

// fieldsSet notes which oneofs of a message are set, and counts its required fields that are set.
type fieldsSet struct {
	oneofs   uint64
	required int
}

// count notes a field. It reports false if its oneof may have been set before.
func (s *fieldsSet) count(f *field) bool {
	if f.required {
		s.required++
	}
	if f.oneof < 0 {
		return true
	}
	if f.oneof >= 64 || s.oneofs&(1<<uint(f.oneof)) != 0 {
		return false
	}
	s.oneofs |= 1 << uint(f.oneof)
	return true
}

// replaced reports whether a field that the mask does not name is a member of a oneof that was set
// before. The message is then not canonical, and the last member counts.
func (s *fieldsSet) replaced(m *program, tag uint64) bool {
	if m.whole == nil {
		return false
	}
	g, ok := m.otherMember(tag)
	return ok && g.oneof < 64 && s.oneofs&(1<<uint(g.oneof)) != 0
}

// field writes a field of any form. Its tag ends at p.
func (e *encoder) field(out []byte, f *field, p, end int, tag uint64) ([]byte, int, bool) {
	switch f.form {
	case kindMessage:
		from, to := e.payload(p, end)
		if to < 0 {
			return out, p, false
		}
		out, ok := e.plainMessage(appendKey(out, f), f.msg, from, to)
		return append(out, ','), to, ok
	case formList:
		return e.list(out, f, p, end, tag)
	case formMap:
		return e.mapRun(out, f, p, end)
	default:
		return e.singular(out, f, p, end)
	}
}

// otherField reads a tag that is not the expected one. It returns the field, the tag, and the
// position of the value. An unknown field is skipped, and the field is nil. The position is
// negative after an error. It is also negative if the one pass cannot go on: at an extension, and
// at a field whose index is below next.
func (e *encoder) otherField(m *program, p, end, next int) (*field, uint64, int) {
	start := p
	tag := uint64(e.in[p])
	p++
	if tag >= 0x80 || tag < 8 {
		if tag, p = e.tag(start, end); p < 0 {
			return nil, 0, p
		}
	}
	f := m.byNumber(tag >> 3)
	if f == nil {
		if m.ranges {
			if x, err := m.extensionByNumber(int32(tag >> 3)); err != nil {
				e.malformed(start, nil, err.Error())
				return nil, 0, -1
			} else if x != nil {
				e.stray(nil, m)
				return nil, 0, -1
			}
		}
		return nil, tag, e.skip(p, end, tag)
	}
	if !f.takes(tag) {
		if p = e.skip(p, end, tag); p < 0 {
			e.within(f.name, nil)
		}
		return nil, 0, p
	}
	if int(f.index) < next {
		e.stray(nil, m)
		return nil, 0, -1
	}
	return f, tag, p
}

// absentFields writes fields that are not on the wire, if the options say so.
func (e *encoder) absentFields(out []byte, fields []field) []byte {
	if !e.c.opts.EmitDefaults {
		return out
	}
	for i := range fields {
		out = append(out, fields[i].zero...)
	}
	return out
}

// closeObject ends an object: the comma after its last member, if there is one, becomes the brace.
func closeObject(out []byte) []byte {
	if n := len(out) - 1; out[n] == ',' {
		out[n] = '}'
		return out
	}
	return append(out, '}')
}

// appendKey appends the name of a field and the colon.
func appendKey(out []byte, f *field) []byte {
	if n := len(out); f.keySize > 0 && cap(out)-n >= len(f.keyWords) {
		*(*[len(f.keyWords)]byte)(out[n : n+len(f.keyWords) : n+len(f.keyWords)]) = f.keyWords
		return out[:n+int(f.keySize)]
	}
	return append(out, f.key...)
}

// putRoom is how many bytes of free output are needed for a name, a scalar and the comma. It is
// also enough for a name, and the quotes and the slack of a string.
const putRoom = 32 + scalarRoom + 1

// putKey writes the name of a field that fits keyWords, and the colon.
func putKey(buf []byte, n int, f *field) int {
	*(*[len(f.keyWords)]byte)(buf[n : n+len(f.keyWords) : n+len(f.keyWords)]) = f.keyWords
	return n + int(f.keySize)
}

// shortEnd returns where the length-delimited value at p ends. It returns -1 if the length takes
// more than one byte or is wrong.
func (e *encoder) shortEnd(p, end int) int {
	if p < end && e.in[p] < 0x80 {
		if to := p + 1 + int(e.in[p]); to <= end {
			return to
		}
	}
	return -1
}

// singular writes the field whose value is at p. Its wire type has been checked. A zero without
// presence is only written with EmitDefaults.
func (e *encoder) singular(out []byte, f *field, p, end int) ([]byte, int, bool) {
	if f.kind < kindString {
		var v uint64
		q := p + 1
		if f.fixed == 0 && p < end && e.in[p] < 0x80 {
			v = uint64(e.in[p])
		} else if v, q = e.bits(f, p, end); q < 0 {
			return out, p, false
		}
		if f.implicit && f.isZero(v) {
			return e.absent(out, f), q, true
		}
		return append(e.c.appendScalar(appendKey(out, f), f, v), ','), q, true
	}
	if f.implicit { // a string or bytes
		if from, to := e.payload(p, end); to < 0 {
			return out, p, false
		} else if from == to {
			return e.absent(out, f), to, true
		}
	}
	out, p, ok := e.value(appendKey(out, f), f, p, end)
	return append(out, ','), p, ok
}

// value writes the value at p and returns the position after it. Its wire type has been checked.
func (e *encoder) value(out []byte, f *field, p, end int) ([]byte, int, bool) {
	switch f.kind {
	case kindString, kindBytes, kindMessage:
		from, to := e.payload(p, end)
		if to < 0 {
			return out, p, false
		}
		ok := true
		switch f.kind {
		case kindString:
			out, ok = e.str(out, f, from, to)
		case kindBytes:
			out = appendBase64(out, e.in[from:to])
		default:
			out, ok = e.plainMessage(out, f.msg, from, to)
		}
		return out, to, ok
	case kindGroup:
		to, next := e.group(p, end, uint64(f.num))
		if next < 0 {
			return out, p, false
		}
		out, ok := e.message(out, f.msg, p, to)
		return out, next, ok
	}
	v, q := e.bits(f, p, end)
	if q < 0 {
		return out, p, false
	}
	return e.c.appendScalar(out, f, v), q, true
}

// isZero reports whether the wire value of a number is the zero of its kind. Kinds of 32 bits have
// only the lower 32 bits.
func (f *field) isZero(v uint64) bool {
	switch f.kind {
	case kindInt32, kindSint32, kindUint32, kindEnum, kindNull:
		return uint32(v) == 0
	default:
		return v == 0
	}
}

// absent writes a field that is set to its default, if the options say so.
func (e *encoder) absent(out []byte, f *field) []byte {
	if !e.c.opts.EmitDefaults {
		return out
	}
	return append(out, f.zero...)
}

// bits reads the wire value of a number, bool or enum at p.
func (e *encoder) bits(f *field, p, end int) (uint64, int) {
	switch f.fixed {
	case 0:
		v, q := readVarint(e.in, p, end)
		if q < 0 {
			e.malformed(p, nil, "a varint")
		}
		return v, q
	case 4:
		if end-p < 4 {
			e.malformed(p, nil, "four bytes")
			return 0, -1
		}
		return uint64(load32(e.in, p)), p + 4
	default:
		if end-p < 8 {
			e.malformed(p, nil, "eight bytes")
			return 0, -1
		}
		return load64(e.in, p), p + 8
	}
}

// str writes the string between from and to.
func (e *encoder) str(out []byte, f *field, from, to int) ([]byte, bool) {
	out, ok := appendText(out, e.in, from, to)
	if ok {
		return out, true
	}
	return e.invalid(out, f, from, to)
}

// invalid handles a string that is not UTF-8. Only a lenient encoder writes it.
func (e *encoder) invalid(out []byte, f *field, from, to int) ([]byte, bool) {
	if e.depart("invalid UTF-8 in a string") {
		return appendValidText(out, e.in[from:to]), true
	}
	if f.utf8 {
		return e.malformed(from, out, "valid UTF-8")
	}
	return e.unrepresentable(out, "invalid UTF-8")
}
