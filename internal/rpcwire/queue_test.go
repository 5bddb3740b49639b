package rpcwire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestQueue pushes and pops messages of random sizes, and compares them with a plain list.
func TestQueue(t *testing.T) {
	var q queue
	var model [][]byte
	r := rand.New(rand.NewPCG(1, 2))
	push := func(size int) {
		m := bytes.Repeat([]byte{byte(r.IntN(256))}, size)
		w := waiting{size: size, compressed: size%2 == 1}
		if size > smallMessage {
			w.buf = new(bytes.Clone(m))
		} else {
			cut := r.IntN(size + 1)
			q.addSmall(m[:cut])
			q.addSmall(m[cut:])
		}
		q.push(w)
		model = append(model, m)
	}
	pop := func() {
		m := q.pop(allocated{})
		if len(model) == 0 {
			if m.Buf != nil {
				t.Fatalf("an empty queue has a message of %d bytes", len(*m.Buf))
			}
			return
		}
		if want := model[0]; m.Buf == nil || !bytes.Equal(*m.Buf, want) || m.Compressed != (len(want)%2 == 1) {
			t.Fatalf("got %v, want %d bytes", m, len(want))
		}
		model = model[1:]
	}
	for range 20_000 {
		if r.IntN(2) == 0 {
			push([]int{0, 1, 20, smallMessage, smallMessage + 1}[r.IntN(5)])
		} else {
			pop()
		}
		if q.len() != len(model) {
			t.Fatalf("the queue has %d messages, want %d", q.len(), len(model))
		}
	}
}

// TestQueueHoldsLittle has as many empty and tiny messages as fit into a window.
func TestQueueHoldsLittle(t *testing.T) {
	const window = 64 << 10
	for _, size := range []int{0, 1, 20, 200} {
		var q queue
		for range window / (size + prefixSize) {
			q.addSmall(make([]byte, size))
			q.push(waiting{size: size})
		}
		held := cap(q.small) + cap(q.waiting)*24
		if limit := 8 * window; held > limit {
			t.Errorf("messages of %d bytes: %d bytes are held, want at most %d", size, held, limit)
		}
		for q.len() > 0 {
			q.pop(allocated{})
		}
		q.empty(allocated{})
		if cap(q.small) > keptSmall {
			t.Errorf("messages of %d bytes: %d bytes are kept", size, cap(q.small))
		}
	}
}

// TestQueueReusesItsRoom has a reader that keeps up, so that there are always some messages.
func TestQueueReusesItsRoom(t *testing.T) {
	var q queue
	message := make([]byte, 100)
	for i := range 10_000 {
		q.addSmall(message)
		q.push(waiting{size: len(message)})
		if i > 10 {
			q.pop(allocated{})
		}
	}
	if cap(q.small) > 16<<10 || cap(q.waiting) > 64 {
		t.Errorf("11 messages hold %d bytes and %d places", cap(q.small), cap(q.waiting))
	}
}
