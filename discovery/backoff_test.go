package discovery

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for range 100 { // jitter
		b := Backoff{Base: time.Second, Max: 10 * time.Second}
		for i, seconds := range []int{1, 2, 4, 8, 10, 10} {
			step := time.Duration(seconds) * time.Second
			got := b.Next()
			if least, most := step*8/10, min(step*12/10, b.Max); got < least || got > most {
				t.Fatalf("wait %d: got %v, want %v to %v", i, got, least, most)
			}
		}
		b.Reset()
		if got := b.Next(); got > 1200*time.Millisecond {
			t.Fatalf("after a reset: got %v", got)
		}
	}
}

func TestBackoffDefaults(t *testing.T) {
	var b Backoff
	if got := b.Next(); got < 800*time.Millisecond || got > 1200*time.Millisecond {
		t.Errorf("first wait: got %v", got)
	}
	for range 10 {
		b.Next()
	}
	if got := b.Next(); got < 24*time.Second || got > 30*time.Second {
		t.Errorf("longest wait: got %v", got)
	}
}
