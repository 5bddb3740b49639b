package unary_test

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// countingPool counts the buffers that are in use.
type countingPool struct{ out int }

func (p *countingPool) Get(n int) *[]byte {
	p.out++
	b := make([]byte, n)
	return &b
}

func (p *countingPool) Put(*[]byte) { p.out-- }

func TestMessage(t *testing.T) {
	// mem leaves small buffers to the collector.
	text := bytes.Repeat([]byte("0123456789"), 1000)
	for name, newMessage := range map[string]func(p *countingPool) unary.Message{
		"in one": func(p *countingPool) unary.Message {
			b := p.Get(len(text))
			copy(*b, text)
			return unary.InOne(b, p)
		},
		"in parts": func(p *countingPool) unary.Message {
			return unary.InParts(mem.BufferSlice{mem.Copy(text[:4000], p), mem.Copy(text[4000:], p)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := new(countingPool)
			m := newMessage(p)
			if m.Len() != len(text) || !bytes.Equal(bytes.Join(m.AppendParts(nil), nil), text) {
				t.Errorf("%d bytes, %q", m.Len(), m.AppendParts(nil))
			}
			m.Free()
			m.Free() // nothing is left to free
			if p.out != 0 || m.Len() != 0 || len(m.AppendParts(nil)) != 0 {
				t.Errorf("%d buffers are not free, %d bytes are left", p.out, m.Len())
			}

			m = newMessage(p)
			parts := m.Take()
			if !bytes.Equal(parts.Materialize(), text) || m.Len() != 0 {
				t.Errorf("took %d bytes, %d are left", parts.Len(), m.Len())
			}
			m.Free()
			if parts.Free(); p.out != 0 {
				t.Errorf("%d buffers are not free", p.out)
			}
		})
	}
}
