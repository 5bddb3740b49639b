package pool

import (
	"context"
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
	// number counts the terms, from 1.
	number uint64
	// over is closed when another picker has taken its place.
	over chan struct{}
}

// replace begins the next term. Only one goroutine may call it at a time.
func (c *currentPicker) replace(p picker) {
	next := &pickerTerm{picker: p, number: 1, over: make(chan struct{})}
	old := c.term.Load()
	if old != nil {
		next.number = old.number + 1
	}
	c.term.Store(next)
	if old != nil {
		close(old.over)
	}
}

// claim gives the call a connection, unless its caller is gone. While no picker has one, it waits,
// but not longer than the call. The claim must be given to the link of its connection.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) claim(l *lease) (*pick, error) {
	for {
		// Grpc would begin with the call, and might even return its answer.
		if err := l.Err(); err != nil {
			return nil, endedBefore(err)
		}
		term := b.current.term.Load()
		p, err := term.picker.choose(l, l)
		switch {
		case err != nil:
			return nil, err
		case p != nil:
			p.term = term.number
			return p, nil
		}
		l.bind()
		select {
		case <-term.over:
		case <-l.Done():
			st := status.FromContextError(l.Err())
			return nil, status.Error(st.Code(), fmt.Sprintf("%s while waiting for connections to become ready", st.Message()))
		}
	}
}

// awaitTermAfter waits until the picker of a term is replaced, but not longer than the call. A call
// whose connection was lost between the claim and its start would get the same connection from the
// same picker again.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) awaitTermAfter(ctx context.Context, number uint64) {
	term := b.current.term.Load()
	if term.number != number {
		return
	}
	select {
	case <-term.over:
	case <-ctx.Done():
	}
}

// replaceAfter is told that the connection of a claim was lost before the call began, and in which
// term the claim was made. Grpc then waits for a picker that is newer than the one it has. If the
// claim is older than that one, the loss may be no news, and there would be no newer picker.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) replaceAfter(term uint64) {
	if b.current.term.Load().number != term {
		b.mustAsk(func() { b.changed(true) })
	}
}
