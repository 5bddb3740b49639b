package rpcwire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// decodeAll decodes a header block with x/net.
func decodeAll(t testing.TB, d *hpack.Decoder, block []byte) string {
	t.Helper()
	fields, err := d.DecodeFull(block)
	if err != nil {
		t.Fatalf("x/net cannot decode %x: %v", block, err)
	}
	var list []string
	for _, f := range fields {
		list = append(list, f.Name+"="+f.Value)
	}
	return strings.Join(list, "; ")
}

// Random requests, and a table whose size the peer changes, are decoded by x/net to the same
// fields.
func TestEncoderAgainstXNet(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 3))
		e := newEncoder([]string{"http", "https"}[seed%2], []string{"", "agent/1"}[seed/2%2])
		d := hpack.NewDecoder(tableMax, nil)
		evicted := 0
		for range 1000 {
			if random.IntN(200) == 0 {
				limit := uint32(random.IntN(6000)) * uint32(random.IntN(2))
				e.setLimit(limit)
				// The peer keeps the larger table until it sees the update, as RFC 7541 says.
				d.SetAllowedMaxDynamicTableSize(min(limit, tableMax))
				evicted++
			}
			key := blockKey{fmt.Sprint("/service/", random.IntN(1<<random.IntN(8))), fmt.Sprint("host", random.IntN(3)), "application/grpc"}
			want := ":method=POST; :scheme=" + e.scheme + "; :path=" + key.method + "; :authority=" + key.authority + "; content-type=" + key.contentType + "; te=trailers"
			if e.userAgent != "" {
				want += "; user-agent=" + e.userAgent
			}
			b := e.fixed(e.begin(nil), key)
			for range random.IntN(5) {
				f := Field{fmt.Sprint("name", random.IntN(10)), strings.Repeat("v", random.IntN(300)) + fmt.Sprint(random.IntN(1<<random.IntN(12)))}
				if random.IntN(8) == 0 {
					f.Name = "authorization"
				}
				b = e.field(b, f.Name, f.Value, false)
				want += "; " + f.Name + "=" + f.Value
			}
			b = e.unindexed(b, Field{"grpc-timeout", "1S"})
			want += "; grpc-timeout=1S"
			if got := decodeAll(t, d, b); got != want {
				t.Fatalf("got %s\nwant %s", got, want)
			}
			if e.used > e.max {
				t.Fatalf("the table has %d bytes, the limit is %d", e.used, e.max)
			}
		}
		if evicted == 0 {
			t.Error("the table never changed its size")
		}
	}
}

// After a few calls the fields of a method take one byte each. Where they are remembered is at
// random, so many encoders are tried.
func TestEncoderIsCompact(t *testing.T) {
	for range 500 {
		encodeCompactly(t)
	}
}

func encodeCompactly(t *testing.T) {
	t.Helper()
	e := newEncoder("http", "agent/1")
	d := hpack.NewDecoder(tableMax, nil)
	key := blockKey{"/package.Service/Method", "server.test:443", "application/grpc"}
	var sizes []int
	for range 5 {
		b := e.fixed(nil, key)
		b = e.field(b, "x-constant", "value", false)
		sizes = append(sizes, len(b))
		decodeAll(t, d, b)
	}
	if want := []int{8, 8, 8}; !slices.Equal(sizes[2:], want) {
		t.Fatalf("the blocks have %v bytes, want %v at the end", sizes, want)
	}
	// What differs in each call does not fill the table.
	used := e.used
	for i := range 100 {
		decodeAll(t, d, e.field(nil, "x-request-id", fmt.Sprint(i), false))
	}
	if e.used > used+4*(fieldOverhead+20) {
		t.Errorf("the table grew from %d to %d bytes", used, e.used)
	}
	if n := testing.AllocsPerRun(100, func() {
		var room [100]byte
		_ = e.field(e.fixed(room[:0], key), "x-constant", "value", false)
	}); n != 0 {
		t.Errorf("encoding allocates %v times", n)
	}
}

// A changed size of the table is told once, at the beginning of the next block. The size 0 before
// it makes the peer forget the entries, as the encoder does (RFC 7541, section 4.2).
func TestEncoderTellsTheSizeOfItsTable(t *testing.T) {
	e := newEncoder("http", "")
	for _, tt := range []struct {
		limit uint32
		want  string
	}{{4096, ""}, {100, "203f45"}, {100, ""}, {0, "20"}, {1 << 20, "203fe11f"}, {8192, ""}} {
		e.setLimit(tt.limit)
		for _, want := range []string{tt.want, ""} {
			if got := fmt.Sprintf("%x", e.begin(nil)); got != want {
				t.Errorf("after the limit %d a block begins with %q, want %q", tt.limit, got, want)
			}
		}
		if tt.want != "" && (e.inserted != 0 || len(e.entries) != 0 || len(e.blocks) != 0) {
			t.Error("the encoder remembers entries")
		}
		e.fixed(nil, blockKey{"/a/b", "host", "application/grpc"})
	}
}

