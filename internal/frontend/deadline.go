package frontend

import (
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

// ClientTimeout is how long the client is ready to wait: the shortest of Grpc-Timeout (gRPC over HTTP/2: up to eight digits
// and a unit of H, M, S, m, u, n), Connect-Timeout-Ms (Connect: up to ten digits, milliseconds) and X-Request-Timeout (a
// duration such as 1.5s). ok is false when there is none. The error is a *Error: a negative or malformed value.
func ClientTimeout(h http.Header) (d time.Duration, ok bool, err error) {
	for _, source := range [...]struct {
		header string
		parse  func(string) (time.Duration, bool)
		want   string
	}{
		{"Grpc-Timeout", parseGRPCTimeout, "up to eight digits and one of H, M, S, m, u, n"},
		{"Connect-Timeout-Ms", parseConnectTimeout, "up to ten digits, in milliseconds"},
		{"X-Request-Timeout", parseDuration, "a duration such as 1.5s or 200ms"},
	} {
		values := h[source.header]
		if len(values) == 0 {
			continue
		}
		v, valid := source.parse(values[0])
		if !valid || len(values) > 1 {
			return 0, false, Errorf(codes.InvalidArgument, "header %s: want %s, not negative, given once", source.header, source.want)
		}
		if !ok || v < d {
			d, ok = v, true
		}
	}
	return d, ok, nil
}

// Timeout is the deadline of a call: the default (own positive, else Options.Timeout where the call is unary), shortened by what the
// client asks for, never lengthened. ok is false when there is none. The error is that of ClientTimeout.
func (o *Options) timeout(h http.Header, own time.Duration, unary bool) (d time.Duration, ok bool, err error) {
	d, ok, err = ClientTimeout(h)
	if err != nil {
		return 0, false, err
	}
	if own <= 0 && unary {
		own = o.Timeout
	}
	if own > 0 && (!ok || own < d) {
		d, ok = own, true
	}
	return d, ok, nil
}

func parseGRPCTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	n, ok := digits(s[:len(s)-1])
	return times(n, unit), ok
}

func parseConnectTimeout(s string) (time.Duration, bool) {
	if len(s) > 10 {
		return 0, false
	}
	n, ok := digits(s)
	return times(n, time.Millisecond), ok
}

func parseDuration(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

func digits(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// times multiplies without overflow: 99999999H is more than a Duration holds.
func times(n int64, unit time.Duration) time.Duration {
	const most = time.Duration(1<<63 - 1)
	if n > int64(most/unit) {
		return most
	}
	return time.Duration(n) * unit
}
