package negotiate

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers by which a client says how long it will wait, in the canonical form of net/http. Each is understood
// with every protocol.
const (
	GrpcTimeoutHeader    = "Grpc-Timeout"
	ConnectTimeoutHeader = "Connect-Timeout-Ms"
	RequestTimeoutHeader = "X-Request-Timeout"
)

const (
	maxGrpcDigits    = 8  // gRPC over HTTP/2: "a positive integer as ASCII string of at most 8 digits"
	maxConnectDigits = 10 // the Connect protocol: at most 10
)

// TimeoutError reports a timeout that is malformed or negative: the client's mistake, HTTP 400.
type TimeoutError struct {
	Header string // its name
	Value  string // as the client wrote it
	Reason string // what is wrong with it
}

// Error names the header, quotes the value and says what is wrong.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: %q: %s", e.Header, e.Value, e.Reason)
}

// Timeout returns how long the client will wait by its headers, the shortest when there are several of them; false
// when there is none. Zero is a timeout that has run out. An error is a [*TimeoutError].
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

// ParseGrpcTimeout parses a Grpc-Timeout, "100m": at most 8 digits and a unit, H, M, S, m, u or n. Zero is taken,
// though the specification wants a positive number, because clients send it when their deadline has passed. What is
// longer than a Duration can be is the longest one (292 years).
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

// AppendGrpcTimeout appends a timeout as a Grpc-Timeout, in the finest unit in which it has at most 8 digits. What
// is lost is rounded up, so that the backend does not give up before the client; a negative timeout is zero.
func AppendGrpcTimeout(dst []byte, timeout time.Duration) []byte {
	const limit = 100_000_000 // the first number with too many digits
	timeout = max(timeout, 0)
	for _, unit := range "numSMH" {
		size, _ := grpcUnit(byte(unit))
		n := timeout / size
		if timeout%size > 0 {
			n++
		}
		if n < limit { // always so in hours: the longest Duration has 2.6 million of them
			return append(strconv.AppendInt(dst, int64(n), 10), byte(unit))
		}
	}
	return dst
}

// ParseConnectTimeout parses a Connect-Timeout-Ms: milliseconds, at most 10 digits. Zero is taken like in
// [ParseGrpcTimeout]. Clients cut off what is less than a millisecond, so any other timeout lasts to the end of its last one: an answer
// that says the time is over must not reach a client who is about to find that out itself, and would then see the half of it.
func ParseConnectTimeout(value string) (time.Duration, error) {
	n, ok := parseDigits(value, maxConnectDigits)
	if !ok {
		return 0, &TimeoutError{ConnectTimeoutHeader, value, "not 1 to 10 digits"}
	}
	if n == 0 {
		return 0, nil
	}
	return time.Duration(n+1)*time.Millisecond - 1, nil // 10 digits of them are 116 days
}

// ParseRequestTimeout parses an X-Request-Timeout: a duration as Go writes it ("1m30s", "250ms"), among which are
// those of protobuf's JSON ("1.5s").
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
