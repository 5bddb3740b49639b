package envelope

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// readAll reads all messages, and what came after them.
func readAll(r *Reader) (messages []string, err error) {
	for {
		msg, err := r.Next()
		if err != nil {
			return messages, err
		}
		messages = append(messages, string(*msg))
		frontend.PutBuffer(msg)
	}
}

// readWaiting is readAll that takes what was read ahead after each message at once.
func readWaiting(t *testing.T, r *Reader) (messages []string, err error) {
	for {
		msg, err := r.Next()
		if err != nil {
			return messages, err
		}
		messages = append(messages, string(*msg))
		frontend.PutBuffer(msg)
		framed, n := r.Waiting()
		waiting, err := readAll(NewReader(bytes.NewReader(framed), math.MaxInt64, Identity))
		if len(waiting) != n || !errors.Is(err, io.EOF) {
			t.Errorf("Waiting says %d, and has %d and %v", n, len(waiting), err)
		}
		messages = append(messages, waiting...)
	}
}

// outcome is the code of a *frontend.Error, "EOF" or the text of another error.
func outcome(err error) string {
	var e *frontend.Error
	switch {
	case errors.Is(err, io.EOF):
		return "EOF"
	case errors.As(err, &e):
		return frontend.CodeName(e.Code())
	default:
		return err.Error()
	}
}

func TestReader(t *testing.T) {
	zip := func(s string) []byte { return Gzip.Compress(nil, []byte(s)) }
	long := strings.Repeat("long ", 20_000)
	for _, tc := range []struct {
		name   string
		coding Coding
		in     []byte
		want   []string
		end    string
	}{
		{"nothing", Identity, nil, nil, "EOF"},
		{"an empty message", Identity, Append(nil, 0, nil), []string{""}, "EOF"},
		{"messages", Identity, Append(Append(nil, 0, []byte("a")), 0, []byte("bc")), []string{"a", "bc"}, "EOF"},
		{"a long message between short ones", Identity,
			Append(Append(Append(nil, 0, []byte("a")), 0, []byte(long)), 0, []byte("b")), []string{"a", long, "b"}, "EOF"},
		{"compressed and not", Gzip, Append(Append(nil, Compressed, zip("a")), 0, []byte("b")), []string{"a", "b"}, "EOF"},
		{"compressed and empty", Gzip, Append(nil, Compressed, nil), []string{""}, "EOF"},
		{"a prefix that ends", Identity, []byte{0, 0, 0}, nil, "INVALID_ARGUMENT"},
		{"a message that ends", Identity, []byte{0, 0, 0, 0, 2, 'x'}, nil, "INVALID_ARGUMENT"},
		{"a message that ends after another", Identity, append(Append(nil, 0, []byte("a")), 0, 0, 0, 0, 2, 'x'), []string{"a"}, "INVALID_ARGUMENT"},
		{"compressed without a coding", Identity, Append(nil, Compressed, []byte("a")), nil, "INTERNAL"},
		{"other flags", Gzip, Append(nil, ConnectEnd, []byte("{}")), nil, "INTERNAL"},
		{"too long", Identity, Append(nil, 0, make([]byte, 200_001)), nil, "RESOURCE_EXHAUSTED"},
		{"just not too long", Identity, Append(nil, 0, make([]byte, 200_000)), []string{string(make([]byte, 200_000))}, "EOF"},
		{"too long by its prefix alone", Identity, []byte{0, 255, 255, 255, 255}, nil, "RESOURCE_EXHAUSTED"},
		{"too long when decompressed", Gzip, Append(nil, Compressed, zip(strings.Repeat("x", 200_001))), nil, "RESOURCE_EXHAUSTED"},
		{"just not too long when decompressed", Gzip, Append(nil, Compressed, zip(strings.Repeat("x", 200_000))), []string{strings.Repeat("x", 200_000)}, "EOF"},
		{"not gzip", Gzip, Append(nil, Compressed, []byte("plain")), nil, "INVALID_ARGUMENT"},
		{"gzip that ends", Gzip, Append(nil, Compressed, zip(long)[:50]), nil, "INVALID_ARGUMENT"},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
			"with the end": iotest.DataErrReader, "halves": iotest.HalfReader,
		} {
			t.Run(tc.name+", "+how+", waiting", func(t *testing.T) {
				r := NewReader(wrap(bytes.NewReader(tc.in)), 200_000, tc.coding)
				defer r.Close()
				got, err := readWaiting(t, r)
				if outcome(err) != tc.end || !slices.Equal(got, tc.want) {
					t.Errorf("%d messages and %v; want %d and %s", len(got), err, len(tc.want), tc.end)
				}
			})
			t.Run(tc.name+", "+how, func(t *testing.T) {
				r := NewReader(wrap(bytes.NewReader(tc.in)), 200_000, tc.coding)
				defer r.Close()
				got, err := readAll(r)
				if outcome(err) != tc.end {
					t.Errorf("it ends with %v, want %s", err, tc.end)
				}
				if len(got) != len(tc.want) {
					t.Fatalf("%d messages, want %d", len(got), len(tc.want))
				}
				for i := range got {
					if got[i] != tc.want[i] {
						t.Errorf("message %d: %.20q, want %.20q", i, got[i], tc.want[i])
					}
				}
			})
		}
	}
}

