package stream

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Run writes until the stream is over. The error is that of Sink.Refuse: nothing was written then.
// All later failures are noted in Info and told to the client by the Sink.
func (q *Queue) Run() error {
	w := writer{q: q, sink: q.set.Sink, opened: q.set.Opened, quiet: newQuietTimer(q.set.Quiet)}
	defer w.quiet.stop()
	defer w.grace.stop()
	drain := q.set.Drain.Done()
	var delay <-chan time.Time
	for {
		var b batch
		select {
		case <-q.more:
			b = q.take()
		case <-w.quiet.fired():
			if err := w.beat(); err != nil {
				return w.lost(err)
			}
			continue
		case <-w.grace.fired():
			if err := w.openAlone(); err != nil {
				return w.lost(err)
			}
			continue
		case <-drain:
			drain = nil
			if d := q.set.CloseDelay; d > 0 {
				timer := time.NewTimer(d)
				defer timer.Stop()
				delay = timer.C
				continue
			}
			b = q.drained()
		case <-delay:
			b = q.drained()
		}
		if b.over {
			return w.finish(b)
		}
		if err := w.write(b); err != nil {
			return w.lost(err)
		}
	}
}

// writer is the writing end of a Queue.
type writer struct {
	q      *Queue
	sink   Sink
	opened bool
	quiet  quietTimer
	grace  quietTimer // Runs from when there is a header until something is written.
}

// write writes a batch, or the header alone: a client may wait for it before it says anything.
func (w *writer) write(b batch) error {
	if b.buf != nil {
		defer frontend.PutBuffer(b.buf)
		w.open(b.header)
		w.quiet.reset()
		return w.sink.Write(*b.buf, b.ends)
	}
	if w.opened || b.header == nil || !w.sink.Early() {
		return nil
	}
	if w.q.set.HeaderGrace <= 0 {
		return w.openAlone()
	}
	if w.grace.timer == nil {
		w.grace = newQuietTimer(w.q.set.HeaderGrace)
	}
	return nil
}

func (w *writer) open(header metadata.MD) {
	if w.opened {
		return
	}
	w.opened = true
	w.grace.stop()
	if !w.q.set.Beats {
		w.quiet.stop()
	}
	w.sink.Open(header)
}

// openAlone writes the header without a message. The service may not have sent its header metadata
// yet. It is lost then. A client that hears nothing at all is worse.
func (w *writer) openAlone() error {
	w.q.mu.Lock()
	header := w.q.header
	w.q.mu.Unlock()
	w.open(header)
	return w.sink.Flush()
}

// beat is called when the stream may have been quiet for too long.
func (w *writer) beat() error {
	switch {
	case !w.quiet.elapsed():
		return nil
	case w.q.set.Beats && w.opened:
		return w.sink.Beat()
	}
	if err := w.openAlone(); err != nil || !w.q.set.Beats {
		return err
	}
	return w.sink.Beat()
}

// finish writes the last batch and the end.
func (w *writer) finish(b batch) error {
	// From here on nobody else uses the RPC, whose trailer metadata the Sink reads.
	w.q.set.Source.Close()
	<-w.q.work.Done()
	var e *frontend.Error
	if w.q.set.Explain != nil {
		b.err = w.q.set.Explain(b.err)
	}
	if b.err != nil {
		e = frontend.AsError(b.err)
		w.q.set.Info.Fail(e)
	}
	if b.buf == nil && e != nil && !w.opened {
		return w.sink.Refuse(b.header, e)
	}
	if b.buf == nil {
		b.buf = frontend.GetBuffer(0)
	}
	defer frontend.PutBuffer(b.buf)
	w.open(b.header)
	if err := w.sink.Finish(b.buf, b.ends, e); err != nil {
		return w.lost(err)
	}
	return nil
}

// lost notes that the client is gone, or that it has all that it wants. There is nothing left to
// answer: the status is on the wire already.
func (w *writer) lost(err error) error {
	if !errors.Is(err, ErrEnough) {
		w.q.set.Info.Fail(frontend.Errorf(codes.Canceled, "the client went away").WithCause(err))
	}
	return nil
}

// quietTimer fires when a stream was quiet for a while. A write costs no more than reading the
// clock.
type quietTimer struct {
	after time.Duration
	timer *time.Timer // Nil: it never fires.
	last  time.Time
}

func newQuietTimer(after time.Duration) quietTimer {
	t := quietTimer{after: after}
	if after > 0 {
		t.timer, t.last = time.NewTimer(after), time.Now()
	}
	return t
}

func (t *quietTimer) fired() <-chan time.Time {
	if t.timer == nil {
		return nil
	}
	return t.timer.C
}

// elapsed is called when the timer has fired. It starts the timer again, and reports whether
// nothing was written in the meantime.
func (t *quietTimer) elapsed() bool {
	since := time.Since(t.last)
	if since < t.after {
		t.timer.Reset(t.after - since)
		return false
	}
	t.last = time.Now()
	t.timer.Reset(t.after)
	return true
}

// reset is called when something is written.
func (t *quietTimer) reset() {
	if t.timer != nil {
		t.last = time.Now()
	}
}

// stop makes it never fire again.
func (t *quietTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}