// Secrets are never in a table, and say so to proxies.
func TestEncoderKeepsSecretsOutOfTheTable(t *testing.T) {
	e := newEncoder("http", "")
	for _, name := range []string{"authorization", "cookie", "proxy-authorization"} {
		for range 3 {
			b := e.field(nil, name, "secret", false)
			if b[0]&0xf0 != 0x10 {
				t.Errorf("%s begins with %#x, want a literal that is never indexed", name, b[0])
			}
		}
	}
	if e.inserted != 0 {
		t.Errorf("the table has %d entries", e.inserted)
	}
}

// Many methods and many authorities do not make the encoder grow without limit.
func TestEncoderIsBounded(t *testing.T) {
	e := newEncoder("http", "")
	d := hpack.NewDecoder(tableMax, nil)
	for i := range 5000 {
		decodeAll(t, d, e.fixed(nil, blockKey{fmt.Sprint("/s/", i/2), fmt.Sprint("host", i%7), "application/grpc"}))
	}
	if len(e.blocks) > blocksMax || e.used > tableMax || len(e.entries) > tableMax/fieldOverhead {
		t.Errorf("%d blocks, %d entries, %d bytes", len(e.blocks), len(e.entries), e.used)
	}
}

func TestAppendIntAgainstXNet(t *testing.T) {
	for _, n := range []uint64{0, 1, 14, 15, 16, 126, 127, 128, 255, 256, 16383, 1 << 20} {
		s := strings.Repeat("a", int(n))
		got := appendString(nil, s)
		d := hpack.NewDecoder(0, nil)
		fields, err := d.DecodeFull(append([]byte{0x00, 1, 'x'}, got...))
		if err != nil || len(fields) != 1 || fields[0].Value != s {
			t.Errorf("a string of %d bytes is not decoded: %v", n, err)
		}
	}
}

// The peer lowers its header table between two calls (RFC 9113, section 4.3.1).
func TestHeaderTableIsLowered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		for i, size := range []uint32{4096, 0, 100, 4096, 1 << 20, 64} {
			s.send(settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}))
			for j := range 3 {
				id := uint32(6*i + 2*j + 1)
				ch := begin(t, c, Request{Metadata: []Field{{"a", "b"}}})
				s.send(ok(id), message(id, "x"), trailer(id, "0"))
				if r := end(t, ch); r.err != nil {
					t.Fatal(r.err)
				}
				if got := fieldOf(s.fields[id], ":path") + fieldOf(s.fields[id], "a"); got != "/test.Service/Methodb" {
					t.Errorf("call %d of size %d has %q", j, size, got)
				}
			}
		}
		stop(t, c)
	})
}

func fieldOf(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// A request has the fields that gRPC over HTTP2 asks for, and those of the caller.
func TestRequestHeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{Scheme: "https", UserAgent: "agent/1"})
		large := strings.Repeat("l", 40_000)
		ch := begin(t, c, Request{
			Method: "/a/b", Authority: "other", ContentType: "application/grpc+x", Deadline: time.Now().Add(1500 * time.Millisecond),
			Metadata: []Field{{"a", "1"}, {"a", "2"}, {"b-bin", "\xff\x00"}, {"te", "x"}, {":path", "x"}, {"grpc-timeout", "1H"}, {"grpc-encoding", "gzip"}, {"large", large}},
		})
		var got []string
		for _, f := range s.fields[1] {
			got = append(got, f.Name+"="+f.Value)
		}
		want := []string{
			":method=POST", ":scheme=https", ":path=/a/b", ":authority=other", "content-type=application/grpc+x", "te=trailers",
			"user-agent=agent/1", "grpc-timeout=1500000u", "a=1", "a=2", "b-bin=/wA", "grpc-encoding=gzip", "large=" + large,
		}
		if !slices.Equal(got, want) {
			t.Errorf("the header is\n%.300q\nwant\n%.300q", got, want)
		}
		var kinds []string
		for _, f := range s.frames(http2.FrameHeaders, http2.FrameContinuation, http2.FrameData) {
			kinds = append(kinds, fmt.Sprintf("%s:%d", f.kind, f.flags))
		}
		if want := []string{"HEADERS:0", "CONTINUATION:0", "CONTINUATION:4", "DATA:1"}; !slices.Equal(kinds, want) {
			t.Errorf("the frames are %v, want %v", kinds, want)
		}
		s.send(rst(1, 0))
		end(t, ch)
		stop(t, c)
	})
}

func TestAppendTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "1n", 0: "1n", 1: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 100_000_001: "100001u",
		99 * time.Second: "99000000u", 100 * time.Second: "100000m", 1 << 62: "76861434M", 1<<63 - 1: "2562048H",
	} {
		if got := string(appendTimeout(nil, d)); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}
