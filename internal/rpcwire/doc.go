// Package rpcwire is the client side of one HTTP/2 connection for gRPC. It makes unary calls and
// streams of raw messages. It knows no schema, no pool and no retries. It reports what its user
// needs to decide about them: the limit of streams, GOAWAY, the end of the connection, and for each
// failed call whether the peer certainly has not processed it.
//
// The package is not a general HTTP/2 client. It speaks only what gRPC's "gRPC over HTTP2" needs of
// RFC 9113, and it refuses server push.
//
// # Goroutines
//
// Each connection has two goroutines. The reader reads frames, changes the state of calls and wakes
// their callers. It never writes. The writer collects what is to be written in a buffer, and writes
// the buffer. It yields once before it collects, which lets callers that are about to start join
// the batch. Callers and timers never read or write the connection. They change state under the
// lock, and wake the writer.
//
// Both goroutines end when the connection is closed. [Conn.Done] is closed after both have ended.
// Timers run in goroutines of the runtime, hold the lock for a short time, and are stopped when the
// connection closes.
//
// # Lock
//
// Conn.mu guards everything that changes after [New], in the connection and in its calls. There is
// no other lock. Methods whose names end in Locked need it. Nobody does a system call that may
// block, waits, or calls the user while holding it. Header blocks are decoded outside of the lock,
// because only the reader decodes. They are encoded under it, because their order on the connection
// must be the order of the stream identifiers.
//
// # Ownership
//
// A [Call] belongs to its caller before Start and after it has ended. Between the two it is in the
// lists of its connection. It leaves all of them in one step, under the lock, when it ends. So
// after the end nothing in the connection refers to the call, and the caller can start it again.
//
// The header fields and the messages of a request are borrowed. The writer copies them to its own
// buffer under the lock. They belong to the caller again when the call has ended, or, for
// [Call.Send], when Send has returned.
//
// A received message is a buffer of [Options.Buffers]. It belongs to the caller that received it.
// Buffers that nobody received go back when the call ends or is started again.
package rpcwire
