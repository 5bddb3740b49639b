package transcode

import (
	"slices"
)

// A decoder converts one JSON text to wire. It reads the text once and appends to the output as it
// goes. finish fills in the lengths of messages and other delimited values.
//
// Methods that read a value take the position of its first byte and the output. They return the
// position after the value and the longer output. If they fail, the position is negative, and err
// says why.
type decoder struct {
	c   *Compiler
	in  []byte
	err located

	depth int // how many more messages may be nested
	elems int // how many more elements may be read
	limit int // maximum length of the output
	// partial is positive while required fields may be missing. Each Any around the current value
	// adds one. A value of a single field starts with one.
	partial int

	patches []patch
	growth  int // bytes that finish will insert

	bits  []uint64 // sets of the fields seen, for messages too wide for one word
	keys  []mapKey // keys of the maps being read
	table []int32  // hash table for keys
	lost  []byte   // bytes of the keys of ignored entries
	name  []byte   // scratch for member names and strings with escapes

	// query is set while a query parameter is read. See Field.AppendQuery.
	query bool
	// dropped is set if the value just read is an unknown enum name, which is skipped.
	dropped bool

	frame   int // counts messages, for extSeen
	extSeen map[extSeen]struct{}

	types   []typeEntry // objects that were searched for "@type"
	scanned int         // position up to which types is filled
}

// extSeen notes that an extension was set in a message.
type extSeen struct {
	frame int
	num   int32
}

func (c *Compiler) newDecoder(in []byte, dst []byte) *decoder {
	d := c.decoders.Get().(*decoder)
	d.in = in[:len(in):len(in)]
	d.err = nil
	d.depth = c.opts.MaxDepth
	d.elems = c.opts.MaxElements
	d.limit = len(dst) + c.opts.MaxOutput
	d.partial = 0
	d.patches = d.patches[:0]
	d.growth = 0
	d.bits = d.bits[:0]
	d.keys = d.keys[:0]
	d.lost = d.lost[:0]
	d.query, d.dropped = false, false
	d.frame = 0
	d.types = d.types[:0]
	d.scanned = 0
	return d
}

// maxKept is the maximum number of elements of a scratch buffer that goes back to the pool.
const maxKept = 1 << 14

func (d *decoder) release() {
	d.in = nil
	d.err = nil
	d.patches = keep(d.patches)
	d.bits = keep(d.bits)
	d.keys = keep(d.keys)
	d.table = keep(d.table)
	d.lost = keep(d.lost)
	d.name = keep(d.name)
	d.types = keep(d.types)
	if len(d.extSeen) > 64 {
		d.extSeen = nil
	} else {
		clear(d.extSeen)
	}
	d.c.decoders.Put(d)
}

// keep empties a scratch buffer for the pool. It returns nil if the buffer has grown too large to
// be kept.
func keep[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s[:0]
}

// document reads a whole JSON text as a message.
func (d *decoder) document(out []byte, m *program) ([]byte, bool) {
	return d.end(d.message(d.space(0), out, m))
}

// end checks that only white space follows the value that was read, and finishes the output.
func (d *decoder) end(p int, out []byte) ([]byte, bool) {
	if p < 0 {
		return out, false
	}
	if p = d.space(p); p < len(d.in) {
		_, out = d.fail(p, out, "the end of the input")
		return out, false
	}
	if len(out)+d.growth > d.limit {
		_, out = d.tooLarge(p, out)
		return out, false
	}
	return d.finish(out), true
}

// space skips white space.
func (d *decoder) space(p int) int {
	in := d.in
	for uint(p) < uint(len(in)) {
		switch in[p] {
		case ' ', '\n', '\t', '\r':
			p++
		default:
			return p
		}
	}
	return p
}

// is reports whether the byte at p is c.
func (d *decoder) is(p int, c byte) bool { return uint(p) < uint(len(d.in)) && d.in[p] == c }

// fail sets the error that says what was expected at p, and what is there.
func (d *decoder) fail(p int, out []byte, expected string) (int, []byte) {
	d.err = &SyntaxError{Offset: p, Expected: expected, Found: describeJSON(d.in, p)}
	return -1, out
}

// within adds the member or element that failed to the path of the error.
func (d *decoder) within(segment string, out []byte) (int, []byte) {
	within(d.err, segment)
	return -1, out
}

func (d *decoder) tooLarge(p int, out []byte) (int, []byte) {
	d.err = &SyntaxError{Offset: p, Expected: "a message within the limit of size", Found: "more bytes"}
	return -1, out
}

// element counts one element of a list or entry of a map, and reports whether the limits allow it.
func (d *decoder) element(out []byte) bool {
	d.elems--
	return d.elems >= 0 && len(out)+d.growth <= d.limit
}

