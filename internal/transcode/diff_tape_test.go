package transcode_test

import (
	"hash/fnv"
	"math/rand/v2"
)

// The generators take their choices from a tape. First it returns the given bytes, so that a
// fuzzing engine can steer the generators. Then it returns pseudo-random numbers, which depend only
// on those bytes.
type tape struct {
	data []byte
	rng  *rand.Rand
}

func newTape(data []byte) *tape {
	h := fnv.New64a()
	h.Write(data) // never fails
	return &tape{data: data, rng: rand.New(rand.NewPCG(h.Sum64(), uint64(len(data))))}
}

// n returns a choice in [0, k).
func (t *tape) n(k int) int {
	switch {
	case k <= 1:
		return 0
	case len(t.data) == 0:
		return t.rng.IntN(k)
	case k <= 256 || len(t.data) == 1:
		b := t.data[0]
		t.data = t.data[1:]
		return int(b) % k
	default:
		v := int(t.data[0])<<8 | int(t.data[1])
		t.data = t.data[2:]
		return v % k
	}
}

// oneIn is true once in k times, on average.
func (t *tape) oneIn(k int) bool { return t.n(k) == k-1 }

// few returns a small number, more often zero or one than not.
func (t *tape) few() int { return []int{0, 1, 1, 2, 2, 3, 5}[t.n(7)] }

func (t *tape) uint64() uint64 {
	if len(t.data) >= 8 {
		var v uint64
		for _, b := range t.data[:8] {
			v = v<<8 | uint64(b)
		}
		t.data = t.data[8:]
		return v
	}
	return t.rng.Uint64()
}

func pick[T any](t *tape, from ...T) T { return from[t.n(len(from))] }

// int64 returns a number that is often at the edge of a range.
func (t *tape) int64() int64 {
	switch t.n(4) {
	case 0:
		return pick[int64](t, 0, 1, -1, 1<<31-1, -1<<31, 1<<31, 1<<32-1, 1<<32, 1<<53, 1<<53+1, 1<<63-1, -1<<63,
			99, 100, 999_999_999, 1_000_000_000, 253402300799, 253402300800, -62135596800, -62135596801,
			315576000000, 315576000001, -315576000000, -315576000001)
	case 1:
		return int64(t.n(1 << 16))
	case 2:
		return int64(t.uint64() >> t.n(64))
	default:
		return -int64(t.uint64() >> 1 >> t.n(63))
	}
}
