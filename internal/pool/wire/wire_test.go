package wire

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner is an Owner that notes what it is told.
type owner struct {
	set   Set
	reads atomic.Uint64
	limit atomic.Uint32
	pings int
}

func (o *owner) ServerName() string          { return "instance.test" }
func (o *owner) Wires() *Set                 { return &o.set }
func (o *owner) Reads() *atomic.Uint64       { return &o.reads }
func (o *owner) StreamLimit() *atomic.Uint32 { return &o.limit }
func (o *owner) TooManyPings()               { o.pings++ }

func TestTheOwnerIsToldOfItsAddress(t *testing.T) {
	o := new(owner)
	if got := OwnerOf(Attributes(o)); got != o {
		t.Errorf("owner is %v", got)
	}
	if got := OwnerOf(nil); got != nil {
		t.Errorf("an address without an owner has %v", got)
	}
}

func TestSeverEndsReads(t *testing.T) {
	o := new(owner)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := track(ours, ours, o)
	go func() { _, _ = theirs.Write([]byte("x")) }()
	if _, err := c.Read(make([]byte, 10)); err != nil || o.reads.Load() != 1 {
		t.Fatalf("error %v, %d reads", err, o.reads.Load())
	}
	o.set.Sever()
	if _, err := c.Read(make([]byte, 10)); err == nil {
		t.Error("a severed connection can be read")
	}
	if err := c.Close(); err != nil || len(o.set.wires) != 0 {
		t.Errorf("error %v, %d connections are left in the set", err, len(o.set.wires))
	}
}

// The last frame of the instance says why it closes the connection.
func TestTooManyPingsIsRead(t *testing.T) {
	frames := func(write func(f *http2.Framer)) []byte {
		var buf bytes.Buffer
		write(http2.NewFramer(&buf, nil))
		return buf.Bytes()
	}
	for _, tc := range []struct {
		name string
		data []byte
		want int
	}{
		{"too many pings", frames(func(f *http2.Framer) {
			_ = f.WriteSettings()
			_ = f.WriteGoAway(7, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
		}), 1},
		{"calm for another reason", frames(func(f *http2.Framer) {
			_ = f.WriteGoAway(7, http2.ErrCodeEnhanceYourCalm, []byte("too_many_calls"))
		}), 0},
		{"another code", frames(func(f *http2.Framer) { _ = f.WriteGoAway(7, http2.ErrCodeNo, []byte("too_many_pings")) }), 0},
		{"a message that says so", frames(func(f *http2.Framer) { _ = f.WriteData(7, false, []byte("too_many_pings")) }), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := new(owner)
			ours, theirs := net.Pipe()
			c := track(ours, ours, o)
			go func() {
				_, _ = theirs.Write(tc.data)
				theirs.Close()
			}()
			if _, err := io.ReadAll(c); err != nil {
				t.Fatal(err)
			}
			c.Close()
			if o.pings != tc.want {
				t.Errorf("the owner was told %d times, want %d", o.pings, tc.want)
			}
		})
	}
}
