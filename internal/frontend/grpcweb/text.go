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

// appendText appends src in base64. Each run of envelopes is encoded on its own, with its padding,
// so that a client can decode it without waiting for the next one.
func appendText(dst, src []byte) []byte { return base64.StdEncoding.AppendEncode(dst, src) }

// textReader decodes a body in base64 with the standard alphabet. The body may consist of several
// padded pieces, since some clients encode each message on its own. The padding of the last piece
// may be missing. Line ends are skipped.
type textReader struct {
	src io.Reader

	// text has n bytes that were read and are not decoded yet.
	text [1024]byte
	n    int
	// out is what was decoded and not taken yet. It is in buf.
	out []byte
	buf [768]byte
	// end is the error of the source.
	end error
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

// decode decodes all whole quanta of four characters. At the end of the body it decodes the rest,
// too.
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

// nextPiece returns the length of the first piece: up to and including the quantum with padding.
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
