package balance

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestAliasTableDrawsEveryIndexByWeight(t *testing.T) {
	tests := [][]uint32{{1}, {5, 5}, {1, 2, 5}, {1, 1, 1, 97}, {math.MaxUint32, 1}, {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5}}
	var room Room // used by one table after the other
	for _, weights := range tests {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			// The chance of each index follows from the table without a draw.
			table := newAliasTable(weights, &room)
			chance := make([]float64, len(weights))
			var sum float64
			for i, slot := range table {
				keep := float64(slot.keep) / (1<<32 - 1)
				chance[i] += keep / float64(len(table))
				chance[slot.other] += (1 - keep) / float64(len(table))
				sum += float64(weights[i])
			}
			for i, w := range weights {
				if want := float64(w) / sum; math.Abs(chance[i]-want) > 1e-6 {
					t.Errorf("index %d is drawn with %g, want %g", i, chance[i], want)
				}
			}
		})
	}
}

func TestEffectiveWeights(t *testing.T) {
	for _, tc := range []struct {
		name       string
		registered []uint32
		want       []uint32
		uniform    bool
	}{
		{"equal", []uint32{3, 3}, []uint32{3, 3}, true},
		{"none is known", []uint32{0, 0}, []uint32{1, 1}, true},
		{"one is not known, the others are equal", []uint32{4, 0, 4}, []uint32{4, 4, 4}, true},
		{"one is not known, the others differ", []uint32{2, 0, 4}, []uint32{2, 3, 4}, false},
		{"larger than a policy takes", []uint32{1, 1 << 20}, []uint32{1, 1 << 16}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			count := make(WeightCount)
			for _, w := range tc.registered {
				count.Add(w)
			}
			if got := count.Uniform(); got != tc.uniform {
				t.Errorf("uniform: %v", got)
			}
			if got := count.Effective(slices.Clone(tc.registered)); !slices.Equal(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
			for _, w := range tc.registered {
				count.Remove(w)
			}
			if len(count) != 0 {
				t.Errorf("%v is left", count)
			}
		})
	}
}

func TestWarmthGrows(t *testing.T) {
	if first, half, full, later := Warmth(0), Warmth(SlowStart/2), Warmth(SlowStart), Warmth(2*SlowStart); first != 10 || half != 55 || full != FullWarmth || later != FullWarmth {
		t.Errorf("%d, %d, %d, %d", first, half, full, later)
	}
}
