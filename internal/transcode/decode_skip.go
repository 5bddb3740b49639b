package transcode

import "sort"

// skip skips a value of any form and returns the position after it. depth is how deeply arrays and
// objects may be nested in it.
func (d *decoder) skip(p, depth int) int {
	return d.skipNoting(p, depth, false)
}

// A typeEntry notes where the "@type" of an object is.
type typeEntry struct {
	object int // position of the opening brace
	value  int // position of the value of "@type"
	again  int // position of a second "@type", or 0
}

// skipNoting is skip. If note is set, it also adds the objects that have a member "@type" to types.
func (d *decoder) skipNoting(p, depth int, note bool) int {
	if uint(p) >= uint(len(d.in)) {
		p, _ = d.fail(p, nil, "a value")
		return p
	}
	switch d.in[p] {
	case '{':
		return d.skipObject(p, depth-1, note)
	case '[':
		return d.skipArray(p, depth-1, note)
	case '"':
		_, p = d.text(p)
		return p
	case 't':
		return d.literal(p, "true")
	case 'f':
		return d.literal(p, "false")
	case 'n':
		return d.literal(p, "null")
	}
	n := numberSize(d.in[p:])
	if n == 0 {
		p, _ = d.fail(p, nil, "a value")
		return p
	}
	return p + n
}

func (d *decoder) skipArray(p, depth int, note bool) int {
	if depth < 0 {
		p, _ = d.fail(p, nil, "nesting within the limit of depth")
		return p
	}
	p = d.space(p + 1)
	if d.is(p, ']') {
		return p + 1
	}
	for {
		if p = d.skipNoting(p, depth, note); p < 0 {
			return p
		}
		p = d.space(p)
		if d.is(p, ']') {
			return p + 1
		}
		if !d.is(p, ',') {
			p, _ = d.fail(p, nil, "',' or ']'")
			return p
		}
		p = d.space(p + 1)
	}
}

func (d *decoder) skipObject(p, depth int, note bool) int {
	if depth < 0 {
		p, _ = d.fail(p, nil, "nesting within the limit of depth")
		return p
	}
	entry := len(d.types)
	if note {
		d.types = append(d.types, typeEntry{object: p, value: -1})
	}
	p = d.space(p + 1)
	if d.is(p, '}') {
		p++
	} else if p = d.skipMembers(p, depth, note, entry); p < 0 {
		return p
	}
	if note && d.types[entry].value < 0 && len(d.types) == entry+1 {
		d.types = d.types[:entry]
	}
	return p
}

func (d *decoder) skipMembers(p, depth int, note bool, entry int) int {
	for {
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
		if note && string(name) == "@type" {
			if e := &d.types[entry]; e.value < 0 {
				e.value = p
			} else if e.again == 0 {
				e.again = start
			}
		}
		if p = d.skipNoting(p, depth, note); p < 0 {
			return p
		}
		p = d.space(p)
		if d.is(p, '}') {
			return p + 1
		}
		if !d.is(p, ',') {
			p, _ = d.fail(p, nil, "',' or '}'")
			return p
		}
		p = d.space(p + 1)
	}
}

// typeOf returns the position of the value of "@type" in the object at p, or -1 if there is none.
// It fails if there are two. The first call notes all objects within the one at p, and later calls
// for those look there. So no byte is searched twice, however deeply objects are nested.
func (d *decoder) typeOf(p int) (int, bool) {
	if p >= d.scanned {
		end := d.skipNoting(p, d.depth+1, true)
		if end < 0 {
			return -1, false
		}
		d.scanned = end
	}
	i := sort.Search(len(d.types), func(i int) bool { return d.types[i].object >= p })
	if i == len(d.types) || d.types[i].object != p {
		return -1, true
	}
	if e := d.types[i]; e.again > 0 {
		p, _ = d.fail(e.again, nil, "\"@type\" once")
		return p, false
	}
	return d.types[i].value, true
}