func TestReaderPassesErrorsOfItsSource(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"", "\x00", "\x00\x00\x00\x00\x05ab"} {
		r := NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), 100, Identity)
		if _, err := r.Next(); !errors.Is(err, broken) {
			t.Errorf("after %q: %v", in, err)
		}
		r.Close()
	}
}

func TestMoreTellsWithoutTaking(t *testing.T) {
	r := NewReader(bytes.NewReader(Append(nil, 0, []byte("a"))), 100, Identity)
	defer r.Close()
	for range 2 {
		if more, err := r.More(); !more || err != nil {
			t.Fatalf("before the message: %v, %v", more, err)
		}
	}
	if msgs, err := readAll(r); len(msgs) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", msgs, err)
	}
	if more, err := r.More(); more || err != nil {
		t.Errorf("at the end: %v, %v", more, err)
	}
}

// The prefix of a huge message costs what has come of it, not what it promises.
func TestPrefixAloneCostsLittle(t *testing.T) {
	in := []byte{0, 0x0f, 0xff, 0xff, 0xff, 'x'} // 256 MiB
	got := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			r := NewReader(bytes.NewReader(in), 1<<30, Identity)
			if _, err := r.Next(); err == nil {
				b.Fatal("no error")
			}
			r.Close()
		}
	}).AllocedBytesPerOp()
	if got > 1<<20 {
		t.Errorf("%d bytes are allocated", got)
	}
	src := &roomy{Reader: bytes.NewReader(in)}
	if _, err := NewReader(src, 1<<30, Identity).Next(); err == nil || src.room > 4<<10 {
		t.Errorf("%v, room for %d bytes, want at most 4 KiB", err, src.room)
	}
}

// roomy notes for how many bytes there was room at most.
type roomy struct {
	io.Reader
	room int
}

func (r *roomy) Read(p []byte) (int, error) {
	r.room = max(r.room, len(p))
	return r.Reader.Read(p)
}

func TestSealCompressesWhatIsWorthIt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		coding Coding
		flags  byte
	}{
		{"small", minCompressed - 1, Gzip, 0},
		{"large", minCompressed, Gzip, Compressed},
		{"not accepted", 1 << 20, Identity, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payload := bytes.Repeat([]byte("x"), tc.size)
			out := []byte("before")
			start := len(out)
			out = append(Begin(out), payload...)
			out = Seal(out, start, 0, tc.coding)
			if !bytes.HasPrefix(out, []byte("before")) || out[start] != tc.flags {
				t.Fatalf("starts with %q", out[:start+1])
			}
			r := NewReader(bytes.NewReader(out[start:]), 2<<20, tc.coding)
			defer r.Close()
			if got, err := readAll(r); len(got) != 1 || got[0] != string(payload) {
				t.Errorf("got %d messages, %v", len(got), err)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for _, tc := range []struct {
		values []string
		want   Coding
	}{
		{nil, Identity},
		{[]string{"gzip"}, Gzip},
		{[]string{"identity, deflate, gzip"}, Gzip},
		{[]string{"br", "gzip;q=0.5"}, Gzip},
		{[]string{"gzip;q=0"}, Identity},
		{[]string{"br"}, Identity},
		{[]string{"*"}, Gzip},
	} {
		if got := Accepted(tc.values); got != tc.want {
			t.Errorf("%q: %v, want %v", tc.values, got, tc.want)
		}
	}
}

func TestLimits(t *testing.T) {
	text := bytes.Repeat([]byte("x"), 10_000)
	small := Gzip.Compress(nil, text)
	for _, tc := range []struct {
		name  string
		limit int64
		err   error
	}{
		{"far above", 1 << 20, nil},
		{"just enough", 10_000, nil},
		{"one byte less", 9_999, ErrTooLarge},
		{"none at all", math.MaxInt64, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Gzip.Decompress(nil, small, tc.limit)
			if !errors.Is(err, tc.err) || err == nil && !bytes.Equal(got, text) {
				t.Errorf("%d bytes, %v, want %v", len(got), err, tc.err)
			}
		})
	}
}

// Reading ends for any input, and messages are within the limit. What was written is read again.
func FuzzReader(f *testing.F) {
	f.Add(Append(Append(nil, 0, []byte("abc")), Compressed, Gzip.Compress(nil, []byte("def"))), 3)
	f.Add([]byte{0, 0, 0, 0, 9, 1}, 1)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		const limit = 1000
		r := NewReader(&chunks{bytes.NewReader(in), 1 + max(0, chunk)%100}, limit, Gzip)
		defer r.Close()
		got, err := readAll(r)
		if err == nil {
			t.Fatal("it has no end")
		}
		var out []byte
		plain := true
		for _, m := range got {
			if len(m) > limit {
				t.Fatalf("a message of %d bytes", len(m))
			}
			out = Append(out, 0, []byte(m))
		}
		for rest := in; len(rest) >= HeaderSize && plain; {
			plain = rest[0] == 0
			n := int(rest[1])<<24 | int(rest[2])<<16 | int(rest[3])<<8 | int(rest[4])
			if n > len(rest)-HeaderSize {
				break
			}
			rest = rest[HeaderSize+n:]
		}
		if plain && !bytes.HasPrefix(in, out) {
			t.Errorf("%x was read as %x", in, out)
		}
		if errors.Is(err, io.EOF) && plain && len(out) != len(in) {
			t.Errorf("%d of %d bytes were read", len(out), len(in))
		}
	})
}

