package module

import (
	"context"
	"sync"
)

// background runs work that outlives the config that began it. The zero value is ready for use.
type background struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while it is 0
}

// run calls fn in a goroutine of its own.
func (b *background) run(fn func()) {
	b.mu.Lock()
	if b.n == 0 {
		b.idle = make(chan struct{})
	}
	b.n++
	b.mu.Unlock()
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.n--; b.n == 0 {
				close(b.idle)
				b.idle = nil
			}
		}()
		fn()
	}()
}

// wait waits until nothing runs. That includes work that running work begins.
func (b *background) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		idle := b.idle
		b.mu.Unlock()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
