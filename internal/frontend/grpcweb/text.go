package grpcweb

import (
	"encoding/base64"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// textSource implements relay.Source for a body in base64.
type textSource struct {
	textReader

	body *frontend.Body
}

func (s *textSource) Body() *frontend.Body { return s.body }

// appendText appends src in base64. Each run of envelopes is encoded by itself, padding included, so that a client can decode what it
// has without waiting for what follows.
func appendText(dst, src []byte) []byte { return base64.StdEncoding.AppendEncode(dst, src) }

// textReader decodes a body in base64: the standard alphabet, in pieces each of which may be padded, as a client makes them that encodes
// message by message. The last piece may lack its padding. Line ends between are skipped.
type textReader struct {
	src io.Reader

	text [1024]byte // read and not decoded yet
	n    int        // of them
	out  []byte     // decoded and not taken yet, in buf
	buf  [768]byte
	end  error
}

// Read implements io.Reader.
func (t *textReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.end != nil {
			return 0, t.end
		}
		n, err := t.src.Read(t.text[t.n:])
		t.n = clean(t.text[:], t.n, t.n+n)
		t.end = err
		t.decode()
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// clean removes line ends from text[from:to] and returns the new end.
func clean(text []byte, from, to int) int {
	n := from
	for _, c := range text[from:to] {
		if c != '\r' && c != '\n' {
			text[n] = c
			n++
		}
	}
	return n
}

// decode decodes the whole quanta of four characters that are there, and at the end of the body what is left.
func (t *textReader) decode() {
	whole := t.n &^ 3
	quanta, rest := t.text[:whole], t.text[whole:t.n]
	out := t.buf[:0]
	for len(quanta) > 0 {
		piece := nextPiece(quanta)
		var err error
		if out, err = base64.StdEncoding.AppendDecode(out, quanta[:piece]); err != nil {
			t.fail(err)
			return
		}
		quanta = quanta[piece:]
	}
	if errors.Is(t.end, io.EOF) && len(rest) > 0 {
		var err error
		if out, err = base64.RawStdEncoding.AppendDecode(out, rest); err != nil {
			t.fail(err)
			return
		}
		rest = nil
	}
	t.out = out
	t.n = copy(t.text[:], rest)
}

// nextPiece is the length up to the first padding, that quantum included.
func nextPiece(quanta []byte) int {
	for i := 3; i < len(quanta); i += 4 {
		if quanta[i] == '=' {
			return i + 1
		}
	}
	return len(quanta)
}

func (t *textReader) fail(err error) {
	t.out, t.n = nil, 0
	t.end = frontend.Errorf(codes.InvalidArgument, "the request body is not valid base64").WithCause(err)
}
