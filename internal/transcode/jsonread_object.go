package transcode

import "fmt"

// object reads the members of a message that has no JSON form of its own. Within an Any, typed says that a member
// "@type" belongs to the Any and is passed over.
func (d *reader) object(p int, out []byte, m *program, typed bool) (int, []byte) {
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

// objectState is what was seen of one object.
type objectState struct {
	seen     uint64             // fields by index, of a message that is not wide
	oneofs   uint64             // oneofs set, by index below 64
	many     map[int32]struct{} // oneofs set, from 64 on
	required int                // required fields set
	frame    int
	wide     int  // where the fields seen stand in reader.bits
	typed    bool // "@type" was seen
}

// members reads the members of an object from the first one's name on, to the closing brace.
//
// Plain strings and numbers go the short way: into output that has room for them, without another look at what the field is. buf
// is all of the output's memory, of which n bytes are written.
func (d *reader) members(p int, out []byte, m *program, typed bool, s *objectState) (int, []byte) {
	in := d.in
	buf, n := out[:cap(out)], len(out)
	next := 0 // index of the field that is expected: the one behind the last
	for {
		if uint(p) >= uint(len(in)) || in[p] != '"' {
			return d.fail(p, buf[:n], "a field name")
		}
		start := p
		f, q := d.quickMember(p, m, next)
		if f != nil && !typed {
			p = q
		} else {
			if f, p, out = d.namedMember(p, buf[:n], m, typed, s); p < 0 {
				return p, out
			}
			if f == nil {
				goto next // it was passed over
			}
		}
		next = int(f.index) + 1
		p = d.space(p)
		if bit := uint64(1) << (uint(f.index) & 63); !m.wide && f.index < 64 && s.seen&bit == 0 {
			s.seen |= bit
		} else if !d.mark(f, s) {
			_, out = d.fail(start, buf[:n], "each field once")
			return d.within(f.name, out)
		}
		if !f.counted && f.byte1 < 0x80 && p+1 < len(in) && len(buf)-n >= shortRoom {
			switch {
			case f.form == kindString && in[p] == '"':
				if f.implicit && in[p+1] == '"' {
					p += 2
					goto next
				}
				if q, at := putShort(in, p+1, buf, n+1); q > 0 {
					buf[n] = byte(f.byte1)
					p, n = q, at
					goto next
				}
			case f.form < kindEnum && in[p] != 'n':
				v, q := d.scalar(p, f)
				if q < 0 {
					return d.within(f.name, buf[:n])
				}
				if v != 0 || !f.implicit {
					buf[n] = byte(f.byte1)
					n = putBits(buf, n+1, f, v)
				}
				p = q
				goto next
			}
		}
		if p, out = d.memberValue(start, p, buf[:n], f, s); p < 0 {
			return d.within(f.name, out)
		}
		buf, n = out[:cap(out)], len(out)
	next:
		p = d.space(p)
		if p >= len(in) {
			return d.fail(p, buf[:n], "',' or '}'")
		}
		switch in[p] {
		case ',':
			p++
			if p < len(in) && in[p] <= ' ' {
				p = d.space(p)
			}
		case '}':
			return p + 1, buf[:n]
		default:
			return d.fail(p, buf[:n], "',' or '}'")
		}
	}
}

// memberValue reads the value at p of the member at start, of any form, and appends the field.
func (d *reader) memberValue(start, p int, out []byte, f *field, s *objectState) (int, []byte) {
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

// shortRoom is the room that the short way needs: for a tag, and for a number or what putShort writes.
const shortRoom = 1 + maxShort + 9

// maxShort is how long a string may be at the most that putShort copies; its length takes one byte.
const maxShort = 0x78

// putShort copies a short plain string, whose text begins at in[p], behind a byte for its length at buf[n]. It returns the
// positions after the closing quote and after the copy; the first is zero if the string is another.
func putShort(in []byte, p int, buf []byte, n int) (int, int) {
	at := n + 1
	for last := n + maxShort; at < last && p+8 <= len(in); p, at = p+8, at+8 {
		x := load64(in, p)
		store64(buf, at, x)
		if mask := specials(x); mask != 0 {
			k := firstByte(mask)
			if in[p+k] != '"' {
				return 0, n
			}
			buf[n] = byte(at + k - n - 1)
			return p + k + 1, at + k
		}
	}
	return 0, n
}

// quickMember finds the field of the member at p and the position of its value, if the name is plain and short and the
// colon follows at once. Members mostly come in the order of the fields, so the name of the next field is tried first.
func (d *reader) quickMember(p int, m *program, next int) (*field, int) {
	in := d.in
	if len(in)-p < 9 {
		return nil, p
	}
	if next < len(m.fields) {
		f := &m.fields[next]
		if (load64(in, p)^f.match[0])&f.mask[0] == 0 {
			q := p + len(f.key)
			if f.mask[1] == 0 || p+16 <= len(in) && (load64(in, p+8)^f.match[1])&f.mask[1] == 0 &&
				(len(f.key) <= 16 || q <= len(in) && string(in[p+16:q]) == f.key[16:]) {
				return f, q
			}
		}
	}
	x := load64(in, p+1)
	first, last := x, uint64(0)
	end := p + 1
	mask := specials(x)
	if mask != 0 {
		n := firstByte(mask)
		first = lowBytes(x, n)
		end += n
	} else {
		for mask == 0 {
			if end += 8; end > p+25 || end+8 > len(in) {
				return nil, p
			}
			mask = specials(load64(in, end))
		}
		end += firstByte(mask)
		last = load64(in, end-8)
	}
	if end+1 >= len(in) || in[end] != '"' || in[end+1] != ':' {
		return nil, p
	}
	i, ok := m.names.lookup(first, last, in[p+1:end])
	if !ok {
		return nil, p
	}
	return &m.fields[i], end + 2
}

// mark notes that a field was seen, and reports whether it was seen for the first time.
func (d *reader) mark(f *field, s *objectState) bool {
	switch i := uint(f.index); {
	case f.index == extensionIndex:
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

// namedMember reads the name of a member and returns its field and the position of its value. A member that is no field
// and may be there is passed over as a whole, and there is no field.
func (d *reader) namedMember(p int, out []byte, m *program, typed bool, s *objectState) (*field, int, []byte) {
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

// missing says which required field is not set.
func (d *reader) missing(p int, out []byte, m *program, s *objectState) (int, []byte) {
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
func (d *reader) fieldValue(p int, out []byte, f *field) (int, []byte) {
	switch f.shape {
	case shapeList:
		return d.list(p, out, f)
	case shapeMap:
		return d.mapValue(p, out, f)
	default:
		return d.value(p, out, f)
	}
}
