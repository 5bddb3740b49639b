package transcode

import "math/bits"

// A nameTable finds a number by a name: the index of a message's field, or the number of an enum
// value. A name is looked up by its length and its first and last eight bytes. For names of up to
// sixteen bytes nothing else is compared. The multiplier is chosen when the table is made, so that
// names rarely share a slot.
type nameTable struct {
	slots []nameSlot
	mul   uint64
	shift uint8

	longest int32 // the length of the longest name
}

// A nameSlot is free if its size is 0. No protobuf name is empty.
type nameSlot struct {
	first, last uint64
	size        int32
	value       int32
	name        string
}

// nameMultipliers are tried in turn. They are odd numbers without a pattern in their bits.
var nameMultipliers = [...]uint64{
	0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0xff51afd7ed558ccd, 0xd6e8feb86659fd93, 0xa0761d6478bd642f,
	0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
}

// newNameTable makes the table of names[i] -> values[i]. Names must differ.
func newNameTable(names []string, values []int32) nameTable {
	if len(names) == 0 {
		return nameTable{}
	}
	size := 1 << bits.Len(uint(2*len(names)-1))
	t := nameTable{shift: uint8(64 - bits.TrailingZeros(uint(size)))}
	best := -1
	for _, mul := range nameMultipliers {
		if n := collisions(names, size, mul, t.shift); best < 0 || n < best {
			best, t.mul = n, mul
		}
		if best == 0 {
			break
		}
	}
	t.slots = make([]nameSlot, size)
	for i, name := range names {
		t.longest = max(t.longest, int32(len(name)))
		first, last := nameWords([]byte(name))
		at := t.slot(first, last, len(name))
		for t.slots[at].size != 0 {
			at = (at + 1) & (size - 1)
		}
		t.slots[at] = nameSlot{first: first, last: last, size: int32(len(name)), value: values[i], name: name}
	}
	return t
}

func collisions(names []string, size int, mul uint64, shift uint8) int {
	used := make([]bool, size)
	t := nameTable{mul: mul, shift: shift}
	n := 0
	for _, name := range names {
		first, last := nameWords([]byte(name))
		at := t.slot(first, last, len(name))
		if used[at] {
			n++
		}
		used[at] = true
	}
	return n
}

func (t *nameTable) slot(first, last uint64, size int) int {
	h := (first ^ bits.RotateLeft64(last, 29) + uint64(size)) * t.mul
	return int((h ^ h<<32) >> (t.shift & 63))
}

// find returns the number of a name, and whether there is one.
func (t *nameTable) find(name []byte) (int32, bool) {
	first, last := nameWords(name)
	return t.lookup(first, last, name)
}

// lookup is find for a name whose first and last words are known.
func (t *nameTable) lookup(first, last uint64, name []byte) (int32, bool) {
	if len(t.slots) == 0 || len(name) == 0 {
		return 0, false
	}
	for at := t.slot(first, last, len(name)); ; at++ {
		s := &t.slots[at&(len(t.slots)-1)]
		if s.size == 0 {
			return 0, false
		}
		if s.first == first && s.last == last && int(s.size) == len(name) &&
			(len(name) <= 16 || s.name == string(name)) {
			return s.value, true
		}
	}
}

// nameWords returns the first and the last eight bytes of a name. For a shorter name they are the
// whole name and 0.
func nameWords(name []byte) (first, last uint64) {
	n := len(name)
	if n >= 8 {
		return load64(name, 0), load64(name, n-8)
	}
	if cap(name) >= 8 {
		return lowBytes(load64(name[:8], 0), n), 0
	}
	for i := n - 1; i >= 0; i-- {
		first = first<<8 | uint64(name[i])
	}
	return first, 0
}
