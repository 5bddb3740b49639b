// Package unary has the form of a call with one message each way. In it a frontend gives the call
// to a connection, and finds there what came back. So neither has to know the other.
package unary

import (
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// Call is a call with one message each way. A connection makes it once.
type Call struct {
	// Method is the full name, such as "/package.Service/Method".
	Method string
	// Deadline ends the call, in addition to the deadline of its context. Zero: there is none.
	Deadline time.Time
	// Idempotent is true if the call may be executed more than once.
	Idempotent bool
	// Metadata is that of the request: names in lower case and values, alternately. The context
	// must not have any of its own.
	Metadata []string
	// Request is the message, a buffer of Buffers. The connection takes it over, and puts it back
	// when nothing needs it any more. That may be after the call.
	Request *[]byte
	Buffers mem.BufferPool

	// Response is the answer if the call has succeeded. The caller frees it.
	Response Message
	// Header and Trailer are those of the answer, even after an error. Nobody may change them. Nil:
	// there was none.
	Header, Trailer metadata.MD
	// Endpoint is the address of the instance that had the last attempt. "": no instance had any.
	Endpoint string
}

// Drop gives the request back. It is for a connection that does not make the call.
func (c *Call) Drop() {
	c.Buffers.Put(c.Request)
	c.Request = nil
}

// Message is a received message: a buffer, or several of them. The zero value is an empty message.
// It must not be copied once it has a content, because it would be freed twice.
type Message struct {
	buffer *[]byte
	pool   mem.BufferPool

	parts mem.BufferSlice
}

// InOne returns a message in one buffer. Free puts it into the pool.
func InOne(buffer *[]byte, pool mem.BufferPool) Message { return Message{buffer: buffer, pool: pool} }

// InParts returns a message in parts. Free frees them.
func InParts(parts mem.BufferSlice) Message { return Message{parts: parts} }

// Len returns the size of the message in bytes.
func (m *Message) Len() int {
	if m.buffer != nil {
		return len(*m.buffer)
	}
	return m.parts.Len()
}

// AppendParts appends the parts of the message. They are valid until Free.
func (m *Message) AppendParts(dst [][]byte) [][]byte {
	if m.buffer != nil {
		return append(dst, *m.buffer)
	}
	for _, part := range m.parts {
		dst = append(dst, part.ReadOnlyData())
	}
	return dst
}

// Take returns the message in the form of grpc-go, and leaves an empty one.
func (m *Message) Take() mem.BufferSlice {
	parts := m.parts
	if m.buffer != nil {
		parts = mem.BufferSlice{mem.NewBuffer(m.buffer, m.pool)}
	}
	*m = Message{}
	return parts
}

// Free frees the message, and leaves an empty one.
func (m *Message) Free() {
	if m.buffer != nil {
		m.pool.Put(m.buffer)
	}
	m.parts.Free()
	*m = Message{}
}
