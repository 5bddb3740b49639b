package transcode

import "fmt"

// maxAnyTypes is the maximum number of type URLs that a compiler keeps. Clients choose them.
const maxAnyTypes = 1 << 12

// anyType returns the program of the message type that a type URL names.
func (c *Compiler) anyType(url []byte) (*program, error) {
	c.mu.RLock()
	p := c.anyTypes[string(url)]
	c.mu.RUnlock()
	if p != nil {
		return p, p.use()
	}
	if c.types == nil {
		return nil, fmt.Errorf("no types are known to resolve %q", url)
	}
	mt, err := c.types.FindMessageByURL(string(url))
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", url, err)
	}
	p = c.program(mt.Descriptor())
	c.mu.Lock()
	if len(c.anyTypes) < maxAnyTypes {
		c.anyTypes[string(url)] = p
	}
	c.mu.Unlock()
	return p, p.use()
}

// any reads the JSON form of an Any. It is the object of the message that the Any holds, with the
// type URL as a further member "@type". If the type has a JSON form of its own, the object has only
// "@type" and a member "value" with that form. "@type" may be anywhere in the object.
func (d *decoder) any(p int, out []byte) (int, []byte) {
	if !d.is(p, '{') {
		return d.fail(p, out, "an object with \"@type\"")
	}
	q := d.space(p + 1)
	if d.is(q, '}') {
		return q + 1, out
	}
	at, ok := d.findType(p, q)
	if !ok {
		return -1, out
	}
	if at < 0 {
		if d.c.opts.DiscardUnknown {
			return d.skip(p, d.depth), out
		}
		return d.fail(p, out, "\"@type\" in the object")
	}
	url, end := d.text(at)
	if end < 0 {
		return end, out
	}
	if len(url) == 0 {
		return d.fail(at, out, "a type URL")
	}
	m, err := d.c.anyType(url)
	if err != nil {
		d.err = &SyntaxError{Path: "/@type", Offset: at, Expected: "the URL of a known message type", Found: err.Error()}
		return -1, out
	}
	out = append(appendVarint(append(out, 1<<3|wireBytes), uint64(len(url))), url...)

	before, index := len(out), len(d.patches)
	out = d.open(append(out, 2<<3|wireBytes))
	d.partial++
	if m.wkt == notWellKnown {
		// The Any and the message in it are one level of JSON, and count as one.
		p, out = d.object(p, out, m, true)
	} else {
		p, out = d.anyValue(p, out, m)
	}
	d.partial--
	if p < 0 {
		return p, out
	}
	d.close(index, out)
	if len(out) == before+2 {
		out = out[:before]
	}
	return p, out
}

// findType returns the position of the value of "@type" in the object at p, whose first member is
// at q. The position is -1 if there is none. If the object is broken, err is set and the result is
// false.
func (d *decoder) findType(p, q int) (int, bool) {
	const first = `"@type":`
	if len(d.in)-q >= len(first) && string(d.in[q:q+len(first)]) == first {
		return d.space(q + len(first)), true
	}
	return d.typeOf(p)
}

// anyValue reads an object of "@type" and "value", where the value is the JSON form of a well-known
// type.
func (d *decoder) anyValue(p int, out []byte, m *program) (int, []byte) {
	if d.depth <= 0 {
		return d.fail(p, out, "nesting within the limit of depth")
	}
	d.depth--
	typed, found := false, m.wkt == wktEmpty // some write an Empty without a value
	seen := false
	p = d.space(p + 1)
	for {
		start := p
		if !d.is(p, '"') {
			return d.fail(p, out, "a field name")
		}
		name, q := d.memberName(p)
		if q < 0 {
			return q, out
		}
		p = d.space(q)
		switch {
		case string(name) == "@type":
			if typed {
				return d.fail(start, out, "\"@type\" once")
			}
			typed = true
			p = d.skip(p, 0)
		case string(name) == "value":
			if seen {
				return d.fail(start, out, "\"value\" once")
			}
			seen, found = true, true
			if p, out = d.wellKnown(p, out, m); p < 0 {
				return d.within("value", out)
			}
		case d.c.opts.DiscardUnknown:
			p = d.skip(p, d.depth)
		default:
			return d.fail(start, out, "\"value\"")
		}
		if p < 0 {
			return p, out
		}
		p = d.space(p)
		if d.is(p, '}') {
			break
		}
		if !d.is(p, ',') {
			return d.fail(p, out, "',' or '}'")
		}
		p = d.space(p + 1)
	}
	if !found {
		return d.fail(p, out, "\"value\" in the object")
	}
	d.depth++
	return p + 1, out
}
