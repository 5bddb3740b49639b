package balance

import (
	"cmp"
	"math"
	"slices"
	"testing"
)

// TestBest compares the two best endpoints of many keys with all scores, sorted.
func TestBest(t *testing.T) {
	for name, weight := range map[string]func(i int) uint32{"equal": func(int) uint32 { return 1 }, "weighted": func(i int) uint32 { return uint32(i%10) + 1 }, "one is nearly all": func(i int) uint32 { return 1 + uint32(i/99*1_000_000) }} {
		t.Run(name, func(t *testing.T) {
			h := &Hash{P2C: &P2C{}, seeds: make([]uint64, 100)}
			for i := range h.seeds {
				h.seeds[i] = Mix(uint64(i))
				h.Weights = append(h.Weights, weight(i))
			}
			if name == "equal" {
				h.Weights = nil
			}
			for key := range uint64(2000) {
				scores := make([]float64, len(h.seeds))
				order := make([]int, len(h.seeds))
				for i, seed := range h.seeds {
					scores[i] = -float64(weight(i)) / math.Log((float64(Mix(key^seed)>>12)+0.5)/(1<<52))
					order[i] = i
				}
				slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
				if first, second := h.best(key); first != order[0] || second != order[1] {
					t.Fatalf("key %d: %d and %d, not %d and %d", key, first, second, order[0], order[1])
				}
			}
		})
	}
	h := &Hash{P2C: &P2C{}, seeds: []uint64{7}}
	for _, h.Weights = range [][]uint32{nil, {3}} {
		if first, second := h.best(1); first != 0 || second != 0 {
			t.Errorf("of one: %d and %d", first, second)
		}
	}
}
