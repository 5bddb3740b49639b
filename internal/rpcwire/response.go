package rpcwire

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// head is what a header block of the peer says. It is used again for the next block.
type head struct {
	// malformed says how the block violates HTTP/2 (RFC 9113, section 8.2 and 8.3). "": it does
	// not.
	malformed string
	// tooLarge is true if the list is above the limit. The other fields are not complete then.
	tooLarge bool
	// size is the size of the list so far.
	size int
	// regular is true once a field has come that is not a pseudo-header.
	regular bool

	// status is the :status. 0: there is none.
	status int
	// contentType is the content-type. grpc is true if it is one of gRPC.
	contentType string
	grpc        bool
	// encoding is grpc-encoding.
	encoding string
	// code is grpc-status, and UNKNOWN if there is none. badCode says what is wrong with it.
	code    codes.Code
	badCode string
	message string
	// badMetadata says what is wrong with a binary field.
	badMetadata string
	// fields are the metadata.
	fields []Field
}

// keptFields is how many fields there is room for while nothing uses it.
const keptFields = 64

// reset makes room for the next block, and forgets this one.
func (h *head) reset() { *h = head{fields: emptied(h.fields), code: codes.Unknown} }

// emptied returns an empty slice. It has the memory of the given one, if that is not too large.
func emptied(fields []Field) []Field {
	if cap(fields) > keptFields {
		return nil
	}
	clear(fields)
	return fields[:0]
}

// add takes a field. It returns false if the following fields need not be decoded.
func (h *head) add(f hpack.HeaderField, limit int) bool {
	if h.size += int(f.Size()); h.size > limit {
		h.tooLarge = true
		return false
	}
	if strings.HasPrefix(f.Name, ":") {
		h.pseudo(f)
		return h.malformed == ""
	}
	h.regular = true
	if problem := checkField(f); problem != "" {
		h.malformed = problem
		return false
	}
	switch f.Name {
	case "content-type":
		h.contentType = f.Value
		if isGRPC(f.Value) {
			h.grpc = true
			h.fields = append(h.fields, Field{f.Name, f.Value})
		}
	case "grpc-status":
		code, err := strconv.ParseInt(f.Value, 10, 32)
		if err != nil {
			h.badCode = fmt.Sprintf("grpc-status is %q, expected a number", f.Value)
		}
		h.code = codes.Code(uint32(code))
	case "grpc-message":
		h.message = decodeMessage(f.Value)
	case "grpc-encoding":
		h.encoding = f.Value
	case "grpc-message-type", "grpc-timeout", "te":
	default:
		h.metadata(f, limit)
	}
	return !h.tooLarge
}

func (h *head) pseudo(f hpack.HeaderField) {
	switch {
	case f.Name != ":status":
		h.malformed = fmt.Sprintf("the response has the field %q", f.Name)
	case h.regular:
		h.malformed = ":status comes after other fields"
	case h.status != 0:
		h.malformed = "the response has two fields :status"
	default:
		n, err := strconv.ParseUint(f.Value, 10, 16)
		if err != nil || len(f.Value) != 3 || n < 100 {
			h.malformed = fmt.Sprintf(":status is %q, expected three digits", f.Value)
			return
		}
		h.status = int(n)
	}
}

// metadata takes a field that gRPC passes on. Each value of a list counts as a field of its own.
func (h *head) metadata(f hpack.HeaderField, limit int) {
	if !strings.HasSuffix(f.Name, "-bin") {
		h.fields = append(h.fields, Field{f.Name, f.Value})
		return
	}
	h.size += strings.Count(f.Value, ",") * (len(f.Name) + fieldOverhead)
	if h.size > limit {
		h.tooLarge = true
		return
	}
	// "Implementations must split binary headers on commas before decoding."
	for value := range strings.SplitSeq(f.Value, ",") {
		raw, err := decodeBinary(strings.TrimSpace(value))
		if err != nil {
			h.badMetadata = fmt.Sprintf("%s is not base64: %v", f.Name, err)
			return
		}
		h.fields = append(h.fields, Field{f.Name, raw})
	}
}

