package balance

import (
	"math/bits"
	"slices"
)

// WeightCount counts the active endpoints of each weight. So the usual case, in which all weights
// are equal, costs nothing. Weight 0 means that the weight is not known. It counts as the mean of
// the others.
type WeightCount map[uint32]int

// Add counts an endpoint.
func (w WeightCount) Add(weight uint32) { w[weight]++ }

// Remove undoes Add.
func (w WeightCount) Remove(weight uint32) {
	if w[weight]--; w[weight] <= 0 {
		delete(w, weight)
	}
}

// Uniform reports whether all endpoints have the same share.
func (w WeightCount) Uniform() bool {
	if _, some := w[0]; some {
		return len(w) <= 2 // unknown weights count as the mean of the others, which are all equal
	}
	return len(w) <= 1
}

// mean returns the weight of endpoints whose weight is not known.
func (w WeightCount) mean() uint32 {
	var sum, n uint64
	for weight, count := range w {
		if weight > 0 {
			sum += uint64(weight) * uint64(count)
			n += uint64(count)
		}
	}
	if n == 0 {
		return 1
	}
	return uint32(max(1, (sum+n/2)/n))
}

// largestWeight is the largest weight that policies use. If a weight is larger, all weights are
// scaled down.
const largestWeight = 1 << 16

// Effective turns the weights of endpoints into the weights of a Set, in place. Unknown ones become
// the mean. All become small enough to be multiplied by a warmth.
func (w WeightCount) Effective(weights []uint32) []uint32 {
	mean := w.mean()
	var largest uint32
	for i := range weights {
		if weights[i] == 0 {
			weights[i] = mean
		}
		largest = max(largest, weights[i])
	}
	scale := 1 + (largest-1)/largestWeight
	for i := range weights {
		weights[i] = max(1, weights[i]/scale)
	}
	return weights
}

// aliasTable draws indexes with given weights in constant time (Walker's method, in Vose's form).
type aliasTable []aliasSlot

type aliasSlot struct {
	// keep is the limit below which a random number draws the slot's own index.
	keep uint32
	// other is drawn by all other random numbers.
	other uint32
}

// Room is memory that is needed while a policy is made. It is used again, because thousands of
// instances that come one after the other mean many policies.
type Room struct {
	left  []uint64
	order []uint32
}

// newAliasTable makes a table for weights. All of them must be positive.
func newAliasTable(weights []uint32, room *Room) aliasTable {
	n := len(weights)
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	// A slot holds sum units, and an index brings its weight times n. Indexes with more than a slot
	// holds fill up the slots of those with less. The small ones are stacked from the beginning of
	// order, the large ones from its end.
	table := make(aliasTable, n)
	left, order := slices.Grow(room.left[:0], n)[:n], slices.Grow(room.order[:0], n)[:n]
	room.left, room.order = left, order
	small, large := 0, n
	for i, w := range weights {
		if left[i] = uint64(w) * uint64(n); left[i] < sum {
			order[small] = uint32(i)
			small++
		} else {
			large--
			order[large] = uint32(i)
		}
	}
	for small > 0 && large < n {
		s, l := order[small-1], order[large]
		small--
		table[s] = aliasSlot{keep: share(left[s], sum), other: l}
		if left[l] -= sum - left[s]; left[l] < sum {
			large++
			order[small] = l
			small++
		}
	}
	for _, i := range order[:small] {
		table[i] = aliasSlot{keep: 1<<32 - 1, other: i}
	}
	for _, i := range order[large:] {
		table[i] = aliasSlot{keep: 1<<32 - 1, other: i}
	}
	return table
}

// share returns part/whole as a fraction of 2^32.
func share(part, whole uint64) uint32 {
	hi, lo := bits.Mul64(part, 1<<32)
	q, _ := bits.Div64(hi, lo, whole)
	return uint32(min(q, 1<<32-1))
}

// draw returns the index for a random number.
func (t aliasTable) draw(random uint64) int {
	i := Below(uint32(random>>32), len(t))
	if slot := t[i]; uint32(random) >= slot.keep {
		return int(slot.other)
	}
	return i
}

// Below maps a random number to 0..n-1.
func Below(random uint32, n int) int {
	return int(uint64(random) * uint64(n) >> 32)
}
