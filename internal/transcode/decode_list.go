package transcode

// list reads an array and appends the elements of a repeated field.
func (d *decoder) list(p int, out []byte, f *field) (int, []byte) {
	if !d.is(p, '[') {
		return d.fail(p, out, "an array")
	}
	p = d.space(p + 1)
	if d.is(p, ']') {
		return p + 1, out
	}
	if f.pack == 0 {
		return d.elements(p, out, f)
	}
	before, index := len(out), len(d.patches)
	out = d.open(appendTag(out, f.pack))
	first := len(out)
	p, out = d.elements(p, out, f)
	if p < 0 {
		return p, out
	}
	if len(out) == first {
		d.cancel(index, d.growth)
		return p, out[:before]
	}
	d.close(index, out)
	return p, out
}

// elements reads the elements of an array up to the closing bracket. There is at least one. Plain
// elements go the short way, as in members.
func (d *decoder) elements(p int, out []byte, f *field) (int, []byte) {
	in := d.in
	buf, n := out[:cap(out)], len(out)
	for i := 0; ; i++ {
		if uint(p) < uint(len(in)) && in[p] <= ' ' {
			p = d.space(p)
		}
		if !d.element(buf[:n]) {
			return d.tooMany(p, buf[:n])
		}
		if f.quick != quickNone && len(buf)-n >= shortRoom {
			if q, at := f.put(in, p, buf, n); q > 0 {
				p, n = q, at
				goto next
			}
		}
		if p, out = d.oneElement(p, buf[:n], f); p < 0 {
			return d.within(string(appendUint(nil, uint64(i))), out)
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
		case d.is(p, ']'):
			return p + 1, buf[:n]
		default:
			return d.fail(p, buf[:n], "',' or ']'")
		}
	}
}

// oneElement reads an element in any form and appends it.
func (d *decoder) oneElement(p int, out []byte, f *field) (int, []byte) {
	if f.pack == 0 {
		if f.kind == kindMessage {
			return d.delimited(p, out, f)
		}
		return d.value(p, out, f)
	}
	v, p := d.scalar(p, f)
	if p >= 0 && !d.dropped {
		out = appendBits(out, f, v)
	}
	d.dropped = false
	return p, out
}

// A mapKey is a key of the map that is being read.
type mapKey struct {
	// at is where the bytes of a string key are in the output. For other keys it is the number
	// itself.
	at uint64
	// size is the length of a string key. It is -1 for other keys.
	size int
	// lost is set if the entry was ignored. Then the bytes of its key are in decoder.lost.
	lost bool
}

// mapValue reads an object and appends the entries of a map field.
func (d *decoder) mapValue(p int, out []byte, f *field) (int, []byte) {
	if !d.is(p, '{') {
		return d.fail(p, out, "an object")
	}
	p = d.space(p + 1)
	if d.is(p, '}') {
		return p + 1, out
	}
	first := len(d.keys)
	for {
		if !d.element(out) {
			return d.tooMany(p, out)
		}
		if !d.is(p, '"') {
			return d.fail(p, out, "a map key")
		}
		start := p
		if p, out = d.entry(p, out, f); p < 0 {
			err := d.err
			if name, q := d.text(start); q >= 0 {
				within(err, string(name[:min(len(name), maxSegment+1)]))
			}
			d.err = err
			return -1, out
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
	if k := d.duplicate(d.keys[first:], out); k >= 0 {
		key := d.keys[first+k]
		found := string(appendUint(nil, key.at))
		if key.size >= 0 {
			found = excerpt(d.keyBytes(key, out), min(key.size, maxFound+1))
		}
		d.err = &SyntaxError{Offset: p, Expected: "each map key once", Found: found + " again"}
		return -1, out
	}
	d.keys = d.keys[:first]
	return p + 1, out
}

// entry reads a key and its value, and appends the entry. If the value is ignored, so is the entry.
// Its key must still differ from the keys before it.
func (d *decoder) entry(p int, out []byte, f *field) (int, []byte) {
	before, index, growth, keys := len(out), len(d.patches), d.growth, len(d.keys)
	out = d.open(appendTag(out, f.tag))
	if p, out = d.entryKey(p, out, f.mapKey); p < 0 {
		return p, out
	}
	if p = d.space(p); !d.is(p, ':') {
		return d.fail(p, out, "':'")
	}
	p = d.space(p + 1)
	size := len(out)
	if p, out = d.single(p, out, f.mapValue); p < 0 {
		return p, out
	}
	if len(out) == size {
		d.cancel(index, growth)
		key := &d.keys[keys]
		if key.size >= 0 {
			d.lost = append(d.lost, d.keyBytes(*key, out)...)
			key.at = uint64(len(d.lost) - key.size)
		}
		key.lost = true
		return p, out[:before]
	}
	d.close(index, out)
	return p, out
}

// entryKey reads the key of a map entry and appends it.
func (d *decoder) entryKey(p int, out []byte, f *field) (int, []byte) {
	out = appendTag(out, f.tag)
	text, q := d.text(p)
	if q < 0 {
		return q, out
	}
	if f.kind == kindString {
		out = append(appendVarint(out, uint64(len(text))), text...)
		d.keys = append(d.keys, mapKey{at: uint64(len(out) - len(text)), size: len(text)})
		return q, out
	}
	v, ok := parseMapKey(text, f.kind)
	if !ok {
		return d.fail(p, out, "a map key of kind "+f.fd.Kind().String())
	}
	d.keys = append(d.keys, mapKey{at: v, size: -1})
	return q, appendBits(out, f, v)
}
