package transcode

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestSpecials compares the masks with a check of each byte. Most bytes are near the limits of a
// class.
func TestSpecials(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	edges := []byte{0, 0x1f, ' ', '!', '"', '#', '[', '\\', ']', '~', 0x7f, 0x80, 0xff, 'a', 'a', 'a', 'a', 'a', 'a'}
	first := func(b []byte, odd func(byte) bool) int {
		for i, c := range b {
			if odd(c) {
				return i
			}
		}
		return 8
	}
	for range 200_000 {
		var b [8]byte
		for i := range b {
			b[i] = edges[rng.IntN(len(edges))]
		}
		x := load64(b[:], 0)
		escaped := func(c byte) bool { return c < ' ' || c == '"' || c == '\\' }
		if got, want := firstByte(specials(x)), first(b[:], func(c byte) bool { return escaped(c) || c >= 0x80 }); got != want {
			t.Fatalf("specials of %q: got %d, want %d", b, got, want)
		}
		if got, want := firstByte(specialsASCII(x)), first(b[:], escaped); got != want {
			t.Fatalf("ASCII specials of %q: got %d, want %d", b, got, want)
		}
	}
}

func TestEightDigits(t *testing.T) {
	for c := range 256 {
		for i := range 8 {
			b := []byte("01234567")
			b[i] = byte(c)
			if got, want := eightDigits(load64(b, 0)), '0' <= c && c <= '9'; got != want {
				t.Errorf("%q: got %v", b, got)
			}
		}
	}
	for _, text := range []string{"00000000", "00000001", "12345678", "99999999", "10000000"} {
		want, err := strconv.ParseUint(text, 10, 64)
		if got := parseEight(load64([]byte(text), 0)); err != nil || got != want {
			t.Errorf("%s: got %d", text, got)
		}
		if got := digits8(want) + asciiZeros; got != load64([]byte(text), 0) {
			t.Errorf("%s: wrote %x", text, got)
		}
	}
}
