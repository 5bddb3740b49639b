package rest

import (
	"errors"
	"io"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// splitter cuts a body into JSON values as they arrive: a sequence of values with white space between them, which is what NDJSON
// is, or the elements of one array. It finds where a value ends and leaves it to the transcoder whether it is a valid one.
//
// It keeps one value, of at most limit bytes, and what was read behind it; each byte is looked at once.
//
//	sequence = *( ws value ) ws
//	array    = ws "[" ws [ value *( ws "," ws value ) ] ws "]" ws
type splitter struct {
	r     io.Reader
	limit int64
	// allowed, if set, is how many bytes a value may have by what came in so far.
	allowed func() int64

	array bool // a body that begins with "[" is an array of values, not one value

	buf        *[]byte
	start, end int // what was read and not yet returned: (*buf)[start:end]
	eof        bool
	state      splitState
}

type splitState int

const (
	atStart  splitState = iota
	sequence            // between values of a sequence
	element             // in an array, before its first value
	after               // in an array, behind a value
	closed              // behind the array
)

var (
	errTruncated = errors.New("the body ends in the middle of a message")
	errSeparator = errors.New("want a comma or the end of the array between messages")
	errMissing   = errors.New("want a message, found a comma or a closing bracket")
	errTrailing  = errors.New("want nothing behind the array of messages")
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

// peek skips white space and returns the byte behind it.
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

// fill reads more behind what there is.
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

// valueScanner finds the end of a JSON value.
type valueScanner struct {
	depth            int
	inString, escape bool
	scalar           bool // a number or a word: it ends where something else begins
	complete         bool // the byte looked at last was the last of the value
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
