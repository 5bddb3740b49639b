package transcode

import (
	"bytes"
	"hash/maphash"
	"math"
)

// parseMapKey returns the wire value of a map key of an integer or bool kind, and whether the text
// is one. The forms are those of strconv in base ten: a sign and leading zeros are allowed, a
// fraction or an exponent is not.
func parseMapKey(text []byte, k kind) (uint64, bool) {
	switch k {
	case kindBool:
		return uint64(boolBit(string(text) == "true")), string(text) == "true" || string(text) == "false"
	case kindUint32, kindFixed32:
		v, ok := parseDigits(text)
		return v, ok && v <= math.MaxUint32
	case kindUint64, kindFixed64:
		return parseDigits(text)
	}
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		text = text[1:]
	}
	m, ok := parseDigits(text)
	size := uint(64)
	if k == kindInt32 || k == kindSint32 || k == kindSfixed32 {
		size = 32
	}
	limit := uint64(1) << (size - 1)
	if !negative {
		limit--
	}
	if !ok || m > limit {
		return 0, false
	}
	v := int64(m)
	if negative {
		v = -v
	}
	switch k {
	case kindSint32:
		return zigzag(v) & math.MaxUint32, true
	case kindSint64:
		return zigzag(v), true
	case kindSfixed32:
		return uint64(uint32(v)), true
	default:
		return uint64(v), true
	}
}

func parseDigits(text []byte) (v uint64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		if v, ok = appendDigit(v, c-'0'); !ok {
			return 0, false
		}
	}
	return v, len(text) > 0
}

func boolBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fewKeys is the maximum number of keys that are compared with one another. More keys go through a
// hash table.
const fewKeys = 8

// duplicate returns the index of a key that equals an earlier one, or -1. The cost is linear,
// because the hash is seeded: nobody can choose keys that collide.
func (d *decoder) duplicate(keys []mapKey, out []byte) int {
	if len(keys) <= fewKeys {
		for i := range keys {
			for j := range i {
				if !keys[j].lost && d.sameKey(keys[i], keys[j], out) {
					return i
				}
			}
		}
		return -1
	}
	size := 1
	for size < 2*len(keys) {
		size *= 2
	}
	if cap(d.table) < size {
		d.table = make([]int32, size)
	}
	table := d.table[:size]
	clear(table)
	for i, key := range keys {
		at := int(d.hash(key, out)) & (size - 1)
		for table[at] != 0 {
			if d.sameKey(key, keys[table[at]-1], out) {
				return i
			}
			at = (at + 1) & (size - 1)
		}
		if !key.lost {
			table[at] = int32(i + 1)
		}
	}
	return -1
}

// keyBytes returns the bytes of a string key.
func (d *decoder) keyBytes(k mapKey, out []byte) []byte {
	if k.lost {
		out = d.lost
	}
	return out[k.at : k.at+uint64(k.size)]
}

func (d *decoder) sameKey(a, b mapKey, out []byte) bool {
	if a.size < 0 {
		return a.at == b.at
	}
	return a.size == b.size && bytes.Equal(d.keyBytes(a, out), d.keyBytes(b, out))
}

func (d *decoder) hash(k mapKey, out []byte) uint64 {
	if k.size < 0 {
		return maphash.Comparable(d.c.seed, k.at)
	}
	return maphash.Bytes(d.c.seed, d.keyBytes(k, out))
}
