// Package stream moves the messages of a response stream from an RPC to a client. All protocols
// whose responses stream use it. It knows nothing of how a protocol looks on the wire: a Sink does.
//
// # How it works
//
// A Queue has two goroutines. One receives messages and appends their encoded form to the bytes
// that wait. The other is the handler's own: Run takes everything that waits and writes it in one
// go. So a busy stream is written in batches, each message of a quiet one is written at once, and a
// quiet stream holds no buffer.
//
// When enough bytes wait, no further message is received. gRPC's flow control then stops the
// service. Memory for one client is bounded by twice Settings.Limit, two encoded messages and a
// buffer of 4 KiB with messages to be encoded, and by the stream's window.
//
// Trailer metadata may be read only when nobody uses the RPC any more. Run therefore waits for the
// receiving goroutine before it calls Sink.Finish or Sink.Refuse.
//
// # What it is not for
//
// Requests that stream are not its business: each protocol reads its own. Neither are calls with
// one message each way.
//
// # Many messages at once
//
// After each message, small ones that have come as well are received in one go, if the RPC can do
// that. They are encoded from the bytes as they came, so a message costs no buffer of its own.
package stream

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// ErrEnough is what a Sink returns when the client wants no more than it has, as after a HEAD
// request.
var ErrEnough = errors.New("the client wants no more")

// Source is the RPC whose messages are moved. *frontend.Call is one.
type Source interface {
	// Header waits for the header metadata. It is nil if the RPC failed before there was any.
	Header() metadata.MD
	// Recv waits for the next message, which the caller frees. io.EOF is a successful end.
	Recv() (mem.BufferSlice, error)
	// RecvWaiting appends further small messages that have come, each with gRPC's prefix, until dst
	// has limit bytes or more. It does not wait, and returns the number of messages.
	RecvWaiting(dst []byte, limit int) (framed []byte, messages int)
	// Context is done when the RPC is over.
	Context() context.Context
	// Close cancels the RPC. Recv then returns an error soon.
	Close()
}

// Sink is a protocol's side of a stream: what messages look like, and where they are written.
//
// Room and Append are called by the receiving goroutine, all other methods by the one that calls
// Run. Both may happen at the same time. Only what Append notes of the first message may be read by
// Open, and only if Early always reports false.
type Sink interface {
	// Room is how many bytes a message of this size becomes at most, as far as can be told cheaply.
	Room(size int) int
	// Append appends the encoded form of the nth message, counted from 1. The message may be in
	// several parts.
	Append(dst []byte, msg [][]byte, n uint64) ([]byte, error)

	// Early reports whether the header may be written before there is a message.
	Early() bool
	// Open writes the header. It is called once at most, before Write, Flush and Beat.
	Open(header metadata.MD)
	// Write writes whole messages so that they reach the client. ends has the end of each message
	// in the batch if Settings.KeepEnds is set.
	Write(batch []byte, ends []int) error
	// Flush sends a header that no message has followed yet.
	Flush() error
	// Beat writes a heartbeat.
	Beat() error

	// Refuse answers with an error instead of a stream: nothing was opened and no message waits.
	// Run returns the error that Refuse returns.
	Refuse(header metadata.MD, err *frontend.Error) error
	// Finish writes the last batch, which may be empty and may be appended to, and the end of the
	// stream. A nil err is success.
	Finish(batch *[]byte, ends []int, err *frontend.Error) error
}

// Settings are what a Queue takes.
type Settings struct {
	Source Source
	Sink   Sink
	// Info notes how the stream failed.
	Info *frontend.Info

	// Limit is how many encoded bytes may wait before receiving pauses.
	Limit int
	// Single says that one message ends the RPC, because the method does not stream responses.
	Single bool
	// KeepEnds keeps where each message ends, for a Sink that writes them one by one.
	KeepEnds bool
	// Opened says that the header is on the wire already.
	Opened bool

	// HeaderGrace is how long a header waits for a message or an error to go with, if Sink.Early
	// allows it to go alone. Within that time an error can still be an answer of its own. Default:
	// it does not wait.
	HeaderGrace time.Duration
	// Quiet is how long a stream may be quiet until the header is written in any case, and a
	// heartbeat if Beats is set. 0 or less: never.
	Quiet time.Duration
	// Beats says that the Sink has heartbeats.
	Beats bool

	// Drain ends the stream when the server stops, CloseDelay later.
	Drain      *frontend.Drain
	CloseDelay time.Duration
	// Explain, if set, may replace the error that ended the RPC by the reason for it.
	Explain func(error) error
}
