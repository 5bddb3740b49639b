package transcode

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNameTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{0, 1, 2, 3, 10, 100, 3000} {
		var names []string
		var values []int32
		seen := map[string]bool{"": true}
		for len(names) < count {
			// Many share their length, their first and their last eight bytes.
			name := strings.Repeat("a", rng.IntN(12)) + fmt.Sprint(rng.IntN(2*count)) + strings.Repeat("b", rng.IntN(12))
			if !seen[name] {
				seen[name] = true
				names, values = append(names, name), append(values, int32(len(names)))
			}
		}
		table := newNameTable(names, values)
		for i, name := range names {
			for _, b := range [][]byte{[]byte(name), append(make([]byte, 0, 100), name...), []byte(name)[:len(name):len(name)]} {
				if got, ok := table.find(b); !ok || got != values[i] {
					t.Errorf("%d names: %q is %d, %v, want %d", count, name, got, ok, values[i])
				}
			}
		}
		for range 1000 {
			name := strings.Repeat("a", rng.IntN(12)) + fmt.Sprint(rng.IntN(2*count+1)) + strings.Repeat("b", rng.IntN(12))
			if _, ok := table.find([]byte(name)); ok != seen[name] {
				t.Errorf("%d names: %q is there: %v", count, name, ok)
			}
		}
		if _, ok := table.find(nil); ok {
			t.Error("the empty name is there")
		}
	}
}
