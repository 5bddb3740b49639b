package transcode

import "fmt"

// object reads the object of a message that has no JSON form of its own. If typed is set, the
// object is that of an Any. Then the member "@type" belongs to the Any and is skipped.
func (d *decoder) object(p int, out []byte, m *program, typed bool) (int, []byte) {
	if !d.is(p, '{') {
		return d.fail(p, out, "an object")
	}
	d.frame++
	s := objectState{frame: d.frame, wide: len(d.bits)}
	if m.wide {
		words := (len(m.fields) + 63) / 64
		for range words {
			d.bits = append(d.bits, 0)
		}
	}
	p = d.space(p + 1)
	if d.is(p, '}') {
		p++
	} else {
		p, out = d.members(p, out, m, typed, &s)
		if p < 0 {
			return p, out
		}
	}
	if s.required < m.required && d.partial == 0 {
		return d.missing(p, out, m, &s)
	}
	d.bits = d.bits[:s.wide]
	return p, out
}

// objectState notes what was seen of one object.
type objectState struct {
	seen     uint64             // fields by index, of a message that is not wide
	oneofs   uint64             // oneofs set, by index below 64
	many     map[int32]struct{} // oneofs set, from 64 on
	required int                // required fields set
	frame    int
	wide     int  // where the fields seen are in decoder.bits
	typed    bool // "@type" was seen
}

// members reads the members of an object, from the name of the first one to the closing brace.
//
// Common values go the short way: field.put writes them into output that is known to have room. buf
// is all of the memory of the output, and its first n bytes are written.
func (d *decoder) members(p int, out []byte, m *program, typed bool, s *objectState) (int, []byte) {
	in := d.in
	buf, n := out[:cap(out)], len(out)
	var expected *field              // the field after the last one
	if !typed && len(m.fields) > 0 { // in an Any each of the names may be "@type"
		expected = &m.fields[0]
	}
	for {
		if uint(p) < uint(len(in)) && in[p] <= ' ' {
			p = d.space(p)
		}
		start := p
		f := expected
		if f != nil && p+16 <= len(in) {
			if (load64(in, p)^f.match[0])&f.mask[0]|(load64(in, p+8)^f.match[1])&f.mask[1] == 0 &&
				(len(f.key) <= 16 || f.namedAt(in, p)) { // namedAt is too large to be inlined
				p += len(f.key)
				expected = f.next
				goto value
			}
		}
		if f, p, out = d.member(p, buf[:n], m, expected, typed, s); p < 0 {
			return p, out
		}
		if f == nil {
			goto next // the member was skipped
		}
		if !typed && f.index < extensionIndex {
			expected = f.next
		}
	value:
		if uint(p) < uint(len(in)) && in[p] <= ' ' {
			p = d.space(p)
		}
		if f.bit != 0 && s.seen&f.bit == 0 {
			s.seen |= f.bit
		} else if !d.mark(f, s) {
			_, out = d.fail(start, buf[:n], "each field once")
			return d.within(f.name, out)
		}
		switch {
		case f.way == wayQuick && len(buf)-n >= shortRoom:
			if q, at := f.put(in, p, buf, n); q > 0 {
				p, n = q, at
				goto next
			}
			p, out = d.memberValue(start, p, buf[:n], f, s)
		case f.way == wayMessage && (d.is(p, '{') || d.is(p, '"')):
			p, out = d.delimited(p, buf[:n], f)
		case f.way == wayList && d.is(p, '['):
			p, out = d.list(p, buf[:n], f)
		default:
			p, out = d.memberValue(start, p, buf[:n], f, s)
		}
		if p < 0 {
			return d.within(f.name, out)
		}
		buf, n = out[:cap(out)], len(out)
	next:
		if uint(p) < uint(len(in)) && in[p] == ',' {
			p++
			continue
		}
		p = d.space(p)
		switch {
		case d.is(p, ','):
			p++
		case d.is(p, '}'):
			return p + 1, buf[:n]
		default:
			return d.fail(p, buf[:n], "',' or '}'")
		}
	}
}

// namedAt reports whether the quoted name of the field and the colon are at in[p]. There must be at
// least sixteen bytes from p on.
func (f *field) namedAt(in []byte, p int) bool {
	return (load64(in, p)^f.match[0])&f.mask[0]|(load64(in, p+8)^f.match[1])&f.mask[1] == 0 &&
		(len(f.key) <= 16 || p+len(f.key) <= len(in) && string(in[p+16:p+len(f.key)]) == f.key[16:])
}