func (d *decoder) tooMany(p int, out []byte) (int, []byte) {
	if d.elems >= 0 {
		return d.tooLarge(p, out)
	}
	d.err = &SyntaxError{Offset: p, Expected: "elements within the limit of their number", Found: "more of them"}
	return -1, out
}

// A patch is a length in the output that may need more than the one byte that was left for it.
// Patches are kept in the order of their positions.
type patch struct {
	// pos is the position of the byte.
	pos int
	// size is the length. Until the value is closed, it is the growth when it was opened.
	size int
}

// open starts a length-delimited value: it appends one byte for the length.
func (d *decoder) open(out []byte) []byte {
	d.patches = append(d.patches, patch{pos: len(out), size: d.growth})
	return append(out, 0)
}

// close ends the value whose patch has this index. If the length fits one byte, it is filled in at
// once, and the patch is removed. A short value holds no long one, so its patch is the last one.
func (d *decoder) close(index int, out []byte) {
	pt := &d.patches[index]
	size := len(out) - pt.pos - 1 + d.growth - pt.size
	if size < 0x80 {
		out[pt.pos] = byte(size)
		d.patches = d.patches[:index]
		return
	}
	pt.size = size
	d.growth += varintSize(uint64(size)) - 1
}

// cancel forgets the patches from the index on. The caller cuts the output.
func (d *decoder) cancel(index int, growth int) {
	d.patches = d.patches[:index]
	d.growth = growth
}

// finish makes room for the lengths that take more than one byte, and fills them in from the last
// to the first. So each byte of the output moves at most once, however deeply it is nested.
func (d *decoder) finish(out []byte) []byte {
	if d.growth == 0 {
		return out
	}
	from := len(out)
	out = slices.Grow(out, d.growth)[:from+d.growth]
	to := len(out)
	for i := len(d.patches) - 1; i >= 0; i-- {
		pt := d.patches[i]
		to -= from - pt.pos - 1
		copy(out[to:], out[pt.pos+1:from])
		to -= varintSize(uint64(pt.size))
		putLength(out[to:], uint64(pt.size))
		from = pt.pos
	}
	return out
}

// message reads the JSON form of a message and appends the fields, without a tag or length.
func (d *decoder) message(p int, out []byte, m *program) (int, []byte) {
	if d.depth <= 0 {
		return d.fail(p, out, "nesting within the limit of depth")
	}
	if !m.ready.Load() {
		if err := m.use(); err != nil {
			d.err = &SyntaxError{Offset: p, Expected: "a message type that can be converted", Found: err.Error()}
			return -1, out
		}
	}
	d.depth--
	if m.wkt == notWellKnown || m.wkt == wktEmpty {
		p, out = d.object(p, out, m, false)
	} else {
		p, out = d.wellKnown(p, out, m)
	}
	d.depth++
	return p, out
}

// delimited reads a message and appends it with the tag of f and its length.
func (d *decoder) delimited(p int, out []byte, f *field) (int, []byte) {
	m := f.msg
	if d.depth <= 0 || f.kind == kindGroup || !m.ready.Load() {
		return d.oddDelimited(p, out, f)
	}
	out = grow(out, secondsRoom)
	if m.wkt == wktTimestamp && f.tag < 0x80 {
		buf, n := out[:cap(out)], len(out)
		if q, at := putTimestamp(d.in, p, buf, n+1); q > 0 {
			buf[n] = byte(f.byte1)
			return q, buf[:at]
		}
	}
	out = appendTag(out, f.tag)
	index := len(d.patches)
	out = d.open(out)
	d.depth--
	if m.wkt == notWellKnown {
		p, out = d.object(p, out, m, false)
	} else {
		p, out = d.wellKnown(p, out, m)
	}
	d.depth++
	if p >= 0 {
		d.close(index, out)
	}
	return p, out
}

// oddDelimited is delimited for groups, for types that are not compiled yet, and at the limit of
// depth.
func (d *decoder) oddDelimited(p int, out []byte, f *field) (int, []byte) {
	out = appendTag(out, f.tag)
	if f.kind == kindGroup {
		p, out = d.message(p, out, f.msg)
		return p, appendTag(out, f.tag+wireEndGroup-wireStartGroup)
	}
	index := len(d.patches)
	out = d.open(out)
	p, out = d.message(p, out, f.msg)
	if p >= 0 {
		d.close(index, out)
	}
	return p, out
}

// putLength writes a length at the start of b, and touches no byte after it.
func putLength(b []byte, size uint64) {
	i := 0
	for ; size >= 0x80; i++ {
		b[i] = byte(size) | 0x80
		size >>= 7
	}
	b[i] = byte(size)
}
