package buffers

import (
	"fmt"
	"testing"
)

func TestGet(t *testing.T) {
	p := New(1000, 10, 100)
	for n, want := range map[int]int{0: 10, 1: 10, 10: 10, 11: 100, 100: 100, 101: 101, 5000: 5000} {
		if b := p.Get(n); len(*b) != n || cap(*b) != want {
			t.Errorf("Get(%d) has length %d and capacity %d, want capacity %d", n, len(*b), cap(*b), want)
		}
	}
}

// TestPut gives buffers of all capacities back, and then gets some. A sync.Pool may forget what it
// was given, so only what must not happen is checked.
func TestPut(t *testing.T) {
	p := New(1000, 10, 100)
	for range 100 {
		for _, c := range []int{0, 9, 10, 11, 99, 100, 101, 1000, 1001, 5000} {
			b := make([]byte, c)
			p.Put(&b)
		}
		for _, n := range []int{5, 10, 50, 100, 500} {
			b := p.Get(n)
			if len(*b) != n || cap(*b) > 1000 || n <= 10 && cap(*b) >= 100 {
				t.Fatalf("Get(%d) has length %d and capacity %d", n, len(*b), cap(*b))
			}
		}
	}
}

func TestNewRefusesSizesWithoutOrder(t *testing.T) {
	for _, sizes := range [][]int{nil, {2, 1}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("New accepts them")
				}
			}()
			New(10, sizes...)
		})
	}
}
