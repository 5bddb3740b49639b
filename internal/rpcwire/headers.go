package rpcwire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// checkRequest says how the fields of a request cannot be sent, or returns nil.
func checkRequest(r *Request) *Error {
	if !strings.HasPrefix(r.Method, "/") || !printable(r.Method) {
		return invalid("the method is %q, expected /service/method", r.Method)
	}
	if !printable(r.Authority) || !printable(r.ContentType) {
		return invalid("the authority is %q and the content type %q, expected printable ASCII", r.Authority, r.ContentType)
	}
	for _, f := range r.Metadata {
		if reserved(f.Name) {
			continue
		}
		if !validName(f.Name) {
			return invalid("metadata has the name %q, expected a to z, 0 to 9, '.', '-' and '_'", f.Name)
		}
		if !strings.HasSuffix(f.Name, "-bin") && !printable(f.Value) {
			return invalid("the value of %s has characters that are not printable ASCII", f.Name)
		}
	}
	return nil
}

func invalid(format string, args ...any) *Error {
	return &Error{Kind: KindInvalid, Code: codes.Internal, Unprocessed: true, Message: fmt.Sprintf(format, args...)}
}

func validName(name string) bool {
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '.', b == '-', b == '_':
		default:
			return false
		}
	}
	return name != ""
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// reserved reports whether gRPC or HTTP/2 itself uses a name. Metadata cannot set it.
func reserved(name string) bool {
	if strings.HasPrefix(name, ":") {
		return true
	}
	switch name {
	case "content-type", "user-agent", "te", "grpc-message-type", "grpc-message", "grpc-status", "grpc-timeout",
		"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host":
		return true
	}
	return false
}

// requestSize is the size of the request's header list, which the peer may limit.
func (c *Conn) requestSize(r *Request) int {
	size := listSize(Field{":method", "POST"}) + listSize(Field{":scheme", c.opts.Scheme}) +
		listSize(Field{":path", r.Method}) + listSize(Field{":authority", r.Authority}) +
		listSize(Field{"content-type", r.ContentType}) + listSize(Field{"te", "trailers"})
	if c.opts.UserAgent != "" {
		size += listSize(Field{"user-agent", c.opts.UserAgent})
	}
	if !r.Deadline.IsZero() {
		size += listSize(Field{"grpc-timeout", "12345678S"})
	}
	for _, f := range r.Metadata {
		switch {
		case reserved(f.Name):
		case strings.HasSuffix(f.Name, "-bin"):
			size += len(f.Name) + base64.RawStdEncoding.EncodedLen(len(f.Value)) + fieldOverhead
		default:
			size += listSize(f)
		}
	}
	return size
}

// appendHeadersLocked appends the HEADERS frame of a call, with CONTINUATION frames if it is large.
func (c *Conn) appendHeadersLocked(dst []byte, call *Call, now time.Time) []byte {
	r := &call.req
	b := c.encoder.begin(c.headerBlock[:0])
	b = c.encoder.fixed(b, blockKey{r.Method, r.Authority, r.ContentType})
	if !r.Deadline.IsZero() {
		var room [12]byte
		b = c.encoder.unindexed(b, Field{"grpc-timeout", string(appendTimeout(room[:0], r.Deadline.Sub(now)))})
	}
	for _, f := range r.Metadata {
		switch {
		case reserved(f.Name):
		case strings.HasSuffix(f.Name, "-bin"):
			b = c.encoder.field(b, f.Name, base64.RawStdEncoding.EncodeToString([]byte(f.Value)), false)
		default:
			b = c.encoder.field(b, f.Name, f.Value, false)
		}
	}
	c.headerBlock = b
	kind := http2.FrameHeaders
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), maxFrame)
		flags := http2.Flags(0)
		if n == len(b) {
			flags = http2.FlagHeadersEndHeaders
		}
		dst = append(appendFrameHeader(dst, n, kind, flags, call.id), b[:n]...)
		b, kind = b[n:], http2.FrameContinuation
	}
	if cap(c.headerBlock) > maxFrame {
		c.headerBlock = nil
	}
	return dst
}

// appendTimeout appends a grpc-timeout. It has eight digits at most, and it is rounded up.
func appendTimeout(dst []byte, d time.Duration) []byte {
	d = max(d, 1)
	for _, u := range [...]struct {
		unit time.Duration
		name byte
	}{
		{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}, {time.Hour, 'H'},
	} {
		n := int64(d / u.unit)
		if d%u.unit > 0 {
			n++
		}
		if n <= 99_999_999 {
			return append(strconv.AppendInt(dst, n, 10), u.name)
		}
	}
	return append(dst, "99999999H"...)
}
