package rpcwire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestCopiedBytesStayFew: copied bytes that were written are not kept, even if there are always
// some that were not. What is taken is what was added, in order.
func TestCopiedBytesStayFew(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, left := range []int{0, 1, 3 << 10, 30 << 10, copiedMax - 2<<10} {
		var o outgoing
		var added, taken uint64
		message := make([]byte, 1<<10)
		buf := make([]byte, 0, copiedMax)
		for range 20_000 {
			n := 8 + random.IntN(len(message)-8)
			binary.BigEndian.PutUint64(message, added)
			added++
			o.add(false, [][]byte{message[:3], message[3:n]}, true)
			for o.left() > left {
				buf = o.take(buf[:0], prefixSize+8)
				size := int(binary.BigEndian.Uint32(buf[1:]))
				if got := binary.BigEndian.Uint64(buf[prefixSize:]); got != taken || o.blocked() {
					t.Fatalf("took message %d in place of %d", got, taken)
				}
				taken++
				if rest := o.take(nil, size-8); !bytes.Equal(rest, message[8:size]) {
					t.Fatalf("message %d has other bytes", taken-1)
				}
			}
			if cap(o.copied) > 4*copiedMax {
				t.Fatalf("with %d bytes left, there are %d for copies after %d messages", left, cap(o.copied), added)
			}
		}
		if taken < added/2 {
			t.Errorf("took only %d of %d messages", taken, added)
		}
	}
}
