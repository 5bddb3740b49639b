package transcode

import "fmt"

// FieldMask returns the paths of the fields that a JSON text sets, by their proto names joined by
// dots: the update_mask that a PATCH means which has none. A path leads into singular messages, and
// ends at scalars, lists, maps, well-known types, empty objects and nulls (which clear a field).
// The order is that of the text. Extensions and, with DiscardUnknown, unknown members are left out.
// Errors are of type *SyntaxError. The text is not checked more closely than this needs; JSONToWire
// does that.
func (c *Codec) FieldMask(json []byte) ([]string, error) {
	d := c.program.compiler.newDecoder(json, nil)
	defer d.release()
	// The paths of deeply nested fields may be much longer than the text.
	d.limit = min(d.limit, minMask+maskFactor*len(json))
	var paths []string
	p := d.maskOf(d.space(0), c.program, "", &paths)
	if p, _ = d.atEnd(p); p < 0 {
		return nil, settled(d.err)
	}
	return paths, nil
}

// The paths of a text may have minMask bytes, and maskFactor bytes more for each of the text.
const (
	minMask    = 1 << 16
	maskFactor = 8
)

// FieldMask returns the paths of the fields that the JSON value of this field sets, as the codec's
// FieldMask does. They start within the field, which must be a singular message. It fails for
// another field.
func (f *Field) FieldMask(json []byte) ([]string, error) {
	m := f.last().msg
	if m == nil || f.entry || f.last().shape != shapeSingular {
		return nil, fmt.Errorf("field %s is not a singular message, and has no field mask", f.Descriptor().FullName())
	}
	if err := m.use(); err != nil {
		return nil, err
	}
	paths, err := (&Codec{program: m}).FieldMask(json)
	if err != nil {
		return nil, f.settle(err)
	}
	return paths, nil
}

// atEnd checks that nothing follows.
func (d *decoder) atEnd(p int) (int, []byte) {
	if p < 0 {
		return p, nil
	}
	if p = d.space(p); p < len(d.in) {
		return d.fail(p, nil, "the end of the input")
	}
	return p, nil
}

// maskOf gathers the paths of an object's members and returns the position after it.
func (d *decoder) maskOf(p int, m *program, prefix string, paths *[]string) int {
	if err := m.use(); err != nil || d.depth <= 0 || !d.is(p, '{') {
		p, _ = d.fail(p, nil, "an object within the limit of depth")
		return p
	}
	d.depth--
	p = d.space(p + 1)
	for first := true; ; first = false {
		if first && d.is(p, '}') {
			break
		}
		if !d.is(p, '"') {
			p, _ = d.fail(p, nil, "a field name")
			return p
		}
		start := p
		name, q := d.memberName(p)
		if q < 0 {
			return q
		}
		p = d.space(q)
		if f := m.byName(name); f != nil {
			if p = d.maskField(p, f, prefix, paths); p < 0 {
				within(d.err, f.name)
				return p
			}
		} else {
			if !d.c.opts.DiscardUnknown && (len(name) == 0 || name[0] != '[') {
				p, _ = d.fail(start, nil, "a field of "+string(m.md.FullName()))
				return p
			}
			if p = d.skip(p, d.depth); p < 0 {
				return p
			}
		}
		if p = d.space(p); d.is(p, '}') {
			break
		}
		if !d.is(p, ',') {
			p, _ = d.fail(p, nil, "',' or '}'")
			return p
		}
		p = d.space(p + 1)
	}
	d.depth++
	return p + 1
}

// maskField gathers the paths of one member, whose value is at p.
func (d *decoder) maskField(p int, f *field, prefix string, paths *[]string) int {
	path := prefix + string(f.fd.Name())
	if f.msg != nil && f.shape == shapeSingular && d.is(p, '{') && f.msg.use() == nil && f.msg.wkt == notWellKnown &&
		!d.is(d.space(p+1), '}') {
		return d.maskOf(p, f.msg, path+".", paths)
	}
	if d.limit -= len(path); d.limit < 0 {
		p, _ = d.fail(p, nil, "field paths within the limit of size")
		return p
	}
	*paths = append(*paths, path)
	return d.skip(p, d.depth)
}
