package pool

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/status"
)

// currentPicker has the picker that calls use now. Calls for which it has no connection wait until
// another one replaces it.
type currentPicker struct {
	term atomic.Pointer[pickerTerm]
}

// pickerTerm is a picker's time in use.
type pickerTerm struct {
	picker picker
	// over is closed when another picker has taken its place.
	over chan struct{}
}

func (c *currentPicker) replace(p picker) {
	old := c.term.Swap(&pickerTerm{picker: p, over: make(chan struct{})})
	if old != nil {
		close(old.over)
	}
}

// claim gives the call a connection. While no picker has one, it waits, but not longer than the
// call. The claim must be given to the link of its connection.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) claim(l *lease) (*pick, error) {
	for {
		term := b.current.term.Load()
		p, err := term.picker.choose(l, l)
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-term.over:
		case <-l.Done():
			st := status.FromContextError(l.Err())
			return nil, status.Error(st.Code(), fmt.Sprintf("%s while waiting for connections to become ready", st.Message()))
		}
	}
}

// replaceFor is told that the connection of a claim was lost before the call began. Grpc then waits
// for a picker that is newer than the one it has. If the claim is older than that one, the loss may
// be no news, and there would be no newer picker.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) replaceFor(from picker) {
	if b.current.term.Load().picker != from {
		b.mustAsk(func() { b.changed(true) })
	}
}
