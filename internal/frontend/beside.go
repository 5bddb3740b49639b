package frontend

// Beside is a goroutine that works for a request beside its handler. It runs code of other handlers, of the server and of codecs, whose
// panics must end the request and not the process.
type Beside struct {
	done     chan struct{}
	panicked any // what work panicked with
}

// GoBeside starts work. If that panics, failed is called, which sees to it that the handler comes to Wait.
func GoBeside(work, failed func()) *Beside {
	b := &Beside{done: make(chan struct{})}
	go func() {
		defer close(b.done)
		defer func() {
			if b.panicked = recover(); b.panicked != nil {
				failed()
			}
		}()
		work()
	}()
	return b
}

// Done is closed when the work has ended, in whatever way.
func (b *Beside) Done() <-chan struct{} { return b.done }

// Wait waits until the work has ended, and panics with what it has panicked with.
func (b *Beside) Wait() {
	<-b.done
	if b.panicked != nil {
		panic(b.panicked)
	}
}
