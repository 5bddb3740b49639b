package negotiate

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// These are the headers by which a client says how long it will wait, in the canonical form of
// net/http. Each is understood with every protocol.
const (
	GrpcTimeoutHeader    = "Grpc-Timeout"
	ConnectTimeoutHeader = "Connect-Timeout-Ms"
	RequestTimeoutHeader = "X-Request-Timeout"
)

const (
	maxGrpcDigits    = 8  // By "gRPC over HTTP/2".
	maxConnectDigits = 10 // By the Connect protocol.
)

// TimeoutError reports a timeout that is malformed or negative: HTTP 400.
type TimeoutError struct {
	Header string // The name of the header.
	Value  string // As the client wrote it.
	Reason string // What is wrong with the value.
}

// Error names the header, quotes the value and says what is wrong.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: %q: %s", e.Header, e.Value, e.Reason)
}

// Timeout returns how long the client will wait by its headers. If there are several, the shortest
// one counts. ok is false if there is none. Zero is a timeout that has run out. An error is a
// [*TimeoutError].
func Timeout(header http.Header) (timeout time.Duration, ok bool, err error) {
	for _, h := range [...]struct {
		name  string
		parse func(string) (time.Duration, error)
	}{
		{GrpcTimeoutHeader, ParseGrpcTimeout},
		{ConnectTimeoutHeader, ParseConnectTimeout},
		{RequestTimeoutHeader, ParseRequestTimeout},
	} {
		values := header[h.name]
		if len(values) == 0 {
			continue
		}
		if len(values) > 1 {
			return 0, false, &TimeoutError{h.name, strings.Join(values, ", "), "given more than once"}
		}
		t, err := h.parse(values[0])
		if err != nil {
			return 0, false, err
		}
		if !ok || t < timeout {
			timeout, ok = t, true
		}
	}
	return timeout, ok, nil
}

// HasTimeout reports whether one of the headers is there by which a client says how long it will
// wait.
func HasTimeout(header http.Header) bool {
	return len(header[GrpcTimeoutHeader])+len(header[ConnectTimeoutHeader])+len(header[RequestTimeoutHeader]) > 0
}

// ParseGrpcTimeout parses a Grpc-Timeout such as "100m": at most 8 digits and one of the units H,
// M, S, m, u and n. The specification wants a positive number, but clients send zero when their
// deadline has passed, so zero is accepted. A timeout above the longest Duration is the longest one
// (292 years).
func ParseGrpcTimeout(value string) (time.Duration, error) {
	fail := func(reason string) (time.Duration, error) {
		return 0, &TimeoutError{GrpcTimeoutHeader, value, reason}
	}
	if value == "" {
		return fail("empty")
	}
	last := len(value) - 1
	unit, ok := grpcUnit(value[last])
	if !ok {
		return fail("no unit H, M, S, m, u or n at the end")
	}
	n, ok := parseDigits(value[:last], maxGrpcDigits)
	if !ok {
		return fail("not 1 to 8 digits before the unit")
	}
	if n > int64(math.MaxInt64/unit) {
		return math.MaxInt64, nil
	}
	return time.Duration(n) * unit, nil
}

func grpcUnit(c byte) (time.Duration, bool) {
	switch c {
	case 'H':
		return time.Hour, true
	case 'M':
		return time.Minute, true
	case 'S':
		return time.Second, true
	case 'm':
		return time.Millisecond, true
	case 'u':
		return time.Microsecond, true
	case 'n':
		return time.Nanosecond, true
	}
	return 0, false
}

// AppendGrpcTimeout appends a timeout as a Grpc-Timeout, in the finest unit in which it has at most
// 8 digits. It is rounded up, so the backend does not give up before the client. A negative timeout
// becomes zero.
func AppendGrpcTimeout(dst []byte, timeout time.Duration) []byte {
	const limit = 100_000_000 // The first number with too many digits.
	timeout = max(timeout, 0)
	for _, unit := range "numSMH" {
		size, _ := grpcUnit(byte(unit))
		n := timeout / size
		if timeout%size > 0 {
			n++
		}
		if n < limit { // Hours always fit: the longest Duration has 2.6 million.
			return append(strconv.AppendInt(dst, int64(n), 10), byte(unit))
		}
	}
	return dst
}

// ParseConnectTimeout parses a Connect-Timeout-Ms: milliseconds, at most 10 digits. Zero is
// accepted as in [ParseGrpcTimeout]. Clients cut off fractions of a millisecond, so any other
// timeout lasts to the end of its last millisecond. Otherwise an answer that says the time is over
// could reach a client that is about to find out itself, and the client would see half of that
// answer.
func ParseConnectTimeout(value string) (time.Duration, error) {
	n, ok := parseDigits(value, maxConnectDigits)
	if !ok {
		return 0, &TimeoutError{ConnectTimeoutHeader, value, "not 1 to 10 digits"}
	}
	if n == 0 {
		return 0, nil
	}
	return time.Duration(n+1)*time.Millisecond - 1, nil // 10 digits are 116 days.
}

// ParseRequestTimeout parses an X-Request-Timeout: a duration as Go writes it ("1m30s", "250ms").
// Durations in protobuf's JSON ("1.5s") have that form too.
func ParseRequestTimeout(value string) (time.Duration, error) {
	timeout, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return 0, &TimeoutError{RequestTimeoutHeader, value, `not a duration with a unit, like "1.5s" or "250ms"`}
	case timeout < 0:
		return 0, &TimeoutError{RequestTimeoutHeader, value, "negative"}
	}
	return timeout, nil
}

// parseDigits parses a number of 1 to limit digits and nothing else.
func parseDigits(s string, limit int) (int64, bool) {
	if s == "" || len(s) > limit {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