// member returns the field of the member at p, and the position after the colon. If the expected
// field is absent, the member is most likely the field after it, so that one is tried first. A
// member that is allowed, but is not a field, is skipped as a whole. Then the field is nil.
func (d *decoder) member(p int, out []byte, m *program, expected *field, typed bool, s *objectState) (*field, int, []byte) {
	if !d.is(p, '"') {
		p, out = d.fail(p, out, "a field name")
		return nil, p, out
	}
	if !typed {
		if expected != nil && expected.next != nil && p+16 <= len(d.in) {
			if f := expected.next; (load64(d.in, p)^f.match[0])&f.mask[0] == 0 && f.namedAt(d.in, p) {
				return f, p + len(f.key), out
			}
		}
		if i, end := m.names.quoted(d.in, p); end > 0 && d.is(end+1, ':') {
			return &m.fields[i], end + 2, out
		}
	}
	return d.namedMember(p, out, m, typed, s)
}

// memberValue reads a value in any form and appends the field. The member begins at start, and its
// value at p.
func (d *decoder) memberValue(start, p int, out []byte, f *field, s *objectState) (int, []byte) {
	if d.is(p, 'n') && !f.keepNull {
		return d.literal(p, "null"), out
	}
	if f.oneof >= 0 && !s.markOneof(f.oneof) {
		return d.fail(start, out, "one field of oneof "+string(f.fd.ContainingOneof().Name()))
	}
	before := len(out)
	p, out = d.fieldValue(p, out, f)
	if f.required && len(out) > before {
		s.required++
	}
	return p, out
}

// mark notes that a field was seen, and reports whether it was seen for the first time.
func (d *decoder) mark(f *field, s *objectState) bool {
	switch i := uint(f.index); {
	case f.index >= extensionIndex:
		k := extSeen{s.frame, f.num}
		if _, ok := d.extSeen[k]; ok {
			return false
		}
		if d.extSeen == nil {
			d.extSeen = make(map[extSeen]struct{})
		}
		d.extSeen[k] = struct{}{}
	case s.wide < len(d.bits):
		word := &d.bits[s.wide+int(i/64)]
		if *word&(1<<(i%64)) != 0 {
			return false
		}
		*word |= 1 << (i % 64)
	default:
		if s.seen&(1<<i) != 0 {
			return false
		}
		s.seen |= 1 << i
	}
	return true
}

// markOneof notes that a member of a oneof was set, and reports whether it is the first.
func (s *objectState) markOneof(i int32) bool {
	if i >= 64 {
		if _, ok := s.many[i]; ok {
			return false
		}
		if s.many == nil {
			s.many = make(map[int32]struct{})
		}
		s.many[i] = struct{}{}
		return true
	}
	if s.oneofs&(1<<uint(i)) != 0 {
		return false
	}
	s.oneofs |= 1 << uint(i)
	return true
}

// namedMember reads the name of a member, and returns its field and the position after the colon. A
// member that is allowed, but is not a field, is skipped as a whole. Then the field is nil.
func (d *decoder) namedMember(p int, out []byte, m *program, typed bool, s *objectState) (*field, int, []byte) {
	start := p
	name, p := d.memberName(p)
	if p < 0 {
		return nil, p, out
	}
	if typed && string(name) == "@type" {
		if s.typed {
			p, out = d.fail(start, out, "\"@type\" once")
			return nil, p, out
		}
		s.typed = true
		return nil, d.skip(d.space(p), 0), out
	}
	if f := m.byName(name); f != nil {
		return f, p, out
	}
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' && m.wkt != wktEmpty {
		f, err := m.extensionByName(name[1 : n-1])
		if err != nil {
			d.err = &SyntaxError{Offset: start, Expected: "an extension of the message", Found: err.Error()}
			return nil, -1, out
		}
		if f != nil {
			return f, p, out
		}
	}
	if d.c.opts.DiscardUnknown {
		return nil, d.skip(d.space(p), d.depth), out
	}
	p, out = d.fail(start, out, "a field of "+string(m.md.FullName()))
	return nil, p, out
}

// missing sets the error that names the required fields that are not set.
func (d *decoder) missing(p int, out []byte, m *program, s *objectState) (int, []byte) {
	names := ""
	for i := range m.fields {
		f := &m.fields[i]
		if !f.required {
			continue
		}
		set := s.seen&(1<<uint(i)) != 0
		if m.wide {
			set = d.bits[s.wide+i/64]&(1<<uint(i%64)) != 0
		}
		if !set {
			names += " " + f.name
		}
	}
	d.err = &SyntaxError{
		Offset:   p - 1,
		Expected: fmt.Sprintf("all required fields of %s (missing:%s)", m.md.FullName(), names),
	}
	return -1, out
}

// fieldValue reads the value of a member and appends the field.
func (d *decoder) fieldValue(p int, out []byte, f *field) (int, []byte) {
	switch f.shape {
	case shapeList:
		return d.list(p, out, f)
	case shapeMap:
		return d.mapValue(p, out, f)
	default:
		return d.value(p, out, f)
	}
}
