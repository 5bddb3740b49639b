package distance

import (
	"net"
	"testing"
	"time"
)

// TestRoundTrips connects over the device, where the machine lets it make one: a handshake is one
// round trip, an echo another.
func TestRoundTrips(t *testing.T) {
	line, err := Open()
	if err != nil {
		t.Skip("no device can be made here: ", err)
	}
	defer line.Close()
	l, err := net.Listen("tcp", Near+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			_, _ = c.Read(b)
			_, _ = c.Write(b)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	const rtt = 40 * time.Millisecond
	line.SetRTT(rtt)
	start := time.Now()
	c, err := net.Dial("tcp", net.JoinHostPort(Far, port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connected := time.Since(start)
	_, _ = c.Write([]byte{1})
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	echoed := time.Since(start)
	// A machine may be slower than its clock, never faster.
	if connected < rtt || echoed < 2*rtt {
		t.Errorf("connected after %v, echoed after %v, with a round-trip time of %v", connected, echoed, rtt)
	}
}
