package rpcwire

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

const (
	// fieldOverhead is what each field adds to the size of a header list or table (RFC 7541,
	// section 4.1), in bytes.
	fieldOverhead = 32
	// tableMax is the largest header table that is used, in bytes.
	tableMax = 4096
	// seenSets is the number of sets of pairs that are remembered because they were seen once, and
	// seenWays how many pairs a set has. With one pair a set, two fields of the same set would make
	// the encoder forget each other in each call, and never get into the table.
	seenSets, seenWays = 32, 4
	// blocksMax is the maximum number of fixed blocks that are kept.
	blocksMax = 256
)

// encoder writes header blocks (RFC 7541). It never evicts an entry of the header table: when the
// table is full, further fields are written as literals. So an index stays valid, and the block of
// fields that are the same for each call of a method can be kept.
//
// A pair of name and value gets into the table when it is seen for the second time. Values that
// differ in each call do not fill the table.
type encoder struct {
	scheme, userAgent string

	// entries are the pairs in the table, by the number of the insertion, which begins with 1.
	entries map[Field]uint64
	// names has the last insertion with a name.
	names map[string]uint64
	// inserted is the number of entries.
	inserted uint64
	// used is the size of the table. max is its limit.
	used, max uint32
	// resized is true if the next block must tell the peer the size of the table.
	resized bool

	seed maphash.Seed
	// seen has the hashes of pairs, the last ones of a set first.
	seen [seenSets][seenWays]uint64

	blocks map[blockKey]*block
}

// blockKey are the fields that all calls of a method share.
type blockKey struct{ method, authority, contentType string }

// block are the encoded fields of a blockKey. They are valid while the table has the same entries.
type block struct {
	inserted uint64
	bytes    []byte
}

func newEncoder(scheme, userAgent string) *encoder {
	return &encoder{
		scheme: scheme, userAgent: userAgent,
		entries: make(map[Field]uint64), names: make(map[string]uint64),
		max: tableMax, seed: maphash.MakeSeed(), blocks: make(map[blockKey]*block),
	}
}

// setLimit takes the peer's SETTINGS_HEADER_TABLE_SIZE. The table starts again, because entries
// that the peer must evict would change what an index means.
func (e *encoder) setLimit(limit uint32) {
	limit = min(limit, tableMax)
	if limit == e.max {
		return
	}
	e.max, e.resized = limit, true
	e.used, e.inserted = 0, 0
	clear(e.entries)
	clear(e.names)
	clear(e.blocks)
}

// begin starts a header block. If the size of the table has changed, the block begins with that
// (RFC 7541, section 4.2). The size 0 before it evicts everything.
func (e *encoder) begin(dst []byte) []byte {
	if !e.resized {
		return dst
	}
	e.resized = false
	dst = appendInt(dst, 0x20, 5, 0)
	if e.max > 0 {
		dst = appendInt(dst, 0x20, 5, uint64(e.max))
	}
	return dst
}

// fixed appends the fields that all calls of a method share.
func (e *encoder) fixed(dst []byte, key blockKey) []byte {
	b := e.blocks[key]
	if b != nil && b.inserted == e.inserted {
		return append(dst, b.bytes...)
	}
	start := len(dst)
	before := e.inserted
	dst = e.field(dst, ":method", "POST", true)
	dst = e.field(dst, ":scheme", e.scheme, true)
	dst = e.field(dst, ":path", key.method, false) // strangers may choose it
	dst = e.field(dst, ":authority", key.authority, true)
	dst = e.field(dst, "content-type", key.contentType, true)
	dst = e.field(dst, "te", "trailers", true)
	if e.userAgent != "" {
		dst = e.field(dst, "user-agent", e.userAgent, true)
	}
	if e.inserted != before || e.mayInsert(Field{":path", key.method}) {
		return dst // the same fields take less next time
	}
	if b == nil {
		if len(e.blocks) >= blocksMax {
			clear(e.blocks)
		}
		b = new(block)
		e.blocks[key] = b
	}
	b.inserted, b.bytes = e.inserted, append(b.bytes[:0], dst[start:]...)
	return dst
}