// chunks reads a few bytes at a time.
type chunks struct {
	r *bytes.Reader
	n int
}

func (c *chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(c.n, len(p))]) }

// TestWaiting: what was read ahead is taken at once. What Next has to judge, or to wait for, is
// not.
func TestWaiting(t *testing.T) {
	some := Append(Append(Append(nil, 0, []byte("a")), 0, nil), 0, []byte("bc"))
	for _, tc := range []struct {
		name string
		rest []byte
		want int
	}{
		{"all", nil, 2},
		{"a prefix that goes on", []byte{0, 0, 0}, 2},
		{"a message that goes on", []byte{0, 0, 0, 0, 2, 'x'}, 2},
		{"compressed", Append(nil, Compressed, []byte("x")), 2},
		{"other flags", Append(nil, ConnectEnd, []byte("{}")), 2},
		{"too long", Append(nil, 0, make([]byte, 11)), 2},
		{"just not too long", Append(nil, 0, make([]byte, 10)), 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(append(slices.Clone(some), tc.rest...)), 10, Gzip)
			defer r.Close()
			if framed, n := r.Waiting(); len(framed) != 0 || n != 0 {
				t.Errorf("%d messages before anything was read", n)
			}
			msg, err := r.Next()
			if err != nil || string(*msg) != "a" {
				t.Fatalf("first is %v, %v", msg, err)
			}
			frontend.PutBuffer(msg)
			framed, n := r.Waiting()
			if n != tc.want || !bytes.HasPrefix(framed, some[HeaderSize+1:]) {
				t.Errorf("%d messages: %q", n, framed)
			}
			if framed, n := r.Waiting(); len(framed) != 0 || n != 0 {
				t.Errorf("%d messages came twice", n)
			}
		})
	}
}

// TestBufferGrowsWithTheFlow: the buffer is large while many messages come together, and small
// again when they stop.
func TestBufferGrowsWithTheFlow(t *testing.T) {
	in, out := io.Pipe()
	var flow []byte
	for range 1000 {
		flow = Append(flow, 0, make([]byte, 100))
	}
	last := Append(nil, 0, []byte("last"))
	go func() {
		for _, part := range [][]byte{flow, last, last} {
			_, _ = out.Write(part)
		}
		_ = out.Close()
	}()
	r := NewReader(in, 200_000, Identity)
	defer r.Close()
	messages, largest, smallest := 0, 0, math.MaxInt
	for {
		msg, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(*msg) == "last" {
			smallest = min(smallest, cap(*r.buf))
		}
		frontend.PutBuffer(msg)
		largest = max(largest, cap(*r.buf))
		_, n := r.Waiting()
		messages += 1 + n
	}
	if messages != 1002 || largest < manySize || largest > 2*manySize || smallest >= manySize {
		t.Errorf("%d messages; the buffer had up to %d bytes, and %d at the end", messages, largest, smallest)
	}
}

// roomReader reads parts, and notes how much room there was for what follows them.
type roomReader struct {
	parts [][]byte
	room  int
}

func (r *roomReader) Read(b []byte) (int, error) {
	if len(r.parts) == 0 {
		r.room = len(b)
		return 0, io.EOF
	}
	n := copy(b, r.parts[0])
	if r.parts[0] = r.parts[0][n:]; len(r.parts[0]) == 0 {
		r.parts = r.parts[1:]
	}
	return n, nil
}

// TestFewMessagesNeedNoLargeBuffer: a stream that waits after one message, or after a few, holds a
// small buffer. Many may come before.
func TestFewMessagesNeedNoLargeBuffer(t *testing.T) {
	var flow []byte
	for range 1000 {
		flow = Append(flow, 0, make([]byte, 100))
	}
	few := Append(Append(nil, 0, []byte("a")), 0, []byte("b"))
	for name, parts := range map[string][][]byte{
		"one that fills the buffer": {Append(nil, 0, make([]byte, readSize-HeaderSize))},
		"one that is larger":        {Append(nil, 0, make([]byte, 5000))},
		"few":                       {few},
		"few after many":            {flow, few},
	} {
		t.Run(name, func(t *testing.T) {
			source := &roomReader{parts: parts}
			r := NewReader(source, 200_000, Identity)
			defer r.Close()
			if _, err := readWaiting(t, r); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if source.room > 2*readSize {
				t.Errorf("there is room for %d bytes", source.room)
			}
		})
	}
}
