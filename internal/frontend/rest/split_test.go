package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// split returns the values of a body and the error after them. Nil is the end of the body.
func split(r io.Reader, limit int64, array bool) (values []string, err error) {
	s := newSplitter(r, limit, array)
	defer s.free()
	for {
		v, err := s.next()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return values, err
		}
		values = append(values, string(v))
	}
}

func TestSplitter(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		array      bool
		want       []string
		err        error
	}{
		{name: "nothing"},
		{name: "objects", body: "{\"a\":1}\n{\"b\":[2,{}]}\n", want: []string{`{"a":1}`, `{"b":[2,{}]}`}},
		{name: "objects without space between", body: `{}{}`, want: []string{"{}", "{}"}},
		{name: "brackets and quotes in strings", body: `{"a":"}\"\\"} {"b":"]"}`, want: []string{`{"a":"}\"\\"}`, `{"b":"]"}`}},
		{name: "scalars", body: "1 -2.5e3\ntrue \"x y\" null", want: []string{"1", "-2.5e3", "true", `"x y"`, "null"}},
		{name: "arrays as values", body: "[1]\n[2]", want: []string{"[1]", "[2]"}},
		{name: "an array", body: ` [ {"a":1} , 2,[3] ] `, array: true, want: []string{`{"a":1}`, "2", "[3]"}},
		{name: "an empty array", body: "[]", array: true},
		{name: "no array where there may be one", body: `{"a":1} {}`, array: true, want: []string{`{"a":1}`, "{}"}},
		{name: "cut off in an object", body: `{} {"a":`, want: []string{"{}"}, err: errTruncated},
		{name: "cut off in a string", body: `"a`, err: errTruncated},
		{name: "cut off in an array", body: `[1,2`, array: true, want: []string{"1", "2"}, err: errTruncated},
		{name: "cut off behind a comma", body: `[1,`, array: true, want: []string{"1"}, err: errTruncated},
		{name: "cut off at the start", body: `[`, array: true, err: errTruncated},
		{name: "no comma", body: `[1 2]`, array: true, want: []string{"1"}, err: errSeparator},
		{name: "two commas", body: `[1,,2]`, array: true, want: []string{"1"}, err: errMissing},
		{name: "a comma at the end", body: `[1,]`, array: true, want: []string{"1"}, err: errMissing},
		{name: "a comma at the start", body: `[,1]`, array: true, err: errMissing},
		{name: "something behind", body: `[1] 2`, array: true, want: []string{"1"}, err: errTrailing},
		{name: "a comma in a sequence", body: `{},{}`, want: []string{"{}"}, err: errMissing},
		{name: "a bracket in a sequence", body: `{} ]`, want: []string{"{}"}, err: errMissing},
		{name: "as large as allowed", body: `"` + strings.Repeat("a", 98) + `" 1`, want: []string{`"` + strings.Repeat("a", 98) + `"`, "1"}},
		{name: "too large", body: `1 "` + strings.Repeat("a", 99) + `"`, want: []string{"1"}, err: frontend.ErrTooLarge},
		{name: "too large and endless", body: strings.Repeat("[", 10_000), err: frontend.ErrTooLarge},
		{name: "a scalar too large", body: strings.Repeat("1", 101), err: frontend.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(tc.body), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.body)),
				"with the end at once": iotest.DataErrReader(strings.NewReader(tc.body)),
			} {
				got, err := split(r, 100, tc.array)
				if !slices.Equal(got, tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("%s: got %q, %v; want %q, %v", how, got, err, tc.want, tc.err)
				}
			}
		})
	}
}

func TestSplitterPassesErrorsOn(t *testing.T) {
	lost := errors.New("lost")
	got, err := split(io.MultiReader(strings.NewReader(`{} {`), iotest.ErrReader(lost)), 100, false)
	if !slices.Equal(got, []string{"{}"}) || !errors.Is(err, lost) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestSplitterMemory feeds many messages through: what is kept is one of them.
func TestSplitterMemory(t *testing.T) {
	message := []byte(`{"text":"` + strings.Repeat("a", 1000) + "\"}\n")
	body := &endless{message: message, left: 2_000}
	s := newSplitter(body, 1<<20, false)
	defer s.free()
	n := 0
	for {
		v, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(v) != len(message)-1 {
			t.Fatalf("message %d: %d bytes, %v", n, len(v), err)
		}
		if n++; cap(*s.buf) > 16<<10 {
			t.Fatalf("message %d: a buffer of %d bytes", n, cap(*s.buf))
		}
	}
	if n != 2_000 {
		t.Errorf("%d messages", n)
	}
}

type endless struct {
	message []byte
	left    int
	at      int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && e.left > 0 {
		c := copy(p[n:], e.message[e.at:])
		n, e.at = n+c, e.at+c
		if e.at == len(e.message) {
			e.at = 0
			e.left--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{`{"a":1} {"b":"}"}`, `[1,{"a":[2]},"x"]`, `[1,,2]`, `[`, ` [ ] `, `"\"`, "1 2\n3", `{}}`, `[1]]`, "\x00"} {
		f.Add([]byte(seed), true, 3)
		f.Add([]byte(seed), false, 1)
	}
	f.Fuzz(func(t *testing.T, body []byte, array bool, chunk int) {
		const limit = 1000
		chunk = min(max(1, chunk), 1000)
		whole, wholeErr := split(bytes.NewReader(body), limit, array)
		pieces, piecesErr := split(&chunked{body, chunk}, limit, array)
		// How the body arrives does not matter.
		if !slices.Equal(whole, pieces) || !errors.Is(piecesErr, wholeErr) {
			t.Fatalf("at once %q, %v; in chunks of %d %q, %v", whole, wholeErr, chunk, pieces, piecesErr)
		}
		for _, v := range whole {
			if !json.Valid([]byte(v)) {
				// encoding/json takes 00 for two values. Here it is one, which the transcoder
				// refuses.
				return
			}
			if v == "" || len(v) > limit || strings.TrimSpace(v) != v {
				t.Fatalf("value %q", v)
			}
		}
		// What is valid JSON is taken apart as encoding/json does.
		trimmed := bytes.TrimLeft(body, " \t\r\n")
		if array && len(trimmed) > 0 && trimmed[0] == '[' {
			var all []json.RawMessage
			if json.Unmarshal(body, &all) == nil {
				compare(t, whole, wholeErr, all)
			}
			return
		}
		var all []json.RawMessage
		dec := json.NewDecoder(bytes.NewReader(body))
		for {
			var v json.RawMessage
			if err := dec.Decode(&v); errors.Is(err, io.EOF) {
				compare(t, whole, wholeErr, all)
				return
			} else if err != nil {
				return
			}
			all = append(all, v)
		}
	})
}

func compare(t *testing.T, got []string, err error, want []json.RawMessage) {
	t.Helper()
	for _, v := range want {
		if len(v) > 1000 {
			return
		}
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %q, %v; encoding/json has %q", got, err, want)
	}
	for i := range got {
		if got[i] != string(want[i]) {
			t.Fatalf("value %d: got %q; encoding/json has %q", i, got[i], want[i])
		}
	}
}

type chunked struct {
	b []byte
	n int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.b)
	c.b = c.b[n:]
	return n, nil
}
