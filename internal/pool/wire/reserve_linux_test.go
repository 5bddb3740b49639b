package wire

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// tableSize returns how many files the process can have open before its table grows.
func tableSize(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "FDSize:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReserve(t *testing.T) {
	before := tableSize(t)
	Reserve(before)
	if after := tableSize(t); after < 2*before {
		t.Errorf("the table has room for %d open files, %d before", after, before)
	}
	Reserve(1 << 30) // beyond every limit: nothing happens
}
