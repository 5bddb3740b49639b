package grpcweb

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func TestTextReader(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	enc := base64.StdEncoding.EncodeToString
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"without padding", enc([]byte("abc")), "abc"},
		{"with padding", enc([]byte("a")), "a"},
		{"pieces", enc([]byte("a")) + enc([]byte("bc")) + enc([]byte("def")) + enc([]byte("g")), "abcdefg"},
		{"without the last padding", strings.TrimRight(enc([]byte("abcd")), "="), "abcd"},
		{"pieces without the last padding", enc([]byte("a")) + "Yg", "ab"},
		{"long", enc([]byte(long)), long},
		{"with line ends", "YW\r\nJj\n", "abc"},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with the end": iotest.DataErrReader,
		} {
			t.Run(tc.name+", "+how, func(t *testing.T) {
				got, err := io.ReadAll(&textReader{src: wrap(strings.NewReader(tc.in))})
				if err != nil || string(got) != tc.want {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

func TestTextThatIsNone(t *testing.T) {
	for _, in := range []string{"!", "YWJj!", "YQ==Y", "Y", "=YWJ", "YW=j", "a_b-"} {
		_, err := io.ReadAll(&textReader{src: strings.NewReader(in)})
		var e *frontend.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestErrorsOfTheSourcePass(t *testing.T) {
	broken := errors.New("broken")
	got, err := io.ReadAll(&textReader{src: io.MultiReader(strings.NewReader("YWJjZA"), iotest.ErrReader(broken))})
	if !errors.Is(err, broken) || string(got) != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Pieces, however they are cut and read, are what was encoded; and any input comes to an end.
func FuzzTextReader(f *testing.F) {
	f.Add([]byte("hello"), 2, 3, false)
	f.Add([]byte("YQ==YmM"), 1, 1, true)
	f.Fuzz(func(t *testing.T, in []byte, piece, read int, raw bool) {
		text := in
		if !raw {
			text = nil
			for rest := in; len(rest) > 0; {
				n := min(1+max(0, piece)%64, len(rest))
				text = appendText(text, rest[:n])
				rest = rest[n:]
			}
		}
		got, err := io.ReadAll(&textReader{src: &chunks{bytes.NewReader(text), 1 + max(0, read)%64}})
		if !raw && (err != nil || !bytes.Equal(got, in)) {
			t.Errorf("%q was read as %q, %v", text, got, err)
		}
		if err == nil && raw && len(got) > len(in) {
			t.Errorf("%q was read as %q", in, got)
		}
	})
}

type chunks struct {
	r *bytes.Reader
	n int
}

func (c *chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(c.n, len(p))]) }