// checkField says how a field violates HTTP/2 (RFC 9113, section 8.2).
func checkField(f hpack.HeaderField) string {
	if f.Name == "" {
		return "a field has no name"
	}
	for i := range len(f.Name) {
		if b := f.Name[i]; b >= 'A' && b <= 'Z' || !httpguts.IsTokenRune(rune(b)) {
			return fmt.Sprintf("a field has the name %q", f.Name)
		}
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) {
		return fmt.Sprintf("the value of %s has characters that are not allowed", f.Name)
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return fmt.Sprintf("the response has the field %q", f.Name)
	}
	return ""
}

const grpcType = "application/grpc"

func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, grpcType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// decodeBinary decodes base64 with or without padding.
func decodeBinary(v string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
	return string(raw), err
}

// decodeMessage decodes the percent-encoding of grpc-message. What is not valid stays as it is, as
// gRPC asks for.
func decodeMessage(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// httpCodes maps HTTP statuses to status codes, as doc/http-grpc-status-mapping.md of gRPC says.
var httpCodes = map[int]codes.Code{
	http.StatusBadRequest:         codes.Internal,
	http.StatusUnauthorized:       codes.Unauthenticated,
	http.StatusForbidden:          codes.PermissionDenied,
	http.StatusNotFound:           codes.Unimplemented,
	http.StatusTooManyRequests:    codes.Unavailable,
	http.StatusBadGateway:         codes.Unavailable,
	http.StatusServiceUnavailable: codes.Unavailable,
	http.StatusGatewayTimeout:     codes.Unavailable,
}

// foreignMax is how much of a response that is not gRPC is read for its error, in bytes.
const foreignMax = 1024

// foreign is a response that is not gRPC.
type foreign struct {
	err  Error
	body []byte
}

func newForeign(h *head) *foreign {
	f := &foreign{err: Error{Kind: KindNotGRPC, Code: codes.Unknown, HTTPStatus: h.status}}
	if code, ok := httpCodes[h.status]; ok {
		f.err.Code = code
	}
	f.err.Message = fmt.Sprintf("HTTP status %d, content-type %q", h.status, h.contentType)
	return f
}

// data keeps the beginning of the body. It reports whether that is enough.
func (f *foreign) data(p []byte) bool {
	f.body = append(f.body, p[:min(len(p), foreignMax-len(f.body))]...)
	return len(f.body) == foreignMax
}

func (f *foreign) end() *Error {
	if len(f.body) > 0 {
		f.err.Message += fmt.Sprintf(", body %q", f.body)
	}
	return &f.err
}

// headLocked takes a header block for an open stream. It reports whether the block helps the call
// along, which is not the case for informational responses.
func (c *Conn) headLocked(call *Call, h *head, end bool) (useful bool) {
	in := &call.in
	in.answered = true
	switch {
	case h.malformed != "":
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("%s", h.malformed))
	case in.headed && !end:
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("a header block came in the middle of the stream"))
	case h.tooLarge:
		c.resetLocked(call, http2.ErrCodeFrameSize, notGRPC("the header list has more than %d bytes", c.opts.MaxHeaderList))
	case in.foreign != nil:
		if !end {
			return false
		}
		c.resetLocked(call, http2.ErrCodeProtocol, in.foreign.end())
	case !in.headed && h.status == 0:
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("the response has no :status"))
	case in.headed && h.status != 0:
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("the trailer has the field :status"))
	case !in.headed && h.status < 200:
		if end {
			c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("an informational response ends the stream"))
			return true
		}
		return false
	default:
		c.responseLocked(call, h, end)
	}
	return true
}

// responseLocked takes a header block that is valid HTTP/2, and not informational.
func (c *Conn) responseLocked(call *Call, h *head, end bool) {
	in := &call.in
	switch {
	case h.badCode != "":
		err := notGRPC("%s", h.badCode)
		err.Code = codes.Unknown
		c.resetLocked(call, http2.ErrCodeProtocol, err)
	case !in.headed && !h.grpc:
		in.foreign = newForeign(h)
		if end {
			c.resetLocked(call, http2.ErrCodeProtocol, in.foreign.end())
		}
	case h.badMetadata != "":
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("%s", h.badMetadata))
	case end:
		in.trailer = append(in.trailer[:0], h.fields...)
		call.status = Status{h.code, h.message}
		c.finishLocked(call, nil)
	default:
		in.header, in.headed, in.encoding = append(in.header[:0], h.fields...), true, h.encoding
		if in.sleeping {
			wake(call.recvWake)
		}
	}
}
