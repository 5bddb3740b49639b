package rest

import (
	"errors"
	"io"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// splitter cuts a body into JSON values as they arrive. The body is a sequence of values with white
// space between them, as NDJSON is, or one array. The splitter finds where a value ends. Whether it
// is valid is left to the transcoder.
//
// The splitter keeps one value, of at most limit bytes, and what was read after it. It looks at
// each byte once.
//
//	sequence = *( ws value ) ws
//	array    = ws "[" ws [ value *( ws "," ws value ) ] ws "]" ws
type splitter struct {
	r     io.Reader
	limit int64
	// allowed, if set, returns how many bytes a value may have, given what has come in so far.
	allowed func() int64

	// array says that a body which begins with "[" is an array of values, and not one value.
	array bool

	// (*buf)[start:end] was read and not returned yet.
	buf        *[]byte
	start, end int
	eof        bool
	state      splitState
}

type splitState int

const (
	atStart  splitState = iota
	sequence            // between the values of a sequence
	element             // in an array, before its first value
	after               // in an array, after a value
	closed              // after the array
)

var (
	errTruncated = errors.New("the body ends in the middle of a message")
	errSeparator = errors.New("want a comma or the end of the array between messages")
	errMissing   = errors.New("want a message, found a comma or a closing bracket")
	errTrailing  = errors.New("want nothing after the array of messages")
)

func newSplitter(r io.Reader, limit int64, array bool) *splitter {
	return &splitter{r: r, limit: limit, array: array, buf: frontend.GetBuffer(0)}
}

// free gives the buffer back.
func (s *splitter) free() { frontend.PutBuffer(s.buf) }

// next returns the next value, valid until the next call. io.EOF is the end of the body.
func (s *splitter) next() ([]byte, error) {
	c, err := s.peek()
	if s.state == atStart && err == nil {
		s.state = sequence
		if s.array && c == '[' {
			s.state = element
			s.start++
			c, err = s.peek()
		}
	}
	switch {
	case errors.Is(err, io.EOF) && (s.state == element || s.state == after):
		return nil, errTruncated
	case err != nil:
		return nil, err
	case s.state == closed:
		return nil, errTrailing
	case c == ']' && s.state != sequence:
		s.state = closed
		s.start++
		return s.next()
	case s.state == after:
		if c != ',' {
			return nil, errSeparator
		}
		s.start++
		if c, err = s.peek(); errors.Is(err, io.EOF) {
			return nil, errTruncated
		} else if err != nil {
			return nil, err
		}
	}
	if c == ',' || c == ']' || c == '}' {
		return nil, errMissing
	}
	if s.state == element {
		s.state = after
	}
	return s.value(c)
}

// peek skips white space and returns the next byte, which it does not take.
func (s *splitter) peek() (byte, error) {
	for {
		for ; s.start < s.end; s.start++ {
			if c := (*s.buf)[s.start]; !isSpace(c) {
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// value returns the value that begins with c.
func (s *splitter) value(c byte) ([]byte, error) {
	var scan valueScanner
	scan.begin(c)
	for n := 1; ; {
		for s.start+n < s.end {
			if scan.done((*s.buf)[s.start+n]) {
				return s.take(n)
			}
			n++
			if scan.complete {
				return s.take(n)
			}
		}
		if int64(n) > s.limit {
			return nil, frontend.ErrTooLarge
		}
		if s.allowed != nil && int64(n) > s.allowed() {
			return nil, errRatio
		}
		if err := s.fill(); errors.Is(err, io.EOF) {
			if scan.scalar {
				return s.take(n)
			}
			return nil, errTruncated
		} else if err != nil {
			return nil, err
		}
	}
}

func (s *splitter) take(n int) ([]byte, error) {
	if int64(n) > s.limit {
		return nil, frontend.ErrTooLarge
	}
	v := (*s.buf)[s.start : s.start+n]
	s.start += n
	return v, nil
}

// fill reads more.
func (s *splitter) fill() error {
	if s.eof {
		return io.EOF
	}
	b := (*s.buf)[:cap(*s.buf)]
	if s.start > 0 {
		s.end = copy(b, b[s.start:s.end])
		s.start = 0
	}
	if s.end == len(b) {
		bigger := frontend.GetBuffer(2 * len(b))
		copy((*bigger)[:cap(*bigger)], b)
		frontend.PutBuffer(s.buf)
		s.buf = bigger
		b = (*bigger)[:cap(*bigger)]
	}
	n, err := s.r.Read(b[s.end:])
	s.end += n
	*s.buf = b[:s.end]
	switch {
	case errors.Is(err, io.EOF):
		s.eof = true
		if n > 0 {
			return nil
		}
		return io.EOF
	default:
		return err
	}
}

// firstValue returns the JSON value that a text begins with. What follows it is left out. A text in
// which no value ends is returned as it is.
func firstValue(text []byte) []byte {
	start := 0
	for start < len(text) && isSpace(text[start]) {
		start++
	}
	if start == len(text) {
		return text
	}
	var scan valueScanner
	scan.begin(text[start])
	for n := start + 1; n < len(text); n++ {
		if scan.done(text[n]) {
			return text[:n]
		}
		if scan.complete {
			return text[:n+1]
		}
	}
	return text
}

// valueScanner finds the end of a JSON value.
type valueScanner struct {
	depth            int
	inString, escape bool
	scalar           bool // A number or a word, which ends where something else begins.
	complete         bool // The byte that was looked at was the last of the value.
}

func (v *valueScanner) begin(c byte) {
	switch c {
	case '{', '[':
		v.depth = 1
	case '"':
		v.inString = true
	default:
		v.scalar = true
	}
}

// done looks at the next byte and reports whether the value ended before it.
func (v *valueScanner) done(c byte) bool {
	switch {
	case v.scalar:
		return isSpace(c) || c == ',' || c == ']' || c == '}' || c == '{' || c == '[' || c == '"'
	case v.escape:
		v.escape = false
	case v.inString:
		switch c {
		case '\\':
			v.escape = true
		case '"':
			v.inString = false
			v.complete = v.depth == 0
		}
	case c == '"':
		v.inString = true
	case c == '{' || c == '[':
		v.depth++
	case c == '}' || c == ']':
		v.depth--
		v.complete = v.depth == 0
	}
	return false
}
