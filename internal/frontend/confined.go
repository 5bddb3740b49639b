package frontend

// Confined is a goroutine that works for a request next to its handler, and whose panic is confined
// to that request. It runs code of other handlers, of the server and of codecs: their panics must
// not end the process.
type Confined struct {
	done     chan struct{}
	panicked any // What work panicked with.
}

// GoConfined starts work. If it panics, failed is called, which must make the handler come to Wait.
func GoConfined(work, failed func()) *Confined {
	c := &Confined{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer func() {
			if c.panicked = recover(); c.panicked != nil {
				failed()
			}
		}()
		work()
	}()
	return c
}

// Done is closed when the work has ended, even if it has panicked.
func (c *Confined) Done() <-chan struct{} { return c.done }

// Wait waits until the work has ended. It panics with what the work has panicked with.
func (c *Confined) Wait() {
	<-c.done
	if c.panicked != nil {
		panic(c.panicked)
	}
}
