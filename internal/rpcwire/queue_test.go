package rpcwire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestQueue pushes, pops and appends messages of random sizes, and compares them with a plain list.
func TestQueue(t *testing.T) {
	var q queue
	var model [][]byte
	buffers := new(countingBuffers)
	r := rand.New(rand.NewPCG(1, 2))
	push := func(size int) {
		m := bytes.Repeat([]byte{byte(r.IntN(256))}, size)
		compressed := size%2 == 1
		if size > smallMessage {
			buf := buffers.Get(size)
			copy(*buf, m)
			q.push(Message{Buf: buf, Compressed: compressed}, buffers)
		} else {
			q.begin(prefix(size, compressed), buffers)
			cut := r.IntN(size + 1)
			q.add(m[:cut])
			q.add(m[cut:])
			q.end()
		}
		model = append(model, m)
	}
	pop := func() {
		m := q.pop(buffers)
		if len(model) == 0 {
			if m.Buf != nil {
				t.Fatalf("an empty queue has a message of %d bytes", len(*m.Buf))
			}
			return
		}
		if want := model[0]; m.Buf == nil || !bytes.Equal(*m.Buf, want) || m.Compressed != (len(want)%2 == 1) {
			t.Fatalf("got %v, want %d bytes", m, len(want))
		}
		buffers.Put(m.Buf)
		model = model[1:]
	}
	appendNext := func() {
		before := []byte("before")
		got, ok := q.appendNext(before, buffers)
		if want := len(model) > 0 && len(model[0]) <= smallMessage && len(model[0])%2 == 0; ok != want {
			t.Fatalf("appended: %v, want %v", ok, want)
		}
		want := "before"
		if ok {
			want += string(framed(string(model[0])))
			model = model[1:]
		}
		if string(got) != want {
			t.Fatalf("got %d bytes, want %d", len(got), len(want))
		}
	}
	for i := range 20_000 {
		if r.IntN(4) == 0 { // the stream ends in the middle of a message
			size := r.IntN(smallMessage + 1)
			q.begin(prefix(size, false), buffers)
			cut := r.IntN(size + 1)
			q.add(make([]byte, cut))
			q.abandon(prefixSize+cut, buffers)
		}
		switch {
		case r.IntN(4) < 1+i/500%2*2: // the queue grows for a while, and shrinks for a while
			push([]int{0, 1, 20, smallMessage, smallMessage + 1, smallMessage + 2}[r.IntN(6)])
		case r.IntN(2) == 0:
			pop()
		default:
			appendNext()
		}
		if q.count != len(model) {
			t.Fatalf("the queue has %d messages, want %d", q.count, len(model))
		}
		if len(model) == 0 && buffers.held() != 0 {
			t.Fatalf("an empty queue holds %d bytes", buffers.held())
		}
	}
	q.empty(buffers)
	if buffers.held() != 0 {
		t.Errorf("%d bytes are held after all", buffers.held())
	}
}

// prefix is the prefix of a message.
func prefix(size int, compressed bool) (p [prefixSize]byte) {
	if compressed {
		p[0] = 1
	}
	binary.BigEndian.PutUint32(p[1:], uint32(size))
	return p
}

// TestQueueHoldsLittle has as many messages as fit into a window.
func TestQueueHoldsLittle(t *testing.T) {
	const window = 64 << 10
	for _, size := range []int{0, 1, 20, 200, smallMessage} {
		var q queue
		buffers := new(countingBuffers)
		for range window / (size + prefixSize) {
			q.begin(prefix(size, false), buffers)
			q.add(make([]byte, size))
			q.end()
		}
		if held, limit := buffers.held(), window*4/3+nextChunk; held > limit {
			t.Errorf("messages of %d bytes: %d bytes are held, want at most %d", size, held, limit)
		}
	}
}

// TestQueueReusesItsRoom has a reader that keeps up, so that there are always some messages.
func TestQueueReusesItsRoom(t *testing.T) {
	var q queue
	buffers := new(countingBuffers)
	message := make([]byte, 100)
	for i := range 10_000 {
		q.begin(prefix(len(message), false), buffers)
		q.add(message)
		q.end()
		if i > 10 {
			buffers.Put(q.pop(buffers).Buf)
		}
	}
	if buffers.held() > 2*nextChunk || cap(q.chunks) > 4 {
		t.Errorf("11 messages hold %d bytes, and %d places for chunks", buffers.held(), cap(q.chunks))
	}
}