// mayInsert reports whether a pair would get into the table when it is seen again.
func (e *encoder) mayInsert(f Field) bool {
	_, known := e.entries[f]
	return !known && e.fits(f)
}

func (e *encoder) fits(f Field) bool {
	return e.used+uint32(len(f.Name)+len(f.Value)+fieldOverhead) <= e.max
}

// field appends a field. If always is true, it gets into the table when it is seen first.
func (e *encoder) field(dst []byte, name, value string, always bool) []byte {
	f := Field{name, value}
	if i := staticPair(name, value); i > 0 {
		return appendInt(dst, 0x80, 7, i)
	}
	if n, ok := e.entries[f]; ok {
		return appendInt(dst, 0x80, 7, e.index(n))
	}
	switch {
	case isSecret(name):
		return e.literal(dst, 0x10, 4, f)
	case !e.fits(f) || !always && !e.again(f):
		return e.literal(dst, 0, 4, f)
	}
	dst = e.literal(dst, 0x40, 6, f)
	e.inserted++
	e.entries[f], e.names[name] = e.inserted, e.inserted
	e.used += uint32(len(name) + len(value) + fieldOverhead)
	return dst
}

// unindexed appends a field whose value differs in each call.
func (e *encoder) unindexed(dst []byte, f Field) []byte { return e.literal(dst, 0, 4, f) }

// literal appends a literal of the kind that the first bits say. The value is not compressed: that
// takes longer than to send it.
func (e *encoder) literal(dst []byte, kind byte, prefix uint8, f Field) []byte {
	name := staticName(f.Name)
	if n, ok := e.names[f.Name]; ok && name == 0 {
		name = e.index(n)
	}
	dst = appendInt(dst, kind, prefix, name)
	if name == 0 {
		dst = appendString(dst, f.Name)
	}
	return appendString(dst, f.Value)
}

// index returns the index of an insertion. The newest entry comes after the static table.
func (e *encoder) index(n uint64) uint64 { return staticSize + 1 + e.inserted - n }

// again reports whether a pair was seen before, as far as that is remembered.
func (e *encoder) again(f Field) bool {
	h := maphash.String(e.seed, f.Value) ^ bits.RotateLeft64(maphash.String(e.seed, f.Name), 32) | 1
	set := &e.seen[h/2%seenSets]
	if slices.Contains(set[:], h) {
		return true
	}
	copy(set[1:], set[:])
	set[0] = h
	return false
}

// isSecret reports whether a field must never be in a table, here or in a proxy on the way. The
// table is shared by all callers (RFC 7541, section 7.1).
func isSecret(name string) bool {
	switch name {
	case "authorization", "cookie", "proxy-authorization":
		return true
	}
	return false
}

// appendInt appends an integer with a prefix of the given number of bits (RFC 7541, section 5.1).
func appendInt(dst []byte, first byte, prefix uint8, n uint64) []byte {
	limit := uint64(1)<<prefix - 1
	if n < limit {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(limit))
	for n -= limit; n >= 128; n >>= 7 {
		dst = append(dst, byte(n)|128)
	}
	return append(dst, byte(n))
}

func appendString(dst []byte, s string) []byte {
	return append(appendInt(dst, 0, 7, uint64(len(s))), s...)
}

// staticSize is the number of entries of the static table (RFC 7541, appendix A).
const staticSize = 61

func staticPair(name, value string) uint64 {
	switch {
	case name == ":method" && value == "POST":
		return 3
	case name == ":scheme" && value == "http":
		return 6
	case name == ":scheme" && value == "https":
		return 7
	}
	return 0
}

// staticName returns the index of a name that requests use, or 0.
func staticName(name string) uint64 {
	switch name {
	case ":authority":
		return 1
	case ":path":
		return 4
	case "accept-language":
		return 17
	case "authorization":
		return 23
	case "content-type":
		return 31
	case "cookie":
		return 32
	case "from":
		return 37
	case "proxy-authorization":
		return 49
	case "user-agent":
		return 58
	case "via":
		return 60
	}
	return 0
}

// listSize is the size of a header list with one field (RFC 9113, section 10.5.1).
func listSize(f Field) int { return len(f.Name) + len(f.Value) + fieldOverhead }
