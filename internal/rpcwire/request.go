package rpcwire

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Field is one header field. Names are lower case. The value of a name that ends in "-bin" is raw
// bytes. The connection does the base64.
type Field struct{ Name, Value string }

// Request is what a call sends. Its slices must not change before the call has ended.
type Request struct {
	// Method is the :path, such as "/package.Service/Method".
	Method string
	// Authority is the :authority. Default: Options.Authority.
	Authority string
	// ContentType is the content-type. Default: "application/grpc".
	ContentType string
	// Deadline ends the call. It is sent as grpc-timeout. Zero: there is none.
	Deadline time.Time
	// Metadata are further fields. Fields that gRPC itself uses, such as "te", are left out.
	// "grpc-encoding" and "grpc-accept-encoding" may be among them.
	Metadata []Field
	// Unary says that there is exactly one message each way. Body is the request's message, and the
	// answer is taken with Wait. Otherwise Body is not used, and the call is a stream with Send,
	// CloseSend, Header and Recv.
	Unary bool
	// Body is the message of a unary call, in any number of parts.
	Body [][]byte
	// MaxMessage is the maximum size of a received message, in bytes. 0: Options.MaxMessage.
	MaxMessage int
	// Framed says that Body begins with the five bytes of gRPC's prefix. Otherwise they are written
	// before it.
	Framed bool
}

// Message is a received message.
type Message struct {
	// Buf has the message without its prefix. It is a buffer of Options.Buffers. Whoever receives
	// it puts it back.
	Buf *[]byte
	// Compressed is the flag in the prefix. The algorithm is the header's "grpc-encoding".
	Compressed bool
}

// Status is how the peer says that a call has ended.
type Status struct {
	Code codes.Code
	// Message is decoded.
	Message string
}
