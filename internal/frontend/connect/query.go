package connect

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
)

// query is what the parameters of a GET say.
type query struct {
	json    bool
	coding  envelope.Coding
	message []byte
}

// parseQuery reads the parameters of a Connect GET. Those that the protocol does not have are
// ignored, as caches and proxies add some.
func parseQuery(raw string) (query, error) {
	var q query
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("the query cannot be parsed")
	}
	for name, v := range values {
		switch name {
		case "connect", "encoding", "message", "base64", "compression":
			if len(v) > 1 {
				return q, fmt.Errorf("query parameter %s: given more than once", name)
			}
		}
	}
	if v := values.Get("connect"); v != "" && v != "v1" {
		return q, fmt.Errorf("query parameter connect: %.20q is not supported; supported: v1", v)
	}
	switch v := values.Get("encoding"); v {
	case "json":
		q.json = true
	case "proto":
	default:
		return q, fmt.Errorf("query parameter encoding: %.20q is neither json nor proto", v)
	}
	if _, ok := values["message"]; !ok {
		return q, fmt.Errorf("query parameter message: missing")
	}
	q.message = []byte(values.Get("message"))
	if values.Get("base64") == "1" {
		if q.message, err = decodeBase64(values.Get("message")); err != nil {
			return q, err
		}
	}
	var ok bool
	if q.coding, ok = envelope.ParseCoding(values.Get("compression")); !ok {
		return q, &unknownCodingError{values.Get("compression")}
	}
	return q, nil
}

// decodeBase64 takes the URL-safe alphabet, which the protocol asks for, and the standard one, with
// or without padding.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	enc := base64.RawURLEncoding
	if strings.ContainsAny(text, "+/") {
		enc = base64.RawStdEncoding
	}
	b, err := enc.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("query parameter message: not valid base64")
	}
	return b, nil
}

// unknownCodingError is a compression that is not supported. It has another code than other errors.
type unknownCodingError struct{ name string }

func (e *unknownCodingError) Error() string {
	return fmt.Sprintf("query parameter compression: %.50q is not supported; supported: %s", e.name, envelope.Supported)
}

// readQuery reads the message of a GET.
func (x *unary) readQuery() (*[]byte, error) {
	q, err := parseQuery(x.r.URL.RawQuery)
	x.json = q.json
	if err != nil {
		code := codes.InvalidArgument
		if _, ok := err.(*unknownCodingError); ok { //nolint:errorlint // It was made just above.
			code = codes.Unimplemented
		}
		return nil, frontend.Errorf(code, "%s", err)
	}
	if int64(len(q.message)) > x.opts.MaxRequestSize {
		return nil, x.tooLarge()
	}
	msg := frontend.GetBuffer(len(q.message))
	*msg = append(*msg, q.message...)
	return x.decode(msg, q.coding)
}
