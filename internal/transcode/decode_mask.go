package transcode

import "fmt"

// FieldMask returns the paths of the fields that a JSON text sets. A path is the proto names of the
// fields, joined by dots. A PATCH without an update_mask means these paths.
//
// A path leads into singular messages. It ends at a scalar, a list, a map, a well-known type, an
// empty object, or a null (which clears a field). The order is that of the text. Extensions are
// left out, and so are unknown members with DiscardUnknown.
//
// All paths together may have 64 KiB, and 8 bytes more for each byte of the text. Errors are of
// type *SyntaxError. FieldMask checks the text only as far as it must; JSONToWire checks all of it.
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

// All paths of a text together may have minMask bytes, and maskFactor bytes more for each byte of
// the text.
const (
	minMask    = 1 << 16
	maskFactor = 8
)

// FieldMask is Codec.FieldMask for a JSON value of this field, which must be a singular message.
// The paths start within the field. FieldMask fails if the field is not a singular message.
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

// atEnd checks that only white space follows.
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
